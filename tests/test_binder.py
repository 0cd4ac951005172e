"""Binder: what it would build, checked without building it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY


@pytest.fixture(scope="module")
def dockerfile() -> str:
    """What repo2docker makes of this repository, offline."""
    options = ["--no-build", "--debug", "--user-id", "1000", "--user-name", "jovyan"]
    command = [sys.executable, "-m", "repo2docker", *options, "."]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=100)
    assert 0 == done.returncode, done.stderr[-2000:]
    return done.stdout + done.stderr


def test_binder_installs_this_checkout_after_copying_it(dockerfile: str) -> None:
    """The package is installed from the repository, so the sources are copied before that."""
    install = dockerfile.index('-r "binder/requirements.txt"')

    assert -1 < dockerfile.rindex("COPY", 0, install) < install


def test_binder_runs_our_hooks(dockerfile: str) -> None:
    """Our postBuild is run at build time and our start at start time."""
    assert "binder/postBuild" in dockerfile
    assert "binder/start" in dockerfile


def test_binder_uses_a_supported_python() -> None:
    """runtime.txt names a Python that the package supports."""
    assert "python-3.11" == (REPOSITORY / "binder" / "runtime.txt").read_text().strip()


def test_a_binder_session_opens_on_the_first_notebook(tmp_path: Path) -> None:
    """What postBuild leaves in the home folder, and that the notebook is there."""
    subprocess.run(
        ["sh", str(REPOSITORY / "binder" / "postBuild")],
        env={"HOME": str(tmp_path), "PATH": os.environ["PATH"]},
        check=True,
        timeout=30,
    )

    written = json.loads((tmp_path / ".jupyter" / "jupyter_server_config.json").read_text())
    address = written["LabApp"]["default_url"]
    assert (REPOSITORY / address.removeprefix("/lab/tree/")).is_file()
    assert {"fetchNews": "false", "checkForUpdates": False} == json.loads(
        next(tmp_path.rglob("notification.*")).read_text()
    )
