"""The command lines of JupyterLab and Voilà as we start them: this machine alone, a token, our extension found."""

from __future__ import annotations

import json
import os
import secrets
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from sretoolkit.config import Config, state_folder
from sretoolkit.errors import ConfigError, RunbookError
from sretoolkit.lab import desk

HERE = Path(__file__).parent / "jupyter"
"""Our extension, its configuration and our template, in the form of a folder of Jupyter's."""


def environment() -> dict[str, str]:
    """This process's environment with `HERE` where Jupyter looks: in a checkout as in an installed wheel."""
    found = dict(os.environ)
    for name in ("JUPYTER_PATH", "JUPYTER_CONFIG_PATH"):
        found[name] = os.pathsep.join([str(HERE), *filter(None, [os.environ.get(name)])])
    return found


def lab_command(arguments: Sequence[str]) -> list[str]:
    """JupyterLab on the working folder, with jobs run by our engine; an option that is given in ``arguments`` wins."""
    _require("jupyterlab", "JupyterLab")
    options = {"--ServerApp.ip": "127.0.0.1"}
    if Path("notebooks").is_dir():
        options["--ServerApp.preferred_dir"] = str(Path("notebooks").absolute())
    if find_spec("jupyter_scheduler"):
        options["--Scheduler.execution_manager_class"] = "sretoolkit.lab.jobs.RunbookJob"
    if os.geteuid() == 0:
        options["--ServerApp.allow_root"] = "True"
    return [sys.executable, "-m", "jupyterlab", *_unless_given(options, arguments), *arguments]


def panel_command(name: str, arguments: Sequence[str], config: Config) -> list[str]:
    """Voilà on a notebook by its path or its name in ``notebooks/``, or on a runbook's form.

    Raises `RunbookError` when there is no such notebook or runbook.
    """
    _require("voila", "Voilà")
    path = _notebook(name) or _form(name, config)
    options = {
        "--Voila.ip": "127.0.0.1", "--Voila.token": secrets.token_urlsafe(24), "--VoilaConfiguration.template": "sretoolkit",
        "--VoilaConfiguration.extension_denylist": "@jupyterlab/scheduler",
    }  # fmt: skip
    return [sys.executable, "-m", "voila", str(path), *_unless_given(options, arguments), *arguments]


def _unless_given(options: Mapping[str, str], arguments: Sequence[str]) -> list[str]:
    """Our options but those that are among the arguments, by their long name or the short one: Jupyter refuses both."""
    given = {argument.partition("=")[0].lstrip("-").rpartition(".")[2].replace("-", "_") for argument in arguments}
    return [f"{name}={value}" for name, value in options.items() if name.rpartition(".")[2] not in given]


def _notebook(name: str) -> Path | None:
    """A notebook by its path, or by a part of its name in ``notebooks/``: ``metrics`` is ``01-metrics.ipynb``."""
    if name.endswith(".ipynb"):
        if not Path(name).is_file():
            raise RunbookError(f"there is no notebook {name}", hint="check the path")
        return Path(name)
    found = [path for path in sorted(Path("notebooks").glob("*.ipynb")) if name in (path.stem, path.stem[3:])]
    return found[0] if found else None


def _form(name: str, config: Config) -> Path:
    """A notebook with the runbook's form, in this user's state folder."""
    path, content = desk.form(name, config)
    folder = state_folder() / "panels"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    file = folder / Path(path).name
    file.write_text(json.dumps(content), encoding="utf-8")
    return file


def _require(module: str, name: str) -> None:
    if find_spec(module) is None:
        raise ConfigError(f"{name} is not installed", hint="pip install 'sretoolkit[lab]'")
