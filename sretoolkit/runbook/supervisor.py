"""The supervisor: runs the cells in a kernel of its own, and is still there when the kernel, a cell or a person ends it.

Its order of things: kernel up, cells one by one, kernel down with all its children, undo what a bad end left, record.
"""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from sretoolkit.errors import SREToolkitError, StoreUnavailable, UndoFailed
from sretoolkit.journal.runs import beat, sign_head
from sretoolkit.plan.history import PlanHistory, fold
from sretoolkit.plan.recovery import undo_run
from sretoolkit.plan.session import Session
from sretoolkit.runbook.notebook import tags_of
from sretoolkit.runbook.process import KernelProcess

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nbclient import NotebookClient
    from nbformat import NotebookNode

CellStatus = Literal[
    "pending", "running", "completed", "failed", "interrupted", "killed", "timed_out", "not_run", "skipped"
]
Event = Callable[[str, dict[str, Any]], None]
EXIT_CODES = {"completed": 0, "planned": 0, "gate_failed": 3, "awaiting_approval": 4, "refused": 1}
GOOD = ("completed", "planned")


@dataclass(frozen=True)
class Limits:
    """How long things may take, in seconds."""

    run: float
    cell: float
    grace: float
    sign_every: float


@dataclass
class Ending:
    """How a run ended: its state, exit code, the reason in words, and what was undone."""

    state: str
    exit_code: int
    error: str = ""
    undone: list[str] | None = None


