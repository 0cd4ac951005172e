"""How far a run is, wherever it goes on: its cells and what they said, its plans, how long such a run usually takes."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from sretoolkit.config import Config
from sretoolkit.journal import Entry, Journal, Run, find_runs, load_run
from sretoolkit.journal.runs import RESUMABLE
from sretoolkit.plan.history import IN_DOUBT, PlanHistory, fold
from sretoolkit.plan.step import Step
from sretoolkit.report import Finding, Report, Table
from sretoolkit.runbook.notebook import source_of
from sretoolkit.secrets import redaction
from sretoolkit.store import Store

GOOD = ("completed", "planned")
_MOST = 200_000  # bytes of a cell's text that are shown; the record has all of it


class Cell(NamedTuple):
    """One code cell that was begun: its place, its first line, how it stands, and what it said as text."""

    number: int
    source: str
    status: str
    seconds: float | None
    text: str


@dataclass(frozen=True)
class Progress:
    """What is known of one run now.

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
    told = [entry.payload["verb"] for entry in entries if entry.kind == "control" and not entry.payload["refused"]]
    stays = [verb for verb in told if verb in ("pause", "resume")]
    passed = [entry.payload for entry in entries if entry.kind == "passed-on"]
    undone = store.read(
        "SELECT id FROM runs WHERE undoes = :run AND state = 'completed' AND mode = 'apply'", run=run.id
    )
    return Progress(
        run, fold(entries), cells_of(run, entries, config), (run.ended or store.now()) - run.started,
        usual, stays[-1:] == ["pause"], passed[-1] if passed else {},
        str(undone[0]["id"]) if undone else "",
    )  # fmt: skip


def usual_seconds(store: Store, run: Run) -> float | None:
    """The median of what the newest twenty good runs of this runbook in this mode took; None without any."""
    found = [each for state in GOOD for each in find_runs(store, runbook=run.runbook, state=state, limit=20)]
    took = [each.ended - each.started for each in found if each.ended and each.mode == run.mode and each.id != run.id]
    return median(took) if took else None


def cells_of(run: Run, entries: Iterable[Entry], config: Config) -> list[Cell]:
    """The cells that said something, or went wrong, or are at work.

    They are read from the record's file, which grows while the run goes on; where that is not, the journal has their ends.
    """
    ended = {entry.payload["cell"]: entry.payload for entry in entries if entry.kind == "cell"}
    notebook = _record(run, config)
    if notebook is None:
        return [Cell(at + 1, "", said["status"], said["seconds"], "") for at, said in sorted(ended.items())]
    found = []
    for at, cell in enumerate(notebook["cells"]):
        status = ended.get(at, {}).get("status") or cell["metadata"].get("papermill", {}).get("status", "pending")
        said = _said(cell) if cell["cell_type"] == "code" else ""
        if said or status not in ("pending", "not_run", "completed", "skipped"):
            first = source_of(cell).strip().split("\n")[0]
            found.append(Cell(at + 1, first, status, ended.get(at, {}).get("seconds"), said))
    return found


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


def _record(run: Run, config: Config) -> dict[str, Any] | None:
    """The record's notebook as it is on this machine; None where it is not."""
    folder = Path(config["records.folder"]).expanduser()
    path = Path(run.notebook) if run.notebook else folder / f"{run.id}-{run.runbook}.ipynb"
    try:
        about = path.stat()
        return _parsed(path, about.st_mtime_ns, about.st_size)
    except (OSError, ValueError):
        return None


@lru_cache(maxsize=4)
def _parsed(path: Path, changed: int, size: int) -> dict[str, Any]:
    """The file as it was at that moment: it is looked at twice a second, and may be large."""
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def _said(cell: dict[str, Any]) -> str:
    """What a cell's outputs say as plain text."""
    parts = []
    for output in cell["outputs"]:
        if output["output_type"] == "error":
            parts.append(f"{output['ename']}: {output['evalue']}".rstrip(": "))
        else:
            text = output.get("text") or output.get("data", {}).get("text/plain", "")
            parts.append("".join(text))
    return redaction("\n".join(part.rstrip("\n") for part in parts if part))[:_MOST]


def left(progress: Progress, now: float) -> float | None:
    """Seconds until it ends, if it takes as long as usual; None when that is not known, or is over."""
    if progress.usual is None or progress.run.state != "running":
        return None
    rest = progress.run.started + progress.usual - now
    return rest if rest > 0 else None


def began(run: Run) -> str:
    """When a run began, in the reader's zone."""
    return f"{datetime.fromtimestamp(run.started).astimezone():%Y-%m-%d %H:%M:%S}"
