"""Control: what people say is heard between steps and inside gates, within 0.3 seconds, whoever says it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from sretoolkit.actor import Actor
from sretoolkit.clock import poll
from sretoolkit.errors import Aborted, PlanError, PlanRefused
from sretoolkit.lease import find_leases
from sretoolkit.plan import Plan
from sretoolkit.plan.control import EVERY_RUN, kill_switch, tell
from sretoolkit.plan.session import Session
from sretoolkit.store import Store
from tests.plan.steps import Folder

NewSession = Callable[..., Session]
BOB = Actor("bob")


class Running:
    """A plan in a thread, stopped in the middle of its first step until let go."""

    def __init__(self, world: Folder, plan: Plan) -> None:
        self.error: BaseException | None = None
        self.state = ""
        self._trap = world.path / "a.done"
        self._trap.write_text("hang")
        self._thread = threading.Thread(target=self._run, args=(plan,))
        self._thread.start()
        assert poll(lambda: Path(f"{self._trap.with_suffix('')}.hanging").exists(), timeout=10)

    def _run(self, plan: Plan) -> None:
        try:
            self.state = plan.run().state
        except BaseException as error:
            self.error = error

    def let_go(self) -> None:
        """Let the first step end."""
        self._trap.unlink()

    def join(self) -> None:
        """Let it go, and wait for the end."""
        self._trap.unlink(missing_ok=True)
        self._thread.join(10)
        assert not self._thread.is_alive()


def test_abort_stops_between_steps_and_undoes(world: Folder, session: NewSession, store: Store) -> None:
    """DESIGN "Control": abort is stop and undo."""
    current = session()
    running = Running(world, Plan("t", [world.step("a"), world.step("b")]))
    tell(store, current.run, "abort", actor=BOB)
    running.join()

    assert isinstance(running.error, Aborted)
    assert ("old", "old", []) == (world["a"], world["b"], find_leases(store))


def test_stop_holds_and_the_run_can_be_resumed(world: Folder, session: NewSession, store: Store) -> None:
    """DESIGN "Control": stop undoes nothing; the same plan goes on later, and does not obey the same stop again."""
    current = session()
    plan = Plan("t", [world.step("a"), world.step("b")])
    running = Running(world, plan)
    tell(store, current.run, "stop", actor=BOB)
    running.join()

    assert ("new", "old", "stop") == (world["a"], world["b"], getattr(running.error, "verb", ""))
    assert "completed" == plan.run().state
    assert ["do a", "do b"] == world.log


def test_pause_waits_until_resume(world: Folder, session: NewSession, store: Store) -> None:
    """DESIGN "Control": a paused run waits between steps and goes on when told."""
    current = session()
    running = Running(world, Plan("t", [world.step("a"), world.step("b")]))
    tell(store, current.run, "pause", actor=BOB)
    running.let_go()
    assert poll(lambda: current.journal.entries(kind="control"), timeout=10)
    assert "old" == world["b"]
    tell(store, current.run, "resume", actor=BOB)
    running.join()

    assert ("completed", "new") == (running.state, world["b"])


@pytest.mark.parametrize(("allowed", "expected"), [(True, "old"), (False, "new")])
def test_skip_leaves_out_a_step_only_where_the_plan_allows_it(
    world: Folder, session: NewSession, store: Store, allowed: bool, expected: str
) -> None:
    """DESIGN "Control": skip works only where the plan allows it; else it is journalled as refused."""
    current = session()
    running = Running(world, Plan("t", [world.step("a"), world.step("b"), world.step("c")], allow_skip=allowed))
    tell(store, current.run, "skip", actor=BOB, subject="2")
    running.join()

    assert ("completed", expected, "new") == (running.state, world["b"], world["c"])
    assert [not allowed] == [bool(entry.payload["refused"]) for entry in current.journal.entries(kind="control")]


def test_a_gate_hears_within_a_third_of_a_second(world: Folder, session: NewSession, store: Store) -> None:
    """DESIGN "Control": inside a gate a row is seen within 0.3 s (measured by the journal's own times)."""
    current = session()
    gate = world.gate(interval=timedelta(minutes=5))
    errors: list[BaseException] = []

    def work() -> None:
        try:
            Plan("t", [gate]).run()
        except Aborted as error:
            errors.append(error)

    worker = threading.Thread(target=work)
    worker.start()
    assert poll(lambda: current.journal.entries(kind="gate-looked"), timeout=10)
    said = time.monotonic()
    tell(store, current.run, "abort", actor=BOB)
    worker.join(10)

    assert 1 == len(errors)
    assert time.monotonic() - said < 5.0, "it waited for the next look"


def test_the_kill_switch_stops_every_run_and_refuses_new_ones(world: Folder, session: NewSession, store: Store) -> None:
    """DESIGN "Control": a global kill switch is one such row; it holds running plans and refuses others until it is ended."""
    session()
    plan = Plan("t", [world.step("a"), world.step("b")])
    running = Running(world, plan)
    tell(store, EVERY_RUN, "stop", actor=BOB, reason="fire in Amsterdam")
    running.join()

    assert ("new", "old") == (world["a"], world["b"])
    with pytest.raises(PlanRefused, match="fire in Amsterdam"):
        plan.run()
    tell(store, EVERY_RUN, "resume", actor=BOB)
    assert kill_switch(store) is None
    assert "completed" == plan.run().state


def test_what_cannot_be_told_is_refused(store: Store) -> None:
    """A verb that does not exist, or that cannot be told to every run, is refused with those that can."""
    with pytest.raises(PlanError, match="'explode'"):
        tell(store, "x", "explode", actor=BOB)  # type: ignore[arg-type]
    with pytest.raises(PlanError, match="every run"):
        tell(store, EVERY_RUN, "skip", actor=BOB)
