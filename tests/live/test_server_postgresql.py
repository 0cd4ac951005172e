"""The server on a real PostgreSQL: two of them on one store, and the same roles at the command line."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sretoolkit.actor import Actor
from sretoolkit.config import Config
from sretoolkit.journal import Keys, open_run
from sretoolkit.lease import Leases
from sretoolkit.store import Store
from tests.runbook.desk import Desk
from tests.server.conftest import READING
from tests.server.serving import Served, Visitor
from tests.stack.postgres import Postgres

pytestmark = pytest.mark.live
POLICIES = """
[access."free"]
operator = ["*"]
approver = ["*"]
[access."adding"]
operator = ["user:somebody-else"]
[access."provision *"]
operator = ["user:somebody-else"]
[access."rollback"]
operator = ["user:somebody-else"]
"""


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    """A server of its own."""
    with Postgres() as started:
        yield started


def test_two_servers_share_runs_and_the_command_line_has_the_same_roles(
    postgres: Postgres, own_home: Path, write_notebook: Callable[..., Path]
) -> None:
    """Ten runs asked of two servers are begun once each; sessions hold at both; a policy binds who runs the command too."""
    write_notebook(*READING, name="adding")
    write_notebook(*READING, name="free")
    write_notebook(*READING, name="unnamed")
    (own_home / "sretoolkit.toml").write_text(POLICIES)
    config = Config.of(
        store={"url": postgres.url}, journal={"keys": f"{own_home}/keys"}, records={"folder": f"{own_home}/records"}
    )
    servers = [Served(own_home, config, name=name) for name in ("one", "two")]
    ann = servers[0].local()
    runs = [ann.start("free", left=str(number)) for number in range(6)]
    runs += [_asked(servers[number % 2], "unnamed") for number in range(4)]
    assert ["completed"] * 10 == [servers[1].ended(run).state for run in runs]
    with Store(postgres.url) as store:
        opened = store.read("SELECT run, count(*) AS count FROM entries WHERE kind = 'run-opened' GROUP BY run")
    assert {1} == {row["count"] for row in opened}

    other = Visitor(servers[1].url)
    other.cookies = dict(ann.cookies)
    assert [200] * 5 == [
        other.get(path).status for path in (f"/runs/{runs[0]}", "/", "/?target=x", "/approvals", "/runbooks")
    ]
    assert 404 == other.get("/runbooks/adding").status

    desk = Desk(own_home, config, SRETOOLKIT_RUNBOOKS_FOLDERS=json.dumps([str(own_home)]))
    refused, allowed = desk.run("run", "adding", "-p", "left=1"), desk.run("run", "unnamed", "-p", "left=1")
    assert (1, True, 0) == (
        refused.returncode, "is nobody for adding, and this takes the role operator" in refused.stdout, allowed.returncode,
    )  # fmt: skip
    with Store(postgres.url) as store:
        foreign = open_run(store, Keys.of(config), runbook="adding", actor=Actor("ann"), mode="apply").run
        Leases(store, foreign, actor=Actor("ann"), ttl=90).take(["host:web"]).hold()
    for name, words in (
        ("adding", ("undo", foreign)),
        ("adding", ("recover", foreign)),
        ("adding", ("lease", "release", "host:web")),
        ("adding", ("schedule", "add", "adding", "--cron", "@daily", "-p", "left=1")),
        ("provision create-tag", ("provision", "create-tag", "--name", "big", "--rule", '["=", 1, 1]')),
        ("rollback", ("rollout", "rollback", "shop")),
    ):
        assert f"is nobody for {name}, and this takes the role operator" in desk.run(*words).stdout
    assert [0, 0] == [server.stop() for server in servers]


def _asked(server: Served, runbook: str) -> str:
    """A run asked for over the API."""
    headers = {"Authorization": f"Bearer {server.token}", "Content-Type": "application/json"}
    body = json.dumps({"runbook": runbook, "parameters": {"left": 1}})
    answer = Visitor(server.url).send("POST", "/api/v1/runs", body=body, headers=headers)
    assert 202 == answer.status, answer.data
    return str(json.loads(answer.data)["run"])
