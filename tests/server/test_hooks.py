"""Webhooks in and out: who may send what, what is done once, and what is told to whom."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from sretoolkit.clock import poll
from sretoolkit.config import Config
from sretoolkit.runbook.queue import Queue
from sretoolkit.secrets import Secret
from sretoolkit.server.signatures import DELIVERY, MOMENT, SIGNATURE, signed, wrong
from sretoolkit.store import Store
from tests.server.serving import Served, Visitor

RULES = """
[serve]
most_runs = 2

[hooks.alertmanager]
token = "env:AM_TOKEN"

[hooks.deploy]
secret = "env:HOOK_SECRET"
runbook = "adding"
parameters = {left = 40}
takes = ["note"]

[alerts.disk]
match = {alertname = "DiskFull"}
runbook = "adding"
parameters = {left = 1}
labels = {note = "instance"}
most_per_hour = 2

[access."adding"]
operator = ["hook:alertmanager", "hook:deploy"]
"""
SECRET = "a-secret-that-signs"


class Listener:
    """Somebody who is told; ``refuse`` is how many times they are not able to listen."""

    def __init__(self) -> None:
        self.told: list[tuple[dict[str, str], bytes]] = []
        self.refuse = 0
        listener = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                listener.refuse -= 1
                self.send_response(503 if listener.refuse >= 0 else 204)
                self.end_headers()
                if listener.refuse < 0:
                    listener.told.append(({name.lower(): value for name, value in self.headers.items()}, body))

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/sre"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def events(self) -> list[tuple[str, str, str]]:
        """Event, run and state of what was told."""
        bodies = [json.loads(body) for _, body in self.told]
        return [(body["event"], body["run"], body["state"]) for body in bodies]

    def close(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def listener() -> Iterator[Listener]:
    """Somebody who is told."""
    started = Listener()
    yield started
    started.close()


@pytest.fixture
def hooked(
    own_home: Path, config: Config, notebooks: None, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Served]]:
    """Starts servers with hooks of both directions, on one store."""
    monkeypatch.setenv("AM_TOKEN", "alertmanager-s-token")
    monkeypatch.setenv("HOOK_SECRET", SECRET)
    out = f'\n[webhooks.chat]\nurl = "{listener.url}"\nsecret = "env:HOOK_SECRET"\n'
    (own_home / "sretoolkit.toml").write_text(RULES + out)
    servers: list[Served] = []

    def start(name: str = "serve") -> Served:
        servers.append(Served(own_home, config, name=name))
        return servers[-1]

    yield start
    assert [0] * len(servers) == [server.stop() for server in servers]


def alert(number: int = 1, began: str = "2026-11-01T00:00:00Z", **labels: str) -> dict[str, Any]:
    """One of Alertmanager's alerts."""
    said = {"alertname": "DiskFull", "instance": f"web{number}", **labels}
    return {"status": "firing", "labels": said, "annotations": {}, "startsAt": began, "fingerprint": f"{number:016x}"}


def send(
    served: Served, *alerts: dict[str, Any], token: str = "alertmanager-s-token"
) -> tuple[int, list[dict[str, str]]]:
    """What Alertmanager sends, and what came of it."""
    body = json.dumps({"version": "4", "status": "firing", "alerts": list(alerts)})
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    answer = Visitor(served.url).send("POST", "/hooks/alertmanager", body=body, headers=headers)
    return answer.status, json.loads(answer.data).get("alerts", [])


def test_an_alert_asks_for_its_run_once(hooked: Callable[..., Served]) -> None:
    """The labels become parameters; the same alert told again, to any server, starts nothing more; another token nothing."""
    first, second = hooked("one"), hooked("two")
    assert (401, []) == send(first, alert(), token="another")
    status, (told) = send(first, alert())
    assert (200, "asked") == (status, told[0]["did"])
    assert ("completed", {"left": 1, "right": 2, "note": "web1"}, "hook:alertmanager") == (
        (run := first.ended(told[0]["run"])).state, run.parameters, run.actor["identity"],
    )  # fmt: skip
    assert ["it was asked for already"] == [did["why"] for did in send(second, alert())[1]]
    assert [] == send(first, alert(alertname="Other"))[1]


