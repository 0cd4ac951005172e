"""Gates: looking, deciding, waiting for people, and keeping what they know over a restart."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import pytest

from sretoolkit.actor import Actor
from sretoolkit.clock import FakeClock, poll
from sretoolkit.config import Config
from sretoolkit.errors import GateFailed
from sretoolkit.lease import find_leases
from sretoolkit.plan import Context, Gate, ManualGate, Plan, Verdict
from sretoolkit.plan.control import tell
from sretoolkit.plan.session import Session
from sretoolkit.store import Store
from tests.plan.steps import Folder

NewSession = Callable[..., Session]


def test_a_passed_gate_lets_the_plan_go_on(world: Folder, session: NewSession) -> None:
    """A gate that passes is journalled with its verdict, and the next step is done."""
    current = session()
    world.tell("gate", "passed")
    outcome = Plan("t", [world.step("a"), world.gate(), world.step("b")]).run()

    assert ("completed", "new") == (outcome.state, world["b"])
    assert ["it says passed"] == [
        entry.payload["verdict"]["reason"] for entry in current.journal.entries(kind="gate-passed")
    ]


def test_a_failed_gate_undoes(world: Folder, session: NewSession) -> None:
    """DESIGN "A plan is whole": a canary is one plan; on a failed gate it is undone."""
    session()
    world.tell("gate", "failed")

    with pytest.raises(GateFailed, match="failed") as caught:
        Plan("t", [world.step("a"), world.gate(), world.step("b")]).run()
    assert (3, "old", "old") == (caught.value.exit_code, world["a"], world["b"])


@dataclass(frozen=True, kw_only=True)
class Hurried(Gate):
    """Passes when it looked three times; keeps how long each look was allowed to take."""

    def describe(self) -> str:
        """What it wants."""
        return "three looks"

    def check(self, ctx: Context) -> Verdict:
        """Seconds left."""
        return Verdict("passed" if len(ctx.evidence) == 2 else "continue", evidence={"left": ctx.remaining()})


def test_each_look_has_time_of_its_own(world: Folder, session: NewSession, config: Config) -> None:
    """A gate that is open for longer than the step before might take still gives each look its full time."""
    current = session()
    gate = Hurried(interval=timedelta(minutes=10), horizon=timedelta(hours=1))

    assert Plan("t", [world.step("a"), gate]).run(context=Context(config=config, clock=FakeClock())).ok
    looks = current.journal.entries(kind="gate-looked")
    assert [30.0] * 3 == [look.payload["verdict"]["evidence"]["left"] for look in looks]


@pytest.mark.parametrize(("policy", "expected"), [("fail", "old"), ("hold", "new")])
def test_an_undecided_gate_is_inconclusive_at_its_horizon(
    world: Folder, session: NewSession, config: Config, policy: str, expected: str
) -> None:
    """DESIGN "A gate": inconclusive counts as failed unless the plan says hold."""
    session()
    gate = world.gate(horizon=timedelta(seconds=30), interval=timedelta(seconds=10), on_inconclusive=policy)
    context = Context(config=config, clock=FakeClock())

    with pytest.raises(GateFailed, match="inconclusive"):
        Plan("t", [world.step("a"), gate]).run(context=context)
    assert expected == world["a"]
    assert 4 == len(world["gate.looks"].splitlines())


def test_missing_data_pauses_a_gate_for_a_bounded_time(world: Folder, session: NewSession, config: Config) -> None:
    """DESIGN "A gate": no data pauses it, never passes it, and fails it when its patience ends."""
    session()
    world.tell("gate", "raise")
    gate = world.gate(horizon=timedelta(hours=1), interval=timedelta(seconds=10), patience=timedelta(seconds=30))
    context = Context(config=config, clock=FakeClock())

    with pytest.raises(GateFailed, match="no answer for 0:00:30: ValueError: the source is down"):
        Plan("t", [world.step("a"), gate]).run(context=context)
    assert "old" == world["a"]


def test_a_gate_keeps_deadline_and_evidence_over_a_resume(world: Folder, session: NewSession, config: Config) -> None:
    """DESIGN "A gate": its deadline is absolute and survives a resume, passed gates stay passed, evidence is kept."""
    current = session()
    world.tell("first", "passed")
    plan = Plan("t", [world.step("a"), world.gate("first"), world.gate(horizon=timedelta(hours=1))], on_failure="hold")
    worker = threading.Thread(target=lambda: _expect(lambda: plan.run(), Exception))
    worker.start()
    assert poll(lambda: len(current.journal.entries(kind="gate-looked")) >= 3, timeout=10)
    tell(current.store, current.run, "stop", actor=Actor("bob"))
    worker.join(10)
    opened = current.journal.entries(kind="gate-opened")[-1].payload["deadline"]
    world.tell("gate", "passed")

    assert "completed" == plan.run().state
    looks = [int(line) for line in world["gate.looks"].splitlines()]
    assert looks == sorted(looks), "evidence was lost"
    assert looks[-1] >= 2
    assert 1 == len(world["first.looks"].splitlines())
    assert [opened] == [entry.payload["deadline"] for entry in current.journal.entries(kind="gate-opened")][1:]


def test_a_clock_that_jumps_back_does_not_keep_a_gate_open(world: Folder, session: NewSession, config: Config) -> None:
    """DESIGN "A gate": in one process the monotonic clock bounds it too."""
    session()
    clock = FakeClock()
    gate = world.gate(horizon=timedelta(seconds=30), interval=timedelta(seconds=10))
    world.tell("a.done", "")
    plan = Plan("t", [gate])
    context = Context(config=config, clock=clock)
    jumped = clock.sleep

    def sleep(seconds: float) -> None:
        clock.jump(-timedelta(hours=1))
        jumped(seconds)

    clock.sleep = sleep  # type: ignore[method-assign]
    with pytest.raises(GateFailed, match="inconclusive"):
        plan.run(context=context)
    assert clock.monotonic() < 60


def test_a_manual_gate_waits_for_a_person(world: Folder, session: NewSession) -> None:
    """DESIGN "A gate": a manual gate waits for a control row."""
    current = session()
    outcomes: list[str] = []
    plan = Plan("t", [ManualGate(question="go on?"), world.step("a")])
    worker = threading.Thread(target=lambda: outcomes.append(plan.run().state))
    worker.start()
    assert poll(lambda: current.journal.entries(kind="gate-looked"), timeout=10)
    assert "old" == world["a"]
    tell(current.store, current.run, "promote", actor=Actor("bob"))
    worker.join(10)

    assert (["completed"], "new") == (outcomes, world["a"])


def test_only_an_approver_promotes(world: Folder, session: NewSession, config: Config) -> None:
    """DESIGN "A gate": a promote by somebody without the role is journalled as refused, and the gate stays shut."""
    current = session()
    current.config = Config({**config.values, **Config.of(approval={"approvers": ["bob"]}).values})
    outcomes: list[str] = []
    plan = Plan("t", [ManualGate(question="go on?")])
    worker = threading.Thread(target=lambda: outcomes.append(plan.run().state))
    worker.start()
    tell(current.store, current.run, "promote", actor=Actor("mallory"))
    assert poll(lambda: current.journal.entries(kind="control"), timeout=10)
    assert [] == outcomes
    tell(current.store, current.run, "promote", actor=Actor("bob"))
    worker.join(10)

    assert ["completed"] == outcomes
    assert ["mallory is not among the approvers", ""] == [
        entry.payload["refused"] for entry in current.journal.entries(kind="control")
    ]


def test_an_abort_ends_a_gate_that_looks_for_ever(world: Folder, session: NewSession, store: Store) -> None:
    """DESIGN "Control": a slow source does not keep an abort waiting; the run is undone."""
    current = session()
    world.tell("gate", "slow")
    errors: list[BaseException] = []
    plan = Plan("t", [world.step("a"), world.gate()])
    worker = threading.Thread(target=lambda: errors.append(_expect(lambda: plan.run(), Exception)))
    worker.start()
    assert poll(lambda: (world.path / "gate.looks").exists(), timeout=10)
    tell(current.store, current.run, "abort", actor=Actor("bob"), reason="wrong ticket")
    worker.join(10)

    assert ["abort by bob: wrong ticket"] == [str(error) for error in errors]
    assert ("old", []) == (world["a"], find_leases(store))


def _expect(call: Callable[[], object], kind: type[BaseException]) -> BaseException:
    try:
        call()
    except kind as error:
        return error
    raise AssertionError("nothing was raised")
