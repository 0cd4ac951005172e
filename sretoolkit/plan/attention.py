"""Seeing what people say: between steps, while paused, and inside gates, within 0.3 seconds."""

from __future__ import annotations

from typing import Any

from sretoolkit.errors import Aborted, SREToolkitError
from sretoolkit.plan.control import Controls
from sretoolkit.plan.session import Session

LOOK_EVERY = 0.1
NEXT = -1


class Skipped(Exception):
    """Inside: this item is to be left out."""


class Stopped(SREToolkitError):
    """Inside: stop here, undo nothing."""

    def __init__(self, message: str, *, actor: str) -> None:
        super().__init__(message)
        self.actor = actor


class Attention:
    """Reads the control rows of a run and acts on them; everything that is acted on is journalled first."""

    def __init__(self, session: Session, plan: Any) -> None:
        self._session = session
        self._plan = plan
        self._controls = Controls(session.store, session.run)
        self._paused = False
        self._skip: set[int] = set()
        self.promoted = False

    def start(self) -> None:
        """Begin to listen: not to what this run has obeyed already, nor to what was said to every run before it."""
        heard = [entry.payload["id"] for entry in self._session.journal.entries(kind="control")]
        self._controls.begin(heard=max(heard, default=0))

    def between(self, index: int) -> None:
        """Look once, and stay here while the run is paused. Raises `Aborted`, `Stopped` or `Skipped`."""
        self.look()
        while self._paused:
            self._session_sleep()
            self.look()
        if self._skip & {index, NEXT}:
            self._skip -= {index, NEXT}
            raise Skipped

    def look(self) -> None:
        """Read new rows and act on each."""
        for row in self._controls.new():
            refusal = self._refusal(row)
            self._session.journal.append(
                "control",
                {name: row[name] for name in ("id", "verb", "subject", "actor", "reason")} | {"refused": refusal},
            )
            if not refusal:
                self._obey(row)

    def _obey(self, row: dict[str, Any]) -> None:
        said = f"{row['verb']} by {row['actor']}" + (f": {row['reason']}" if row["reason"] else "")
        match row["verb"]:
            case "stop":
                raise Stopped(said, actor=row["actor"])
            case "abort":
                raise Aborted(said, verb="abort", actor=row["actor"])
            case "pause":
                self._paused = True
            case "resume":
                self._paused = False
            case "promote":
                self.promoted = True
            case "skip":
                self._skip.add(int(row["subject"]) - 1 if row["subject"].isdecimal() else NEXT)

    def _refusal(self, row: dict[str, Any]) -> str:
        if row["verb"] == "skip" and not self._plan.allow_skip:
            return "this plan does not allow a step to be skipped"
        if row["verb"] == "promote":
            approvers = self._session.config["approval.approvers"]
            if approvers and row["actor"] not in approvers:
                return f"{row['actor']} is not among the approvers"
            if not approvers and self._session.approval and row["actor"] == self._session.actor.principal:
                return f"{row['actor']} asked for this run and cannot promote it"
        return ""

    def _session_sleep(self) -> None:
        self._session.journal.clock.sleep(LOOK_EVERY)
