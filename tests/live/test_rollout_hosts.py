"""Plain hosts over a real sshd: releases and links, a service that is restarted, and back."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from sretoolkit.config import Config, Value
from sretoolkit.errors import PlanError, StepFailed
from sretoolkit.plan import Context
from sretoolkit.rollout.rollout import Rollout
from sretoolkit.rollout.workload import STABLE, Workload
from sretoolkit.store import Store
from tests.stack.process import free_port
from tests.stack.sshd import Sshd

pytestmark = pytest.mark.live
START = """
test -f "$1/pid" && kill "$(cat "$1/pid")" 2>/dev/null
grep -q broken "$1/current/version" && {{ echo "the release is broken" >&2; exit 3; }}
cd "$1/current" && nohup {python} -m http.server --bind 127.0.0.1 {port} >/dev/null 2>&1 & echo $! > "$1/pid"
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """One sshd: every host of this file is this machine by another name."""
    with Sshd(tmp_path_factory.mktemp("sshd")) as started:
        yield started


@pytest.fixture
def service(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """A service of one host with releases 1, 2 and one that is broken; gives the workload's options."""
    folder, port = tmp_path / "shop", free_port()
    for version in ("1", "2", "2-broken"):
        (folder / "releases" / version).mkdir(parents=True)
        (folder / "releases" / version / "version").write_text(version)
    start = tmp_path / "start"
    start.write_text(START.format(python=sys.executable, port=port))
    asked = f"http://127.0.0.1:{port}/version"
    health = f"import urllib.request as u; u.build_opener(u.ProxyHandler({{}})).open({asked!r}, timeout=3)"
    yield {
        "kind": "hosts",
        "hosts": ["web1"],
        "folder": str(folder),
        "restart": ["sh", str(start), str(folder)],
        "stop": ["sh", "-c", f"kill $(cat {folder}/pid)"],
        "health": [sys.executable, "-c", health],
        "ready_within": "20s",
    }
    if (folder / "pid").exists():
        with suppress(ProcessLookupError):
            os.kill(int((folder / "pid").read_text()), signal.SIGTERM)


@pytest.fixture
def config(server: Sshd, config: Config) -> Config:
    """The test's configuration, with the host in it."""
    more = {f"hosts.{name}.{key}": value for name in ("web1", "web2") for key, value in server.options().items()}
    return Config({**config.values, **{key: Value(key, value, "test") for key, value in more.items()}})


@pytest.fixture
def running(service: dict[str, Any], ctx: Context) -> Workload:
    """The service with release 1."""
    workload = Workload.of(service)
    workload.set_track(ctx, STABLE, {"version": "1"})
    return workload


def test_a_release_is_linked_restarted_and_healthy(running: Workload, ctx: Context) -> None:
    """What is set is what runs, and the releases before it are there to go back to."""
    running.set_track(ctx, STABLE, {"version": "2"})

    assert {"version": "2"} == running.track(ctx, STABLE)
    assert "" == running.trouble(ctx, STABLE)
    assert {"1", "2-broken"} == {revision.version for revision in running.revisions(ctx)}


def test_a_rolling_rollout_and_the_way_back(
    running: Workload, service: dict[str, Any], config: Config, store: Store, ctx: Context
) -> None:
    """By plans, as any other change."""
    rollout = Rollout.of("shop", {"workload": service, "strategy": {"kind": "rolling", "bake": "1s"}})
    rollout.plan("2", config=config).run(apply=True, config=config, store=store)
    there = running.track(ctx, STABLE)
    rollout.rollback("1", config=config).run(apply=True, config=config, store=store)

    assert ({"version": "2"}, {"version": "1"}) == (there, running.track(ctx, STABLE))


def test_a_release_that_does_not_start_is_taken_back(
    running: Workload, service: dict[str, Any], config: Config, store: Store, ctx: Context
) -> None:
    """With the host's own words; the old release runs again."""
    rollout = Rollout.of("shop", {"workload": service, "strategy": {"kind": "rolling", "bake": "1s"}})
    with pytest.raises(StepFailed, match="the release is broken"):
        rollout.plan("2-broken", config=config).run(apply=True, config=config, store=store)

    assert {"version": "1"} == running.track(ctx, STABLE)
    assert "" == running.trouble(ctx, STABLE)


def test_a_release_that_is_not_there_is_refused_before_the_start(running: Workload, ctx: Context) -> None:
    """With where it has to be brought."""
    with pytest.raises(PlanError, match="not on web1") as caught:
        running.look(ctx, "7")

    assert "releases/7" in caught.value.hint
