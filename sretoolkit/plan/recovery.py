"""What is done about a run whose process is gone, or that ended badly: undo or resume it from the journal alone."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sretoolkit.actor import Process
from sretoolkit.clock import poll
from sretoolkit.config import Config
from sretoolkit.errors import PlanError, SREToolkitError, UndoFailed
from sretoolkit.journal import close_run, load_run
from sretoolkit.journal.runs import RESUMABLE, reopen_run
from sretoolkit.lease import Leases, free_leases
from sretoolkit.plan.context import Context
from sretoolkit.plan.execution import Execution, state_of
from sretoolkit.plan.history import PlanHistory, fold
from sretoolkit.plan.plan import Outcome, Plan
from sretoolkit.plan.session import Mode, Session, own_session, rejoin, within
from sretoolkit.plan.step import Step, World
from sretoolkit.plan.strays import end_strays
from sretoolkit.plan.undo import Change, undo_changes
from sretoolkit.store import Store

KERNEL_GRACE = 10.0


def recover(store: Store, run: str, *, config: Config, resume: bool = False, force: bool = False) -> list[str]:
    """Undo or resume a run that nobody runs any more, and close it; returns what was done, a line each.

    Of a run that is held or was stopped, everything is taken back; of a lost one, what its plans' policies say.
    ``force`` also overwrites what somebody else has changed since. Raises `JournalError` for a run that is not to be
    recovered, and what the undo or the plan raises; the run is closed as ``held`` then.
    """
    found = load_run(store, run)
    session = rejoin(store, found.id, config=config)
    reopen_run(session.journal, found, why="resume" if resume else "recover")
    state, code, text = "held", 1, ""
    try:
        if resume:
            lines = [str(outcome) for outcome in resume_run(session)]
            state, code = "completed", 0
        else:
            lines = undo_run(session, held=force or found.state != "lost", force=force)
            held = any(line.startswith("held: ") for line in lines)
            state, text = ("held", "the plan's policy is to hold") if held else ("undone", "")
    except SREToolkitError as error:
        state, code, text = state_of(error), error.exit_code, error.message
        if not resume and state == "failed":  # what was not taken back stays leased: somebody has to look at it
            state = "held"
        raise
    except BaseException as error:
        text = f"{type(error).__name__}: {error}"
        raise
    finally:
        close_run(session.journal, session.keys, state=state, exit_code=code, error=text)
    return lines


def undo_run(session: Session, *, context: Context | None = None, held: bool = False, force: bool = False) -> list[str]:
    """Undo, newest first, what a dead or failed run changed; returns a line for each step that was looked at.

    The leases are taken over first (token + 1), so that a process thought dead can change nothing more. Plans with the
    policy "hold" or "ask", and plans that are held already, stay as they are, leased, unless ``held`` says that they are
    meant too. ``force`` also overwrites what somebody else has changed since. Raises `UndoFailed`.
    """
    end_kernel(session)
    plans = [plan for plan in fold(session.journal.entries()) if plan.to_undo]
    taken_back = [
        plan
        for plan in reversed(plans)
        if held or (plan.on_failure == "undo" and plan.state not in ("held", "stopped"))
    ]
    kept = [plan for plan in plans if plan not in taken_back]
    own = context is None
    context = context or Context(config=session.config)
    lines = []
    left = list(taken_back)
    try:
        while left:
            lines += _undo_plan(left[0], session, context, force)
            left.pop(0)
    finally:
        if own:
            context.close()
        _hold([*kept, *left], session)
        free_leases(session.store, session.run)
    return lines + [f"held: {item.text}" for plan in kept for item in plan.to_undo]


def resume_run(session: Session, *, context: Context | None = None) -> list[Outcome]:
    """Go on with every plan of the run that was begun (or approved) and is neither complete nor undone."""
    end_kernel(session)
    plans = [plan for plan in fold(session.journal.entries()) if plan.state not in ("completed", "undone")]
    if not plans:
        raise PlanError(f"run {session.run} has no plan that could go on", hint=f"`sretoolkit show {session.run}`")
    with within(session):
        return [Execution(Plan.from_dict(plan.content), session, context=context).run() for plan in plans]


def reverse(session: Session, *, force: bool = False) -> Plan:
    """The plan that undoes everything a finished run changed, newest first, to be run as a run of its own."""
    plans = fold(session.journal.entries())
    steps: list[Step] = []
    for plan in reversed(plans):
        for change in _changes(plan):
            if change.step.irreversible:
                raise PlanError(f"{change.step.describe()!r} cannot be taken back", step=change.step.describe())
            inner = change.step
            steps.append(Reverse(before=inner.after, after=inner.before, inner=inner.to_dict(), force=force))
    if not steps:
        raise PlanError(f"run {session.run} left nothing to undo", hint=f"`sretoolkit show {session.run}`")
    return Plan(f"undo of run {session.run}", steps)


def undoing(
    store: Store, run: str, *, config: Config, mode: Mode = "plan", force: bool = False, ticket: str = ""
) -> tuple[Plan, Session]:
    """The plan that takes a finished run back, and the run that was opened for it; raises `PlanError` for one not over."""
    found = load_run(store, run)
    if found.state in (*RESUMABLE, "running"):
        raise PlanError(
            f"run {found.id} is not over: it is {found.state}", hint=f"`sretoolkit recover {found.id}` undoes it"
        )
    past = rejoin(store, found.id, config=config)
    plan = reverse(past, force=force)
    demands = {"approval": past.approval, "self_approval": past.self_approval}
    return plan, own_session(
        plan.title, mode=mode, config=config, store=store, undoes=found.id, ticket=ticket, demands=demands
    )


@dataclass(frozen=True, kw_only=True)
class Reverse(Step):
    """Another run's step, taken back: doing it is undoing that one."""

    inner: dict[str, Any]
    force: bool = False

    @property
    def step(self) -> Step:
        """The step that is taken back."""
        return Step.from_dict(self.inner)

    @property
    def target(self) -> str:
        """The same target."""
        return self.step.target

    @property
    def deadline(self) -> timedelta:  # type: ignore[override]
        """As long as that step may take."""
        return self.step.deadline

    def describe(self) -> str:
        """What is taken back."""
        return f"undo: {self.step.describe()}"

    def observe(self, ctx: Context) -> Any:
        """Look as that step looks."""
        return self.step.observe(ctx)

    def do(self, ctx: Context) -> None:
        """Undo that step."""
        self.step.undo(ctx)

    def undo(self, ctx: Context) -> None:
        """Do that step again."""
        self.step.do(ctx)

    def verify(self, ctx: Context) -> tuple[World, Any]:
        """As any step; with ``force`` a change by somebody else counts as the state to start from."""
        world, seen = super().verify(ctx)
        return (World.BEFORE if world is World.OTHER and self.force else world), seen


