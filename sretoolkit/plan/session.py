"""The run that this process works for: set by a supervisor in its kernel, else opened by the plan itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from sretoolkit.actor import Actor
from sretoolkit.config import Config
from sretoolkit.errors import PlanError
from sretoolkit.journal import Journal, Keys, open_run
from sretoolkit.store import Store, open_store

Mode = Literal["plan", "apply"]


@dataclass
class Session:
    """One run as the code in it sees it: where the record goes, and what is allowed."""

    config: Config
    store: Store
    journal: Journal
    mode: Mode
    runbook_hash: str | None = None
    approval: bool = False
    self_approval: bool = False
    break_glass: str = ""
    irreversible: bool = False
    wait: float = 0.0
    supervised: bool = False
    keys: Keys = field(init=False)

    def __post_init__(self) -> None:
        self.keys = Keys.of(self.config)

    @property
    def run(self) -> str:
        """The run's id."""
        return self.journal.run

    @property
    def actor(self) -> Actor:
        """Who runs it."""
        return self.journal.actor


_current: Session | None = None


def enter(session: Session | None) -> None:
    """Make this the process's session (None: no more)."""
    global _current
    _current = session


def current() -> Session | None:
    """The session that a supervisor gave to this process; None outside of one."""
    return _current


def own_session(title: str, *, mode: Mode, config: Config | None, store: Store | None, undoes: str | None = None) -> Session:
    """Open a run for a plan that nobody supervises (plain JupyterLab, a program)."""
    config = config or Config.load()
    if _current is not None:
        raise PlanError("this process already works for a run")
    store = store or open_store(config)
    actor = Actor.current(config)
    journal = open_run(store, Keys.of(config), runbook=title, actor=actor, mode=mode, undoes=undoes)
    return Session(config=config, store=store, journal=journal, mode=mode)
