"""Steps, gates and callers that do what nobody expects: nothing is done unseen, nothing is believed that is not so."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest

from sretoolkit.clock import poll
from sretoolkit.config import Config
from sretoolkit.errors import GateFailed, PlanRefused, UndoFailed
from sretoolkit.journal import find_runs
from sretoolkit.lease import find_leases
from sretoolkit.plan import Context, Gate, Plan, Step, Verdict
from sretoolkit.plan.recovery import Reverse
from sretoolkit.plan.session import Session
from sretoolkit.store import Store
from tests.plan.steps import FileGate, Folder, SetFile


@dataclass(frozen=True, kw_only=True)
class Pair(Step):
    """A step whose world is a tuple in this process."""

    deadline: ClassVar[timedelta] = timedelta(minutes=20)
    world: ClassVar[list[Any]] = [(1, {2: "x"})]

    @property
    def target(self) -> str:
        """One."""
        return "pair:one"

    def describe(self) -> str:
        """Its end."""
        return f"make {self.after}"

    def observe(self, ctx: Context) -> Any:
        """The tuple."""
        return self.world[0]

    def do(self, ctx: Context) -> None:
        """Nothing."""

    def undo(self, ctx: Context) -> None:
        """Nothing."""


@dataclass(frozen=True, kw_only=True)
class Exits(SetFile):
    """Its undo calls sys.exit()."""

    def undo(self, ctx: Context) -> None:
        """As some library would."""
        sys.exit(0)


@dataclass(frozen=True, kw_only=True)
class ExitingGate(Gate):
    """Its check calls sys.exit()."""

    def describe(self) -> str:
        """So."""
        return "exit"

    def check(self, ctx: Context) -> Verdict:
        """As some library would."""
        sys.exit(0)


def test_a_plan_is_made_from_any_iterable(world: Folder) -> None:
    """Steps from a generator are all in the plan."""
    assert ["a", "b"] == [Path(step.target).name for step in Plan("t", (world.step(name) for name in "ab")).steps]


def test_a_plan_carried_out_and_taken_back_is_not_completed_again(
    session: Callable[..., Session], world: Folder
) -> None:
    """The same plan twice in one run: the second time is fine while the world is so, and refused when it is not."""
    session()
    plan = Plan("t", [world.step("a")])
    plan.run()

    assert "completed" == plan.run().state
    (world.path / "a").write_text("old")
    with pytest.raises(PlanRefused, match="carried the plan out already"):
        plan.run()


def test_a_gate_is_asked_anew_after_the_plan_was_undone(session: Callable[..., Session], world: Folder) -> None:
    """What a gate said of a world that was taken back does not count for the next attempt."""
    session()
    (world.path / "gate").write_text("passed")
    world.tell("b.do", "raise")
    plan = Plan("t", [world.step("a"), FileGate(path=str(world.path / "gate")), world.step("b")])
    with pytest.raises(Exception, match="told to fail"):
        plan.run()
    (world.path / "b.do").unlink()
    (world.path / "gate").write_text("failed")

    with pytest.raises(GateFailed):
        plan.run()
    assert "old" == world["a"]


def test_a_step_that_no_other_process_can_load_is_refused(store: Store, config: Config, world: Folder) -> None:
    """A class made in a function (or in a notebook's cell) could not be undone by a supervisor: nothing is begun."""
    world.step("a")

    @dataclass(frozen=True, kw_only=True)
    class Here(SetFile):
        pass

    with pytest.raises(PlanRefused, match="no other process finds it"):
        Plan("t", [Here(path=str(world.path / "a"), before="old", after="new")]).run(
            apply=True, config=config, store=store
        )
    assert "old" == world["a"]


def test_a_world_is_the_same_after_a_way_through_json(config: Config) -> None:
    """A tuple and a number as a key come back as list and text; the step still knows its world."""
    step = Pair(before=(1, {2: "x"}), after=(3, {}))
    again = Step.from_dict(json.loads(json.dumps(step.to_dict())))

    assert "BEFORE" == again.verify(Context(config=config))[0].name


def test_an_undo_has_as_long_as_its_step() -> None:
    """Taking back a long step in a run of its own may take as long as that step."""
    step = Pair(before=1, after=2)

    assert timedelta(minutes=20) == Reverse(before=2, after=1, inner=step.to_dict()).deadline


def test_an_undo_that_exits_is_not_done(store: Store, config: Config, world: Folder) -> None:
    """sys.exit() in an undo is a failed undo: held, leased, and said."""
    world.tell("b.do", "raise")
    world.step("a")
    steps = [Exits(path=str(world.path / "a"), before="old", after="new"), world.step("b")]
    with pytest.raises(UndoFailed):
        Plan("t", steps).run(apply=True, config=config, store=store)

    assert ("held", {"held"}) == (find_runs(store)[0].state, {lease["state"] for lease in find_leases(store)})


def test_a_gate_that_exits_has_not_answered(store: Store, config: Config) -> None:
    """sys.exit() in a check counts as an error, so the gate's patience ends it."""
    gate = ExitingGate(interval=timedelta(milliseconds=1), patience=timedelta(0))

    with pytest.raises(GateFailed, match="SystemExit"):
        Plan("t", [gate]).run(apply=True, config=config, store=store)


def test_two_threads_run_a_plan_each(store: Store, config: Config, world: Folder) -> None:
    """Each opens a run of its own: a plan in one thread is not journalled into the run of the other."""
    world.tell("a.done", "hang")
    first = threading.Thread(
        target=Plan("first", [world.step("a")]).run, kwargs={"apply": True, "config": config, "store": store}
    )
    first.start()
    try:
        assert poll((world.path / "a.hanging").exists, timeout=30)
        Plan("second", [world.step("b")]).run(apply=True, config=config, store=store)
    finally:
        (world.path / "a.done").unlink()
        first.join()

    assert {("first", "completed"), ("second", "completed")} == {(run.runbook, run.state) for run in find_runs(store)}
