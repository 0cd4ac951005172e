"""The rollout runbooks, run as an engineer runs them, on the embedded shop: good, bad, killed, and back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sretoolkit.clock import poll
from sretoolkit.rollout.local.opening import Shop, open_shop
from tests.rollout.desk import Desk, of_shop


@pytest.fixture
def shop() -> Iterator[Shop]:
    """One of its own for each test, under load."""
    with open_shop(rate=120) as opened:
        assert poll(lambda: opened.served.get("200", 0) > 300, timeout=30)
        yield opened


@pytest.fixture
def desk(tmp_path: Path, shop: Shop) -> Desk:
    """With that shop."""
    return Desk(tmp_path / "engineer", of_shop(shop))


def test_a_good_canary_is_promoted_and_rolled_back_on_order(desk: Desk, shop: Shop) -> None:
    """All requests go to the new version; then the rollback runbook takes it back, and sees that all is well."""
    code, said = desk.roll_out("2.0")
    after = desk.now
    back = desk.run(
        "run",
        "rollback",
        "-p",
        "name=shop",
        "-p",
        "to=1.0",
        "-p",
        "sli=errors",
        "-p",
        "source=shop",
        "-p",
        "limit=0.1",
        "--apply",
    )

    assert 0 == code, said
    assert "version 2.0" in after
    assert "candidate" not in after
    assert 0 == back[0], back[1]
    assert "version 1.0" in desk.now
    assert 0 == shop.served.get("lost", 0)


def test_a_bad_canary_is_taken_back_and_the_record_shows_why(desk: Desk) -> None:
    """Exit code 3; the record has the evidence, and the old version serves."""
    code, said = desk.roll_out("2.1")
    records = list((desk.home / "state").rglob("*.html"))

    assert 3 == code, said
    assert "version 1.0" in desk.now
    page = records[0].read_text()
    assert "of the old version" in page, said
    assert "errors: evidence" in page
    assert "errors: bad so far" in page
    assert "All that was changed was taken back." in page


def test_a_killed_runner_is_taken_back_by_the_watchdog(desk: Desk, shop: Shop) -> None:
    """The runner dies with the candidate in the requests: nobody does anything, and the old version serves."""
    desk.killed_at(50, "2.0")
    desk.taken_back(lambda: "candidate" not in desk.now)

    assert "version 1.0" in desk.now
    assert 0 == shop.served.get("lost", 0)


def test_a_person_aborts_from_the_command_line(desk: Desk) -> None:
    """The word reaches the run within its gate, and all is taken back."""
    runner = desk.start("run", "canary_rollout", "-p", "name=shop", "-p", "version=2.2", "--apply")
    assert poll(lambda: desk.gave(50), timeout=60)
    code, said = desk.run("rollout", "abort", "shop", "--reason", "it feels slow")
    runner.communicate(timeout=60)

    assert 0 == code, said
    assert runner.returncode != 0
    assert "version 1.0" in desk.now


def test_plan_mode_changes_nothing(desk: Desk) -> None:
    """Without --apply all is shown, and nothing is made."""
    code, said = desk.run("run", "canary_rollout", "-p", "name=shop", "-p", "version=2.0")

    assert 0 == code, said
    assert "candidate" not in desk.now