def end_kernel(session: Session) -> None:
    """Make sure that the run's kernel is gone before its work is undone: it may still be changing something."""
    kernels = session.journal.entries(kind="kernel-started")
    for entry in kernels:
        kernel = Process(**entry.payload["process"])
        if not kernel.here or kernel.pid == os.getpid():
            continue
        if not poll(lambda kernel=kernel: not kernel.alive, timeout=2.0):  # type: ignore[misc]
            try:
                os.kill(kernel.pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
            if not poll(lambda kernel=kernel: not kernel.alive, timeout=KERNEL_GRACE):  # type: ignore[misc]
                raise PlanError(
                    f"the kernel of run {session.run} (pid {kernel.pid}) does not end", hint="end it by hand"
                )
    if kernels:
        end_strays(session.run)


def _undo_plan(plan: PlanHistory, session: Session, context: Context, force: bool) -> list[str]:
    changes = _changes(plan)
    journal = session.journal
    longest = max(change.step.deadline.total_seconds() for change in changes)
    ttl = max(session.config.seconds("lease.ttl"), 1.5 * longest)
    leases = Leases(session.store, session.run, actor=session.actor, ttl=ttl, clock=context.clock)
    leases.take(_targets(plan))
    journal.append("leases-taken-over", {"plan": plan.hash, "leases": leases.tokens})
    try:
        undo_changes(changes, journal=journal, context=context, leases=leases, force=force)
    except UndoFailed as error:
        leases.hold()
        _note(session, "plan-held", {"plan": plan.hash, "error": error.message})
        plan.state = "held"
        raise
    journal.append("plan-undone", {"plan": plan.hash})
    leases.release()
    return [f"undone: {change.step.describe()}" for change in changes]


def _targets(plan: PlanHistory) -> list[str]:
    return [item.target for item in plan.items if item.target]


def _changes(plan: PlanHistory) -> list[Change]:
    return [Change(plan.hash, item.index, item.key, Step.from_dict(item.content)) for item in plan.to_undo]


def _hold(plans: list[PlanHistory], session: Session) -> None:
    """Keep leased what stays changed; where that is not possible, the caller's own error says more."""
    for plan in plans:
        with suppress(SREToolkitError):
            Leases(session.store, session.run, actor=session.actor).take(_targets(plan)).hold()
        if plan.state not in ("held", "stopped"):
            kept = plan.on_failure != "undo"
            why = f"policy: {plan.on_failure}" if kept else "it could not be taken back"
            _note(session, "plan-held", {"plan": plan.hash, "error": why})


def _note(session: Session, kind: str, payload: dict[str, Any]) -> None:
    try:
        session.journal.append(kind, payload)
    except SREToolkitError:
        return  # the caller already raises what is worse
