"""How the recordings of Zabbix, Icinga 2 and Nagios were made: ``python -m tests.recordings.record_checks``.

Real servers are asked; what must come of each answer was looked through once, and the live tests prove it anew.
"""

from __future__ import annotations

import io
import json
import os
import re
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from typing import Any

from sretoolkit.clock import FakeClock, poll
from sretoolkit.config import Config
from sretoolkit.errors import SREToolkitError
from sretoolkit.metrics import SeriesFrame, connect
from sretoolkit.report import Report
from tests.recordings.cases import SOURCES, ask, plain_data
from tests.stack.icinga2 import Icinga2
from tests.stack.nagios import Nagios
from tests.stack.replay import asked, reply, serve
from tests.stack.zabbix import Item, Zabbix

SECRET = "recorded-secret-value"
NAMES = ("Authorization", "Content-Type", "X-HTTP-Method-Override", "Accept", "Cookie")


class Slow(FakeClock):
    """A clock that stands still but while it waits, and then really waits: the server needs its time."""

    def sleep(self, seconds: float) -> None:
        """Both."""
        super().sleep(seconds)
        really(seconds)


def really(seconds: float) -> None:
    """Let the server work."""
    poll(lambda: False, timeout=seconds, interval=seconds)


class Recorder:
    """Asks one server through a proxy and writes each case to its folder."""

    def __init__(self, kind: str, upstream: str, source: str, clean: dict[str, str], trust: str = "") -> None:
        self.kind, self.upstream, self.source, self.names = kind, upstream, source, clean
        context = ssl.create_default_context(cafile=trust) if trust else ssl.create_default_context()
        handlers = urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        self.opener = urllib.request.build_opener(*handlers)
        self.folder = SOURCES / kind
        self.folder.mkdir(exist_ok=True)

    def clean(self, text: str) -> str:
        """Without this machine's names, and with the recorded secret for the real one."""
        for name, other in sorted(self.names.items(), key=lambda pair: -len(pair[0])):
            text = text.replace(name, other)
        return re.sub(r"/tmp/(?:nagios|icinga2|zabbix)-[^/\"]*", "/srv", text)

    def case(self, name: str, call: dict[str, Any], options: dict[str, Any]) -> Any:
        """Do one call, keep what went over the wire and what came of it; gives the answer."""
        exchanges: list[dict[str, Any]] = []
        now = datetime.now(UTC)
        expected: dict[str, Any]
        answer: Any = None
        with self.passed_on(exchanges, keep_date=call["verb"] == "health") as url:
            config = Config.of(sources={"recorded": {"kind": self.kind, "url": url, **options}})
            try:
                answer = ask("recorded", call, Slow(now), config)
                expected = told(answer)
            except SREToolkitError as error:
                expected = {"error": type(error).__name__, "says": error.message}
        shown = {**options, **({"password": "env:RECORDED_SECRET"} if "password" in options else {})}
        shown |= {"token": "env:RECORDED_SECRET"} if "token" in options else {}
        content = {"now": now.timestamp(), "options": shown, "source": self.source, "call": call, "expected": expected}
        text = json.dumps({**content, "exchanges": exchanges}, indent=1, ensure_ascii=False)
        (self.folder / f"{name}.json").write_text(self.clean(text) + "\n", encoding="utf-8")
        print(self.kind, name, str(expected)[:160], len(exchanges))
        return answer

    @contextmanager
    def passed_on(self, exchanges: list[dict[str, Any]], *, keep_date: bool) -> Iterator[str]:
        """A proxy that keeps each exchange."""

        def handle(request: BaseHTTPRequestHandler) -> None:
            size = int(request.headers.get("Content-Length") or 0)
            body = request.rfile.read(size)
            request.rfile = io.BytesIO(body)
            got = asked(request)
            headers = {name: request.headers[name] for name in NAMES if name in request.headers}
            sent = urllib.request.Request(self.upstream + request.path, body or None, headers, method=request.command)
            try:
                with self.opener.open(sent, timeout=30) as response:
                    status, given, content = response.status, response.headers, response.read()
            except urllib.error.HTTPError as error:
                with error:
                    status, given, content = error.code, error.headers, error.read()
            kind, text = given.get("Content-Type", "text/plain"), content.decode(errors="replace")
            twice = text.count('"result": {') > 1
            kept = (
                {"json": json.loads(text)}
                if "json" in kind and text.strip() and not twice
                else {"text": shortened(text)}
            )
            answer = {"status": status, "type": kind, **kept}
            if keep_date and "Date" in given:
                answer["headers"] = {"Date": given["Date"]}
            exchanges.append({"request": got, "response": answer})
            reply(request, status, content, kind, **({"Date": given["Date"]} if "Date" in given else {}))

        with serve(handle) as url:
            yield url


