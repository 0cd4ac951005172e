"""Faults of a canary on the embedded shop: a version that breaks later, a kernel that dies, a clock that jumps, two at once."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from sretoolkit.clock import poll
from sretoolkit.rollout.local.opening import Shop, open_shop
from tests.rollout.desk import Desk, of_shop
from tests.stack.wall_clock import WallClock

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]


@pytest.fixture
def shop() -> Iterator[Shop]:
    """One of its own for each test, under load."""
    with open_shop(rate=150, served=500) as opened:
        yield opened


def shares(desk: Desk) -> list[int]:
    """The shares that the journal has, in order."""
    return [each.value for each in desk.written() if each.kind == "SetWeight"]


def as_before(desk: Desk, shop: Shop) -> bool:
    """The old version alone, and no request was lost."""
    return "version 1.0" in desk.now and "candidate" not in desk.now and not shop.served.get("lost", 0)


def kernel_of(runner: int) -> int:
    """The process of a runner's kernel: the lowest one of that name, below its guard."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                parent = int((entry / "stat").read_text(errors="replace").rpartition(")")[2].split()[1])
            except OSError:
                continue
            children.setdefault(parent, []).append(int(entry.name))
    below, found = [runner], []
    while below:
        process = below.pop()
        below += children.get(process, [])
        if b"kernel" in (Path("/proc") / str(process) / "cmdline").read_bytes():
            found.append(process)
    return found[-1]


@pytest.mark.parametrize(("version", "given"), [("2.3", [10, 50, 10, 0]), ("2.4", [])])
def test_a_version_that_breaks_later_or_at_once(shop: Shop, tmp_path: Path, version: str, given: list[int]) -> None:
    """Fine until it gets half of the requests: the judge takes it back there; one that ends at its start gets none."""
    strategy = {"kind": "canary", "steps": [10, 50], "bake": "40s"}
    desk = Desk(tmp_path / "engineer", of_shop(shop, strategy=strategy))
    code, said = desk.roll_out(version)

    assert code in (1, 3), said
    assert given == shares(desk)
    assert as_before(desk, shop)


def test_one_that_starts_slowly_is_waited_for(shop: Shop, tmp_path: Path) -> None:
    """Two seconds until it answers: it gets no request before, and is then as good as any."""
    desk = Desk(tmp_path / "engineer", of_shop(shop))
    code, said = desk.roll_out("2.5")

    assert 0 == code, said
    assert "version 2.5" in desk.now
    assert 0 == shop.served.get("lost", 0)


def test_the_kernel_is_killed(shop: Shop, tmp_path: Path) -> None:
    """With half of the requests on the candidate: the run's own supervisor takes it back at once."""
    desk = Desk(tmp_path / "engineer", of_shop(shop, strategy={"kind": "canary", "steps": [50], "bake": "60s"}))
    runner = desk.start("run", "canary_rollout", "-p", "name=shop", "-p", "version=2.0", "--apply")
    assert poll(lambda: desk.gave(50), timeout=60)
    os.kill(kernel_of(runner.pid), signal.SIGKILL)
    said, _ = runner.communicate(timeout=60)

    assert runner.returncode == 1, said
    assert [50, 0] == shares(desk)
    assert as_before(desk, shop)


def test_two_rollouts_of_one_service(shop: Shop, tmp_path: Path) -> None:
    """The second one is refused with who has it; the first one is not disturbed."""
    desk = Desk(
        tmp_path / "engineer", of_shop(shop, strategy={"kind": "canary", "steps": [50], "bake": "90s"}, measures=[])
    )
    first = desk.start("run", "canary_rollout", "-p", "name=shop", "-p", "version=2.2", "--apply")
    assert poll(lambda: desk.gave(50), timeout=60)
    code, said = desk.roll_out("2.0")
    between = shares(desk)
    assert 0 == desk.run("rollout", "abort", "shop", "--reason", "enough seen")[0]
    first.communicate(timeout=60)

    assert code != 0
    assert "candidate" in said
    assert ([50], [50, 0]) == (between, shares(desk))
    assert as_before(desk, shop)


@pytest.mark.parametrize("jump", [3600, -3600])
def test_the_clock_jumps_while_it_bakes(shop: Shop, tmp_path: Path, jump: int) -> None:
    """An hour forth or back is no hour of baking: the time that was asked for is waited, by the clock that cannot jump."""
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")
    clock = WallClock(tmp_path)
    strategy = {"kind": "canary", "steps": [50], "bake": "12s"}
    desk = Desk(tmp_path / "engineer", of_shop(shop, strategy=strategy, measures=[]), clock.environment)
    runner = desk.start("run", "canary_rollout", "-p", "name=shop", "-p", "version=2.0", "--apply")
    assert poll(lambda: "s to go" in desk.now or ("12s" in desk.now and "50 %" in desk.now), timeout=60, interval=0.2)
    clock.set(jump)
    said, _ = runner.communicate(timeout=90)

    assert 0 == runner.returncode, said
    looks = [entry for entry in desk.entries() if entry.kind in ("gate-opened", "gate-passed")]
    opened, passed = [each.content["elapsed"] for each in looks][-2:]
    assert 12 <= passed - opened < 30
    assert "version 2.0" in desk.now


@pytest.mark.parametrize("jump", [3600, -3600])
def test_the_clock_jumps_while_it_is_judged(shop: Shop, tmp_path: Path, jump: int) -> None:
    """What was measured no longer fits the time: whatever comes of it, a bad version is not promoted."""
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")
    clock = WallClock(tmp_path)
    desk = Desk(tmp_path / "engineer", of_shop(shop), clock.environment)
    runner = desk.start("run", "canary_rollout", "-p", "name=shop", "-p", "version=2.1", "--apply")
    assert poll(lambda: desk.gave(50), timeout=60)
    clock.set(jump)
    said, _ = runner.communicate(timeout=120)

    assert 3 == runner.returncode, said
    assert as_before(desk, shop)
