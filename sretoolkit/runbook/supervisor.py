"""The supervisor: runs the cells in a kernel of its own, and is still there when the kernel, a cell or a person ends it.

Its order of things: kernel up, cells one by one, kernel down with all its children, undo what a bad end left, record.
"""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from sretoolkit.errors import SREToolkitError, StoreUnavailable, UndoFailed
from sretoolkit.journal.runs import GOOD, beat, sign_head
from sretoolkit.plan.control import Controls
from sretoolkit.plan.history import PlanHistory, fold
from sretoolkit.plan.recovery import undo_run
from sretoolkit.plan.session import Session
from sretoolkit.runbook.notebook import tags_of
from sretoolkit.runbook.process import KernelProcess
from sretoolkit.runbook.signals import Signals

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

    from nbclient import NotebookClient
    from nbformat import NotebookNode

CellStatus = Literal[
    "pending", "running", "completed", "failed", "interrupted", "killed", "timed_out", "not_run", "skipped"
]
Event = Callable[[str, dict[str, Any]], None]
EXIT_CODES = {"completed": 0, "planned": 0, "gate_failed": 3, "awaiting_approval": 4, "refused": 1}


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
        self,
        session: Session,
        kernel: KernelProcess,
        limits: Limits,
        *,
        on_event: Event | None = None,
        signals: Signals | None = None,
    ) -> None:
        self.session = session
        self.kernel = kernel
        self.limits = limits
        self.ending: Ending | None = None
        self.save: Callable[[NotebookNode], None] = lambda notebook: None
        self._observer = on_event
        self._signals = Signals() if signals is None else signals
        self._signalled = asyncio.Event()
        self._why: CellStatus | None = None
        self._error = ""
        self._skipped = False
        self._told = ""
        self._keep: Callable[[], None] = lambda: None
        self._progress: dict[str, Any] = {}

    def execute(self, notebook: NotebookNode) -> Ending:
        """Run every cell, end the kernel, undo what must be undone; the run's own failure is in what it returns."""
        done = threading.Event()
        self._keep = lambda: self.save(notebook)
        pulse = threading.Thread(target=self._pulse, args=(done,), name="pulse", daemon=True)
        pulse.start()
        try:
            try:
                self.session.journal.append("kernel-started", {"process": self.kernel.process.to_dict()})
                _run_to_end(self._run(notebook))
            except Exception as error:  # whatever it is: what was changed must be undone, and the run closed
                self._why = "failed"
                self._error = (
                    error.message if isinstance(error, SREToolkitError) else f"{type(error).__name__}: {error}"
                )
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
                self._error = self._error if self._told else self._reason(status, allowed)
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
                self._keep()
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
        """Wake up at a signal, also at one that came before."""
        if self._signals:
            self._signalled.set()
        self._signals.on_signal = lambda: loop.call_soon_threadsafe(self._signalled.set)
        try:
            yield
        finally:
            self._signals.on_signal = lambda: None

    def _on_event(self, kind: str, data: dict[str, Any]) -> None:
        """Tell who watches; one who is gone (a closed pipe, a terminal that hung up) is not told any more."""
        observer = self._observer
        try:
            if observer is not None:
                observer(kind, data)
        except Exception:
            self._observer = None

    def _pulse(self, done: threading.Event) -> None:
        """Say that the run is alive, sign its journal now and then, and pass new entries on to who watches."""
        seen, signed, beaten = 1, time.monotonic(), 0.0
        controls = Controls(self.session.store, self.session.run)
        controls.begin(
            heard=max((row.payload["id"] for row in self.session.journal.entries(kind="control")), default=0)
        )
        over = False
        while not over:
            over = done.wait(0.15)  # an abort is obeyed within 0.3 s
            with suppress(SREToolkitError):
                for entry in self.session.journal.entries(after=seen):
                    seen = entry.seq
                    self._on_event("entry", {"kind": entry.kind, "target": entry.target, **entry.payload})
                self._heed(controls.new())
                if time.monotonic() - beaten >= 2.0:
                    beat(self.session.store, self.session.run, self._progress)
                    beaten = time.monotonic()
                if time.monotonic() - signed >= self.limits.sign_every:
                    sign_head(self.session.journal, self.session.keys)
                    signed = time.monotonic()

    def _heed(self, rows: list[dict[str, Any]]) -> None:
        """End the run on an abort or stop that no plan hears, because a cell reads or computes; a plan hears its own."""
        for row in rows:
            if row["run"] != self.session.run or row["verb"] not in ("abort", "stop") or self._told:
                continue
            if any(plan.state == "begun" for plan in fold(self.session.journal.entries())):
                continue
            about = {name: row[name] for name in ("id", "verb", "subject", "actor", "reason")}
            self.session.journal.append("control", {**about, "refused": ""})
            self._told = row["verb"]
            self._error = f"{row['verb']} by {row['actor']}" + (f": {row['reason']}" if row["reason"] else "")
            self._signals.note(signal.SIGINT)

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
        plans: list[PlanHistory] = []
        ending = Ending("failed", 1, self._error)
        try:
            plans = fold(self.session.journal.entries())
            ending = self._ending(plans)
            if ending.state in GOOD or ending.state in ("awaiting_approval", "refused", "stopped"):
                return ending
            lines = undo_run(self.session)
        except UndoFailed as error:
            return Ending("held", 1, f"{ending.error}; {error}".strip("; "))
        except SREToolkitError as error:
            by_hand = [item.text for plan in plans for item in plan.to_undo]
            hint = f"\n  what was changed and is not undone: {'; '.join(by_hand)}" if by_hand else ""
            return Ending("held", 1, f"{ending.error}; undo was not possible: {error}{hint}".strip("; "))
        held = [line.removeprefix("held: ") for line in lines if line.startswith("held: ")]
        ending.undone = [line for line in lines if not line.startswith("held: ")]
        if held and ending.state != "held":
            text = f"{ending.error}; held as it is, by the plan's policy: {', '.join(held)}".strip("; ")
            return Ending("held", ending.exit_code, text, ending.undone)
        return ending

    def _ending(self, plans: list[PlanHistory]) -> Ending:
        states = [plan.state for plan in plans]
        if self._why == "interrupted" and self._told:
            return Ending("aborted" if self._told == "abort" else "stopped", 1, self._error)
        if self._why == "interrupted":
            number = self._signals.received[0] if self._signals else signal.SIGINT
            return Ending("interrupted", 128 + number, self._error or f"signal {signal.Signals(number).name}")
        if self._why in ("killed", "timed_out"):
            return Ending(self._why, 1, self._error)
        if "held" in states or "stopped" in states:
            return Ending("held" if "held" in states else "stopped", 3 if _gate_failed(plans) else 1, self._error)
        newest = max((plan.attempt for plan in plans), default=0)
        now = sorted((plan for plan in plans if plan.attempt == newest), key=lambda plan: plan.asked)
        if self._why is None and not (text := _unfinished(now, self.session.mode)):
            only_planned = self.session.mode == "plan" and (plans or self._skipped)
            return Ending("planned" if only_planned else "completed", 0)
        error = self._error or text
        last = now[-1].state if now else ""
        if last in ("awaiting_approval", "refused"):
            return Ending(last, EXIT_CODES[last], error)
        if _gate_failed(plans):
            return Ending("gate_failed", 3, error)
        return Ending("aborted" if _aborted(self.session) else "failed", 1, error)

    def _reason(self, status: CellStatus, allowed: float) -> str:
        if status == "interrupted":
            return f"signal {signal.Signals(self._signals.received[0]).name}"
        return f"the time was up: the {'cell' if allowed >= self.limits.cell else 'run'} took more than {allowed:.0f} s"

    def _note(self, kind: str, payload: dict[str, Any]) -> None:
        with suppress(StoreUnavailable):  # a cell's end is in the notebook too; only steps must not go unrecorded
            self.session.journal.append(kind, payload)


def _run_to_end(work: Coroutine[Any, Any, None]) -> None:
    """Run it in an event loop of its own; where one runs in this thread already (a notebook), in another thread."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        asyncio.run(work)
        return
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, work).result()


def _unfinished(plans: list[PlanHistory], mode: str) -> str:
    """Why the notebook's last word is not that its plans are carried out, although no cell failed; "" when it is.

    A notebook may go on after a plan that was undone, with another one; with nothing after it, the change was not made.
    """
    if mode == "plan":
        return ""
    for plan in plans:
        if plan.state == "begun":
            return f"the notebook ended while the plan {plan.title!r} was still being carried out"
    last = plans[-1] if plans else None
    if last is None or last.state == "completed":
        return ""
    why = f": {last.error}" if last.error else ""
    return f"the notebook went on, but its plan {last.title!r} is {last.state.replace('_', ' ')}{why}"


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
