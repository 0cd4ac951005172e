"""The rollout runbooks, run as an engineer runs them, on the embedded shop: good, bad, killed, and back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sretoolkit.clock import poll
from sretoolkit.rollout.local.opening import Shop, open_shop
from tests.conftest import REPOSITORY


class Desk:
    """A home with a configured shop."""

    def __init__(self, home: Path, shop: Shop) -> None:
        self.home = home
        self.shop = shop
        part = f'{{kind = "local", folder = "{shop.folder}"}}'
        measure = {"name": "errors", "source": "shop", "by": "instance", "candidate": "candidate-.*", "worth": 5.0}
        measure |= {"bad": 'requests_total{code="500"}', "total": "requests_total", "interval": "1s", "history": "1m"}
        told = ", ".join(f"{key} = {json.dumps(value)}" for key, value in measure.items())
        (home / "sretoolkit.toml").write_text(
            f"""
[sources.shop]
kind = "local"
url = "{shop.source["url"]}"

[slis.errors]
kind = "error_ratio"
bad = 'requests_total{{code="500"}}'
total = "requests_total"

[rollouts.shop]
workload = {part}
router = {part}
strategy = {{kind = "canary", steps = [50], bake = "40s"}}
measures = [{{{told}}}]
markers = ["shop"]
look = "1s"
patience = "10s"
"""
        )
        kept = {key: value for key, value in os.environ.items() if not key.startswith("SRETOOLKIT_")}
        self.environment = {**kept, "HOME": str(home), "XDG_STATE_HOME": str(home / "state")}
        self.environment["SRETOOLKIT_RUNBOOKS_FOLDERS"] = json.dumps([str(REPOSITORY / "runbooks")])

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """The command, not waited for."""
        return subprocess.Popen(
            [sys.executable, "-m", "sretoolkit", *arguments],
            cwd=self.home, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def run(self, *arguments: str) -> tuple[int, str]:
        """Exit code and all that it said."""
        process = self.start(*arguments)
        said, _ = process.communicate(timeout=240)
        return process.returncode, said

    def roll_out(self, version: str) -> tuple[int, str]:
        """The canary runbook, for real."""
        return self.run("run", "canary_rollout", "-p", "name=shop", "-p", f"version={version}", "--apply")

    @property
    def now(self) -> str:
        """How the shop stands."""
        return self.run("rollout", "status", "shop")[1]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """A shop of its own for each test."""
    home = tmp_path / "engineer"
    home.mkdir()
    with open_shop(rate=120) as shop:
        assert poll(lambda: shop.served.get("200", 0) > 300, timeout=30)
        yield Desk(home, shop)


def test_a_good_canary_is_promoted_and_rolled_back_on_order(desk: Desk) -> None:
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
    assert 0 == desk.shop.served.get("lost", 0)


def test_a_bad_canary_is_taken_back_and_the_record_shows_why(desk: Desk) -> None:
    """Exit code 3; the record has the evidence, and the old version serves."""
    code, said = desk.roll_out("2.1")
    records = list((desk.home / "state").rglob("*.html"))

    assert 3 == code, said
    assert "version 1.0" in desk.now
    page = records[0].read_text()
    assert "of the old version" in page
    assert "errors: evidence" in page


def test_a_killed_runner_is_taken_back_by_the_watchdog(desk: Desk) -> None:
    """The runner dies with the candidate in the requests: nobody does anything, and the old version serves."""
    runner = desk.start("run", "canary_rollout", "-p", "name=shop", "-p", "version=2.0", "--apply")
    assert poll(lambda: "50 %" in desk.now, timeout=60, interval=0.5)
    os.kill(runner.pid, signal.SIGKILL)
    runner.communicate(timeout=30)
    watchdog = desk.start("watchdog", "--every", "1s")
    try:
        assert poll(lambda: "candidate" not in desk.now, timeout=60, interval=0.5)
    finally:
        watchdog.terminate()
        watchdog.communicate(timeout=30)

    assert "version 1.0" in desk.now
    assert 0 == desk.shop.served.get("lost", 0)


def test_a_person_aborts_from_the_command_line(desk: Desk) -> None:
    """The word reaches the run within its gate, and all is taken back."""
    runner = desk.start("run", "canary_rollout", "-p", "name=shop", "-p", "version=2.2", "--apply")
    assert poll(lambda: "50 %" in desk.now, timeout=60, interval=0.5)
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
