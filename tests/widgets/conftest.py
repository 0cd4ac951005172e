"""Runbooks to fill in and runs to look at, below the test's home."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.plan.steps import Folder
from tests.runbook.desk import CHANGING

Write = Callable[..., Path]


@pytest.fixture
def world(own_home: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    """Three files that the runbook `changing` changes; runs are processes that find the tests' steps."""
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    return Folder(own_home / "world")


@pytest.fixture
def changing(write_notebook: Write, world: Folder) -> str:
    """The path of a runbook that changes the world's files."""
    about = {
        "title": "Change three files",
        "purpose": "to see it",
        "risk": "three files",
        "owner": "SRE",
        "changes": True,
    }
    return str(write_notebook(*CHANGING, name="changing", **about))
