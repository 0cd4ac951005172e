"""Leases: one holder a target, whatever happens, and a stale holder can do nothing more."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from multiprocessing.synchronize import Barrier
from typing import Any

import pytest

from sretoolkit.actor import Actor
from sretoolkit.clock import FakeClock, poll
from sretoolkit.errors import LeaseError, LeaseHeld, LeaseLost, StoreUnavailable
from sretoolkit.journal import Keys, close_run, open_run
from sretoolkit.lease import Leases, find_leases, free_leases, release_lease
from sretoolkit.store import Store

Open = Callable[..., Leases]


@pytest.fixture(autouse=True)
def no_thread_is_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A lease that a test keeps is not renewed after the test."""
    made: list[Leases] = []
    take = Leases.take

    def noted(self: Leases, *targets: Any, **options: Any) -> Leases:
        made.append(self)
        return take(self, *targets, **options)

    monkeypatch.setattr(Leases, "take", noted)
    yield
    for leases in made:
        leases._done.set()
        if leases._thread is not None:
            leases._thread.join()


@pytest.fixture
def opened(store: Store, keys: Keys) -> Open:
    """Open a run and give its leases, none taken yet."""

    def make(who: str = "alice", *, ttl: float = 90.0) -> Leases:
        journal = open_run(store, keys, runbook="test", actor=Actor(who), mode="apply")
        return Leases(store, journal.run, actor=Actor(who), ttl=ttl, clock=FakeClock())

    return make


def _end(leases: Leases, keys: Keys) -> None:
    from sretoolkit.journal import Journal

    close_run(Journal(leases.store, leases.run, actor=Actor("alice")), keys, state="failed", exit_code=1)


def _expire(store: Store, run: str) -> None:
    """Let the store's clock run past a lease's end."""
    store.write("UPDATE leases SET expires = {now} - 1 WHERE run = :run", run=run)


def test_one_holder_and_the_second_is_told_who(store: Store, opened: Open) -> None:
    """DESIGN "A lease": the second run learns who holds the target, since when, for which run."""
    first = opened("alice").take(["host:web"])
    with pytest.raises(LeaseHeld, match=rf"host:web is being changed by alice \(run {first.run}, since 20") as caught:
        opened("bob").take(["host:web"])
    holder = caught.value.holder
    assert ("alice", first.run, "active", "host:web") == (
        holder["who"],
        holder["run"],
        holder["state"],
        caught.value.target,
    )
    assert caught.value.retryable
    first.check("host:web", needs=10)


def test_waiting_ends_with_the_lease(store: Store, opened: Open) -> None:
    """DESIGN "A lease": a second run waits as asked, and has the target when the first one gives it back."""
    first = opened("alice").take(["host:web"])
    clock = FakeClock()

    def give_back_after_a_while(seconds: float) -> None:
        FakeClock.sleep(clock, seconds)
        if clock.monotonic() > 3:
            first.release()

    clock.sleep = give_back_after_a_while  # type: ignore[method-assign]
    second = Leases(store, opened("bob").run, actor=Actor("bob"), clock=clock).take(["host:web"], wait=60)
    assert ({"host:web": 2}, True) == (second.tokens, 3 < clock.monotonic() < 4)


def test_waiting_gives_up_in_time(store: Store, opened: Open) -> None:
    """DESIGN "A lease": the wait is for all targets together, and then the refusal says who has it."""
    first = opened("alice").take(["b"])
    second = opened("bob")
    with pytest.raises(LeaseHeld, match="b is being changed by alice"):
        second.take(["a", "b", "c"], wait=5)
    assert 5 <= second._clock.monotonic() < 5.2
    first.release()


def test_all_targets_or_none(store: Store, opened: Open) -> None:
    """DESIGN "A lease": a plan that cannot have every target keeps none, and its renewing thread ends."""
    opened("alice").take(["b"])
    second = opened("bob")
    with pytest.raises(LeaseHeld):
        second.take(["a", "c", "b"])
    assert (["b"], {}, None) == ([lease["target"] for lease in find_leases(store)], second.tokens, second._thread)