def shortened(text: str) -> str:
    """Nagios' error without the 20 kB of options behind it."""
    return re.sub(r'"data": \{\s*"options".*\}\s*\}\s*$', '"data": {}\n}', text, flags=re.S)


def told(answer: Any) -> dict[str, Any]:
    """What must come of it."""
    if isinstance(answer, Report):
        facts = {key: value for key, value in answer.to_dict()["facts"].items() if key not in ("source", "url")}
        return {"worst": answer.worst, "facts": facts}
    if isinstance(answer, SeriesFrame):
        values = [[None if cell != cell else cell for cell in row] for row in answer.values.tolist()]
        found = {"first": int(answer.times[0]), "values": values, "labels": list(answer.labels), "unit": answer.unit}
        return {**found, "kind": answer.kind, "warnings": list(answer.warnings)}
    return {"answer": plain_data(answer)}


def changes(recorder: Recorder, options: dict[str, Any], check: dict[str, Any], suffix: str = "") -> None:
    """Acknowledge, silence, and take both back."""
    now = int(datetime.now(UTC).timestamp())
    recorder.case(f"acknowledge{suffix}", {"verb": "acknowledge", "check": check, "comment": "on it"}, options)
    recorder.case(f"unacknowledge{suffix}", {"verb": "unacknowledge", "check": check}, options)
    call = {"verb": "silence", "check": check, "start": now + 60, "end": now + 3660, "comment": "planned"}
    number = recorder.case(f"silence{suffix}", call, options)
    recorder.case(f"unsilence{suffix}", {"verb": "unsilence", "id": number}, options)
    recorder.case(f"unsilence-gone{suffix}", {"verb": "unsilence", "id": number}, options)


def reads(recorder: Recorder, options: dict[str, Any], suffix: str = "") -> None:
    """What every one of them can do without a query."""
    now = int(datetime.now(UTC).timestamp())
    for verb in ("checks", "discover", "health"):
        recorder.case(f"{verb}{suffix}", {"verb": verb}, options)
    recorder.case(f"events{suffix}", {"verb": "events", "start": now - 3600, "end": now + 60}, options)


def instants(recorder: Recorder, options: dict[str, Any]) -> None:
    """The last numbers of checks."""
    for name, query in (
        ("instant", 'latency{host="h1", service="api"}'),
        ("instant-spaced-label", 'perfdata{label="used space"}'),
        ("instant-no-data", 'nothing{host="h1", service="api"}'),
        ("instant-unknown-host", 'latency{host="nobody"}'),
        ("instant-no-selector", 'latency{host="h1'),
    ):
        recorder.case(name, {"verb": "instant", "query": query}, options)


def nagios() -> None:
    """Nagios."""
    with Nagios() as server:
        os.environ.update(server.secrets)
        login, guest = (
            {k: v for k, v in server.options_of(u).items() if k not in ("kind", "url")}
            for u in ("nagiosadmin", "guest")
        )
        names = {str(server.folder): "/srv", **dict.fromkeys(server.secrets.values(), SECRET)}
        recorder = Recorder("nagios", server.url, "Nagios 4.4.6 of Debian 12, tests/stack/nagios.py", names)
        with connect("n", Config.of(sources={"n": server.options})) as source:
            assert poll(lambda: sum(one.state == "pending" for one in source.checks()) == 2, timeout=30)
        reads(recorder, login)
        instants(recorder, login)
        changes(recorder, login, {"entity": "h2", "check": "bad", "state": "critical"})
        recorder.case("checks-nothing-allowed", {"verb": "checks"}, guest)
        server.core.stop()
        recorder.case("health-core-stopped", {"verb": "health"}, login)


