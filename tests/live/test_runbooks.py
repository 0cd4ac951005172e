"""The shipped runbooks through the real command line, on real systems: plan, apply, undo, kill, recover."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from sretoolkit.clock import poll
from sretoolkit.config import Config
from sretoolkit.journal import Keys, find_runs, load_run, verify_store
from sretoolkit.store import Store
from tests.live.conftest import algorithm_of
from tests.runbook.desk import CHANGING, Desk
from tests.stack.docker import Docker
from tests.stack.postgres import Postgres
from tests.stack.prometheus import Prometheus
from tests.stack.sshd import Sshd

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """One sshd for this file."""
    with Sshd(tmp_path_factory.mktemp("sshd")) as server:
        yield server


@pytest.fixture(params=["local", "ssh"])
def box(request: pytest.FixtureRequest, desk: Desk, netns: str, server: Sshd) -> Desk:
    """A desk whose configuration has the host "box": this machine inside the namespace, by either connection."""
    options = {"connection": "local"} if request.param == "local" else server.options()
    table = "".join(f"{key} = {json.dumps(value)}\n" for key, value in {**options, "netns": netns}.items())
    (desk.home / "sretoolkit.toml").write_text(f"[hosts.box]\n{table}")
    desk.environment["SRETOOLKIT_RUNBOOKS_FOLDERS"] = json.dumps(desk.config["runbooks.folders"])
    return desk


def test_tcp_congestion_is_planned_applied_verified_and_undone(box: Desk, netns: str, other: str) -> None:
    """Plan shows before and after, apply changes and reads back, undo restores, and each run is proved by its journal."""
    arguments = ("run", "tcp_congestion", "-p", "host=box", "-p", f"algorithm={other}")
    assert 0 == box.run(*arguments).returncode
    assert ("planned", "reno") == (box.last.state, algorithm_of(netns))
    done = box.run(*arguments, "--apply")
    assert 0 == done.returncode, done.stdout
    assert ("completed", other) == (box.last.state, algorithm_of(netns))
    assert 0 == box.run("undo", "last", "--apply").returncode
    assert "reno" == algorithm_of(netns)
    with Store(box.config["store.url"]) as store:
        assert ["whole"] * 4 == [proof.state for proof in verify_store(store, Keys.of(box.config))]


def test_a_killed_apply_leaves_the_old_value(box: Desk, netns: str, other: str) -> None:
    """SIGKILL to the runner once the change is made: recover puts the old value back."""
    process = box.start("run", "tcp_congestion", "-p", "host=box", "-p", f"algorithm={other}", "--apply")

    def changed() -> bool:
        return any(entry.kind == "step-after" for run in box.runs() for entry in box.entries(run.id))

    assert poll(changed, timeout=30, interval=0.005)
    process.kill()
    process.communicate(timeout=30)
    assert [] == box.survivors()
    if box.last.state == "lost":
        assert 0 == box.run("recover").returncode
    else:  # it had ended before the signal came
        assert 0 == box.run("undo", "last", "--apply").returncode

    assert "reno" == algorithm_of(netns)
    assert "whole" == box.journal_state(box.last.id)


def test_pid1_health_looks_at_this_machine_and_over_ssh(box: Desk) -> None:
    """The report is in the record, for this machine and for one over SSH."""
    done = box.run("run", "pid1_health", "-p", 'targets=["box"]')

    assert 0 == done.returncode, done.stdout
    assert "PID 1 health of box" in done.stdout
    assert "PID 1 health of box" in Path(str(box.last.html)).read_text()


def test_query_metrics_shows_a_chart_and_a_table(desk: Desk) -> None:
    """A range from a real Prometheus is in the record as a picture and as numbers; no data is a failure."""
    desk.environment["SRETOOLKIT_RUNBOOKS_FOLDERS"] = json.dumps(desk.config["runbooks.folders"])
    with Prometheus() as prometheus:
        arguments = ("run", "query_metrics", "-p", f"source={prometheus.source}", "-p", "window=5m")

        def asked() -> bool:
            return desk.run(*arguments, "-p", "query=up").returncode == 0

        assert poll(asked, timeout=60, interval=0.5)
        page = Path(str(desk.last.html)).read_text()
        assert "data:image/svg+xml;base64," in page
        assert "prometheus" in page
        assert 1 == desk.run(*arguments, "-p", "query=no_such_metric").returncode
    assert "NoData" in desk.last.error


def test_a_team_recovers_each_others_runs_over_postgresql(desk: Desk, write_notebook: object) -> None:
    """DESIGN "With SQLite there is no rollback from another machine": with PostgreSQL a run killed here is undone elsewhere."""
    with Postgres() as server:
        desk.environment["SRETOOLKIT_STORE_URL"] = server.url
        desk.world.tell("b.done", "hang")
        process = desk.start_apply(write_notebook(*CHANGING))  # type: ignore[operator]
        assert desk.hanging("b")
        process.kill()
        process.communicate(timeout=30)
        assert [] == desk.survivors()
        elsewhere = Desk(
            desk.home, Config({**desk.config.values, **Config.of(journal={"keys": f"{desk.home}/other"}).values})
        )
        elsewhere.environment["SRETOOLKIT_STORE_URL"] = server.url
        done = elsewhere.run("recover")
        with Store(server.url) as store:
            run = find_runs(store)[0]

            assert (0, "undone") == (done.returncode, load_run(store, run.id).state), done.stdout
        assert ["old"] * 3 == desk.values
        assert 0 == elsewhere.run("journal", "verify", "--all").returncode


def test_a_container_is_cured_and_the_cure_taken_back(desk: Desk) -> None:
    """pid1_remedy: planned it changes nothing; applied the finding is gone and on record; undone the old container runs."""
    with Docker() as engine:
        desk.environment["DOCKER_HOST"] = engine.url
        name = engine.run("sleep", "600", options=("--stop-timeout", "1"))
        before = engine.call("inspect", "--format", "{{.Id}}", name)
        arguments = ("run", "pid1_remedy", "-p", f"container={name}", "-p", "cure=init")

        assert 0 == desk.run(*arguments).returncode
        assert before == engine.call("inspect", "--format", "{{.Id}}", name)
        assert 0 == desk.run(*arguments, "--apply").returncode
        page = Path(str(desk.last.html)).read_text()
        assert "SIGTERM: dropped" in page
        assert "SIGTERM: handled" in page
        assert before != engine.call("inspect", "--format", "{{.Id}}", name)
        assert 0 == desk.run("undo", desk.last.id, "--apply").returncode
        assert before == engine.call("inspect", "--format", "{{.Id}}", name)


def test_a_stop_is_rehearsed(desk: Desk) -> None:
    """pid1_rehearse_stop: the clone is killed after the grace period; that is in the record, and no clone is left."""
    with Docker() as engine:
        desk.environment["DOCKER_HOST"] = engine.url
        name = engine.run("sleep", "600", options=("--stop-timeout", "1"))
        arguments = ("run", "pid1_rehearse_stop", "-p", f"container={name}", "-p", "settle=1s")
        assert 0 == desk.run(*arguments, "--apply").returncode
        assert "was killed after 1 s" in Path(str(desk.last.html)).read_text()
        assert [name] == engine.call("ps", "-a", "--format", "{{.Names}}").split()