def test_an_alert_that_a_run_may_have_caused_starts_no_other(hooked: Callable[..., Served]) -> None:
    """Firing again just after its run, or marked as a run's doing, or too often in an hour: nothing is asked for, and why."""
    served = hooked()
    run = send(served, alert())[1][0]["run"]
    served.ended(run)
    whys = [
        send(served, alert(began="2026-11-01T00:05:00Z"))[1][0]["why"],
        send(served, alert(2, sretoolkit_run=run))[1][0]["why"],
        send(served, alert(3))[1][0]["did"],
        send(served, alert(4))[1][0]["why"],
    ]
    assert [
        "a run for it goes on, or has just ended: it may be that run's doing", f"run {run} made it", "asked",
        "2 runs in an hour are enough",
    ] == whys  # fmt: skip


def test_a_signed_hook_starts_its_run_once(hooked: Callable[..., Served]) -> None:
    """Right signature: one run, also when it is sent twice; wrong, old or unsigned: none; other parameters: refused."""
    served = hooked()
    body = json.dumps({"parameters": {"note": "by hook"}}).encode()
    secret = Secret("env:HOOK_SECRET")
    good = signed(secret, body)

    def post(content: bytes, headers: dict[str, str], name: str = "deploy") -> tuple[int, Any]:
        answer = Visitor(served.url).send("POST", f"/hooks/{name}", body=content, headers=headers)
        return answer.status, json.loads(answer.data)

    status, told = post(body, good)
    assert (202, "asked") == (status, told["did"])
    assert {"left": 40, "right": 2, "note": "by hook"} == served.ended(told["run"]).parameters
    assert (202, {"run": "", "did": "nothing"}) == post(body, good)
    other = json.dumps({"parameters": {"left": 1}}).encode()
    refused = [
        post(body + b" ", good)[0], post(body, {})[0], post(body, signed(secret, body, now=time.time() - 600))[0],
        post(body, {**good, MOMENT: "9" * 12})[0], post(body, {**good, SIGNATURE: "sha256="})[0],
        post(other, signed(secret, other))[0], post(body, good, name="other")[0], post(body, good, name="alertmanager")[0],
    ]  # fmt: skip
    assert [401, 401, 401, 401, 401, 422, 404, 401] == refused
    assert SECRET not in served.log


def test_others_are_told_once_although_two_servers_could(hooked: Callable[..., Served], listener: Listener) -> None:
    """Two servers begin five runs, each once; every end is told once, signed, again after a refusal, and in this form."""
    servers = [hooked("one"), hooked("two")]
    listener.refuse = 2
    ann = servers[0].local()
    runs = [ann.start("adding", left=str(number)) for number in range(5)]
    states = [servers[number % 2].ended(run).state for number, run in enumerate(runs)]
    assert ["completed"] * 5 == states
    assert poll(lambda: len(listener.told) >= 5, timeout=40), servers[0].log

    with Store(servers[0].config["store.url"]) as store:
        begun = {asked.request.id: asked.state for asked in Queue(store).find()}
        opened = store.read("SELECT run, count(*) AS count FROM entries WHERE kind = 'run-opened' GROUP BY run")
    assert dict.fromkeys(runs, "begun") == begun
    assert {1} == {row["count"] for row in opened}
    assert sorted(("finished", run, "completed") for run in runs) == sorted(listener.events)
    for headers, body in listener.told:
        assert "" == wrong(Secret("env:HOOK_SECRET"), body, headers)
    assert 5 == len({headers[DELIVERY] for headers, _ in listener.told})
    assert not poll(lambda: len(listener.told) > 5, timeout=2)
