"""Plans: what they are, what they hash, what running one does and leaves on record."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from sretoolkit.config import Config
from sretoolkit.errors import PlanError, PlanRefused, StepFailed, UndoFailed
from sretoolkit.journal import Journal, Keys, find_runs, verify_run
from sretoolkit.lease import find_leases
from sretoolkit.plan import Plan, Step
from sretoolkit.plan.session import Session
from sretoolkit.store import Store
from tests.plan.steps import Folder, Meddle, SetFileForGood

NewSession = Callable[..., Session]


def kinds(session: Session) -> list[str]:
    """The kinds of a run's entries after the first."""
    return [entry.kind for entry in session.journal.entries(after=1)]


def test_a_step_goes_to_json_and_back(world: Folder) -> None:
    """DESIGN "A Step is names and values": it is the same again from its import path, version and data."""
    step = world.step("a")

    assert step == Step.from_dict(step.to_dict())


def test_a_step_of_another_version_is_refused(world: Folder) -> None:
    """DESIGN "A Step is names and values": a step that another version wrote is refused, not guessed."""
    content = world.step("a").to_dict() | {"version": 99}

    with pytest.raises(PlanError, match="version 99"):
        Step.from_dict(content)


@pytest.mark.parametrize(
    "path", ["os:system", "tests.plan.steps:Missing", "no.such.module:X", "sretoolkit.plan.plan:Plan", ""]
)
def test_only_steps_are_loaded_from_a_journal(world: Folder, path: str) -> None:
    """A journalled import path that names no step is refused before anything is called."""
    with pytest.raises(PlanError):
        Step.from_dict(world.step("a").to_dict() | {"type": path})


def test_the_hash_covers_data_order_policy_and_gates(world: Folder) -> None:
    """DESIGN "plan.hash": every step's data, the order, the policy and the gates' definitions change it."""
    a, b, gate = world.step("a"), world.step("b"), world.gate()
    plans = [
        Plan("t", [a, b, gate]),
        Plan("t", [b, a, gate]),
        Plan("t", [a, replace(b, after="other"), gate]),
        Plan("t", [a, b, replace(gate, horizon=timedelta(minutes=1))]),
        Plan("t", [a, b, gate], on_failure="hold"),
        Plan("t", [a, b, gate], allow_skip=True),
        Plan("t", [a, b, gate], population=10, max_percent=50),
    ]

    assert len(plans) == len({plan.hash for plan in plans})


def test_the_hash_leaves_out_what_is_only_shown(world: Folder) -> None:
    """DESIGN "plan.hash": a measurement is journalled and shown but does not change the hash."""
    step = world.step("a")

    assert Plan("t", [step]).hash == Plan("t", [replace(step, seen_at="later")]).hash


def test_the_hash_covers_the_runbook(world: Folder, session: NewSession) -> None:
    """DESIGN "plan.hash": the same steps from another runbook are another plan."""
    plan = Plan("t", [world.step("a")])
    alone = plan.hash
    session(runbook_hash="abc")

    assert alone != plan.hash


def test_running_is_planning_unless_told(world: Folder, config: Config, store: Store) -> None:
    """DESIGN "Modes": without apply nothing is changed, and the plan is on record."""
    outcome = Plan("t", [world.step("a")]).run(config=config, store=store)

    assert ("planned", "old") == (outcome.state, world["a"])
    assert ["planned"] == [run.state for run in find_runs(store)]


def test_a_supervised_session_in_plan_mode_wins_over_apply(world: Folder, session: NewSession) -> None:
    """DESIGN "Modes": code in a runbook cannot ask for more than the run was given."""
    session(mode="plan")

    assert "planned" == Plan("t", [world.step("a")]).run(apply=True).state
    assert "old" == world["a"]


def test_every_step_is_journalled_before_and_after(world: Folder, session: NewSession) -> None:
    """DESIGN "Journal": an entry stands before and one after each step, in order."""
    current = session()
    outcome = Plan("t", [world.step("a"), world.step("b")]).run()

    expected = ["plan", "plan-begun", "step-before", "step-after", "step-before", "step-after", "plan-completed"]
    assert expected == kinds(current)
    assert ("completed", "new", "new") == (outcome.state, world["a"], world["b"])


def test_a_program_gets_a_run_of_its_own_that_is_closed_and_signed(
    world: Folder, config: Config, store: Store, keys: Keys
) -> None:
    """DESIGN "Who runs what": outside a supervisor a plan opens, signs and closes a run of its own."""
    outcome = Plan("t", [world.step("a")]).run(apply=True, config=config, store=store)

    assert "whole" == verify_run(store, keys, outcome.run).state
    assert [] == find_leases(store)


