"""The loop around a gate: look, wait, look again, until it is decided, somebody interferes, or time is up."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

from sretoolkit.clock import poll
from sretoolkit.errors import SREToolkitError
from sretoolkit.journal import Journal
from sretoolkit.plan.attention import LOOK_EVERY, Attention
from sretoolkit.plan.context import Context
from sretoolkit.plan.gate import Gate, Verdict
from sretoolkit.plan.history import Item

_LOOK = 30.0  # seconds that one look may take


def look_until_decided(
    gate: Gate,
    index: int,
    *,
    plan: str,
    known: Item,
    journal: Journal,
    context: Context,
    attention: Attention,
) -> Verdict:
    """The gate's decision: passed, failed or inconclusive.

    The deadline is absolute: a gate that was open when its runner died keeps it, and its evidence. Within one process
    the monotonic clock bounds it too, so that a wall clock that jumps back does not keep it open.
    """
    about: dict[str, Any] = {"plan": plan, "index": index}
    now = context.clock.now()
    deadline = known.deadline or now + gate.horizon
    if known.deadline is None:
        journal.append("gate-opened", {**about, "deadline": deadline.isoformat()})
    left = min(max(deadline - now, timedelta(0)), gate.horizon).total_seconds()
    ends = context.clock.monotonic() + left
    context.evidence = list(known.evidence)
    blind_since: float | None = None
    while True:
        verdict = _ask(gate, context, attention, index)
        if attention.promoted:
            attention.promoted = False
            return Verdict("passed", "promoted by a person", verdict.evidence)
        journal.append("gate-looked", {**about, "verdict": verdict.to_dict()})
        context.evidence.append(verdict.to_dict())
        moment = context.clock.monotonic()
        if verdict.answer in ("passed", "failed", "inconclusive"):
            return verdict
        blind_since = (blind_since if blind_since is not None else moment) if verdict.answer == "error" else None
        if blind_since is not None and moment - blind_since >= gate.patience.total_seconds():
            return Verdict("failed", f"no answer for {gate.patience}: {verdict.reason}", verdict.evidence)
        if moment >= ends:
            return Verdict("inconclusive", f"undecided after {gate.horizon}: {verdict.reason}", verdict.evidence)
        _wait(min(gate.interval.total_seconds(), max(0.0, ends - moment)), context, attention, index)


def _ask(gate: Gate, context: Context, attention: Attention, index: int) -> Verdict:
    """One look, in a thread so that a slow source cannot keep an abort waiting; a look only reads, it may be left."""
    answer: list[Verdict] = []
    context.start(_LOOK)  # not what is left of the step before, which may be nothing

    def check() -> None:
        try:
            answer.append(gate.check(context))
        except BaseException as error:  # in a thread of its own: a check that calls sys.exit() has not answered
            text = error.message if isinstance(error, SREToolkitError) else f"{type(error).__name__}: {error}"
            answer.append(Verdict("error", text))

    thread = threading.Thread(target=check, name="gate", daemon=True)
    thread.start()
    try:
        while thread.is_alive() and not attention.promoted:
            thread.join(LOOK_EVERY)
            attention.between(index)
    except BaseException:
        context.cancelled.set()
        raise
    return answer[0] if answer else Verdict("continue", "not looked")


def _wait(seconds: float, context: Context, attention: Attention, index: int) -> None:
    def told() -> bool:
        attention.between(index)
        return attention.promoted

    poll(told, timeout=seconds, interval=min(LOOK_EVERY, seconds or LOOK_EVERY), clock=context.clock)
