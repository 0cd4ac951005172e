"""Recovery: a dead process's changes are undone or ended from the journal alone; finished runs are undone by a new one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sretoolkit.actor import Actor
from sretoolkit.clock import poll
from sretoolkit.config import Config
from sretoolkit.errors import JournalError, LeaseHeld, LeaseLost, PlanError, UndoFailed
from sretoolkit.journal import Keys, find_runs, load_run, verify_run
from sretoolkit.journal.runs import reopen_run
from sretoolkit.lease import Leases, find_leases
from sretoolkit.plan import Plan
from sretoolkit.plan.execution import run_alone
from sretoolkit.plan.recovery import recover, reverse
from sretoolkit.plan.session import Session, own_session, rejoin
from sretoolkit.store import Store
from tests.conftest import REPOSITORY
from tests.plan.steps import Folder

NewSession = Callable[..., Session]
PROGRAM = """
import sys
from pathlib import Path
from sretoolkit.config import Config
from sretoolkit.plan import Plan
from tests.plan.steps import Folder
store, keys, world, policy = sys.argv[1:]
config = Config.of(store={"url": store}, journal={"keys": keys})
world = Folder(Path(world))
Plan("t", [world.step("a"), world.step("b"), world.step("c")], on_failure=policy).run(apply=True, config=config)
"""


@pytest.fixture
def killed(world: Folder, config: Config, store: Store) -> Callable[..., str]:
    """Run a plan of three steps in another process that is SIGKILLed where the trap says; gives the run."""

    def run(trap: str, policy: str = "undo") -> str:
        world.step("a"), world.step("b"), world.step("c")
        world.tell(trap, "kill")
        arguments = [config["store.url"], config["journal.keys"], str(world.path), policy]
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=False
        )
        assert -9 == done.returncode, done.stderr
        return find_runs(store)[0].id

    return run


@pytest.mark.parametrize("trap", ["a.do", "a.done", "b.do", "b.done", "c.do", "c.done", "b.verify"])
def test_a_killed_process_is_undone_from_the_journal(
    killed: Callable[..., str], world: Folder, store: Store, config: Config, keys: Keys, trap: str
) -> None:
    """DESIGN "Who runs what": wherever the process was killed, recover leaves the old values, and the journal is whole."""
    run = killed(trap)
    assert "lost" == load_run(store, run).state
    recover(store, run, config=config)

    assert ["old", "old", "old"] == [world[name] for name in "abc"]
    assert ("undone", [], "whole") == (
        load_run(store, run).state,
        find_leases(store),
        verify_run(store, keys, run).state,
    )


def test_what_was_only_prepared_is_taken_away(
    killed: Callable[..., str], world: Folder, store: Store, config: Config
) -> None:
    """A step that was begun and has changed nothing yet is asked to tidy up; one that was never begun is not."""
    recover(store, killed("b.do"), config=config)

    assert ["b.tidied"] == [each.name for each in world.path.glob("*.tidied")]


def test_the_watchdog_takes_back_what_a_killed_process_began(
    killed: Callable[..., str], world: Folder, store: Store, config: Config
) -> None:
    """Nobody calls anything: the command sees the lost run, undoes it, and ends when it is told to."""
    where = {"SRETOOLKIT_STORE_URL": config["store.url"], "SRETOOLKIT_JOURNAL_KEYS": config["journal.keys"]}
    command = [sys.executable, "-m", "sretoolkit", "watchdog", "--every", "1s"]
    watchdog = subprocess.Popen(command, cwd=REPOSITORY, env={**os.environ, **where}, stdout=subprocess.PIPE, text=True)
    try:
        run = killed("b.done")
        assert poll(lambda: load_run(store, run).state == "undone", timeout=30)
    finally:
        watchdog.terminate()
    said, _ = watchdog.communicate(timeout=30)

    assert (0, ["old", "old"]) == (watchdog.returncode, [world["a"], world["b"]])
    assert f"run {run}: recovered" in said


def test_the_watchdog_stays_while_its_store_is_away(tmp_path: Path) -> None:
    """It says so, looks again, and ends only when it is told to."""
    path = tmp_path / "store.db"
    path.mkdir()
    place = {**os.environ, "SRETOOLKIT_STORE_URL": f"sqlite:///{path}", "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "sretoolkit", "watchdog", "--every", "1s"]
    told = tmp_path / "told"
    with told.open("w") as out:
        watchdog = subprocess.Popen(command, cwd=REPOSITORY, env=place, stderr=out)
        try:
            assert poll(lambda: told.read_text().count("error: ") == 2, timeout=30)
            path.rmdir()
            assert poll(path.is_file, timeout=30)
        finally:
            watchdog.terminate()
            watchdog.wait(timeout=30)

    assert 0 == watchdog.returncode


@pytest.mark.parametrize("trap", ["a.do", "a.done", "b.do", "b.done", "c.done"])
def test_a_killed_process_is_resumed_from_the_journal(
    killed: Callable[..., str], world: Folder, store: Store, config: Config, trap: str
) -> None:
    """DESIGN "in-doubt step": verified first, then each step was done exactly once; one that had written is waited for."""
    run = killed(trap)
    recover(store, run, config=config, resume=True)

    assert ["do a", "do b", "do c"] == world.log
    assert ([trap[0]] if trap.endswith("done") else []) == [each.stem for each in sorted(world.path.glob("*.settled"))]
    assert ("completed", []) == (load_run(store, run).state, find_leases(store))


def test_a_lost_run_keeps_others_off_until_it_is_recovered(
    killed: Callable[..., str], world: Folder, store: Store, config: Config
) -> None:
    """DESIGN "A lease": the target of a lost run is not handed on over its unfinished change."""
    run = killed("b.done")
    with pytest.raises(LeaseHeld, match=run):
        Plan("t", [world.step("a")]).run(apply=True, config=config, store=store)
    store.write("UPDATE leases SET expires = 0")
    with pytest.raises(LeaseHeld, match="recover"):
        Plan("t", [world.step("a")]).run(apply=True, config=config, store=store)
    recover(store, run, config=config)

    assert "completed" == Plan("t", [world.step("a")]).run(apply=True, config=config, store=store).state


def test_the_policy_hold_is_kept_by_recovery(
    killed: Callable[..., str], world: Folder, store: Store, config: Config
) -> None:
    """DESIGN "Failure policy": a plan that is to be held is held by recover too; who recovers a held run means it."""
    run = killed("b.done", "hold")
    recover(store, run, config=config)
    assert ("new", "held", {"held"}) == (
        world["a"],
        load_run(store, run).state,
        {lease["state"] for lease in find_leases(store)},
    )
    recover(store, run, config=config)

    assert ("old", []) == (world["a"], find_leases(store))


def test_recovery_does_not_overwrite_somebody_elses_change(
    killed: Callable[..., str], world: Folder, store: Store, config: Config
) -> None:
    """DESIGN "undo restores before": recover refuses over another's change and holds; --force insists."""
    run = killed("b.done")
    world.tell("a", "somebody else's")
    with pytest.raises(UndoFailed, match="somebody else"):
        recover(store, run, config=config)
    assert ("somebody else's", "old", "held") == (world["a"], world["b"], load_run(store, run).state)
    recover(store, run, config=config, force=True)

    assert "old" == world["a"]


