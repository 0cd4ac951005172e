"""Carrying a plan out: journal before and after each step, obey control rows, pass gates, undo on failure."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from sretoolkit.errors import (
    Aborted,
    ApprovalRequired,
    GateFailed,
    LeaseLost,
    PlanRefused,
    SREToolkitError,
    StepFailed,
    StoreUnavailable,
    UndoFailed,
)
from sretoolkit.journal import close_run
from sretoolkit.journal.runs import sign_head
from sretoolkit.lease import Leases
from sretoolkit.plan import approval, checks
from sretoolkit.plan.attention import Attention, Skipped, Stopped
from sretoolkit.plan.context import Context
from sretoolkit.plan.gate import Gate
from sretoolkit.plan.history import PlanHistory, difference, fold
from sretoolkit.plan.looking import look_until_decided
from sretoolkit.plan.plan import Outcome, Plan
from sretoolkit.plan.session import Session, within
from sretoolkit.plan.step import Step, World
from sretoolkit.plan.undo import Change, undo_changes


class Held(SREToolkitError):
    """Inside: the world is neither before nor after, or a gate wants a person; nothing more is done or undone."""

    def __init__(self, message: str, *, verdict: Any = None) -> None:
        super().__init__(message)
        self.verdict = verdict


class Execution:
    """One attempt at one plan in one session; a second attempt goes on where the journal says the first one stopped."""

    def __init__(
        self,
        plan: Plan,
        session: Session,
        *,
        context: Context | None = None,
        ask: Callable[[str], bool] | None = None,
        wait: float | None = None,
    ) -> None:
        self.plan = plan
        self.session = session
        self.journal = session.journal
        self.context = context or Context(config=session.config)
        self.hash = plan.hash
        self._ask = ask
        self._wait = session.wait if wait is None else wait
        self._own_context = context is None
        self._leases = Leases(
            session.store, session.run, actor=session.actor, ttl=self._ttl(), clock=self.context.clock
        )
        self._attention = Attention(session, plan)
        self._history: PlanHistory
        self._signed = self.context.clock.monotonic()

    def run(self) -> Outcome:
        """Carry the plan out as the session's mode says."""
        checks.refuse_unreadable(self.plan)
        self.journal.append("plan", self.plan.to_dict())
        self._read_history()
        if self.session.mode == "plan":
            return self.outcome("planned")
        try:
            checks.refuse(self.plan, self.session, now=self.context.clock.now())
            self._refuse_again()
            if not self._history.approved:
                self._consume_approval()
            self._leases.take(self.plan.targets, wait=self._wait)
        except SREToolkitError as error:
            waits = isinstance(error, ApprovalRequired)
            self._note("plan-awaits-approval" if waits else "plan-refused", {"error": error.message})
            raise
        self._note("plan-begun", {"leases": self._leases.tokens})
        try:
            self._read_history()
            self._attention.start()
            for index, item in enumerate(self.plan.items):
                self._item(index, item)
                self._sign_now_and_then()
            self._note("plan-completed")
            self._leases.release()
        except BaseException as error:
            self._fail(error)
        finally:
            if self._own_context:
                self.context.close()
        return self.outcome("completed")

    def _refuse_again(self) -> None:
        """A plan that this run has carried out does nothing a second time; that is only true while the world is so."""
        if self._history.state != "completed":
            return
        for index, step in enumerate(self.plan.items):
            if not isinstance(step, Step) or self._history.items[index].status == "skipped":
                continue
            last = max(
                number for number, other in enumerate(self.plan.items) if getattr(other, "target", "") == step.target
            )
            world, seen = step.verify(self.context)
            if index == last and world is not World.AFTER:
                raise PlanRefused(
                    f"this run has carried the plan out already, and since then {step.target} became {seen!r}",
                    hint="read the world again and make a new plan",
                )

    def outcome(self, state: str) -> Outcome:
        """What the journal now says about every item."""
        self._read_history()
        rows = [(item.text, item.label, item.elapsed, item.error) for item in self._history.items]
        seen = [item.seen for item in self._history.items]
        return Outcome(self.plan.title, self.session.run, self.hash, state, rows, seen)

    def _ttl(self) -> float:
        longest = max((step.deadline.total_seconds() for step in self.plan.steps), default=0.0)
        return max(self.session.config.seconds("lease.ttl"), 1.5 * longest)

    def _read_history(self) -> None:
        self._history = next(plan for plan in fold(self.journal.entries()) if plan.hash == self.hash)

    def _consume_approval(self) -> None:
        try:
            approval.consume(self.session, self.hash)
        except ApprovalRequired as error:
            plans = {plan.hash: plan for plan in fold(self.journal.entries())}
            rows = self.session.store.read(
                "SELECT plan_hash FROM approvals WHERE run = :run ORDER BY id DESC LIMIT 1", run=self.session.run
            )
            if rows and rows[0]["plan_hash"] != self.hash:
                lines = difference(plans.get(rows[0]["plan_hash"]), plans[self.hash])
                error.args = ("\n  ".join([error.message, *lines]),)
                error.message = error.args[0]
            raise

    def _item(self, index: int, item: Step | Gate) -> None:
        if self._history.items[index].status in ("done", "already", "skipped", "passed"):
            return
        about = {"plan": self.hash, "index": index}
        try:
            self._attention.between(index)
            if isinstance(item, Gate):
                self._gate(index, item)
            else:
                self._step(index, item)
        except Skipped:
            self.journal.append("step-skipped", about, target=getattr(item, "target", ""))

    def _sign_now_and_then(self) -> None:
        """Where no supervisor does it: sign the head at the configured intervals."""
        now = self.context.clock.monotonic()
        if not self.session.supervised and now - self._signed >= self.session.config.seconds("journal.sign_every"):
            sign_head(self.journal, self.session.keys)
            self._signed = now

    def _gate(self, index: int, gate: Gate) -> None:
        verdict = look_until_decided(
            gate, index, plan=self.hash, known=self._history.items[index],
            journal=self.journal, context=self.context, attention=self._attention,
        )  # fmt: skip
        about = {"plan": self.hash, "index": index, "verdict": verdict.to_dict()}
        if verdict.answer == "passed":
            self.journal.append("gate-passed", about)
            return
        self.journal.append("gate-failed", {**about, "error": verdict.reason})
        if verdict.answer == "inconclusive" and gate.on_inconclusive == "hold":
            raise Held(f"gate {gate.describe()!r} is inconclusive: {verdict.reason}", verdict=verdict)
        raise GateFailed(
            f"gate {gate.describe()!r}: {verdict.answer}: {verdict.reason}", step=gate.describe(), verdict=verdict
        )

    def _step(self, index: int, step: Step) -> None:
        if self.journal.tight:
            raise StepFailed("the store's disk is full: nothing more is begun", hint="free space there")
        key = step.key(self.hash, index)
        about = {"plan": self.hash, "index": index, "key": key}
        seconds = step.deadline.total_seconds()
        self._leases.check(step.target, needs=seconds)
        self.context.start(seconds)
        in_doubt = self._history.items[index].changed
        world, seen = step.verify(self.context)
        if world is World.AFTER:
            if in_doubt:
                step.take_effect(self.context)
            self.journal.append(
                "step-after" if in_doubt else "step-already", {**about, "seen": seen}, target=step.target
            )
            return
        if world is World.OTHER:
            raise Held(f"{step.target} is {seen!r}: neither {step.before!r}, as planned, nor {step.after!r}")
        self.journal.append("step-before", {**about, "seen": seen, "step": step.to_dict()}, target=step.target)
        started = self.context.clock.monotonic()
        try:
            step.do(self.context)
            world, seen = step.verify(self.context)
            if world is not World.AFTER:
                raise StepFailed(f"it ran, but {step.target} is {seen!r} and not {step.after!r}", step=step.describe())
        except BaseException as error:
            self._note("step-failed", {**about, "error": _text(error)}, target=step.target)
            raise
        elapsed = round(self.context.clock.monotonic() - started, 3)
        self.journal.append("step-after", {**about, "seen": seen, "elapsed": elapsed}, target=step.target)

    def _note(self, kind: str, payload: dict[str, Any] | None = None, *, target: str = "") -> None:
        """Journal something of which the loss must not keep us from undoing: a full disk is said, not raised."""
        try:
            self.journal.append(kind, {"plan": self.hash, **(payload or {})}, target=target)
        except StoreUnavailable as error:
            print(f"sretoolkit: {kind} is not on record: {error}", file=sys.stderr)

    def _fail(self, error: BaseException) -> None:
        """End a failed attempt as the policy says, and raise what the caller has to know."""
        text = _text(error)
        if isinstance(error, LeaseLost):
            self._note("plan-fenced", {"error": text})
            self._end_leases(held=False)
            raise error
        if isinstance(error, Held | Stopped) or not self._wants_undo(error, text):
            self._note("plan-stopped" if isinstance(error, Stopped) else "plan-held", {"error": text})
            self._end_leases(held=True)
            raise self._error_for(error, "held") from error
        self._note("plan-failed", {"error": text})
        self._read_history()
        items = self.plan.items
        changes = [
            Change(self.hash, item.index, item.key, step)
            for item in self._history.to_undo
            if isinstance(step := items[item.index], Step)
        ]
        try:
            undo_changes(changes, journal=self.journal, context=self.context, leases=self._leases)
        except UndoFailed:
            self._note("plan-held", {"error": text})
            self._end_leases(held=True)
            raise
        self._note("plan-undone", {"error": text})
        self._end_leases(held=False)
        raise self._error_for(error, "undone") from error

    def _end_leases(self, *, held: bool) -> None:
        """Hold or release; when the store cannot be told, the leases expire and the run is recovered as any lost one."""
        try:
            if held:
                self._leases.hold()
            else:
                self._leases.release()
        except StoreUnavailable as error:
            print(f"sretoolkit: the leases of run {self.session.run} are as they were: {error}", file=sys.stderr)

    def _wants_undo(self, error: BaseException, text: str) -> bool:
        if isinstance(error, Aborted) or self.plan.on_failure == "undo":
            return True
        if self.plan.on_failure == "ask" and self._ask is not None and not isinstance(error, KeyboardInterrupt):
            return self._ask(f"{self.plan.title}: {text}. Undo what was done?")
        return False

    def _error_for(self, error: BaseException, state: str) -> BaseException:
        if isinstance(error, GateFailed | Aborted | StepFailed):
            error.outcome = self.outcome(state)
            return error
        if isinstance(error, Stopped):
            return Aborted(error.message, verb="stop", actor=error.actor, outcome=self.outcome("stopped"))
        if isinstance(error, Held) and error.verdict is not None:
            return GateFailed(error.message, verdict=error.verdict, outcome=self.outcome(state))
        if isinstance(error, Exception):
            what_next = "" if state == "undone" else f"`sretoolkit show {self.session.run}`, then recover or undo it"
            return StepFailed(f"{_text(error)} ({state})", outcome=self.outcome(state), hint=what_next)
        return error


