"""Tasks: how a machine is installed. A folder of ``tasks/`` with a ``task.toml`` and templates; a new one needs no Python.

Templates are Jinja's, in its sandbox: they see ``node``, ``policy``, ``url`` and what belongs to this one order. What a
machine says of itself is data there, never a template.
"""

from __future__ import annotations

import shlex
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from sretoolkit.errors import ProvisionError
from sretoolkit.provision.entries import is_file_name

Kind = Literal["image", "installer", "boot", "none"]
SHIPPED = Path(__file__).parent / "tasks"


@dataclass(frozen=True)
class Task:
    """One way to install: an image that the microkernel writes, an installer, something that is booted once, or nothing.

    ``inject``: files that the loader puts into the installer's memory; ``fetched``: the installer fetches them itself.
    """

    name: str
    folder: Path
    label: str
    kind: Kind
    seed: Mapping[str, str] = field(default_factory=dict)
    inject: Mapping[str, str] = field(default_factory=dict)
    arguments: str = ""
    architectures: tuple[str, ...] = ("x86_64",)
    fetched: bool = False

    def render(self, template: str, values: Mapping[str, Any]) -> str:
        """The text of one of its templates; raises `ProvisionError` where the template uses what is not there."""
        from jinja2 import TemplateError

        try:
            return str(_environment(self.folder).get_template(template).render(values))
        except TemplateError as error:
            what = f"the template {template} of the task {self.name} cannot be made: {type(error).__name__}: {error}"
            raise ProvisionError(what, subject=self.name, hint=f"mend {self.folder / template}") from error

    def files(self, which: Literal["seed", "inject"], values: Mapping[str, Any]) -> dict[str, str]:
        """The texts of the files that go onto the disk (``seed``), or into the installer's memory (``inject``)."""
        return {name: self.render(template, values) for name, template in getattr(self, which).items()}

    def kernel_arguments(self, values: Mapping[str, Any]) -> str:
        """The installer's command line; nothing secret is among the values that it is made with."""
        return " ".join(_environment(self.folder).from_string(self.arguments).render(values).split())


def tasks(folders: Iterable[str | Path] = ()) -> dict[str, Task]:
    """All tasks by name: those that come with us, and those of further folders, which go before ours."""
    found: dict[str, Task] = {}
    for folder in (SHIPPED, *map(Path, folders)):
        for path in sorted(folder.glob("*/task.toml")):
            name = path.parent.name.replace("_", "-")
            found[name] = _read(name, path)
    return found


def task(name: str, folders: Iterable[str | Path] = ()) -> Task:
    """The task of that name; raises `ProvisionError`."""
    found = tasks(folders)
    if name not in found:
        raise ProvisionError(f"there is no task {name!r}", subject=name, hint=f"there are: {', '.join(sorted(found))}")
    return found[name]


def _read(name: str, path: Path) -> Task:
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
        made = Task(
            name, path.parent, str(given["label"]), given["kind"], given.get("seed", {}), given.get("inject", {}),
            given.get("arguments", ""), tuple(given.get("architectures", ("x86_64",))),
            bool(given.get("fetched", False)),
        )  # fmt: skip
    except (OSError, tomllib.TOMLDecodeError, KeyError) as error:
        raise ProvisionError(f"{path} cannot be read: {error}", subject=name, hint="mend the file") from error
    if made.kind not in ("image", "installer", "boot", "none"):
        raise ProvisionError(f"{path}: kind cannot be {made.kind!r}", hint="image, installer, boot or none")
    for file, template in {**made.seed, **made.inject}.items():
        if not is_file_name(file) or not is_file_name(template) or not (path.parent / template).is_file():
            raise ProvisionError(f"{path}: {file!r} is no file name, or its template {template!r} is not there")
    return made


@lru_cache
def _environment(folder: Path) -> Any:
    from jinja2 import FileSystemLoader, StrictUndefined
    from jinja2.sandbox import SandboxedEnvironment

    made = SandboxedEnvironment(
        loader=FileSystemLoader(folder), undefined=StrictUndefined, autoescape=False, keep_trailing_newline=True
    )
    made.filters["quoted"] = _quoted
    made.filters["shell"] = lambda value: shlex.quote(str(value))
    return made


def _quoted(value: Any) -> str:
    """A text as YAML and JSON both read it, whatever it holds."""
    import json

    return json.dumps(str(value))
