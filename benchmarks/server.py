"""What the runs page costs with many runs in the store against a hundred: in SQLite, and in PostgreSQL where one is given.

``python -m benchmarks.server`` makes 100,000 runs in SQLite (100 s or so). With ``BENCH_POSTGRES=postgresql+psycopg://...``,
an empty database, it makes 1,000,000 there as well. Asked is the application itself, without a network: the pages as the
local user sees them, the medians of the times, and their ratio, of which the goal is at most 1.5.
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from starlette.requests import Request

from sretoolkit.config import Config
from sretoolkit.runbook.access import Person
from sretoolkit.server.guard import Visit
from sretoolkit.server.logins import local_actor
from sretoolkit.server.pages.runs import RunPages
from sretoolkit.server.site import Site
from sretoolkit.store import Store
from sretoolkit.store.store import Transaction

GOAL = 1.5
ROUNDS, FEW = 60, 100
_BOOKS = ("canary_rollout", "tcp_congestion", "pid1_health", "query_metrics", "alert_triage")
_STATES = ("completed", "failed", "completed", "planned", "completed", "aborted")
_PAGES = {
    "all": "", "by runbook": "runbook=pid1_health", "by state": "state=failed", "awaiting approval": "state=awaiting_approval",
    "by ticket": "ticket=INC-7", "by who": "actor=user7", "by target": "target=web7.example", "page 3": "page",
    "running": "state=running", "nobody": "actor=nobody-at-all",
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
    tx.execute("INSERT INTO touched (run, target) VALUES (:run, :target)", run=run, target=target)


def seconds(pages: RunPages, person: Person, query: str) -> float:
    """The median time of one page."""
    if query == "page":
        query = f"after={1.5e9 + 70 * 600.0!r}_x"
    scope = {
        "type": "http", "method": "GET", "path": "/", "query_string": query.encode(), "headers": [],
        "visit": Visit("127.0.0.1", person, None),
    }  # fmt: skip
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        answer = pages.index(Request(scope))
        times.append(time.perf_counter() - began)
        assert answer.status_code == 200
    return statistics.median(times)


def measured(config: Config, counts: tuple[int, int]) -> Iterator[str]:
    """A line for each page: few, many, ratio."""
    with Store(config["store.url"]) as store:
        person = Person(local_actor(config))
        found: list[dict[str, float]] = []
        for first, last in ((0, counts[0]), counts):
            fill(store, first, last)
            if store.shared:
                store.write("ANALYZE runs")
            pages = RunPages(Site(config, store))
            found.append({name: seconds(pages, person, query) for name, query in _PAGES.items()})
        for name in _PAGES:
            few, many = found[0][name], found[1][name]
            yield f"{name:18} {1000 * few:8.2f} ms {1000 * many:8.2f} ms   ratio {many / few:5.2f}"


def main() -> None:
    """Print all of it."""
    with tempfile.TemporaryDirectory() as folder:
        for url, most in ((f"sqlite:///{folder}/store.db", 100_000), (os.environ.get("BENCH_POSTGRES", ""), 1_000_000)):
            if url:
                config = Config.of(
                    store={"url": url},
                    serve={"token_file": str(Path(folder, "token"))},
                    journal={"keys": f"{folder}/keys"},
                )
                print(f"{url.partition(':')[0]}: {FEW} runs, {most} runs (goal for all: ratio {GOAL})")
                for line in measured(config, (FEW, most)):
                    print(f"  {line}")


if __name__ == "__main__":
    main()
