"""Sees to it that what is scheduled is asked for: each tick once, however many tickers there are.

All that is decided about a schedule's due ticks is one transaction under its lock. A ticker that is killed has decided
all of it or nothing, and the next one goes on from there.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import takewhile

from sretoolkit.actor import Actor
from sretoolkit.clock import Clock
from sretoolkit.config import Config
from sretoolkit.errors import StoreError
from sretoolkit.plan.control import tell
from sretoolkit.runbook.notification import notify
from sretoolkit.runbook.queue import BEGUN, Queue
from sretoolkit.runbook.schedule import Schedule
from sretoolkit.runbook.schedules import Scheduled, at, next_due, scheduled
from sretoolkit.store import Store
from sretoolkit.store.store import Row, Transaction

_LOG = logging.getLogger(__name__)
LATE = 60.0  # seconds after which a tick counts as missed
MOST = 100  # ticks of one schedule that are made up for, or wait
_FEW = 10_000  # ticks that are looked at; of a schedule that had more, those of the last day
_WELL = ("planned", "completed", "aborted", "stopped", "cancelled")
_SETTLED = "('asked', 'queued', 'skipped', 'missed')"  # states that say nothing of how a run ended


class Ticker:
    """One thread that looks once a second what is due."""

    def __init__(self, store: Store, config: Config, *, clock: Clock | None = None, interval: float = 1.0) -> None:
        self.store = store
        self.config = config
        self.queue = Queue(store)
        self._clock = clock or Clock()
        self._interval = interval
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._tick_on, name="schedules", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """End, when what is being decided is decided."""
        self._done.set()
        self._thread.join()

    def once(self) -> None:
        """See how earlier ticks ended, ask for what is due, and for what waited and need not any more."""
        self.settle()
        now = self._clock.now()
        due = "SELECT * FROM schedules WHERE state = 'active' AND due <= :now ORDER BY due"
        self._each(due, lambda found: self.decide(found, now), now=now.timestamp())
        waiting = (
            "SELECT * FROM schedules s WHERE state = 'active' AND EXISTS "
            "(SELECT 1 FROM schedule_ticks t WHERE t.schedule = s.id AND t.state = 'queued')"
        )
        self._each(waiting, lambda found: self._release(found.schedule))

    def _each(self, sql: str, act: Callable[[Scheduled], None], **parameters: float) -> None:
        for row in self.store.read(sql, **parameters):
            try:
                act(scheduled(row))
            except StoreError:
                raise
            except Exception:  # one schedule that cannot be read must not hold up the others
                _LOG.exception("schedule %s cannot be looked at", row["name"])

    def _tick_on(self) -> None:
        while not self._done.wait(self._interval):
            try:
                self.once()
            except StoreError as error:  # the store is away for a moment: it is looked at again
                _LOG.warning("schedules cannot be looked at now: %s", error)
            except Exception:  # whatever it is, the thread goes on
                _LOG.exception("schedules cannot be looked at")

    # ------------------------------------------------------------------ what is due

    def decide(self, found: Scheduled, now: datetime, *, late: float = LATE, newest: bool = False) -> None:
        """Ask for its due ticks, or say of each why not; one that is so many seconds late was missed.

        ``newest``: all but the newest one were, too, and nothing is made up for but that.
        """
        schedule = found.schedule
        ticks = _due_ticks(found, now)
        older = set(ticks[:-1]) if newest else set()
        missed = [tick for tick in ticks if (now - schedule.due(tick)).total_seconds() > late or tick in older]
        most = {"skip": 0, "once": 1, "all": MOST}[schedule.missed]
        made_up_for = deque((tick for tick in missed if tick not in older), maxlen=most)
        left_out = sorted(set(missed) - set(made_up_for))
        with self.store.transaction() as tx:
            tx.lock(f"schedule:{schedule.id}")
            sql = "SELECT ticked FROM schedules WHERE id = :id AND state = 'active'"
            rows = tx.execute(sql, id=schedule.id)
            if not rows or rows[0]["ticked"] != found.ticked:
                return  # another ticker has decided
            for tick in left_out[-MOST:]:
                _note(tx, schedule, tick, "missed", why="nobody was there to run it")
            for tick in sorted(set(ticks) - set(left_out)):
                self._carry_out(tx, schedule, tick, in_turn=len(made_up_for) > 1)
            _forget(tx, schedule, now.timestamp() - self.config.seconds("journal.retention"))
            last = ticks[-1] if ticks else at(found.ticked)
            tx.execute(
                "UPDATE schedules SET ticked = :ticked, due = :due WHERE id = :id",
                id=schedule.id, ticked=last.timestamp(), due=next_due(schedule, last),
            )  # fmt: skip

    def _carry_out(self, tx: Transaction, schedule: Schedule, tick: datetime, *, in_turn: bool) -> None:
        """Ask for the run of a tick, let it wait, or skip it, as the schedule says."""
        earlier = [f"run {row['run']} goes on" for row in going_on(tx.execute, schedule)]
        waiting = _waiting(tx, schedule)
        earlier += [f"{waiting} earlier ticks wait"] if waiting else []
        if why := schedule.exclusion(tick, self.config):
            _note(tx, schedule, tick, "skipped", why=why)
        elif not earlier:
            _ask(tx, self.queue, schedule, tick)
        elif (schedule.overlap == "skip" and not in_turn) or waiting >= MOST:
            _note(tx, schedule, tick, "skipped", why=earlier[-1])
        else:
            _note(tx, schedule, tick, "queued", why=earlier[-1])

    def _release(self, schedule: Schedule) -> None:
        """Ask for the oldest tick that waits when nothing goes on any more; of a schedule that aborts, end what does."""
        with self.store.transaction() as tx:
            tx.lock(f"schedule:{schedule.id}")
            if not (earlier := going_on(tx.execute, schedule)):
                rows = tx.execute(
                    "SELECT tick FROM schedule_ticks WHERE schedule = :id AND state = 'queued' ORDER BY tick LIMIT 1",
                    id=schedule.id,
                )
                if rows:
                    tx.execute(
                        "DELETE FROM schedule_ticks WHERE schedule = :id AND tick = :tick",
                        id=schedule.id, tick=rows[0]["tick"],
                    )  # fmt: skip
                    _ask(tx, self.queue, schedule, at(rows[0]["tick"]))
        if schedule.overlap == "abort":
            for row in earlier:
                abort(self.store, schedule, row)

    # ------------------------------------------------------------------ what came of it

    def settle(self) -> None:
        """Say of each run that has ended how, and pause what has failed too often."""
        ended = self.store.read(
            "SELECT t.schedule, t.tick, q.state AS request, q.error AS refusal, r.id AS run, r.state, r.error "
            "FROM schedule_ticks t LEFT JOIN requests q ON q.id = t.run LEFT JOIN runs r ON r.id = t.run "
            "WHERE t.state = 'asked' AND (r.ended IS NOT NULL OR q.state IN ('refused', 'cancelled'))"
        )
        for row in ended:
            state = row["state"] if row["run"] else row["request"]
            why = row["error"] if row["run"] else row["refusal"]
            changed = self.store.write(
                "UPDATE schedule_ticks SET state = :state, why = :why "
                "WHERE schedule = :schedule AND tick = :tick AND state = 'asked'",
                schedule=row["schedule"], tick=row["tick"], state=state, why=why,
            )  # fmt: skip
            if changed and state not in _WELL:
                self._pause_at_last(row["schedule"])

    def _pause_at_last(self, identity: str) -> None:
        rows = self.store.read("SELECT * FROM schedules WHERE id = :id AND state = 'active'", id=identity)
        if not rows or not (most := (found := scheduled(rows[0])).schedule.failures):
            return
        last = self.store.read(
            f"SELECT state, run FROM schedule_ticks WHERE schedule = :id AND at >= :since AND state NOT IN {_SETTLED} "
            "ORDER BY tick DESC LIMIT :most",
            id=identity, since=found.since, most=most,
        )  # fmt: skip
        if len(last) < most or any(row["state"] in _WELL for row in last):
            return
        why = f"{most} runs in a row went wrong; the last: run {last[0]['run']}, {last[0]['state']}"
        sql = "UPDATE schedules SET state = 'paused', why = :why WHERE id = :id AND state = 'active'"
        if self.store.write(sql, id=identity, why=why):
            about = {"schedule": found.schedule.name, "runbook": found.schedule.runbook, "state": "paused", "why": why}
            notify(self.config, about)


def going_on(read: Callable[..., list[Row]], schedule: Schedule) -> list[Row]:
    """Runs of a schedule that wait to be begun or go on: ``run``, and the ``state`` of its request."""
    return read(
        "SELECT t.run, q.state FROM schedule_ticks t JOIN requests q ON q.id = t.run LEFT JOIN runs r ON r.id = t.run "
        f"WHERE t.schedule = :id AND t.state = 'asked' AND (q.state = 'waiting' OR {BEGUN}) ORDER BY t.tick",
        id=schedule.id,
    )


def _ask(tx: Transaction, queue: Queue, schedule: Schedule, tick: datetime) -> None:
    """Ask for the run of a tick, in the transaction that notes it."""
    request = schedule.request()
    if queue.ask(request, executor=schedule.executor, once=schedule.once(tick), within=tx):
        _note(tx, schedule, tick, "asked", run=request.id)


def abort(store: Store, schedule: Schedule, earlier: Row) -> None:
    """End an earlier run of a schedule: one that waits is not begun, one that goes on is told to undo."""
    sql = "UPDATE requests SET state = 'cancelled', changed = {now} WHERE id = :id AND state = 'waiting'"
    if store.write(sql, id=earlier["run"]):
        return
    told = store.read("SELECT 1 FROM controls WHERE run = :run AND verb = 'abort'", run=earlier["run"])
    if not told:
        reason = f"the next tick of schedule {schedule.name} is due"
        tell(store, earlier["run"], "abort", actor=Actor(**schedule.actor), reason=reason)


def _due_ticks(found: Scheduled, now: datetime) -> list[datetime]:
    """The ticks that are due and that nobody has decided about, oldest first."""

    def due(since: datetime, most: int | None) -> list[datetime]:
        ticks = takewhile(lambda tick: found.schedule.due(tick) <= now, found.schedule.times.after(since))
        return [tick for _, tick in zip(range(most), ticks, strict=False)] if most else list(ticks)

    ticks = due(at(found.ticked), _FEW)
    return due(now - timedelta(days=1), None) if len(ticks) == _FEW else ticks


def _waiting(tx: Transaction, schedule: Schedule) -> int:
    sql = "SELECT count(*) AS count FROM schedule_ticks WHERE schedule = :id AND state = 'queued'"
    return int(tx.execute(sql, id=schedule.id)[0]["count"])


def _note(tx: Transaction, schedule: Schedule, tick: datetime, state: str, *, run: str = "", why: str = "") -> None:
    tx.execute(
        "INSERT INTO schedule_ticks (schedule, tick, state, run, why, at) "
        "VALUES (:schedule, :tick, :state, :run, :why, {now}) ON CONFLICT DO NOTHING",
        schedule=schedule.id, tick=tick.timestamp(), state=state, run=run, why=why,
    )  # fmt: skip


def _forget(tx: Transaction, schedule: Schedule, before: float) -> None:
    """Let go of what became of old ticks."""
    sql = "DELETE FROM schedule_ticks WHERE schedule = :id AND tick < :before AND state NOT IN ('asked', 'queued')"
    tx.execute(sql, id=schedule.id, before=before)
