"""The score: what is foretold of each container against what stopping it then does. ``python -m tests.score [held back]``.

The truth is that of several stops, each of a container that was started anew: ``killed`` after the grace period, ``lost`` (it
ended in time, but its program was killed: never told, or while it was shutting down), ``clean``, or what it varied between.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from importlib.resources import files
from pathlib import Path
from subprocess import run

from sretoolkit.config import Config
from sretoolkit.errors import SREToolkitError
from sretoolkit.hosts import connect
from sretoolkit.pid1.init import kind_of, reaps
from sretoolkit.pid1.look import Look, look
from sretoolkit.pid1.rehearsal import rehearse_stop
from sretoolkit.pid1.signals import has, number
from sretoolkit.store import open_store
from tests.score.case import Case
from tests.score.corpus import CASES
from tests.score.row import Row, show
from tests.score.stage import Stage

STOPS = 3  # of which each case's truth is made
_AT_ONCE = 8
_INITS = {"tini", "dumb-init", "catatonit", "systemd", "s6-svscan", "runsvdir"}


def main(halves: Sequence[str]) -> int:
    """Look once at all that run, probe, rehearse, then stop them, again and again; returns 1 when a goal is missed."""
    names = {case.name for case in CASES if case.half in halves}
    wanted = [case for case in CASES if case.name in names | {each.beside for each in CASES if each.name in names}]
    rows = {case.name: Row(case) for case in wanted}
    with tempfile.TemporaryDirectory(prefix="score-") as folder, Stage(Path(folder)) as stage:
        os.environ.update(stage.environment)
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for number_ in range(STOPS):
                stage.start(wanted, pool, first=number_ == 0)
                if number_ == 0:
                    _ask(list(rows.values()), pool, Path(folder))
                for name, (truth, took) in stage.stop(wanted, pool).items():
                    rows[name].truths.append(truth)
                    rows[name].seconds.append(took)
    return show([row for name, row in rows.items() if name in names], halves)


def _ask(rows: Sequence[Row], pool: ThreadPoolExecutor, folder: Path) -> None:
    """All that is foretold, before anything is stopped."""
    with connect("localhost", Config()) as host:
        found = look(host)
    for row in rows:
        foretell(row, found)
    list(pool.map(lambda row: _probe(row, found), rows))
    list(pool.map(lambda row: _rehearse(row, folder), [row for row in rows if row.doubtful]))


def foretell(row: Row, found: Look) -> None:
    """What one look says of a case, and what simpler ways say."""
    subject = next((each for each in found.subjects if each.workload and each.workload.name == row.case.name), None)
    row.static = _static(row.case)
    if subject is not None:
        init, which = subject.init, number(subject.asked)
        _, kind = kind_of(init)
        row.stop = subject.stop
        row.naive = "clean" if has(init.process.caught, which) else "killed"
        row.reaps = reaps(init, kind)[0]


def _static(case: Case) -> str:
    if "--init" in case.options or case.command[0].rpartition("/")[2] in _INITS:
        return "clean"
    return "killed" if case.command[1:2] == ("-c",) or case.command[1:3] == ("sh", "-c") else "uncertain"


def _probe(row: Row, found: Look) -> None:
    """An orphan in its namespace, made and watched by the toolkit's own script."""
    init = next((each.init for each in found.subjects if each.workload and each.workload.name == row.case.name), None)
    if init is None or not init.first:
        return
    script = files("sretoolkit.pid1").joinpath("reap.sh").read_text(encoding="utf-8")
    command = ["sh", "-c", script, "sh", str(init.process.pid), str(init.process.started), "1"]
    said = run(command, capture_output=True, text=True, timeout=60, check=False).stdout.split()
    row.orphan = {"reaped": "yes", "zombie": "no"}.get(said[0] if said else "", "")


def _rehearse(row: Row, folder: Path) -> None:
    """Stop a clone, as `rehearse_stop` does for a person; one that cannot be made leaves the verdict as it was."""
    place = folder / f"{row.case.name}-rehearsal"
    config = Config.of(store={"url": f"sqlite:///{place}.db"}, journal={"keys": str(place)})
    try:
        plan = rehearse_stop("localhost", row.case.name, settle=timedelta(seconds=2), config=config)
        with open_store(config) as store:
            seen = plan.run(apply=True, config=config, store=store).seen[-1]
    except SREToolkitError as error:
        print(f"{row.case.name}: no rehearsal: {error.message}")
        return
    row.clone = "killed" if seen["killed"] else "lost" if seen["lost"] else "clean"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or ("build", "known", "held back")))
