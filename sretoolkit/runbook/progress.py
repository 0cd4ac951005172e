"""How far a run is, wherever it goes on: its cells and what they said, its plans, how long such a run usually takes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from statistics import median
from typing import Any

from sretoolkit.config import Config
from sretoolkit.journal import Entry, Journal, Run, find_runs, load_run
from sretoolkit.journal.runs import GOOD, RESUMABLE
from sretoolkit.plan.history import IN_DOUBT, PlanHistory, fold
from sretoolkit.plan.step import Step
from sretoolkit.report import Finding, Report, Table
from sretoolkit.runbook.cells import Cell, cells_of
from sretoolkit.store import Store


@dataclass(frozen=True)
class Progress:
    """What is known of one run now; ``cells`` are those that have something to tell.

    ``usual`` is the seconds that earlier runs of this kind took, where there are any; ``passed_to`` who looks after it now
    (to, note); ``undone_by`` the run that took it back.
    """

    run: Run
    plans: list[PlanHistory]
    cells: list[Cell]
    elapsed: float
    usual: float | None
    paused: bool
    passed_to: dict[str, Any]
    undone_by: str

    @property
    def may(self) -> frozenset[str]:
        """What makes sense to do with it now: control verbs, and approve, continue, recover, undo."""
        open_plans = [plan for plan in self.plans if plan.state == "begun"]
        found = set()
        if self.run.state == "running":
            found.add("abort")
            if open_plans:
                found.add("resume" if self.paused else "pause")
            if any(item.is_gate and item.status == "begun" for plan in open_plans for item in plan.items):
                found.add("promote")
            if any(plan.content.get("allow_skip") for plan in open_plans):
                found.add("skip")
        elif self.run.state == "awaiting_approval":
            found |= {"approve", "continue"}
        elif self.run.state in RESUMABLE:
            found |= {"recover", "continue"} if self.run.state != "lost" or self.plans else {"recover"}
        elif self.run.mode == "apply" and not self.undone_by and any(plan.to_undo for plan in self.plans):
            found.add("undo")
        return frozenset(found)

    @property
    def targets(self) -> list[str]:
        """What its plans touch."""
        return sorted({item.target for plan in self.plans for item in plan.items if item.target})

    @property
    def final(self) -> list[str]:
        """Steps that cannot be taken back."""
        items = [item for plan in self.plans for item in plan.items if not item.is_gate]
        return [item.text for item in items if Step.from_dict(item.content).irreversible]

    @property
    def aftermath(self) -> str:
        """How the changes of a run that was to make some stand now, in a line; "" while it goes on."""
        if self.run.mode != "apply" or not self.run.closed:
            return ""
        if self.undone_by:
            return f"All that it had changed was taken back by run {self.undone_by}."
        items = [item for plan in self.plans for item in plan.items if not item.is_gate]
        if any(item.status in IN_DOUBT for item in items):
            return "Not all that was changed could be taken back: look at the steps in doubt."
        if standing := sum(item.status == "done" for item in items):
            return f"{standing} of {len(items)} changes were made and stand."
        return (
            "All that it had changed was taken back."
            if any(i.status == "undone" for i in items)
            else "It changed nothing."
        )

    def report(self) -> Report:
        """The same for a record."""
        run = self.run
        worst = "high" if run.state == "lost" or (run.closed and run.state not in GOOD) else "info"
        error = [Finding(severity=worst, subject=run.id, summary=run.error or run.state)] if run.error else []  # type: ignore[arg-type]
        facts = {"state": run.state, "mode": run.mode, "by": run.who, "seconds": round(self.elapsed, 1)}
        return Report(f"Run {run.id} of {run.runbook}", error, [steps_table(plan) for plan in self.plans], facts=facts)


def progress(store: Store, name: str, *, config: Config, usual: float | None = None) -> Progress:
    """Look at a run, by its id or "last"; raises `JournalError` when there is none. ``usual`` is from `usual_seconds`."""
    run = load_run(store, name)
    entries = Journal(store, run.id, actor=None).entries()  # type: ignore[arg-type]
    passed = [entry.payload for entry in entries if entry.kind == "passed-on"]
    undone = store.read(
        "SELECT id FROM runs WHERE undoes = :run AND state = 'completed' AND mode = 'apply'", run=run.id
    )
    return Progress(
        run, fold(entries), [cell for cell in cells_of(run, entries, config) if cell.tells],
        (run.ended or store.now()) - run.started, usual, is_paused(entries), passed[-1] if passed else {},
        str(undone[0]["id"]) if undone else "",
    )  # fmt: skip


def is_paused(entries: Iterable[Entry]) -> bool:
    """Whether the last that a run heard of pause and resume was pause."""
    told = [entry.payload["verb"] for entry in entries if entry.kind == "control" and not entry.payload["refused"]]
    return [verb for verb in told if verb in ("pause", "resume")][-1:] == ["pause"]


def usual_seconds(store: Store, run: Run) -> float | None:
    """The median of what the newest twenty good runs of this runbook in this mode took; None without any."""
    found = [each for state in GOOD for each in find_runs(store, runbook=run.runbook, state=state, limit=20)]
    took = [each.ended - each.started for each in found if each.ended and each.mode == run.mode and each.id != run.id]
    return median(took) if took else None


def steps_table(plan: PlanHistory) -> Table:
    """A plan step by step: before, after, how each stands."""
    rows = []
    for item in plan.items:
        data = item.content.get("data", {})
        change = ("", "", "") if item.is_gate else (item.target, data.get("before"), data.get("after"))
        note = item.error or (str(item.evidence[-1].get("reason", "")) if item.evidence else "")
        rows.append((item.index + 1, item.text, *change, item.label, note))
    title = f"{plan.title} · plan {plan.hash[:12]} · {plan.state.replace('_', ' ')}"
    return Table(title, ("#", "what", "target", "before", "after", "status", "note"), rows)


def left(progress: Progress, now: float) -> float | None:
    """Seconds until it ends, if it takes as long as usual; None when that is not known, or is over."""
    if progress.usual is None or progress.run.state != "running":
        return None
    rest = progress.run.started + progress.usual - now
    return rest if rest > 0 else None


def began(run: Run) -> str:
    """When a run began, in the reader's zone."""
    return f"{datetime.fromtimestamp(run.started).astimezone():%Y-%m-%d %H:%M:%S}"