def test_a_step_that_is_already_so_is_not_done(world: Folder, session: NewSession) -> None:
    """DESIGN "A Step": the world is looked at first; already after counts as done, and is not ours to undo."""
    session()
    plan = Plan("t", [world.step("a"), world.step("b")])
    world.tell("a", "new")
    world.tell("b.do", "raise")

    with pytest.raises(StepFailed):
        plan.run()
    assert ("new", []) == (world["a"], world.log)


def test_a_world_that_is_neither_before_nor_after_holds(world: Folder, session: NewSession, store: Store) -> None:
    """DESIGN "A Step": neither before nor after means hold: nothing more is done or undone, the lease stays."""
    current = session()
    plan = Plan("t", [world.step("a"), world.step("b")])
    world.tell("b", "somebody else's")

    with pytest.raises(StepFailed, match="neither"):
        plan.run()
    assert ("new", "somebody else's") == (world["a"], world["b"])
    assert "plan-held" == kinds(current)[-1]
    assert ["held", "held"] == [lease["state"] for lease in find_leases(store)]


def test_a_failed_step_undoes_the_done_ones_newest_first(world: Folder, session: NewSession, store: Store) -> None:
    """DESIGN "Failure policy": undo is the default, newest first, and the leases are given back."""
    session()
    plan = Plan("t", [world.step("a"), world.step("b"), world.step("c")])
    world.tell("c.do", "raise")

    with pytest.raises(StepFailed, match="told to fail in do") as caught:
        plan.run()
    assert ["do a", "do b", "undo b", "undo a"] == world.log
    assert ["undone", "undone", "undone"] == [row[1] for row in caught.value.outcome.rows]
    assert [] == find_leases(store)


def test_a_step_that_failed_after_it_changed_something_is_undone_too(world: Folder, session: NewSession) -> None:
    """DESIGN "A Step": a step that raised is in doubt; the world is looked at, and what it changed is taken back."""
    session()
    plan = Plan("t", [world.step("a")])
    world.tell("a.done", "raise")

    with pytest.raises(StepFailed):
        plan.run()
    assert ("old", ["do a", "undo a"]) == (world["a"], world.log)


def test_a_step_whose_verify_fails_is_undone(world: Folder, session: NewSession) -> None:
    """A step whose effect cannot be verified is in doubt, and is undone once it can be looked at again."""
    session()
    plan = Plan("t", [world.step("a"), world.step("b")])
    world.tell("b.verify", "once")

    with pytest.raises(StepFailed, match="told to fail once in verify"):
        plan.run()
    assert ("old", "old") == (world["a"], world["b"])


def test_ctrl_c_in_a_step_undoes(world: Folder, session: NewSession) -> None:
    """An interrupt in the middle of a step undoes what was done before it is passed on."""
    session()
    plan = Plan("t", [world.step("a"), world.step("b")])
    world.tell("b.done", "interrupt")

    with pytest.raises(KeyboardInterrupt):
        plan.run()
    assert ("old", "old") == (world["a"], world["b"])


def test_undo_refuses_to_overwrite_somebody_elses_change(world: Folder, session: NewSession, store: Store) -> None:
    """DESIGN "undo restores before": when somebody else changed the target since, it refuses and shows the difference."""
    session()
    plan = Plan("t", [world.step("a"), world.step("b"), Meddle(path=str(world.path / "b"))])

    with pytest.raises(UndoFailed, match="somebody else has changed") as caught:
        plan.run()
    assert ("new", "somebody else's") == (world["a"], world["b"])
    assert [f"echo -n old > {world.path}/b", f"echo -n old > {world.path}/a"] == list(caught.value.by_hand)
    assert {"held"} == {lease["state"] for lease in find_leases(store)}


def test_a_failing_undo_says_what_to_do_by_hand(world: Folder, session: NewSession) -> None:
    """An undo that fails stops there, holds, and lists the exact commands for everything that is left."""
    current = session()
    plan = Plan("t", [world.step("a"), world.step("b"), world.step("c")])
    world.tell("c.do", "raise")
    world.tell("b.undo", "raise")

    with pytest.raises(UndoFailed) as caught:
        plan.run()
    assert [f"echo -n old > {world.path}/b", f"echo -n old > {world.path}/a"] == list(caught.value.by_hand)
    assert "plan-held" == kinds(current)[-1]


def test_irreversible_needs_an_explicit_yes(world: Folder, config: Config, store: Store) -> None:
    """DESIGN "irreversible": such a step is shown in the plan and refused without the explicit yes."""
    plan = Plan("t", [world.step("a", SetFileForGood)])

    assert "CANNOT BE TAKEN BACK" in str(plan)
    with pytest.raises(PlanRefused, match="cannot be taken back"):
        plan.run(apply=True, config=config, store=store)
    assert "completed" == plan.run(apply=True, config=config, store=store, irreversible=True).state


