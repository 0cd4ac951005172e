"""Strategies: what a rollout compiles to, and what becomes of the world when it is run, stopped, killed and undone."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sretoolkit.config import Config
from sretoolkit.errors import ConfigError, GateFailed, PlanError, PlanRefused, StepFailed, UndoFailed
from sretoolkit.journal import Keys, find_runs, load_run, verify_run
from sretoolkit.plan import Plan
from sretoolkit.plan.recovery import recover
from sretoolkit.rollout.rollout import Rollout
from sretoolkit.rollout.steps import SetTrack, SetWeight
from sretoolkit.store import Store
from tests.conftest import REPOSITORY
from tests.rollout.memory import BEGIN, World

NewRollout = Callable[..., Rollout]
CANARY = {"kind": "canary", "steps": [5, 50], "bake": "0.2s"}


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A service with one version."""
    return World(tmp_path / "world.json")


@pytest.fixture
def rollout(world: World) -> NewRollout:
    """A rollout of that service."""

    def make(strategy: dict[str, Any] = CANARY, **more: Any) -> Rollout:
        part = {"kind": "memory", "path": str(world.path)}
        return Rollout.of("shop", {"workload": part, "router": part, "strategy": strategy, **more})

    return make


@pytest.fixture
def run(config: Config, store: Store) -> Callable[..., str]:
    """Run a plan for real; gives the state it ended in."""

    def apply(plan: Plan, **options: Any) -> str:
        return plan.run(apply=True, config=config, store=store, **options).state

    return apply


def changes(plan: Plan) -> list[Any]:
    """What each step makes."""
    return [
        (step.track, step.after) if isinstance(step, SetTrack) else step.after
        for step in plan.steps
        if isinstance(step, SetTrack | SetWeight)
    ]


def settled(world: World) -> tuple[Any, int]:
    """The tracks that are there, and the weight."""
    content = world.read()
    return {name: state for name, state in content["tracks"].items() if state}, content["weight"]


def test_a_canary_carries_all_requests_while_the_stable_track_changes(rollout: NewRollout, config: Config) -> None:
    """Each share has enough instances before it is given, and the stable track never changes with requests on it."""
    expected = [
        ("candidate", {"version": "2", "replicas": 1}), 5,
        ("candidate", {"replicas": 2}), 50,
        ("candidate", {"replicas": 4}), 100,
        ("stable", {"version": "2"}), 0,
        ("candidate", None),
    ]  # fmt: skip

    assert expected == changes(rollout().plan("2", config=config))


def test_a_canary_is_promoted(rollout: NewRollout, run: Callable[..., str], world: World, config: Config) -> None:
    """In the end the stable track is the new version, and nothing else is there."""
    assert "completed" == run(rollout().plan("2", config=config))
    assert ({"stable": {"version": "2", "replicas": 4}}, 0) == settled(world)


@pytest.mark.parametrize("disturbance", [{"skew": 0}, {"trouble": {"candidate": "restarts again and again"}}])
def test_what_a_gate_sees_takes_the_canary_back(
    rollout: NewRollout, run: Callable[..., str], world: World, config: Config, disturbance: dict[str, Any]
) -> None:
    """A share that does not come about, or an instance that does not stay up, ends on the old version."""
    plan = rollout().plan("2", config=config)
    world.change(**disturbance)
    with pytest.raises(GateFailed) as caught:
        run(plan)

    assert ({"stable": {"version": "1", "replicas": 4}}, 0) == settled(world)
    assert "undone" == caught.value.outcome.state


def test_somebody_elses_change_is_seen_and_not_fought(
    rollout: NewRollout, run: Callable[..., str], world: World, config: Config
) -> None:
    """Another actor's version stays; the plan is held with the commands that a person needs."""
    plan = rollout(strategy={**CANARY, "bake": "20s"}).plan("2", config=config)
    original = World.set

    def disturb(self: World, name: str, key: str, value: Any) -> None:
        original(self, name, key, value)
        if name == "weight" and value == 5:
            content = self.read()
            content["tracks"]["candidate"]["version"] = "somebody else's"
            self.write(content)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(World, "set", disturb)
        with pytest.raises(UndoFailed) as caught:
            run(plan)

    tracks, weight = settled(world)
    assert (0, "somebody else's", "1") == (weight, tracks["candidate"]["version"], tracks["stable"]["version"])
    assert ("set candidate null",) == caught.value.by_hand


