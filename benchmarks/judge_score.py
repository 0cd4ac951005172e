"""How often a judge is right: simulated canaries of which the truth is known.

    python -m benchmarks.judge_score            # the table of docs/judge-score.md (long)
    python -m benchmarks.judge_score --quick    # a tenth of it

The world: ten instances of the old version and its history of an hour, of which the first becomes the candidate. Each has
600 (or 6,000) requests a minute; noise that all share, noise of its own that hangs together over minutes (AR(1) with phi),
lasting differences between instances where said; binomial errors, or the requests that are slower than the old version's p99.
Every judge looks once a minute from the fifth on, at all that there is by then.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from sretoolkit.rollout.evidence import Counts, Evidence
from sretoolkit.rollout.judge import Criterion, Judge

HOSTS, BEFORE, FIRST = 10, 60, 5
SLOW, SPREAD = 0.01, 0.5  # of the old version: requests above the threshold; sd of the logarithm of latency
NORMAL = NormalDist()
WORTH = {"errors": 2.0, "latency": (1 - NORMAL.cdf(NORMAL.inv_cdf(0.99) - math.log(1.1) / SPREAD)) / SLOW}
Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Scenario:
    """One kind of candidate: ``effect`` multiplies its error ratio or its latency; 1 = as the old version."""

    name: str
    metric: str
    effect: float = 1.0


SCENARIOS = (
    Scenario("errors as before", "errors"),
    Scenario("latency as before", "latency"),
    Scenario("errors x2", "errors", 2.0),
    Scenario("errors x5", "errors", 5.0),
    Scenario("p99 +10 %", "latency", 1.1),
    Scenario("p99 +30 %", "latency", 1.3),
)


@dataclass(frozen=True)
class World:
    """Where it happens."""

    phi: float = 0.0
    requests: int = 600
    lasting: float = 0.0


def canaries(
    scenario: Scenario, world: World, *, runs: int, minutes: int, seed: int
) -> Iterator[tuple[Matrix, Matrix]]:
    """Totals and bad ones of each run: instances x (history + minutes), the candidate first."""
    random = np.random.default_rng(
        [seed, *scenario.name.encode(), int(100 * world.phi), world.requests, int(1000 * world.lasting)]
    )
    length = BEFORE + minutes
    after = np.zeros((HOSTS, length))
    after[0, BEFORE:] = 1.0
    for _ in range(runs):
        own = _hanging(random, (HOSTS, length), world.phi)
        shared = _hanging(random, (1, length), world.phi)
        lasting = world.lasting * random.standard_normal((HOSTS, 1))
        total = random.poisson(world.requests, (HOSTS, length)).astype(float)
        if scenario.metric == "errors":
            rate = 0.001 * np.exp(0.3 * own + 0.2 * shared + lasting + after * math.log(scenario.effect))
        else:
            shift = 0.05 * own + 0.05 * shared + lasting * SPREAD / 2.67 + after * math.log(scenario.effect)
            rate = 1 - _below((NORMAL.inv_cdf(1 - SLOW) * SPREAD - shift) / SPREAD)
        yield total, random.binomial(total.astype(int), np.minimum(rate, 1.0)).astype(float)


def outcome(judge: Judge, total: Matrix, bad: Matrix, metric: str, horizon: int) -> tuple[str, int]:
    """What a judge answers that looks every minute, and when."""
    criterion = [Criterion(name=metric, worth=WORTH[metric])]
    limit = timedelta(minutes=horizon)
    for minute in range(FIRST, horizon + 1):
        now = slice(BEFORE, BEFORE + minute)
        evidence = Evidence(
            metric=metric,
            kind="counts",
            candidate=Counts(total[:1, now], bad[:1, now]),
            baseline=Counts(total[1:, now], bad[1:, now]),
            candidate_before=Counts(total[:1, :BEFORE], bad[:1, :BEFORE]),
            baseline_before=Counts(total[1:, :BEFORE], bad[1:, :BEFORE]),
            interval=timedelta(minutes=1),
        )
        answer = judge.judge([evidence], criterion, elapsed=timedelta(minutes=minute), horizon=limit).answer
        if answer in ("passed", "failed"):
            return answer, minute
    return "inconclusive", horizon


@dataclass
class Cell:
    """One scenario in one world: what was answered by the horizon."""

    scenario: Scenario
    world: World
    horizon: int
    runs: int
    failed: int = 0
    passed: int = 0
    moments: tuple[int, ...] = ()

    def bound(self, count: int, *, upper: bool) -> float:
        """A one-sided 95 % bound of a share, in percent (Wilson)."""
        z, n, share = 1.645, self.runs, count / self.runs
        middle = share + z * z / (2 * n)
        half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
        return 100 * (middle + (half if upper else -half)) / (1 + z * z / n)


def cell(judge: Judge, scenario: Scenario, world: World, *, horizon: int, runs: int, seed: int) -> Cell:
    """Many canaries, judged."""
    found = Cell(scenario, world, horizon, runs)
    moments = []
    for total, bad in canaries(scenario, world, runs=runs, minutes=horizon, seed=seed):
        answer, minute = outcome(judge, total, bad, scenario.metric, horizon)
        found.failed += answer == "failed"
        found.passed += answer == "passed"
        moments += [minute] if answer != "inconclusive" else []
    found.moments = tuple(moments)
    return found


def _hanging(random: np.random.Generator, shape: tuple[int, int], phi: float) -> Matrix:
    """AR(1) noise of variance 1 along the rows."""
    noise = random.standard_normal(shape)
    noise[:, 1:] *= math.sqrt(1 - phi * phi)
    for column in range(1, shape[1] if phi else 0):
        noise[:, column] += phi * noise[:, column - 1]
    return noise


def _below(z: Matrix) -> Matrix:
    """The normal distribution function."""
    found: Matrix = 0.5 * (1 + np.vectorize(math.erf)(z / math.sqrt(2)))
    return found


@dataclass(frozen=True)
class Goal:
    """What must hold of a cell: the share (percent) of runs that fail or pass, at most or at least ``limit``."""

    what: str
    share: str
    limit: float
    most: bool
    horizon: int = 60
    rows: tuple[tuple[str, World], ...] = ()

    def met(self, found: Cell) -> bool:
        """By the share itself; the bound is printed beside it."""
        value = 100 * float(getattr(found, self.share)) / found.runs
        return value <= self.limit if self.most else value >= self.limit


PHIS = (0.0, 0.5, 0.8)
PLAIN, WIDE = tuple(World(phi) for phi in PHIS), tuple(World(phi, 6000, 0.1) for phi in PHIS)


def rows(names: tuple[str, ...], worlds: tuple[World, ...]) -> tuple[tuple[str, World], ...]:
    """Every scenario in every world."""
    return tuple((name, world) for name in names for world in worlds)


SAME = ("errors as before", "latency as before")
GOALS = (
    Goal("false alarms, nothing changed", "failed", 1.0, True, rows=rows(SAME, PLAIN)),
    Goal("false alarms, lasting differences of 10 %, 6,000/min", "failed", 1.0, True, rows=rows(SAME, WIDE)),
    Goal("false passes at the worth", "passed", 5.0, True, rows=rows(("errors x2", "p99 +10 %"), PLAIN)),
    Goal("found by minute 10", "failed", 95.0, False, 10, rows(("errors x5", "p99 +30 %"), PLAIN)),
    Goal("errors x2 found by minute 60", "failed", 87.0, False, rows=rows(("errors x2",), PLAIN)),
    Goal("p99 +10 % found by minute 60", "failed", 95.0, False, rows=rows(("p99 +10 %",), PLAIN)),
    Goal("good ones passed by minute 30", "passed", 75.0, False, 30, rows(SAME, PLAIN[:2])),
)


def others() -> dict[str, Callable[[str], Judge]]:
    """The judges that are shown beside ours, made for a metric."""
    from sretoolkit.rollout.judges.mann_whitney import MannWhitney
    from sretoolkit.rollout.judges.threshold import Threshold

    return {
        "Mann-Whitney at the end": lambda _: MannWhitney(quirks=True),
        "Mann-Whitney each minute": lambda _: MannWhitney(quirks=True, each_look=True),
        "threshold": lambda metric: Threshold(limit=0.003 if metric == "errors" else 0.02, failures=5),
    }


@dataclass(frozen=True)
class Task:
    """One row of the table."""

    goal: Goal
    name: str
    world: World
    runs: int
    fewer: int
    seed: int


def row(task: Task) -> str:
    """What came out, as the table has it."""
    from sretoolkit.rollout.judges.calibrated import Calibrated

    goal, world, runs = task.goal, task.world, task.runs
    scenario = next(each for each in SCENARIOS if each.name == task.name)
    found = cell(Calibrated(), scenario, world, horizon=goal.horizon, runs=runs, seed=task.seed)
    count = getattr(found, goal.share)
    peers = [
        cell(make(scenario.metric), scenario, world, horizon=goal.horizon, runs=task.fewer, seed=task.seed)
        for make in others().values()
    ]
    cells = [
        f"{goal.what}: {'<=' if goal.most else '>='} {goal.limit:g} %",
        f"{task.name}, phi {world.phi:g}",
        f"{100 * count / runs:.2f} % of {runs:,}",
        f"{found.bound(count, upper=goal.most):.2f} %",
        "yes" if goal.met(found) else "NO",
        f"{np.median(found.moments):.0f}" if found.moments else "-",
        *[f"{100 * getattr(peer, goal.share) / peer.runs:.1f}" for peer in peers],
    ]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Print the table, as it goes into docs/judge-score.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of the runs")
    parser.add_argument("--alarms", type=int, default=10_000, help="runs of a cell in which nothing changed")
    parser.add_argument(
        "--runs", type=int, default=1_000, help="runs of every other cell; a fifth for every other judge"
    )
    parser.add_argument("--seed", type=int, default=20261101)
    given = parser.parse_args()
    part = 10 if given.quick else 1
    tasks = []
    for goal in GOALS:
        runs = (given.alarms if goal.share == "failed" and goal.most else given.runs) // part
        fewer = max(50, given.runs // part // 5)
        tasks += [Task(goal, name, world, runs, fewer, given.seed) for name, world in goal.rows]
    print("| goal | cell | calibrated | 95 % bound | met | median minute | " + " | ".join(others()) + " |")
    print("|---" * (6 + len(others())) + "|", flush=True)
    began = time.monotonic()
    with ProcessPoolExecutor() as pool:
        for line in pool.map(row, tasks):
            print(line, flush=True)
    print(f"\n{time.monotonic() - began:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
