"""The schedules of a store, and what became of their ticks."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Any, Literal

from sretoolkit.clock import Clock
from sretoolkit.errors import RunbookError, UnknownSchedule
from sretoolkit.journal.runs import moment
from sretoolkit.runbook.schedule import Schedule
from sretoolkit.secrets import redaction
from sretoolkit.store import Store
from sretoolkit.store.store import Row

State = Literal["active", "paused"]
_OVERDUE = 120.0
NEVER = 1e15  # seconds since the epoch: when something is due that never comes again


@dataclass(frozen=True)
class Scheduled:
    """A schedule as it stands: its ticks up to ``ticked`` were dealt with, at ``due`` the next one is."""

    schedule: Schedule
    state: State
    why: str
    ticked: float
    due: float
    since: float

    @property
    def overdue(self) -> bool:
        """Whether a tick is due for so long that nobody can be there who keeps the times."""
        return self.state == "active" and self.due < time.time() - _OVERDUE

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; times are ISO 8601 in UTC."""
        due = moment(self.due) if self.due < NEVER and self.state == "active" else None
        return {**self.schedule.to_dict(), "state": self.state, "why": self.why, "due": due}


@dataclass(frozen=True)
class Tick:
    """What became of a tick: ``asked`` for as a run, then the state in which that ended; ``queued``, ``skipped``, ``missed``."""

    tick: float
    state: str
    run: str
    why: str

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {**self.__dict__, "tick": moment(self.tick)}


class Schedules:
    """Add, find, pause, resume and remove them."""

    def __init__(self, store: Store, *, clock: Clock | None = None) -> None:
        self.store = store
        self._clock = clock or Clock()

    def add(self, schedule: Schedule) -> None:
        """Keep it from now on; raises `ConfigError` for what is wrong with it, `RunbookError` when its name is taken."""
        now = self._clock.now()
        document = json.dumps(redaction.data(schedule.checked().to_dict()))
        added = self.store.write(
            "INSERT INTO schedules (id, name, document, state, why, ticked, due, since) "
            "VALUES (:id, :name, :document, 'active', '', :now, :due, {now}) ON CONFLICT DO NOTHING",
            id=schedule.id, name=schedule.name, document=document, now=now.timestamp(), due=next_due(schedule, now),
        )  # fmt: skip
        if not added:
            raise RunbookError(
                f"there is a schedule {schedule.name!r}",
                hint=f"--name another, or `sretoolkit schedule show {schedule.name}`",
            )

    def find(self) -> list[Scheduled]:
        """All of them, by name."""
        return [scheduled(row) for row in self.store.read("SELECT * FROM schedules ORDER BY name")]

    def load(self, name: str) -> Scheduled:
        """One by its name; raises `RunbookError` with the nearest."""
        rows = self.store.read("SELECT * FROM schedules WHERE name = :name", name=name)
        if not rows:
            known = [row["name"] for row in self.store.read("SELECT name FROM schedules")]
            near = get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else "`sretoolkit schedule list` shows those there are"
            raise UnknownSchedule(f"there is no schedule {name!r}", hint=hint)
        return scheduled(rows[0])

    def pause(self, name: str, why: str) -> None:
        """Let its ticks pass until it is resumed."""
        self.load(name)
        sql = "UPDATE schedules SET state = 'paused', why = :why WHERE name = :name"
        self.store.write(sql, name=name, why=redaction(why))

    def resume(self, name: str) -> None:
        """Go on with the next tick: those that passed in the pause are not missed, and failures are counted anew."""
        found, now = self.load(name), self._clock.now()
        self.store.write(
            "UPDATE schedules SET state = 'active', why = '', ticked = :now, due = :due, since = {now} "
            "WHERE name = :name AND state = 'paused'",
            name=name, now=now.timestamp(), due=next_due(found.schedule, now),
        )  # fmt: skip

    def remove(self, name: str) -> None:
        """Forget it and its ticks; its runs stay on record."""
        found = self.load(name).schedule
        with self.store.transaction() as tx:
            tx.lock(f"schedule:{found.id}")
            tx.execute("DELETE FROM schedule_ticks WHERE schedule = :id", id=found.id)
            tx.execute("DELETE FROM schedules WHERE id = :id", id=found.id)

    def history(self, name: str, *, limit: int = 20) -> list[Tick]:
        """What became of its ticks, newest first."""
        rows = self.store.read(
            "SELECT tick, state, run, why FROM schedule_ticks WHERE schedule = :id ORDER BY tick DESC LIMIT :limit",
            id=self.load(name).schedule.id, limit=limit,
        )  # fmt: skip
        return [Tick(**row) for row in rows]


def next_due(schedule: Schedule, after: datetime) -> float:
    """When the first tick after a moment is due, in seconds since the epoch."""
    tick = next(schedule.times.after(after), None)
    return schedule.due(tick).timestamp() if tick else NEVER


def scheduled(row: Row | Mapping[str, Any]) -> Scheduled:
    """A schedule from its row."""
    schedule = Schedule.from_dict(json.loads(row["document"]))
    return Scheduled(schedule, row["state"], row["why"], row["ticked"], row["due"], row["since"])


def at(seconds: float) -> datetime:
    """A moment of the store as one of this program."""
    return datetime.fromtimestamp(seconds, UTC)
