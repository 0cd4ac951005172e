"""What an append to the journal costs, beside a bare write and fsync of the same bytes, interleaved in one run.

::

    python benchmarks/journal_append.py [--count 400] [--folder DIR] [--postgres postgresql+psycopg://...]

The bytes are those of the entry's body. On PostgreSQL the bare write is on the client's disk; the round trip to the
server and its own fsync are in the journal's figure.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from sretoolkit.actor import Actor
from sretoolkit.journal import Keys, close_run, open_run
from sretoolkit.store import Store

WARM = 20
PAYLOAD = {
    "plan": "ab" * 32, "index": 3, "key": "cd" * 16, "seen": "cubic",
    "step": {"class": "sretoolkit.hosts.congestion:SetCongestion", "data": {"host": "web1", "before": "cubic", "after": "bbr"}},
}  # fmt: skip


def main() -> None:
    """Measure and print."""
    reader = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    reader.add_argument("--count", type=int, default=400)
    reader.add_argument("--folder", type=Path, default=None, help="on the disk that is to be measured")
    reader.add_argument("--postgres", default="", help="URL of a database to measure as well")
    options = reader.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        urls = {"sqlite": f"sqlite:///{folder}/store.db"} | (
            {"postgresql": options.postgres} if options.postgres else {}
        )
        print(f"{'store':12}{'what':16}{'bytes':>8}{'median ms':>12}{'p99 ms':>10}{'ratio':>8}{'p99 ratio':>11}")
        for kind, url in urls.items():
            measure(kind, url, folder, options.count)


def measure(kind: str, url: str, folder: Path, count: int) -> None:
    """One store: append, and write the same bytes, by turns; print a line for each."""
    with Store(url) as store, (folder / f"bare-{kind}").open("ab", buffering=0) as bare:
        keys = Keys(folder / "keys")
        journal = open_run(store, keys, runbook="benchmark", actor=Actor("benchmark"), mode="apply")
        size = len(journal.append("step-before", PAYLOAD, target="host:web1").body)
        turns: dict[str, Callable[[], object]] = {
            "write + fsync": lambda: _write(bare.fileno(), os.urandom(1) * size),
            "journal.append": lambda: journal.append("step-before", PAYLOAD, target="host:web1"),
        }
        times: dict[str, list[float]] = {name: [] for name in turns}
        for turn in range(count + WARM):
            for name, act in turns.items():
                began = time.perf_counter()
                act()
                if turn >= WARM:
                    times[name].append((time.perf_counter() - began) * 1000)
        close_run(journal, keys, state="completed", exit_code=0)
    whole = {name: (statistics.median(taken), statistics.quantiles(taken, n=100)[98]) for name, taken in times.items()}
    bare_median, bare_late = whole["write + fsync"]
    for name, (median, late) in whole.items():
        ratios = f"{median / bare_median:8.2f}{late / bare_late:11.2f}"
        print(f"{kind:12}{name:16}{size:8}{median:12.3f}{late:10.3f}{ratios}")


def _write(descriptor: int, data: bytes) -> None:
    os.write(descriptor, data)
    os.fsync(descriptor)


if __name__ == "__main__":
    main()