@pytest.mark.parametrize(("answer", "expected"), [(True, "old"), (False, "new"), (None, "new")])
def test_the_policy_ask_asks_and_holds_when_nobody_is_there(
    world: Folder, config: Config, store: Store, answer: bool | None, expected: str
) -> None:
    """DESIGN "Failure policy": ask undoes when told so, and holds when told not to or when nobody can be asked."""
    plan = Plan("t", [world.step("a"), world.step("b")], on_failure="ask")
    world.tell("b.do", "raise")
    ask = None if answer is None else lambda question: bool(answer)

    with pytest.raises(StepFailed):
        plan.run(apply=True, config=config, store=store, ask=ask)
    assert expected == world["a"]


def test_the_policy_hold_keeps_everything_and_the_lease(world: Folder, config: Config, store: Store) -> None:
    """DESIGN "Failure policy": hold leaves the world as it is and the targets leased without an end."""
    plan = Plan("t", [world.step("a"), world.step("b")], on_failure="hold")
    world.tell("b.do", "raise")

    with pytest.raises(StepFailed):
        plan.run(apply=True, config=config, store=store)
    assert ("new", ["held"]) == (world["a"], sorted({str(lease["state"]) for lease in find_leases(store)}))
    assert {None} == {lease["expires"] for lease in find_leases(store)}


def test_a_plan_that_is_run_again_in_its_run_repeats_nothing(world: Folder, session: NewSession) -> None:
    """DESIGN "Plan.run resumes": a done step is known by its idempotency key and not done twice."""
    session()
    plan = Plan("t", [world.step("a"), world.step("b")], on_failure="hold")
    world.tell("b.do", "once")
    with pytest.raises(StepFailed):
        plan.run()

    assert "completed" == plan.run().state
    assert ["do a", "do b"] == world.log


def test_a_share_of_a_fleet_is_a_limit(world: Folder, config: Config, store: Store) -> None:
    """DESIGN "Limits": at most so many percent of a fleet."""
    plan = Plan("t", [world.step("a"), world.step("b")], population=10, max_percent=10)

    with pytest.raises(PlanRefused, match="20 %"):
        plan.run(apply=True, config=config, store=store)
    assert (
        "completed"
        == Plan("t", plan.items, population=10, max_percent=20).run(apply=True, config=config, store=store).state
    )


def test_a_change_freeze_is_obeyed_and_break_glass_lifts_it(
    world: Folder, config: Config, store: Store, session: NewSession
) -> None:
    """DESIGN "Limits": a change-freeze window refuses its targets; a break-glass reason goes through, on record."""
    freeze = [{"from": "2020-01-01", "to": "2100-01-01", "reason": "holidays", "targets": ["file:*"]}]
    frozen = Config({**config.values, **Config.of(freeze=freeze).values})
    plan = Plan("t", [world.step("a")])
    with pytest.raises(PlanRefused, match="holidays"):
        plan.run(apply=True, config=frozen, store=store)

    current = session(break_glass="the site is down", approval=True)
    current.config = frozen
    assert "completed" == plan.run().state
    assert ["the site is down"] == [entry.payload["reason"] for entry in current.journal.entries(kind="break-glass")]


def test_a_step_survives_hostile_text_in_its_plan(world: Folder, config: Config, store: Store) -> None:
    """Names with markup and control characters are shown escaped, in the table and in HTML."""
    plan = Plan("<script>\x1b[31m", [replace(world.step("a"), after="<b>\n")])

    assert "<script>" not in plan._repr_html_()
    assert "\x1b" not in str(plan)


def test_the_records_of_a_run_are_entries_of_its_actor(world: Folder, config: Config, store: Store) -> None:
    """Each entry says who, where, when and about what."""
    run = Plan("t", [world.step("a")]).run(apply=True, config=config, store=store).run
    entry = Journal(store, run, actor=None).entries(kind="step-after")[0]  # type: ignore[arg-type]

    assert f"file:{world.path}/a" == entry.target
    assert {"actor", "host", "pid", "time", "elapsed", "previous"} <= set(entry.content)


def test_a_long_plan_is_signed_at_intervals(world: Folder, session: NewSession, config: Config) -> None:
    """DESIGN "Journal": heads are signed at intervals, not only at the end, where no supervisor does it."""
    current = session()
    current.config = Config({**config.values, **Config.of(journal={"sign_every": "1ms"}).values})
    Plan("t", [world.step("a"), world.step("b")]).run()

    assert 2 == current.store.read("SELECT count(*) AS n FROM signatures")[0]["n"]
