"""Schedules on a real PostgreSQL with real processes, and as a real API server reads them."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from sretoolkit.clock import poll
from sretoolkit.config import Config
from sretoolkit.journal import find_runs
from sretoolkit.runbook.export import EXPORTS
from sretoolkit.runbook.schedules import Schedules
from sretoolkit.store import Store
from tests.live.conftest import ours
from tests.runbook.desk import Desk
from tests.runbook.test_schedules import ADDING, kill_tickers, schedule
from tests.stack.kubernetes import Cluster
from tests.stack.postgres import Postgres

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]


@pytest.fixture
def store() -> Iterator[Store]:
    """A PostgreSQL of the test's own."""
    with Postgres() as server, Store(server.url) as opened:
        yield opened


def test_tickers_that_are_killed_neither_repeat_nor_leave_out_a_tick(store: Store) -> None:
    """Each tick is asked for once, as with SQLite."""
    kill_tickers(store)


def test_two_servers_of_which_one_is_killed_run_each_tick_once(
    store: Store, config: Config, own_home: Path, write_notebook: Callable[..., Path]
) -> None:
    """`sretoolkit schedule run` twice, killed without warning in turn: six ticks, six runs, each whole."""
    path = write_notebook(*ADDING)
    desk = Desk(own_home, Config({**config.values, **Config.of(store={"url": store.url}).values}))
    Schedules(store).add(schedule(runbook=str(path), cron="* * * * *", missed="all", overlap="queue"))
    store.write("UPDATE schedules SET ticked = ticked - 420, due = due - 420")
    running = [desk.start("schedule", "run"), desk.start("schedule", "run")]
    for wanted in (1, 3):
        assert poll(lambda wanted=wanted: len(find_runs(store, limit=100)) >= wanted, timeout=100)  # type: ignore[misc]
        killed = running.pop(0)
        os.kill(killed.pid, signal.SIGKILL)
        killed.communicate()
        running.append(desk.start("schedule", "run"))
    assert poll(lambda: len(find_runs(store, state="completed", limit=100)) >= 6, timeout=150)
    for one in running:
        one.terminate()
        one.communicate(timeout=30)
    ticks = Schedules(store).history("book", limit=100)
    runs = [run.id for run in find_runs(store, limit=100)]
    assert len(set(runs)) == len(runs)
    assert set(runs) <= {tick.run for tick in ticks}
    assert {"completed", "asked", "queued"} >= {tick.state for tick in ticks}
    asked = store.read("SELECT once FROM requests")
    assert len(asked) == len({row["once"] for row in asked}) == len([tick for tick in ticks if tick.run])


def test_an_api_server_takes_the_manifests(kube: Cluster) -> None:
    """By a dry run on the server: the Job as it is; the CronJob as this server's version has it, where it has no other."""
    own = ours(kube)
    config = Config.of(executors={"kubernetes": {"image": own.image, "namespace": "default", "keys": "keys"}})
    (text,) = EXPORTS["kubernetes"](schedule(cron="30 2 1-7 * 1-5"), config, "").files().values()
    manifest = yaml.safe_load(text)
    if "batch/v1 " not in own.kubectl("api-versions").replace("\n", " ") or "cronjobs" not in own.kubectl(
        "api-resources", "--api-group=batch", "-o", "name"
    ):
        pytest.skip("this server has no CronJobs at all")
    served = own.kubectl("get", "--raw", "/apis/batch/v1")
    manifest["apiVersion"] = "batch/v1" if '"cronjobs"' in served else "batch/v1beta1"
    said = own.kubectl("apply", "--dry-run=server", "--validate=true", "-f", "-", input=yaml.safe_dump(manifest))
    assert "cronjob.batch/book created (server dry run)\n" == said
    job = {"apiVersion": "batch/v1", "kind": "Job", **manifest["spec"]["jobTemplate"]}
    job["metadata"] = {**job["metadata"], "name": "book", "namespace": "default"}
    said = own.kubectl("apply", "--dry-run=server", "--validate=true", "-f", "-", input=yaml.safe_dump(job))
    assert "job.batch/book created (server dry run)\n" == said