def test_a_rollout_that_was_left_half_done_is_not_begun_upon(rollout: NewRollout, world: World, config: Config) -> None:
    """A candidate that is there belongs to somebody: the plan is refused with what to do."""
    world.change(tracks={**BEGIN["tracks"], "candidate": {"version": "x", "replicas": 1}})
    with pytest.raises(PlanError, match="is there already") as caught:
        rollout().plan("2", config=config)

    assert "rollout abort" in caught.value.hint


def test_a_migration_needs_an_explicit_yes(rollout: NewRollout, run: Callable[..., str], config: Config) -> None:
    """What cannot be taken back is in the plan's text, and the plan is refused without the yes."""
    plan = rollout(irreversible=["migration 42 of the orders table"]).plan("2", config=config)

    assert "migration 42 of the orders table" in str(plan)
    with pytest.raises(PlanRefused):
        run(plan)
    assert "completed" == run(plan, irreversible=True)


def test_a_baseline_runs_beside_the_candidate_and_goes_before_the_promotion(
    rollout: NewRollout, run: Callable[..., str], world: World, config: Config
) -> None:
    """The old version once more, always as big as the candidate."""
    plan = rollout(strategy={**CANARY, "baseline": True}).plan("2", config=config)
    made = [change for change in changes(plan) if isinstance(change, tuple) and change[0] == "baseline"]

    assert [("baseline", {"version": "1", "replicas": 1}), ("baseline", {"replicas": 2}), ("baseline", None)] == made
    assert "completed" == run(plan)
    assert ({"stable": {"version": "2", "replicas": 4}}, 0) == settled(world)


def test_blue_green_flips_and_the_next_one_flips_back(
    rollout: NewRollout, run: Callable[..., str], world: World, config: Config
) -> None:
    """The colours take turns; the old one is kept while it bakes, and is then scaled to nothing."""
    strategy = {"kind": "blue-green", "verify": "0.1s", "keep": "0.1s"}
    run(rollout(strategy).plan("2", config=config))
    first = settled(world)
    run(rollout(strategy).plan("3", config=config))

    blue, green = {"version": "1", "replicas": 0}, {"version": "2", "replicas": 4}
    assert ({"stable": blue, "candidate": green}, 100) == first
    assert ({"stable": {"version": "3", "replicas": 4}, "candidate": {"version": "2", "replicas": 0}}, 0) == settled(
        world
    )


def test_blue_green_is_rolled_back_by_one_flip(
    rollout: NewRollout, run: Callable[..., str], world: World, config: Config
) -> None:
    """With keep = 0s the old colour stays whole, and going back is a single step."""
    made = rollout({"kind": "blue-green", "verify": "0.1s", "keep": "0s"})
    run(made.plan("2", config=config))
    back = made.rollback(config=config)

    assert [0] == changes(back)
    assert "completed" == run(back)
    assert 0 == settled(world)[1]


def test_rolling_goes_batch_by_batch(
    rollout: NewRollout, run: Callable[..., str], world: World, config: Config
) -> None:
    """A batch is ready and has baked before the next one is touched."""
    world.change(
        tracks={name: {"version": "1", "replicas": 2} for name in ("stable", "b1", "b2")}, batches=["b1", "b2"]
    )
    plan = rollout({"kind": "rolling", "bake": "0.1s"}).plan("2", config=config)

    assert [("b1", {"version": "2"}), ("b2", {"version": "2"})] == changes(plan)
    assert ["step", "gate", "step", "gate"] == ["step" if item in plan.steps else "gate" for item in plan.items]


def test_several_places_one_after_the_other(rollout: NewRollout, world: World, tmp_path: Path, config: Config) -> None:
    """One plan; the second place is only touched when the first is done."""
    other = World(tmp_path / "other.json")
    places = [
        {"name": name, "workload": {"path": str(at.path)}, "router": {"path": str(at.path)}}
        for name, at in (("eu", world), ("us", other))
    ]
    plan = rollout(places=places).plan("2", config=config)
    where = [step.target for step in plan.steps]

    half = len(where) // 2
    assert all(str(world.path) in target for target in where[:half])
    assert all(str(other.path) in target for target in where[half:])


