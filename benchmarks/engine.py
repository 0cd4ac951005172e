"""Whole runs against stock papermill, in the same minutes on the same machine.

``python -m benchmarks.engine [--rounds 5]``: the commands in turn on the same notebooks: stock papermill, ours, and ours from
a warm process (`sretoolkit warm`). Ours writes its journal, its executed notebook and its page as well. Prints medians of wall
time, time to the first cell, CPU time (with the kernel's) and the runner's peak memory, and ratios.
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
WARM, TO_FIRST_CELL = 0.25, 0.3


@dataclass(frozen=True)
class Cost:
    """Wall seconds, seconds to the first cell, CPU seconds and peak memory of the runner itself in MiB."""

    wall: float
    first: float
    cpu: float
    memory: float


def notebook(cells: int, output: int) -> str:
    """A notebook of that many cells, each printing so many bytes (or one small number)."""
    source = f"print('x' * {output})" if output else "1 + 1"
    stamp = "import os, time\nopen(os.environ['STAMP'], 'w').write(str(time.time()))\n"
    made: list[dict[str, object]] = [
        {
            "cell_type": "code",
            "id": f"c{number}",
            "metadata": {},
            "source": source if number else stamp + source,
            "outputs": [],
            "execution_count": None,
        }
        for number in range(cells)
    ]
    kernel = {"kernelspec": {"name": "python3", "language": "python", "display_name": "Python 3"}}
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": kernel, "cells": made})


def measure(command: list[str], environment: dict[str, str], warm: int = 0) -> Cost:
    """Run it once; ``warm`` is the process whose forks do its work."""
    before = cpu_of_children(warm)
    began, clock = time.perf_counter(), time.time()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    errors = process.stderr.read()
    _, status, used = os.wait4(process.pid, 0)
    took = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"{command} failed: {errors.decode()}")
    first = float(Path(environment["STAMP"]).read_text()) - clock
    cpu = used.ru_utime + used.ru_stime + cpu_of_children(warm) - before
    return Cost(took, first, cpu, used.ru_maxrss / 1024)


def cpu_of_children(pid: int) -> float:
    """Seconds of CPU of a process's children that have ended."""
    if not pid:
        return 0.0
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[13]) + int(words[14])) / os.sysconf("SC_CLK_TCK")


def compare(name: str, folder: Path, rounds: int, warm: int) -> dict[str, Cost]:
    """The three in turn on one case; the medians."""
    path = folder / f"{name.replace(' ', '-')}.ipynb"
    path.write_text(notebook(*CASES[name]))
    ours = [sys.executable, "-m", "sretoolkit", "run", "--quiet", str(path)]
    stock = [sys.executable, "-m", "papermill", "--no-progress-bar", str(path), str(folder / "out.ipynb")]
    commands = {"stock": (stock, "cold", 0), "ours": (ours, "cold", 0), "warm": (ours, "warm", warm)}
    costs: dict[str, list[Cost]] = {who: [] for who in commands}
    for number in range(rounds + 1):
        for who, (command, home, forks_of) in commands.items():
            cost = measure(command, environment_of(folder / home), forks_of)
            if number:  # the first round fills the page cache
                costs[who].append(cost)
    return {who: _median(each) for who, each in costs.items()}


def environment_of(home: Path) -> dict[str, str]:
    """One with a state folder of its own: who has a warm process there is served by it."""
    home.mkdir(exist_ok=True)
    names = ("HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME")
    left = {name: value for name, value in os.environ.items() if name != "XDG_RUNTIME_DIR"}
    return {**left, **dict.fromkeys(names, str(home)), "STAMP": str(home / "stamp")}


def _median(costs: list[Cost]) -> Cost:
    names = ("wall", "first", "cpu", "memory")
    return Cost(*(statistics.median(getattr(cost, name) for cost in costs) for name in names))


def main() -> None:
    """Print the table (Markdown)."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    print(
        "| case | papermill wall s | ours wall s | ratio | goal | CPU s | runner MiB |\n|---|---|---|---|---|---|---|"
    )
    with tempfile.TemporaryDirectory() as folder:
        warm = [sys.executable, "-m", "sretoolkit", "warm"]
        said = subprocess.run(
            warm, env=environment_of(Path(folder) / "warm"), capture_output=True, text=True, check=True
        )
        try:
            for name in CASES:
                found = compare(name, Path(folder), rounds, int(said.stdout.split()[1]))
                show(name, found["stock"], found["ours"], GOALS[name])
                show(f"{name}, warm", found["stock"], found["warm"], WARM if name == "1 cell" else None)
                if name == "1 cell":
                    stock, ours = found["stock"].first, found["warm"].first
                    print(
                        f"| to the first cell, warm | {stock:.2f} | {ours:.2f} | {ours / stock:.2f} | {TO_FIRST_CELL} | | |"
                    )
        finally:
            subprocess.run(
                [*warm, "--stop"], env=environment_of(Path(folder) / "warm"), check=True, stdout=subprocess.DEVNULL
            )


def show(name: str, stock: Cost, ours: Cost, goal: float | None) -> None:
    """One line."""
    print(
        f"| {name} | {stock.wall:.2f} | {ours.wall:.2f} | {ours.wall / stock.wall:.2f} | {goal or ''} "
        f"| {stock.cpu:.2f}, {ours.cpu:.2f} | {stock.memory:.0f}, {ours.memory:.0f} |",
        flush=True,
    )


if __name__ == "__main__":
    main()
