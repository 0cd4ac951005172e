"""Taking changes back, newest first, on record, never against somebody else's change."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sretoolkit.errors import SREToolkitError, UndoFailed
from sretoolkit.journal import Journal
from sretoolkit.lease import Leases
from sretoolkit.plan.context import Context
from sretoolkit.plan.step import Step, World


@dataclass(frozen=True)
class Change:
    """One step that was done or is in doubt, at its place in its plan."""

    plan: str
    index: int
    key: str
    step: Step


def undo_changes(
    changes: Sequence[Change], *, journal: Journal, context: Context, leases: Leases, force: bool = False
) -> None:
    """Undo these changes in the order given (newest first); stops at the first that cannot be undone.

    Raises `UndoFailed`, whose ``by_hand`` lists what a person has to do for that step and all that were to follow.
    """
    with uninterrupted():
        for position, change in enumerate(changes):
            try:
                _undo(change, journal, context, leases, force)
            except BaseException as error:  # an undo that calls sys.exit() was not done either
                by_hand = [other.step.by_hand() or f"undo: {other.step.describe()}" for other in changes[position:]]
                _note_failure(change, journal, error, by_hand)
                raise UndoFailed(
                    f"cannot undo {change.step.describe()!r}: {_text(error)}",
                    step=change.step.describe(),
                    by_hand=by_hand,
                    hint="by hand, in this order:\n    " + "\n    ".join(by_hand),
                ) from error


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Ignore SIGINT: who presses it twice must not leave a change half undone."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _undo(change: Change, journal: Journal, context: Context, leases: Leases, force: bool) -> None:
    step = change.step
    about: dict[str, Any] = {"plan": change.plan, "index": change.index, "key": change.key}
    leases.check(step.target, needs=step.deadline.total_seconds())
    context.start(step.deadline.total_seconds())
    world, seen = step.verify(context)
    if world is World.BEFORE:
        journal.append("undo-after", {**about, "nothing": True, "seen": seen}, target=step.target)
        return
    if not step.revocable(context):
        raise UndoFailed("it is irreversible")
    if world is World.OTHER and not force:
        raise UndoFailed(
            f"somebody else has changed {step.target}: expected {step.after!r} (ours) or {step.before!r}, found {seen!r}"
        )
    journal.append("undo-before", {**about, "seen": seen, "step": step.to_dict()}, target=step.target)
    started = context.clock.monotonic()
    step.undo(context)
    world, seen = step.verify(context)
    if world is not World.BEFORE:
        raise UndoFailed(f"undo ran, but {step.target} is {seen!r} and not {step.before!r}")
    elapsed = round(context.clock.monotonic() - started, 3)
    journal.append("undo-after", {**about, "nothing": False, "seen": seen, "undo_elapsed": elapsed}, target=step.target)


def _note_failure(change: Change, journal: Journal, error: BaseException, by_hand: list[str]) -> None:
    payload = {"plan": change.plan, "index": change.index, "key": change.key, "error": _text(error), "by_hand": by_hand}
    try:
        journal.append("undo-failed", payload, target=change.step.target)
    except SREToolkitError:
        return  # the store is gone or full: the caller shows the same to the person


def _text(error: BaseException) -> str:
    return error.message if isinstance(error, SREToolkitError) else f"{type(error).__name__}: {error}"