def icinga2() -> None:
    """Icinga 2."""
    with Icinga2() as server:
        os.environ.update(server.secrets)
        logins = {
            u: {k: v for k, v in server.options_of(u).items() if k not in ("kind", "url", "ca")}
            for u in ("root", "statusonly")
        }
        names = {str(server.folder): "/srv", socket.gethostname(): "monitor.example"}
        recorder = Recorder(
            "icinga2", server.url, "Icinga 2.13.6 of Debian 12, tests/stack/icinga2.py", names, server.options["ca"]
        )
        root = logins["root"]
        with connect("n", Config.of(sources={"n": server.options})) as source:
            assert poll(lambda: sum(one.state == "pending" for one in source.checks()) == 2, timeout=30)
        reads(recorder, root)
        instants(recorder, root)
        changes(recorder, root, {"entity": "h2", "check": "bad", "state": "critical"})
        event = {
            "start": datetime.now(UTC).timestamp() - 60,
            "title": "deploy 1.2",
            "text": "by hand",
            "tags": ["host:h2"],
        }
        number = recorder.case("annotate", {"verb": "annotate", "event": event}, root)
        recorder.case("retract", {"verb": "retract", "id": number}, root)
        recorder.case("retract-gone", {"verb": "retract", "id": number}, root)
        recorder.case("checks-broken-filter", {"verb": "checks"}, {**root, "filter": "host.vars.os ==="})
        recorder.case("checks-nothing-matches", {"verb": "checks"}, {**root, "filter": 'host.vars.os == "none"'})
        recorder.case("checks-not-permitted", {"verb": "checks"}, logins["statusonly"])


def zabbix(version: str) -> None:
    """Zabbix."""
    end = int(datetime.now(UTC).timestamp()) // 60 * 60
    with Zabbix(version) as server:
        server.create(
            "h1",
            [
                Item("system.cpu.util[,idle]", value_type=0, tags={"app": "os"}),
                Item("alarm"),
                Item("deploys", value_type=4),
            ],
        )
        trigger = {
            "description": "alarm on {HOST.HOST}",
            "expression": "last(/h1/alarm)>0",
            "priority": 4,
            "tags": [{"tag": "team", "value": "a"}],
        }
        server.call("trigger.create", trigger)
        server.send([("h1", "system.cpu.util[,idle]", 0.1 + number, end - 300 + 30 * number) for number in range(10)])
        server.send([("h1", "alarm", value, end - 400 + 100 * number) for number, value in enumerate((0, 1, 0, 1))])
        server.stored(0, 10)
        os.environ.update(server.secrets)
        options = {"token": server.options["token"], "marker": "h1/deploys"}
        names = {server.token: SECRET, socket.gethostname(): "monitor.example"}
        full = server.call("apiinfo.version", {}, auth=False)
        recorder = Recorder("zabbix", server.url, f"Zabbix {full} of Debian 12, tests/stack/zabbix.py", names)
        with connect("n", Config.of(sources={"n": server.options})) as source:
            assert poll(lambda: any(one.state == "critical" for one in source.checks()), timeout=30)
        suffix = f"-{version}"
        reads(recorder, options, suffix)
        for name, query in (
            ("range", 'system.cpu.util[,idle]{host="h1"}'), ("range-no-data", "system.cpu.load"), ("range-text", "deploys"),
        ):  # fmt: skip
            call = {"verb": "range", "query": query, "window": "5m", "step": "60s", "end": end}
            recorder.case(f"{name}{suffix}", call, options)
        recorder.case(f"instant{suffix}", {"verb": "instant", "query": "system.cpu.util", "end": end}, options)
        changes(recorder, options, {"entity": "h1", "check": "alarm on h1", "state": "critical", "id": "1"}, suffix)
        if version == "7.0":
            event = {"start": end - 60, "title": "deploy 1.2", "text": "by hand", "tags": ["service:web"]}
            number = recorder.case(f"annotate{suffix}", {"verb": "annotate", "event": event}, options)
            recorder.case(f"retract{suffix}", {"verb": "retract", "id": number}, options)


def main() -> None:
    """Record every case anew."""
    nagios()
    icinga2()
    zabbix("6.0")
    zabbix("7.0")


if __name__ == "__main__":
    main()
