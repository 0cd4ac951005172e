"""What the runs page costs with many runs in the store against a hundred: in SQLite, and in PostgreSQL where one is given.

``python -m benchmarks.server`` makes 100,000 runs in SQLite (some seconds). With ``BENCH_POSTGRES=postgresql+psycopg://...``,
an empty database beside which another may be made, it makes 1,000,000 there as well. Asked is the application itself,
without a network: the pages as the local user sees them, both stores in turn, the medians of the times, and their ratio.
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import time
from collections.abc import Iterator

from starlette.requests import Request

from sretoolkit.actor import Actor
from sretoolkit.config import Config
from sretoolkit.runbook.access import Person
from sretoolkit.server.guard import Visit
from sretoolkit.server.pages.runs import RunPages
from sretoolkit.server.site import Site
from sretoolkit.store import Store
from sretoolkit.store.store import Transaction

GOAL = 1.5
ROUNDS, FEW = 60, 100
_BOOKS = ("canary_rollout", "tcp_congestion", "pid1_health", "query_metrics", "alert_triage")
_STATES = ("completed", "failed", "completed", "planned", "completed", "aborted")
_PAGES = {
    "all": "", "by runbook": "runbook=pid1_health", "by state": "state=failed", "by ticket": "ticket=INC-7",
    "by who": "actor=user7", "by target": "target=web7.example", "older": f"after={1.5e9 + 70 * 600.0!r}_x",
    "awaiting approval": "state=awaiting_approval", "running": "state=running", "nobody": "actor=nobody-at-all",
    "by 40 people": "actor=user", "by 200 targets": "target=web", "nothing": "target=no-such-host",
}  # fmt: skip
_RUN = (
    "INSERT INTO runs (id, runbook, parameters, actor, origin, process, mode, state, ticket, progress, error, exit_code, "
    "started, ended, heartbeat, bound) VALUES (:id, :book, '{}', :actor, 'cli', :process, 'apply', :state, :ticket, '{}', "
    "'', 0, :at, :at, :at, 1)"
)


def fill(store: Store, first: int, last: int) -> None:
    """Runs, one every ten minutes: the first hundred such that each page is full, the others of many people and so on."""
    process = json.dumps({"host": "h", "boot": "", "pid": 1, "started": "1"})
    for begin in range(first, last, 5000):
        with store.transaction() as tx:
            for number in range(begin, min(last, begin + 5000)):
                _add(tx, number, process)


def _add(tx: Transaction, number: int, process: str) -> None:
    run = f"2020{number:010}-aaaaaa"
    other = number if number >= FEW else 7
    actor = json.dumps({"user": f"user{other % 40}", "identity": "", "via": "local"})
    tx.execute(
        _RUN, id=run, book=_BOOKS[other % 5], actor=actor, process=process, state=_STATES[other % 6],
        ticket=f"INC-{other % 50}", at=1.5e9 + number * 600.0,
    )  # fmt: skip
    target = f"host:web{other % 200}.example"
    sql = "INSERT INTO touched (run, target, started) VALUES (:run, :target, :at)"
    tx.execute(sql, run=run, target=target, at=1.5e9 + number * 600.0)


def page(pages: RunPages, person: Person, query: str) -> float:
    """How long one page takes."""
    scope = {
        "type": "http", "method": "GET", "path": "/", "query_string": query.encode(), "headers": [],
        "visit": Visit("127.0.0.1", person, None),
    }  # fmt: skip
    began = time.perf_counter()
    answer = pages.index(Request(scope))
    assert answer.status_code == 200
    return time.perf_counter() - began


def opened(url: str, folder: str, count: int) -> RunPages:
    """The pages of a store with so many runs."""
    config = Config.of(store={"url": url}, serve={"token_file": f"{folder}/token"}, journal={"keys": f"{folder}/keys"})
    store = Store(url)
    fill(store, 0, count)
    if store.shared:
        store.write("ANALYZE runs")
        store.write("ANALYZE touched")
    return RunPages(Site(config, store))


def measured(few: RunPages, many: RunPages) -> Iterator[str]:
    """A line for each page: few, many, ratio. They are asked in turn, so that what else goes on here slows both down."""
    person = Person(Actor("bench", via="token"))
    for name, query in _PAGES.items():
        times = [(page(few, person, query), page(many, person, query)) for _ in range(ROUNDS)]
        one, other = (statistics.median(column) for column in zip(*times, strict=True))
        yield f"{name:18} {1000 * one:8.2f} ms {1000 * other:8.2f} ms   ratio {other / one:7.2f}"


def _second_database(url: str) -> str:
    """Another database on the same server, made anew."""
    import psycopg

    base, _, name = url.rpartition("/")
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name}_few")
        connection.execute(f"CREATE DATABASE {name}_few")
    return f"{base}/{name}_few"


def main() -> None:
    """Print all of it."""
    with tempfile.TemporaryDirectory() as folder:
        stores = [(f"sqlite:///{folder}/few.db", f"sqlite:///{folder}/many.db", 100_000)]
        if url := os.environ.get("BENCH_POSTGRES", ""):
            stores.append((_second_database(url), url, 1_000_000))
        for few, many, most in stores:
            print(f"{many.partition(':')[0]}: {FEW} runs, {most} runs (goal of the runs page: ratio {GOAL})")
            for line in measured(opened(few, folder, FEW), opened(many, folder, most)):
                print(f"  {line}", flush=True)


if __name__ == "__main__":
    main()
