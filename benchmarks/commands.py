"""How long the commands that only look take, with an empty store and with many runs in it.

``python -m benchmarks.commands [--rounds 9]``: medians of wall time in milliseconds, beside a bare ``python -c pass``.
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
from pathlib import Path

from sretoolkit.store import Store

COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "sretoolkit --help": ["-m", "sretoolkit", "--help"],
    "sretoolkit list": ["-m", "sretoolkit", "list"],
    "sretoolkit runs": ["-m", "sretoolkit", "runs"],
    "papermill --version": ["-m", "papermill", "--version"],
}


def fill(url: str, runs: int) -> None:
    """Put so many finished runs into a store (rows only: what a listing reads)."""
    actor = json.dumps({"user": "alice", "identity": "", "via": "local"})
    process = json.dumps({"host": "elsewhere", "boot": "", "pid": 1, "started": "1"})
    with Store(url) as store, store.transaction() as transaction:
        for number in range(runs):
            transaction.execute(
                "INSERT INTO runs (id, runbook, parameters, actor, origin, process, mode, state, ticket, progress, error, "
                "exit_code, started, ended, heartbeat, bound) VALUES (:id, 'book', '{}', :actor, 'cli', :process, 'apply', "
                "'completed', '', '{}', '', 0, :at, :at, :at, 1)",
                id=f"20260101-000000-{number:06x}",
                actor=actor,
                process=process,
                at=1_767_225_600.0 + number,
            )


def milliseconds(arguments: list[str], environment: dict[str, str], rounds: int) -> float:
    """The median wall time of a command, after one run that is not counted."""
    times = []
    for number in range(rounds + 1):
        began = time.perf_counter()
        subprocess.run([sys.executable, *arguments], env=environment, stdout=subprocess.DEVNULL, check=True)
        if number:
            times.append(1000 * (time.perf_counter() - began))
    return statistics.median(times)


def main() -> None:
    """Print the table (Markdown)."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    print("| command | empty store, ms | 10,000 runs, ms |\n|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        environments = {}
        for runs in (0, 10_000):
            url = f"sqlite:///{Path(folder) / f'{runs}.db'}"
            fill(url, runs)
            environments[runs] = {**os.environ, "HOME": folder, "SRETOOLKIT_STORE_URL": url}
        for name, arguments in COMMANDS.items():
            cells = [f"{milliseconds(arguments, environment, rounds):.0f}" for environment in environments.values()]
            print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
