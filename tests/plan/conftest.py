"""A world of files, and runs in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sretoolkit.actor import Actor
from sretoolkit.config import Config
from sretoolkit.journal import Keys, open_run
from sretoolkit.plan.session import Session, enter
from sretoolkit.store import Store
from tests.plan.steps import Folder


@pytest.fixture
def world(tmp_path: Path) -> Folder:
    """A folder of files."""
    return Folder(tmp_path / "world")


@pytest.fixture
def session(store: Store, config: Config, keys: Keys, actor: Actor) -> Iterator[Callable[..., Session]]:
    """Open a run in apply mode (or as told) and make it the process's session."""

    def make(*, mode: Any = "apply", **options: Any) -> Session:
        journal = open_run(
            store, keys, runbook="test", actor=actor, mode=mode, demands={"approval": options.get("approval", False)}
        )
        made = Session(config, store, journal, mode, **options)
        enter(made)
        return made

    yield make
    enter(None)
