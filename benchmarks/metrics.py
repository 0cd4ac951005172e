"""Ranges from a real Prometheus into a data frame, beside prometheus-api-client's own frames and beside curl, in one run.

::

    python -m benchmarks.metrics [--rounds 3]

Each candidate is a process of its own; its time is that of the question, imports apart, its memory the process's peak.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from tests.stack.prometheus import Prometheus

SERIES, POINTS, EVERY = 500, 10_000, 10
SAMPLES = 2_000  # raw samples a series
END = 1_795_392_000
_SPAN = SAMPLES * EVERY
_PEER = """
import os, statistics, time
from datetime import datetime, UTC
from prometheus_api_client import MetricRangeDataFrame, PrometheusConnect
import pandas, requests
session = requests.Session()
if os.environ["PLAIN"]: session.headers["Accept-Encoding"] = "identity"
client = PrometheusConnect(os.environ["URL"], session=session)
start, end, step = (float(os.environ[name]) for name in ("START", "END", "STEP"))
def ask():
    bounds = (datetime.fromtimestamp(moment, UTC) for moment in (start, end))
    found = client.custom_query_range(os.environ["QUERY"], *bounds, str(step))
    return MetricRangeDataFrame(found)
for _ in range(int(os.environ["WARM"])): ask()
times = []
for _ in range(int(os.environ["ASKS"])):
    began = time.perf_counter(); size = len(ask()); times.append(time.perf_counter() - began)
print(statistics.median(times), size)
"""
_OURS = """
import os, statistics, time
from datetime import datetime, timedelta, UTC
import numpy, pandas
from sretoolkit.metrics import connect, Selector
source = connect("prometheus+" + os.environ["URL"])
start, end, step = (float(os.environ[name]) for name in ("START", "END", "STEP"))
at, window = datetime.fromtimestamp(end, UTC), timedelta(seconds=end - start)
def ask():
    if os.environ["RAW"]:
        return sum(len(one.times) for one in source.raw(Selector.parse(os.environ["QUERY"]), int(start * 1000), int(end * 1000)))
    return source.range(os.environ["QUERY"], window=window, step=timedelta(seconds=step), end=at).pandas().size
for _ in range(int(os.environ["WARM"])): ask()
times = []
for _ in range(int(os.environ["ASKS"])):
    began = time.perf_counter(); size = ask(); times.append(time.perf_counter() - began)
print(statistics.median(times), size)
"""
_CURL = ["curl", "-s", "-o", "/dev/null", "-w", "%{time_total} %{size_download}", "-H", "Accept-Encoding: identity"]


class Cost(NamedTuple):
    """Seconds of the question, CPU seconds and peak MiB of the whole process."""

    wall: float
    cpu: float
    memory: float


def history() -> str:
    """Series that change a little with every sample, as OpenMetrics text."""
    chance = random.Random(1)
    lines = ["# TYPE load gauge"]
    for number in range(SERIES):
        value = 1000.0
        for place in range(SAMPLES + 1):
            value += round(chance.uniform(-1, 1), 3)
            lines.append(f'load{{host="h{number}"}} {value:.3f} {END - _SPAN + place * EVERY}')
    return "\n".join([*lines, "# EOF", ""])


def measured(command: list[str], environment: Mapping[str, str]) -> Cost:
    """One process: what it says it took, and what the kernel says it cost."""
    with subprocess.Popen(command, env={**os.environ, **environment}, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        said = child.stdout.read().split()
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode or len(said) < 2 or float(said[1]) == 0:
        raise SystemExit(f"{command[:2]} gave {said} (exit {child.returncode})")
    return Cost(float(said[0]), used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def median(costs: list[Cost]) -> Cost:
    """Each figure's median."""
    return Cost(*(statistics.median(figure) for figure in zip(*costs, strict=True)))


def compare(title: str, candidates: Mapping[str, tuple[list[str], Mapping[str, str]]], rounds: int) -> None:
    """Print a table (Markdown) of candidates that took turns; ratios are ours over each."""
    costs: dict[str, list[Cost]] = {name: [] for name in candidates}
    for _ in range(rounds):
        for name, (command, environment) in candidates.items():
            costs[name].append(measured(command, environment))
    ours = median(costs["sretoolkit"])
    print(
        f"\n{title}\n\n| | wall s | CPU s | peak MiB | ours / its wall | ours / its memory |\n|---|---|---|---|---|---|"
    )
    for name, each in costs.items():
        cost = median(each)
        print(
            f"| {name} | {cost.wall:.4f} | {cost.cpu:.2f} | {cost.memory:.0f} "
            f"| {ours.wall / cost.wall:.3f} | {ours.memory / cost.memory:.2f} |"
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    with Prometheus(openmetrics=history()) as server:

        def given(query: str, points: int, **more: str) -> dict[str, str]:
            start = END - (points - 1)
            base = {"URL": server.url, "QUERY": query, "START": str(start), "END": str(END), "STEP": "1"}
            return {**base, "WARM": "0", "ASKS": "1", "PLAIN": "", "RAW": "", **more}

        peer, ours = [sys.executable, "-c", _PEER], [sys.executable, "-c", _OURS]
        wide = given("load", POINTS)
        form = [f"query=load&start={wide['START']}&end={END}&step=1", f"{server.url}/api/v1/query_range"]
        compare(
            f"{SERIES} series x {POINTS} points",
            {
                "sretoolkit": (ours, wide),
                "prometheus-api-client": (peer, wide),
                "prometheus-api-client, not packed": (peer, {**wide, "PLAIN": "1"}),
                "curl to /dev/null": ([*_CURL, "-d", *form], {}),
            },
            rounds,
        )
        panel = given('load{host=~"h1."}', 240, WARM="5", ASKS="20")
        compare(
            "A panel: 10 series x 240 points",
            {"sretoolkit": (ours, panel), "prometheus-api-client": (peer, panel)},
            rounds,
        )
        raw = {**wide, "START": str(END - _SPAN), "RAW": "1"}
        whole = {**given("load", POINTS), "QUERY": f"load[{_SPAN}s]"}
        compare(
            f"Raw samples: {SERIES} series x {SAMPLES} samples (remote read)",
            {
                "sretoolkit": (ours, raw),
                "curl of the same samples as JSON": (
                    [*_CURL, "-d", f"query={whole['QUERY']}&time={END}", f"{server.url}/api/v1/query"],
                    {},
                ),
            },
            rounds,
        )
    print(f"\nmeasured {datetime.now(UTC):%Y-%m-%d}")


if __name__ == "__main__":
    main()