def run_alone(plan: Plan, session: Session, **options: Any) -> Outcome:
    """Run a plan in a session that was opened for it alone, and close the run whatever happens."""
    state, code, text = "failed", 1, ""
    try:
        with within(session):
            outcome = Execution(plan, session, **options).run()
        state, code = outcome.state, 0
    except SREToolkitError as error:
        state, code, text = state_of(error), error.exit_code, error.message
        raise
    except KeyboardInterrupt:
        state, code = "interrupted", 130
        raise
    except BaseException as error:
        text = repr(error)
        raise
    finally:
        close_run(session.journal, session.keys, state=state, exit_code=code, error=text)
    return outcome


def state_of(error: SREToolkitError) -> str:
    """The state of a run that ended with this error."""
    if isinstance(error, ApprovalRequired):
        return "awaiting_approval"
    if isinstance(error, GateFailed):
        return "held" if error.outcome is not None and error.outcome.state == "held" else "gate_failed"
    if isinstance(error, Aborted):
        return "stopped" if error.verb == "stop" else "aborted"
    if isinstance(error, UndoFailed) or (
        isinstance(error, StepFailed) and getattr(error.outcome, "state", "") == "held"
    ):
        return "held"
    return "refused" if isinstance(error, PlanRefused) else "failed"


def _text(error: BaseException) -> str:
    return error.message if isinstance(error, SREToolkitError) else f"{type(error).__name__}: {error}".rstrip(": ")
