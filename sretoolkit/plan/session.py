"""The run that this process works for: set by a supervisor in its kernel, else opened by the plan itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Literal

from sretoolkit.actor import Actor
from sretoolkit.config import Config
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
    shown: Sequence[str] = ()  # hashes of the plans that somebody saw before saying yes; none: whatever is planned
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
_own: ContextVar[Session | None] = ContextVar("own_session", default=None)


def enter(session: Session | None) -> None:
    """Make this the process's session (None: no more)."""
    global _current
    _current = session


@contextmanager
def within(session: Session) -> Iterator[None]:
    """Make this the session of what is called here; other threads, with plans of their own, do not see it."""
    token = _own.set(session)
    try:
        yield
    finally:
        _own.reset(token)


def current() -> Session | None:
    """The session of the plan that is being run here, or that a supervisor gave to this process; None outside of one."""
    return _own.get() or _current


def configuration() -> Config:
    """What the code here is to go by: the configuration of its run, else that of the user."""
    session = current()
    return session.config if session else Config.load()


def own_session(
    title: str,
    *,
    mode: Mode,
    config: Config | None = None,
    store: Store | None = None,
    undoes: str | None = None,
    ticket: str = "",
    demands: Mapping[str, bool] | None = None,
    actor: Actor | None = None,
    origin: str = "library",
) -> Session:
    """Open a run for a plan that nobody supervises (plain JupyterLab, a program, ``sretoolkit undo``)."""
    config = config or Config.load()
    store = store or open_store(config)
    journal = open_run(
        store, Keys.of(config), runbook=title, actor=actor or Actor.current(config), mode=mode, undoes=undoes,
        ticket=ticket, demands=demands, origin=origin,
    )  # fmt: skip
    asked = demands or {}
    return Session(
        config,
        store,
        journal,
        mode,
        approval=asked.get("approval", False),
        self_approval=asked.get("self_approval", False),
    )


def rejoin(store: Store, run: str, *, config: Config, mode: Mode = "apply") -> Session:
    """The session of a run that was opened before, by this process or another one; what it demands is in its journal."""
    journal = Journal(store, run, actor=Actor.current(config))
    opened = journal.entries()[0].payload
    return Session(
        config,
        store,
        journal,
        mode,
        runbook_hash=opened["runbook_hash"],
        approval=opened["demands"].get("approval", False),
        self_approval=opened["demands"].get("self_approval", False),
    )
