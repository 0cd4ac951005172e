"""Binder: what it would build, checked without building it."""

from __future__ import annotations

import subprocess
import sys

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
