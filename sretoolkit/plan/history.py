"""What a journal says about its plans: folded once, used to resume, to undo, to recover and to show a run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sretoolkit.journal import Entry, Journal
from sretoolkit.store import Store

IN_DOUBT = ("begun", "failed", "undoing", "undo-failed")


@dataclass
class Item:
    """One step or gate of a plan, as far as the journal knows; ``seen`` is the world as a step last found it."""

    index: int
    content: dict[str, Any]
    text: str
    target: str
    status: str = "planned"
    key: str = ""
    error: str = ""
    elapsed: float | None = None
    seen: Any = None
    deadline: datetime | None = None
    evidence: list[dict[str, Any]] = field(default_factory=list)

    @property
    def is_gate(self) -> bool:
        """A gate changes nothing and is never undone."""
        return not self.target

    @property
    def changed(self) -> bool:
        """Whether the world may be different because of it: done, or in doubt, and not taken back."""
        return self.status == "done" or self.status in IN_DOUBT

    @property
    def label(self) -> str:
        """The status in a person's words."""
        return "in doubt" if self.status in ("begun", "failed", "undoing") and not self.is_gate else self.status


@dataclass
class PlanHistory:
    """One plan of a run, as far as the journal knows."""

    hash: str
    title: str
    on_failure: str
    items: list[Item]
    content: dict[str, Any]
    state: str = "planned"
    approved: bool = False
    attempt: int = 1
    asked: int = 0
    error: str = ""

    @property
    def to_undo(self) -> list[Item]:
        """What has to be taken back, newest first."""
        return [item for item in reversed(self.items) if item.changed and not item.is_gate]


def fold(entries: Iterable[Entry]) -> list[PlanHistory]:
    """The plans of a run in the order in which they were made."""
    plans: dict[str, PlanHistory] = {}
    attempt = 1
    for entry in entries:
        payload = entry.payload
        attempt += entry.kind == "run-reopened"
        if entry.kind == "plan":
            plan = plans.setdefault(payload["hash"], _plan(payload))
            plan.attempt, plan.asked = attempt, entry.seq
        elif payload.get("plan") in plans:
            _apply(plans[payload["plan"]], entry.kind, payload)
    return list(plans.values())


def plans_of(store: Store, run: str) -> list[str]:
    """The hashes of a run's plans in the order in which they were made."""
    return [plan.hash for plan in fold(Journal(store, run, actor=None).entries())]  # type: ignore[arg-type]


def difference(old: PlanHistory | None, new: PlanHistory) -> list[str]:
    """The steps that one plan has and the other has not, as lines that begin with - or +."""
    before = [_line(item) for item in old.items] if old else []
    after = [_line(item) for item in new.items]
    gone = [f"- {line}" for line in before if line not in after]
    come = [f"+ {line}" for line in after if line not in before]
    if gone or come or old is None:
        return gone + come
    return ["the same steps: their order, limits, policy or the runbook itself changed"]


def _line(item: Item) -> str:
    data = item.content.get("data", {})
    change = f": {data.get('before')!r} -> {data.get('after')!r}" if not item.is_gate else ""
    return f"{item.text}{change}"


def _plan(payload: dict[str, Any]) -> PlanHistory:
    items = [Item(index, item["content"], item["text"], item["target"]) for index, item in enumerate(payload["items"])]
    return PlanHistory(payload["hash"], payload["title"], payload["on_failure"], items, payload)


_STEP = {
    "step-before": "begun",
    "step-after": "done",
    "step-already": "already",
    "step-skipped": "skipped",
    "step-failed": "failed",
    "undo-before": "undoing",
    "undo-after": "undone",
    "undo-failed": "undo-failed",
    "gate-opened": "begun",
    "gate-passed": "passed",
    "gate-failed": "failed",
}
_PLAN = {
    "plan-awaits-approval": "awaiting_approval",
    "plan-refused": "refused",
    "plan-begun": "begun",
    "plan-completed": "completed",
    "plan-failed": "failed",
    "plan-undone": "undone",
    "plan-held": "held",
    "plan-stopped": "stopped",
    "plan-fenced": "fenced",
}


def _apply(plan: PlanHistory, kind: str, payload: dict[str, Any]) -> None:
    if kind == "plan-begun" and plan.state == "undone":
        for item in plan.items:
            if item.is_gate:  # what it said was about a world that was taken back: it is asked anew
                item.status, item.error, item.deadline, item.evidence = "planned", "", None, []
    if kind in _PLAN:
        plan.state = _PLAN[kind]
        plan.error = payload.get("error", "")
    elif kind in ("approval-used", "break-glass"):
        plan.approved = True
    elif "index" in payload:
        item = plan.items[payload["index"]]
        item.status = _STEP.get(kind, item.status)
        item.key = payload.get("key", item.key)
        item.error = payload.get("error", "")
        item.elapsed = payload.get("elapsed", item.elapsed)
        item.seen = payload.get("seen", item.seen)
        if kind == "gate-opened":
            item.deadline = datetime.fromisoformat(payload["deadline"])
        if kind == "gate-looked":
            item.evidence.append(payload["verdict"])