class Supervisor:
    """One run of one notebook."""

    def __init__(
        self, session: Session, kernel: KernelProcess, limits: Limits, *, on_event: Event | None = None
    ) -> None:
        self.session = session
        self.kernel = kernel
        self.limits = limits
        self.ending: Ending | None = None
        self.save: Callable[[NotebookNode], None] = lambda notebook: None
        self._on_event = on_event or (lambda kind, data: None)
        self._signals: list[int] = []
        self._signalled = asyncio.Event()
        self._why: CellStatus | None = None
        self._error = ""
        self._skipped = False
        self._progress: dict[str, Any] = {}

    def execute(self, notebook: NotebookNode) -> Ending:
        """Run every cell, end the kernel, undo what must be undone; the run's own failure is in what it returns."""
        self.session.journal.append("kernel-started", {"process": self.kernel.process.to_dict()})
        done = threading.Event()
        pulse = threading.Thread(target=self._pulse, args=(done,), name="pulse", daemon=True)
        pulse.start()
        try:
            try:
                asyncio.run(self._run(notebook))
            except SREToolkitError as error:
                self._why, self._error = "failed", error.message
            finally:
                self.kernel.kill()
            self._close_statuses(notebook)
            self.ending = self._conclude()
            return self.ending
        finally:
            done.set()
            pulse.join()

    async def _run(self, notebook: NotebookNode) -> None:
        from nbclient import NotebookClient

        loop = asyncio.get_running_loop()
        with self._listening(loop):
            client = NotebookClient(notebook, km=self.kernel, allow_errors=False, raise_on_iopub_timeout=False)  # type: ignore[arg-type]
            client.kc = self.kernel.client()
            try:
                ready = asyncio.ensure_future(self.kernel.ready(client.kc))
                await self._first(ready, timeout=None)
                if not ready.done():
                    ready.cancel()
                    self._why = "interrupted"
                    return
                await ready
                await self._cells(client, notebook)
                if self._why is None:
                    await self._shut_down(client)
            finally:
                client.kc.stop_channels()

    async def _cells(self, client: NotebookClient, notebook: NotebookNode) -> None:
        ends = time.monotonic() + self.limits.run
        total = len(notebook.cells)
        for index, cell in enumerate(notebook.cells):
            self._progress = {"cell": index + 1, "cells": total}
            if self._signals:
                self._why = "interrupted"
                return
            if self.session.mode == "plan" and "after-apply" in tags_of(cell):
                _mark(cell, "skipped")
                self._skipped = True
                continue
            _mark(cell, "running")
            if cell.cell_type != "code" or not cell.source.strip():
                _mark(cell, "completed")
                continue
            self._on_event("cell", {"cell": index + 1, "cells": total, "source": cell.source})
            status = await self._cell(client, cell, index, ends)
            _mark(cell, status)
            self._note("cell", {"cell": index, "id": cell.get("id", ""), "status": status, "seconds": _seconds(cell)})
            self._on_event("cell-end", {"cell": index + 1, "cells": total, "status": status, "texts": _texts(cell)})
            self.save(notebook)
            if status != "completed":
                self._why = status
                return

    async def _cell(self, client: NotebookClient, cell: NotebookNode, index: int, ends: float) -> CellStatus:
        """Run one cell to its end, or end it: by signal, by its own time or by the run's, or because the kernel is gone."""
        from nbclient.exceptions import CellExecutionError, DeadKernelError

        task = asyncio.ensure_future(client.async_execute_cell(cell, index))
        allowed = min(self.limits.cell, max(0.0, ends - time.monotonic()))
        await self._first(task, timeout=allowed)
        status: CellStatus = "completed"
        if not task.done():
            if not self.kernel.alive:
                await asyncio.wait({task}, timeout=0.3)  # what the kernel said before it died is still on its way
                status = "killed"
            else:
                status = "interrupted" if self._signals else "timed_out"
                self._error = self._reason(status, allowed)
                await self._interrupt(task)
            if not task.done():
                task.cancel()
        try:
            await task
        except DeadKernelError:
            status = "killed" if status == "completed" else status
        except CellExecutionError as error:
            self._error = self._error or f"{error.ename}: {error.evalue}"
            status = "failed" if status == "completed" else status
        except asyncio.CancelledError:
            status = "killed" if status == "completed" else status
        if status == "killed":
            self._error = f"the kernel died in cell {index + 1}: {self.kernel.last_words or 'killed, or out of memory'}"
        return status

    async def _interrupt(self, task: asyncio.Task[Any]) -> None:
        """Interrupt, and give it the grace time to undo and end; a second signal ends the grace."""
        self._signalled.clear()
        self.kernel.interrupt()
        await self._first(task, timeout=self.limits.grace)

    async def _first(self, task: asyncio.Future[Any], *, timeout: float | None) -> None:
        """Wait until the task is done, a signal came, the kernel is gone or time is up."""
        ends = None if timeout is None else time.monotonic() + timeout
        signalled = asyncio.ensure_future(self._signalled.wait())
        try:
            while not (task.done() or signalled.done()) and self.kernel.alive:
                left = 0.1 if ends is None else min(0.1, ends - time.monotonic())
                if left <= 0:
                    return
                await asyncio.wait({task, signalled}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        finally:
            signalled.cancel()

    async def _shut_down(self, client: NotebookClient) -> None:
        """Ask a healthy kernel to end, so that its exit handlers run."""
        assert client.kc is not None
        client.kc.shutdown()
        ends = time.monotonic() + 2.0
        while self.kernel.alive and time.monotonic() < ends:
            await asyncio.sleep(0.005)

    @contextmanager
    def _listening(self, loop: asyncio.AbstractEventLoop) -> Iterator[None]:
        """Note SIGINT and SIGTERM instead of dying of them (in the main thread, where alone that is possible)."""

        def note(number: int) -> None:
            self._signals.append(number)
            self._signalled.set()

        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        main = threading.current_thread() is threading.main_thread()
        for number in numbers if main else ():
            loop.add_signal_handler(number, note, number)
        try:
            yield
        finally:
            for number in numbers if main else ():
                loop.remove_signal_handler(number)
                signal.signal(number, signal.SIG_IGN)  # nothing may interrupt the undo and the record that follow

    def _pulse(self, done: threading.Event) -> None:
        """Say that the run is alive, sign its journal now and then, and pass new entries on to who watches."""
        seen, signed, beaten = 1, time.monotonic(), 0.0
        over = False
        while not over:
            over = done.wait(0.25)
            with suppress(SREToolkitError):
                for entry in self.session.journal.entries(after=seen):
                    seen = entry.seq
                    self._on_event("entry", {"kind": entry.kind, "target": entry.target, **entry.payload})
                if time.monotonic() - beaten >= 2.0:
                    beat(self.session.store, self.session.run, self._progress)
                    beaten = time.monotonic()
                if time.monotonic() - signed >= self.limits.sign_every:
                    sign_head(self.session.journal, self.session.keys)
                    signed = time.monotonic()

    def _close_statuses(self, notebook: NotebookNode) -> None:
        """No cell keeps a status that is not true: what runs no more was ended, what never ran says so."""
        for cell in notebook.cells:
            status = cell.metadata.get("papermill", {}).get("status", "pending")
            if status == "running":
                _mark(cell, self._why or "interrupted")
            elif status == "pending":
                _mark(cell, "not_run")

    def _conclude(self) -> Ending:
        """The run's state from what happened and what the journal says, after undoing what must be undone."""
        plans = fold(self.session.journal.entries())
        ending = self._ending(plans)
        if ending.state in GOOD or ending.state in ("awaiting_approval", "refused", "stopped"):
            return ending
        try:
            ending.undone = undo_run(self.session)
        except UndoFailed as error:
            return Ending("held", 1, f"{ending.error}; {error}".strip("; "))
        except SREToolkitError as error:
            by_hand = [item.text for plan in plans for item in plan.to_undo]
            hint = f"\n  what was changed and is not undone: {'; '.join(by_hand)}" if by_hand else ""
            return Ending("held", 1, f"{ending.error}; undo was not possible: {error}{hint}".strip("; "))
        return ending

    def _ending(self, plans: list[PlanHistory]) -> Ending:
        states = [plan.state for plan in plans]
        if self._why == "interrupted":
            number = self._signals[0] if self._signals else signal.SIGINT
            return Ending("interrupted", 128 + number, self._error or f"signal {signal.Signals(number).name}")
        if self._why in ("killed", "timed_out"):
            return Ending(self._why, 1, self._error)
        if "held" in states or "stopped" in states:
            return Ending("held" if "held" in states else "stopped", 3 if _gate_failed(plans) else 1, self._error)
        if self._why is None:
            only_planned = self.session.mode == "plan" and (plans or self._skipped)
            return Ending("planned" if only_planned else "completed", 0)
        last = states[-1] if states else ""
        if last in ("awaiting_approval", "refused"):
            return Ending(last, EXIT_CODES[last], self._error)
        if _gate_failed(plans):
            return Ending("gate_failed", 3, self._error)
        return Ending("aborted" if _aborted(self.session) else "failed", 1, self._error)

    def _reason(self, status: CellStatus, allowed: float) -> str:
        if status == "interrupted":
            return f"signal {signal.Signals(self._signals[0]).name}"
        return f"the time was up: the {'cell' if allowed >= self.limits.cell else 'run'} took more than {allowed:.0f} s"

    def _note(self, kind: str, payload: dict[str, Any]) -> None:
        with suppress(StoreUnavailable):  # a cell's end is in the notebook too; only steps must not go unrecorded
            self.session.journal.append(kind, payload)


def _mark(cell: NotebookNode, status: CellStatus) -> None:
    """Write a cell's status, and its times, where papermill keeps them."""
    now = datetime.now(UTC)
    about = cell.metadata.setdefault("papermill", {})
    about["status"] = status
    about["exception"] = status in ("failed", "interrupted", "killed", "timed_out")
    if status == "running":
        about.update(start_time=now.isoformat(), end_time=None, duration=None)
    elif about.get("start_time"):
        began = datetime.fromisoformat(about["start_time"])
        about.update(end_time=now.isoformat(), duration=(now - began).total_seconds())


def _seconds(cell: NotebookNode) -> float | None:
    duration = cell.metadata.get("papermill", {}).get("duration")
    return None if duration is None else round(duration, 3)


def _texts(cell: NotebookNode) -> list[str]:
    """What a cell's outputs say as plain text: results and streams; an error's is in the ending."""
    texts = [output.get("text") or output.get("data", {}).get("text/plain", "") for output in cell.outputs]
    return [text for text in texts if text]


def _gate_failed(plans: list[PlanHistory]) -> bool:
    return any(item.is_gate and item.status == "failed" for plan in plans for item in plan.items)


def _aborted(session: Session) -> bool:
    return any(entry.payload["verb"] == "abort" for entry in session.journal.entries(kind="control"))
