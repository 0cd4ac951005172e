"""Control: what people tell a running plan, as rows in the store that anyone may write from anywhere."""

from __future__ import annotations

from typing import Any, Literal, get_args

from sretoolkit.actor import Actor
from sretoolkit.errors import PlanError
from sretoolkit.journal import load_run
from sretoolkit.store import Store

Verb = Literal["stop", "abort", "pause", "resume", "promote", "skip"]
VERBS: tuple[Verb, ...] = get_args(Verb)
EVERY_RUN = "*"


def tell(store: Store, run: str, verb: Verb, *, actor: Actor, reason: str = "", subject: str = "") -> None:
    """Tell a run something; ``subject`` is the number of the step that ``skip`` means.

    With ``run`` "*", ``stop`` is the global kill switch and ``resume`` ends it.
    """
    if verb not in VERBS:
        raise PlanError(f"{verb!r} is nothing that a run can be told", hint=f"one of {', '.join(VERBS)}")
    if run == EVERY_RUN and verb not in ("stop", "resume"):
        raise PlanError(f"{verb!r} cannot be told to every run at once", hint="stop or resume")
    store.write(
        "INSERT INTO controls (run, verb, subject, actor, reason, at) "
        "VALUES (:run, :verb, :subject, :actor, :reason, {now})",
        run=run, verb=verb, subject=subject, actor=actor.principal, reason=reason,
    )  # fmt: skip


def tell_run(store: Store, run: str, verb: Verb, *, actor: Actor, reason: str = "", subject: str = "") -> str:
    """Tell a run that is at work something; returns its id. Raises `PlanError` when it does not listen."""
    found = load_run(store, run)
    if found.state != "running":
        raise PlanError(f"run {found.id} does not listen: it is {found.state}", hint=f"`sretoolkit show {found.id}`")
    tell(store, found.id, verb, actor=actor, reason=reason, subject=subject)
    return found.id


def kill_switch(store: Store) -> dict[str, Any] | None:
    """Who stopped everything, when and why; None when nobody has."""
    rows = store.read("SELECT * FROM controls WHERE run = :every ORDER BY id DESC LIMIT 1", every=EVERY_RUN)
    return dict(rows[0]) if rows and rows[0]["verb"] == "stop" else None


class Controls:
    """The rows that one run has not seen yet."""

    def __init__(self, store: Store, run: str) -> None:
        self.store = store
        self.run = run
        self._heard = 0
        self._heard_by_all = 0

    def begin(self, *, heard: int) -> None:
        """Leave out this run's rows up to the id ``heard``, and what was said to every run until now."""
        rows = self.store.read("SELECT max(id) AS id FROM controls WHERE run = :every", every=EVERY_RUN)
        self._heard, self._heard_by_all = heard, rows[0]["id"] or 0

    def new(self) -> list[dict[str, Any]]:
        """Rows for this run (or for every run) since the last call, oldest first."""
        rows = self.store.read(
            "SELECT * FROM controls WHERE (run = :run AND id > :heard) OR (run = :every AND id > :all) ORDER BY id",
            run=self.run, every=EVERY_RUN, heard=self._heard, all=self._heard_by_all,
        )  # fmt: skip
        if rows:
            self._heard = self._heard_by_all = max(rows[-1]["id"], self._heard, self._heard_by_all)
        return [dict(row) for row in rows]
