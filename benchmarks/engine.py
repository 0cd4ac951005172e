"""Whole runs against stock papermill, in the same minutes on the same machine.

``python -m benchmarks.engine [--rounds 5]``: the two commands in turn on the same notebooks; ours writes its journal, its
executed notebook and its page as well. Prints medians of wall time, CPU time and the runner's peak memory, and ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

CASES = {"1 cell": (1, 0), "200 cells": (200, 0), "200 cells x 20 kB": (200, 20_000)}
GOALS = {"1 cell": 0.8, "200 cells": 0.35, "200 cells x 20 kB": 0.25}


@dataclass(frozen=True)
class Cost:
    """Wall seconds, CPU seconds (with the kernel's) and peak memory of the runner itself in MiB."""

    wall: float
    cpu: float
    memory: float


def notebook(cells: int, output: int) -> str:
    """A notebook of that many cells, each printing so many bytes (or one small number)."""
    source = f"print('x' * {output})" if output else "1 + 1"
    made: list[dict[str, object]] = [
        {
            "cell_type": "code",
            "id": f"c{number}",
            "metadata": {},
            "source": source,
            "outputs": [],
            "execution_count": None,
        }
        for number in range(cells)
    ]
    kernel = {"kernelspec": {"name": "python3", "language": "python", "display_name": "Python 3"}}
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": kernel, "cells": made})


def measure(command: list[str], environment: dict[str, str]) -> Cost:
    """Run it once."""
    began = time.perf_counter()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    errors = process.stderr.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"{command} failed: {errors.decode()}")
    return Cost(time.perf_counter() - began, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def compare(name: str, folder: Path, rounds: int) -> tuple[Cost, Cost]:
    """Both engines in turn on one case; the medians, ours first."""
    path = folder / f"{name.replace(' ', '-')}.ipynb"
    path.write_text(notebook(*CASES[name]))
    environment = {**os.environ, "HOME": str(folder), "XDG_STATE_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    ours = [sys.executable, "-m", "sretoolkit", "run", "--quiet", str(path)]
    stock = [sys.executable, "-m", "papermill", "--no-progress-bar", str(path), str(folder / "out.ipynb")]
    costs: dict[str, list[Cost]] = {"ours": [], "stock": []}
    for number in range(rounds + 1):
        for who, command in (("ours", ours), ("stock", stock)):
            cost = measure(command, environment)
            if number:  # the first round fills the page cache
                costs[who].append(cost)
    return _median(costs["ours"]), _median(costs["stock"])


def _median(costs: list[Cost]) -> Cost:
    return Cost(*(statistics.median(getattr(cost, name) for cost in costs) for name in ("wall", "cpu", "memory")))


def main() -> None:
    """Print the table (Markdown)."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    print(
        "| case | papermill wall s | ours wall s | ratio | goal | CPU s (papermill, ours) | runner MiB (papermill, ours) |"
    )
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name in CASES:
            ours, stock = compare(name, Path(folder), rounds)
            ratio = ours.wall / stock.wall
            print(
                f"| {name} | {stock.wall:.2f} | {ours.wall:.2f} | {ratio:.2f} | {GOALS[name]} "
                f"| {stock.cpu:.2f}, {ours.cpu:.2f} | {stock.memory:.0f}, {ours.memory:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
