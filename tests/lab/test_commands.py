"""How JupyterLab and Voilà are started: this machine alone, a token, and what the user says wins."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from sretoolkit.config import Config
from sretoolkit.errors import RunbookError
from sretoolkit.lab.commands import HERE, environment, lab_command, panel_command
from tests.conftest import REPOSITORY


def test_jupyterlab_listens_here_alone_and_runs_jobs_by_our_engine(own_home: Path) -> None:
    """Nothing takes the token away; the notebooks of the working folder are where one begins."""
    (own_home / "notebooks").mkdir()
    command = lab_command([])

    assert "--ServerApp.ip=127.0.0.1" in command
    assert "--Scheduler.execution_manager_class=sretoolkit.lab.jobs.RunbookJob" in command
    assert f"--ServerApp.preferred_dir={own_home}/notebooks" in command
    assert [] == [each for each in command if "token" in each]


@pytest.mark.parametrize("given", ["--ip=0.0.0.0", "--ServerApp.ip=0.0.0.0"])
def test_an_option_that_is_given_wins(given: str) -> None:
    """By its long name or its short one: Jupyter refuses an option that comes twice."""
    command = lab_command([given])

    assert [given] == [each for each in command if each.partition("=")[0].endswith("ip")]


def test_a_panel_is_a_notebook_or_a_runbooks_form(own_home: Path, config: Config) -> None:
    """By path, by a part of the name, or a form made for the runbook; each with a token of its own."""
    (own_home / "notebooks").symlink_to(REPOSITORY / "notebooks")
    by_path = panel_command(str(REPOSITORY / "notebooks" / "01-metrics.ipynb"), [], config)
    by_name = panel_command("metrics", [], config)
    form = panel_command("pid1_health", [], config)
    tokens = {each for command in (by_path, by_name, form) for each in command if each.startswith("--Voila.token=")}

    assert ("notebooks/01-metrics.ipynb", 3) == (by_name[3], len(tokens))
    assert by_path[3].endswith("/notebooks/01-metrics.ipynb")
    assert "RunbookForm('pid1_health')" in Path(form[3]).read_text()
    assert 0o700 == Path(form[3]).parent.stat().st_mode & 0o777


@pytest.mark.parametrize(
    ("name", "hint"), [("pid1_helth", "did you mean 'pid1_health'?"), ("no.ipynb", "check the path")]
)
def test_a_panel_that_is_not_there_is_said(config: Config, name: str, hint: str) -> None:
    """With the nearest name."""
    with pytest.raises(RunbookError) as caught:
        panel_command(name, [], config)
    assert hint == caught.value.hint


def test_jupyter_finds_the_extension_where_it_is(own_home: Path) -> None:
    """In a checkout as in a wheel: what Jupyter itself lists, without anything installed."""
    program = (
        "import json\nfrom jupyter_core.paths import jupyter_path\n"
        "from jupyterlab_server.config import get_federated_extensions\n"
        "print(json.dumps(get_federated_extensions(jupyter_path('labextensions'))['sretoolkit']['ext_path']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment(), capture_output=True, text=True, check=True, timeout=60
    )

    assert str(HERE / "labextensions" / "sretoolkit") == json.loads(done.stdout)
    version = json.loads((HERE / "labextensions/sretoolkit/package.json").read_text())["version"]
    assert f'version = "{version}"' in (REPOSITORY / "pyproject.toml").read_text()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """What is installed where there is no checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, timeout=100)
    (made,) = folder.glob("*.whl")
    return zipfile.ZipFile(made)


def test_the_wheel_has_the_extension_where_plain_jupyter_looks(wheel: zipfile.ZipFile) -> None:
    """`jupyter lab` without us finds it too: data files of the wheel, and the configuration that enables the server's part."""
    assert {
        "share/jupyter/labextensions/sretoolkit/static/remoteEntry.js",
        "share/jupyter/labextensions/sretoolkit/package.json",
        "share/jupyter/voila/templates/sretoolkit/index.html.j2",
        "etc/jupyter/jupyter_server_config.d/sretoolkit.json",
        "share/sretoolkit/scheduled_by_us.json",
    } <= {name.partition(".data/data/")[2] for name in wheel.namelist()}


def test_runbooks_are_found_wherever_pip_put_them(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    """Also below another prefix than the interpreter's own, as with Debian's Python and `--user`."""
    package = "lib/python3/site-packages"
    for name in wheel.namelist():
        place = tmp_path / (name.partition(".data/data/")[2] or f"{package}/{name}")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(wheel.read(name))
    listed = subprocess.run(
        [sys.executable, "-m", "sretoolkit", "list"], env=os.environ | {"PYTHONPATH": str(tmp_path / package)},
        cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert "pid1_health" in listed.stdout