def test_all_or_none_also_when_the_store_fails(store: Store, opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """DESIGN "A lease": whatever breaks the taking of several gives back the ones that were taken."""
    leases = opened("alice")
    take = leases._take

    def fails(target: str) -> int:
        if target == "c":
            raise StoreUnavailable("away")
        return take(target)

    monkeypatch.setattr(leases, "_take", fails)
    with pytest.raises(StoreUnavailable):
        leases.take(["a", "b", "c"])
    assert ([], {}) == (find_leases(store), leases.tokens)


def test_the_first_target_stays_ours_while_we_wait_for_the_second(store: Store, opened: Open) -> None:
    """DESIGN "A lease": renewal begins with the first target, for the wait may be longer than a lease."""
    opened("alice").take(["b"])
    second = opened("bob", ttl=0.03)
    seen: list[float] = []

    def look(seconds: float) -> None:
        before = store.read("SELECT expires FROM leases WHERE target = 'a'")[0]["expires"]
        assert poll(
            lambda: store.read("SELECT expires FROM leases WHERE target = 'a'")[0]["expires"] > before, timeout=10
        )
        seen.append(seconds)
        FakeClock.sleep(second._clock, seconds)  # type: ignore[arg-type]

    second._clock.sleep = look  # type: ignore[method-assign]
    with pytest.raises(LeaseHeld):
        second.take(["a", "b"], wait=0.3)
    assert len(seen) >= 3


def test_targets_are_taken_in_sorted_order(store: Store, opened: Open) -> None:
    """DESIGN "A lease": sorted order, so that two plans never wait for each other for ever; twice the same is once."""
    leases = opened().take(["c", "a", "b", "a"])
    assert {"a": 1, "b": 1, "c": 1} == leases.tokens
    assert ["a", "b", "c"] == list(leases.tokens)


def test_the_thread_renews_and_ends(store: Store, opened: Open) -> None:
    """DESIGN "A lease": a thread renews it; after the end there is no thread."""
    leases = opened(ttl=0.03).take(["a"])
    before = store.read("SELECT expires FROM leases")[0]["expires"]
    assert poll(lambda: store.read("SELECT expires FROM leases")[0]["expires"] > before + 0.05, timeout=20)
    leases.release()
    assert [] == [thread.name for thread in threading.enumerate() if thread.name == f"lease-{leases.run}"]


def test_a_lease_ends_by_the_stores_clock_alone(store: Store, opened: Open) -> None:
    """DESIGN "A lease": this machine's clock may say what it likes."""
    leases = opened("alice").take(["a"])
    leases._clock.jump(timedelta(days=400))  # type: ignore[attr-defined]
    assert "active" == find_leases(store)[0]["state"]
    _expire(store, leases.run)
    assert "expired" == find_leases(store)[0]["state"]


def test_a_lost_runs_target_is_refused_until_it_was_recovered(store: Store, opened: Open, keys: Keys) -> None:
    """DESIGN "A lease": an expired lease of a run that never ended may stand for a half-done change."""
    lost = opened("alice").take(["a"])
    _expire(store, lost.run)
    with pytest.raises(LeaseHeld, match=r"was left by alice .* which was lost in the middle") as caught:
        opened("bob").take(["a"])
    assert f"`sretoolkit recover {lost.run}` undoes or resumes it" == caught.value.hint
    _end(lost, keys)
    assert {"a": 2} == opened("bob").take(["a"]).tokens


def test_an_ended_runs_target_is_free(store: Store, opened: Open, keys: Keys) -> None:
    """A run that ended and could not give its lease back keeps nobody waiting."""
    first = opened("alice").take(["a"])
    _end(first, keys)
    assert {"a": 2} == opened("bob").take(["a"]).tokens
    with pytest.raises(LeaseLost):
        first.check("a", needs=1)


def test_a_stale_holders_next_step_is_refused(store: Store, opened: Open) -> None:
    """DESIGN "A lease": each step re-checks its fencing token first; taken over is taken over, also by the same run."""
    stale = opened("alice").take(["a"])
    supervisor = Leases(store, stale.run, actor=Actor("alice")).take(["a"])
    assert ({"a": 1}, {"a": 2}) == (stale.tokens, supervisor.tokens)
    with pytest.raises(LeaseLost, match=r"a is not .* leased to this process of run") as caught:
        stale.check("a", needs=1)
    assert "a" == caught.value.target
    supervisor.check("a", needs=1)


def test_a_stale_holder_cannot_give_away_what_is_anothers(store: Store, opened: Open) -> None:
    """DESIGN "A lease": releasing, holding and renewing by an old token change nothing."""
    stale = opened("alice").take(["a"])
    supervisor = Leases(store, stale.run, actor=Actor("alice")).take(["a"])
    before = find_leases(store)
    assert 0 == stale._renew("a", 10_000)
    stale.release()
    assert before == find_leases(store)
    supervisor.check("a", needs=1)


def test_a_check_makes_the_lease_last_for_the_step(store: Store, opened: Open) -> None:
    """DESIGN "A lease": a step's own deadline is shorter than what is left of its lease."""
    leases = opened(ttl=60).take(["a"])
    leases.check("a", needs=500)
    row = store.read("SELECT expires - {now} AS rest FROM leases")[0]
    assert 490 < row["rest"] <= 500


def test_what_was_never_taken_or_given_back_is_not_ours(store: Store, opened: Open) -> None:
    """DESIGN "A lease": no target can be changed without one, by mistake either."""
    leases = opened().take(["a"])
    with pytest.raises(LeaseLost):
        leases.check("b", needs=1)
    leases.release()
    with pytest.raises(LeaseLost):
        leases.check("a", needs=1)


def test_a_token_never_comes_back(store: Store, opened: Open, keys: Keys) -> None:
    """DESIGN "A lease": every taking has a higher token than all before, through release, hold and recovery."""
    tokens = []
    for _ in range(3):
        leases = opened().take(["a"])
        tokens.append(leases.tokens["a"])
        leases.release()
    held = opened().take(["a"])
    tokens.append(held.tokens["a"])
    held.hold()
    release_lease(store, "a")
    last = opened().take(["a"])
    tokens.append(last.tokens["a"])
    free_leases(store, last.run)
    tokens.append(opened().take(["a"]).tokens["a"])
    assert sorted(set(tokens)) == tokens


def test_held_has_no_end_until_a_person_says_so(store: Store, opened: Open, keys: Keys) -> None:
    """DESIGN "A lease": state held (failure policy hold) has no expiry and is ended by `lease release`."""
    held = opened("alice").take(["a"])
    held.hold()
    _expire(store, held.run)
    _end(held, keys)
    assert [("a", "held", None)] == [(row["target"], row["state"], row["expires"]) for row in find_leases(store)]
    with pytest.raises(LeaseHeld, match=r"a is held by alice .* ended without being undone") as caught:
        opened("bob").take(["a"])
    assert (
        f"`sretoolkit recover {held.run}`, or `sretoolkit lease release a` when it is as it should be"
        == caught.value.hint
    )
    assert held.run == release_lease(store, "a")
    opened("bob").take(["a"])


def test_a_held_target_is_taken_over_by_its_own_run(store: Store, opened: Open) -> None:
    """DESIGN "A lease": recovering or undoing a held run works on what it holds."""
    held = opened("alice").take(["a"])
    held.hold()
    assert {"a": 2} == Leases(store, held.run, actor=Actor("bob")).take(["a"]).tokens


def test_a_lease_that_is_in_use_is_not_released_by_hand(store: Store, opened: Open) -> None:
    """A person ends what is held or expired; a run at work is stopped first. What nobody has is said too."""
    leases = opened().take(["a"])
    with pytest.raises(LeaseError, match="works on a now"):
        release_lease(store, "a")
    leases.check("a", needs=1)
    with pytest.raises(LeaseError, match="nobody has a lease on b"):
        release_lease(store, "b")


def test_releasing_by_hand_loses_against_a_take_over_at_that_moment(
    store: Store, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between looking and releasing the run may be recovered: its new lease is not taken away."""
    lost = opened().take(["a"])
    _expire(store, lost.run)
    look = find_leases

    def look_then_somebody_recovers(store: Store) -> list[dict[str, object]]:
        found = look(store)
        Leases(store, lost.run, actor=Actor("alice")).take(["a"])
        return found

    monkeypatch.setattr("sretoolkit.lease.find_leases", look_then_somebody_recovers)
    with pytest.raises(LeaseError, match="taken by somebody this very moment"):
        release_lease(store, "a")
    assert [("a", "active", 2)] == [(row["target"], row["state"], row["token"]) for row in look(store)]


def test_freeing_a_dead_runs_leases_leaves_the_held_ones(store: Store, opened: Open) -> None:
    """Recovery ends what was active; what is held stays held."""
    leases = opened().take(["a"])
    other = Leases(store, leases.run, actor=Actor("alice")).take(["b"])
    other.hold()
    free_leases(store, leases.run)
    assert ["b"] == [row["target"] for row in find_leases(store)]


def test_no_targets_is_no_lease(store: Store, opened: Open) -> None:
    """A plan of gates alone takes nothing and starts no thread."""
    assert ({}, None) == ((leases := opened().take([])).tokens, leases._thread)


def race(url: str, run: str, barrier: Barrier, answers: multiprocessing.SimpleQueue[str]) -> None:
    """Try to take one target at the same moment as the others, and keep it."""
    with Store(url, timeout=60) as store:
        leases = Leases(store, run, actor=Actor(run))
        barrier.wait(60)
        try:
            leases.take(["prize"])
            answers.put("won")
        except LeaseHeld as error:
            answers.put(str(error.holder["run"]))
        barrier.wait(60)


def test_of_processes_that_race_for_one_target_exactly_one_wins(store: Store, opened: Open) -> None:
    """DESIGN "A lease": exclusive over the store; the losers are told the winner's run."""
    runs = [opened().run for _ in range(4)]
    spawn = multiprocessing.get_context("spawn")
    barrier, answers = spawn.Barrier(len(runs)), spawn.SimpleQueue()
    racers = [spawn.Process(target=race, args=(store.url, run, barrier, answers)) for run in runs]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join(100)
    got = [answers.get() for _ in runs]
    winner = find_leases(store)[0]
    assert sorted(["won", *[winner["run"]] * (len(runs) - 1)]) == sorted(got)
    assert ([0] * len(runs), 1) == ([racer.exitcode for racer in racers], winner["token"])