def test_recovery_fences_a_process_that_was_thought_dead(world: Folder, session: NewSession, store: Store) -> None:
    """DESIGN "A lease": after a take-over (token + 1) the stale holder's next step is refused."""
    current = session()
    stale = Leases(store, current.run, actor=Actor("alice")).take(["file:a"])
    Leases(store, current.run, actor=Actor("alice")).take(["file:a"]).release()

    with pytest.raises(LeaseLost):
        stale.check("file:a", needs=1)


def test_undo_of_a_finished_run_is_a_run_of_its_own(world: Folder, config: Config, store: Store) -> None:
    """DESIGN "undo RUN": a new run undoes a finished one, newest first, and can itself be undone."""
    done = Plan("t", [world.step("a"), world.step("b")]).run(apply=True, config=config, store=store)
    plan = reverse(rejoin(store, done.run, config=config))
    outcome = run_alone(plan, own_session(plan.title, mode="apply", config=config, store=store, undoes=done.run))

    assert ["do a", "do b", "undo b", "undo a"] == world.log
    assert ("completed", done.run) == (outcome.state, load_run(store, outcome.run).undoes)
    again = reverse(rejoin(store, outcome.run, config=config))
    assert "completed" == run_alone(again, own_session(again.title, mode="apply", config=config, store=store)).state
    assert ("new", "new") == (world["a"], world["b"])


def test_there_is_nothing_to_undo_in_a_plan_that_was_not_applied(world: Folder, config: Config, store: Store) -> None:
    """Undoing a run that changed nothing says so."""
    planned = Plan("t", [world.step("a")]).run(config=config, store=store)

    with pytest.raises(PlanError, match="nothing to undo"):
        reverse(rejoin(store, planned.run, config=config))


def test_undo_after_somebody_elses_change_needs_force(world: Folder, config: Config, store: Store) -> None:
    """DESIGN "undo restores before": the undo run holds where the target was changed since, unless forced."""
    done = Plan("t", [world.step("a")]).run(apply=True, config=config, store=store)
    world.tell("a", "somebody else's")
    forced = reverse(rejoin(store, done.run, config=config), force=True)

    assert "completed" == run_alone(forced, own_session("undo", mode="apply", config=config, store=store)).state
    assert "old" == Path(world.path / "a").read_text()


def test_a_held_run_is_recovered_but_not_over_somebody_elses_change(
    killed: Callable[..., str], world: Folder, store: Store, config: Config
) -> None:
    """DESIGN "undo restores before": recovering a held run is no licence to overwrite; that needs force."""
    run = killed("b.done", "hold")
    recover(store, run, config=config)
    world.tell("a", "somebody else's")

    with pytest.raises(UndoFailed, match="somebody else"):
        recover(store, run, config=config)
    assert ("somebody else's", "held") == (world["a"], load_run(store, run).state)


def test_only_one_of_two_recoveries_gets_the_run(killed: Callable[..., str], store: Store, config: Config) -> None:
    """A run that somebody took up since it was looked at is not taken up again."""
    run = load_run(store, killed("b.done"))
    reopen_run(rejoin(store, run.id, config=config).journal, run, why="first")

    with pytest.raises(JournalError, match="taken up by somebody else"):
        reopen_run(rejoin(store, run.id, config=config).journal, run, why="second")
    with pytest.raises(JournalError, match="it is running"):
        recover(store, run.id, config=config)


def test_a_finished_run_needs_no_recovery(world: Folder, store: Store, config: Config) -> None:
    """Recovering what has ended is refused, and changes nothing."""
    done = Plan("t", [world.step("a")]).run(apply=True, config=config, store=store)

    with pytest.raises(JournalError, match="it is completed"):
        recover(store, done.run, config=config)
    assert "new" == world["a"]