def test_a_rollback_takes_the_candidate_out_first(
    rollout: NewRollout, run: Callable[..., str], world: World, config: Config
) -> None:
    """With a canary under way, going back is: no requests to it, and away with it."""
    world.change(tracks={**BEGIN["tracks"], "candidate": {"version": "2", "replicas": 1}}, weight=25)
    back = rollout().rollback(config=config)

    assert [0, ("candidate", None)] == changes(back)
    assert "completed" == run(back)
    assert ({"stable": {"version": "1", "replicas": 4}}, 0) == settled(world)


def test_a_rollback_goes_to_the_version_before_or_to_any(rollout: NewRollout, config: Config) -> None:
    """Without a name it is the newest revision."""
    assert [("stable", {"version": "0.9"})] == changes(rollout().rollback(config=config))
    assert [("stable", {"version": "0.8"})] == changes(rollout().rollback("0.8", config=config))
    with pytest.raises(PlanError, match="nothing else"):
        rollout().rollback("1", config=config)


@pytest.mark.parametrize("wrong", [[], [50, 5], [0, 5], [5, 100], [5, 5]])
def test_steps_that_are_no_shares_are_refused(rollout: NewRollout, config: Config, wrong: list[int]) -> None:
    """Shares ascend and lie between none and all."""
    with pytest.raises(PlanError, match="do not fit"):
        rollout({"kind": "canary", "steps": wrong}).plan("2", config=config)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"wrokload": {}}, "no part 'wrokload'"),
        ({"strategy": {"kind": "canray"}}, "canray"),
        ({"strategy": {"kind": "canary", "stesp": [1]}}, "no option 'stesp'"),
        ({"strategy": {"kind": "canary", "bake": "soon"}}, "soon"),
    ],
)
def test_a_wrong_configuration_says_what_there_is(rollout: NewRollout, wrong: dict[str, Any], said: str) -> None:
    """Every unknown part or option is named, with those there are."""
    with pytest.raises(ConfigError, match=said):
        rollout(**wrong)


PROGRAM = """
import sys
from sretoolkit.config import Config
from sretoolkit.rollout.rollout import Rollout
import tests.rollout.memory
store, keys, world = sys.argv[1:]
config = Config.of(store={"url": store}, journal={"keys": keys})
part = {"kind": "memory", "path": world}
strategy = {"kind": "canary", "steps": [5, 50], "bake": "0.1s"}
rollout = Rollout.of("shop", {"workload": part, "router": part, "strategy": strategy})
rollout.plan("2", config=config).run(apply=True, config=config)
"""


@pytest.mark.parametrize(
    "place", ["candidate.do", "candidate.done", "weight.do", "weight.done", "stable.do", "stable.done"]
)
@pytest.mark.parametrize("resume", [False, True])
def test_a_killed_runner_leaves_one_version_behind(
    world: World, config: Config, store: Store, keys: Keys, place: str, resume: bool
) -> None:
    """Wherever it dies: undone it is all old, resumed it is all new, and the journal is whole."""
    world.change(traps={place: "kill"})
    arguments = [config["store.url"], config["journal.keys"], str(world.path)]
    command = [sys.executable, "-c", PROGRAM, *arguments]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert -9 == done.returncode, done.stderr
    lost = find_runs(store)[0].id
    recover(store, lost, config=config, resume=resume)

    version = "2" if resume else "1"
    assert ({"stable": {"version": version, "replicas": 4}}, 0) == settled(world)
    assert ("completed" if resume else "undone") == load_run(store, lost).state
    assert "whole" == verify_run(store, keys, lost).state


def test_a_rollback_that_fails_says_so_with_the_commands(
    rollout: NewRollout, run: Callable[..., str], world: World, config: Config
) -> None:
    """The undo of a canary fails: the run is held and every command that is left to do by hand is named."""
    plan = rollout().plan("2", config=config)
    world.change(trouble={"candidate": "fails"})
    original = World.set

    def stuck(self: World, name: str, key: str, value: Any) -> None:
        if name == "weight" and value == 0:
            raise StepFailed("the router does not obey")
        original(self, name, key, value)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(World, "set", stuck)
        with pytest.raises(UndoFailed, match="does not obey") as caught:
            run(plan)

    assert ("weigh 0", "set candidate null") == caught.value.by_hand
