"""What happened to a run, in words for somebody who was woken up: one state, one sentence, and what to do next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sretoolkit.actor import Actor
from sretoolkit.journal import Run
from sretoolkit.runbook.queue import Asked

Tone = Literal["good", "busy", "wait", "bad", "calm"]
_TONES: dict[str, Tone] = {
    "completed": "good", "planned": "calm", "running": "busy", "awaiting_approval": "wait", "waiting": "wait",
    "taken": "busy", "begun": "busy", "undone": "calm", "stopped": "wait", "aborted": "calm", "cancelled": "calm",
}  # fmt: skip
_SIGNS: dict[Tone, str] = {"good": "✓", "busy": "▶", "wait": "‖", "bad": "✗", "calm": "■"}
_NEXT = {
    "awaiting_approval": "Somebody else reads the plan below and approves it; then it goes on by itself.",
    "lost": "`sretoolkit recover {run}` undoes what it began (or, with --resume, ends it).",
    "held": "What it changed stays, and its targets stay locked. Go on with it here, or `sretoolkit recover {run}` undoes it.",
    "stopped": "What it changed stays as it is. Go on with it here, or `sretoolkit recover {run}` undoes it.",
    "planned": "Read the plan below. Apply makes it anew from the world as it is then.",
    "refused": "Nothing was changed. What refused it is named above; ask again when it is mended.",
}


@dataclass(frozen=True)
class Story:
    """The head of a run's page."""

    state: str
    tone: Tone
    sign: str
    text: str
    next: str


def tone_of(state: str) -> Tone:
    """How a state feels; anything that is not known to be good or harmless is bad."""
    return _TONES.get(state, "bad")


def sign_of(state: str) -> str:
    """A sign that says the same without colour."""
    return _SIGNS[tone_of(state)]


def tell(run: Run, view: Mapping[str, Any]) -> Story:
    """The head of a run that was begun."""
    text = _said(run, view)
    more = [text, view["aftermath"]]
    told = " ".join(part for part in more if part)
    next_ = _NEXT.get(run.state, "").format(run=run.id)
    return Story(run.state, tone_of(run.state), sign_of(run.state), told, next_)


def tell_asked(asked: Asked, most: int) -> Story:
    """The head of a run that nobody has begun yet."""
    texts = {
        "waiting": f"Asked for. It begins when one of {most} places is free.",
        "taken": "It is being begun.",
        "begun": "It is being begun.",
        "refused": f"It was not begun: {asked.error}",
        "cancelled": "It was cancelled before it began.",
    }
    return Story(asked.state, tone_of(asked.state), sign_of(asked.state), texts[asked.state], "")


def _said(run: Run, view: Mapping[str, Any]) -> str:
    changes = [row for plan in view["plans"] for row in plan["rows"] if "target" in row]
    done = [row for row in changes if row["status"] in ("done", "already")]
    if run.state == "running":
        if view["paused"]:
            return "Paused. It goes on when somebody says resume."
        if view["gate"]:
            return "A gate is open: it waits for a verdict, or for somebody to promote."
        if changes:
            return f"{len(done)} of {len(changes)} changes are made."
        cell, cells = run.progress.get("cell"), run.progress.get("cells")
        return f"Cell {cell} of {cells}." if cell else "It has begun."
    if run.state == "awaiting_approval":
        return (
            f"Nothing was changed. {Actor(**run.actor).principal} asked for this plan, and somebody has to approve it."
        )
    if run.state == "planned":
        return f"Nothing was changed. {_count(len(changes))} would be made." if changes else "Nothing was changed."
    if run.state == "completed":
        if not changes:
            return "It read, and changed nothing."
        so = sum(row["status"] == "already" for row in changes)
        return f"{_count(len(done) - so)} made and verified{f', {so} were so already' if so else ''}."
    if run.state == "lost":
        return f"Its process on {run.process.host} is gone; what it began is neither done nor undone."
    return run.error or run.state.replace("_", " ")


def _count(number: int) -> str:
    return "1 change" if number == 1 else f"{number} changes"
