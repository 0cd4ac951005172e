"""The score: what is foretold of each container against what `docker stop` then does. ``python -m tests.score [build]``."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from importlib.resources import files
from pathlib import Path

from sretoolkit.clock import poll
from sretoolkit.config import Config
from sretoolkit.errors import SREToolkitError
from sretoolkit.hosts import connect
from sretoolkit.pid1.init import Stop, kind_of, reaps
from sretoolkit.pid1.look import Look, look
from sretoolkit.pid1.rehearsal import rehearse_stop
from sretoolkit.pid1.signals import has, number
from sretoolkit.store import open_store
from tests.score.corpus import CASES, FILES, GRACE, Case
from tests.stack.docker import Docker

SETTLED = 11.0  # seconds; older than the shortest grace period, as containers of a fleet are
_AT_ONCE = 8
_DOUBTFUL = {"handled", "uncertain", "unknown"}
_KILLED = {"dropped", "ignored", "blocked", "deferred", "killed"}
_INITS = {"tini", "dumb-init", "catatonit", "systemd", "s6-svscan", "runsvdir"}
_ROW = "{:24} {:9} {:26} {:10} {:10} {:10} {:10} {:10} {:16} {}"


@dataclass
class Row:
    """One case: foretold and true, for the stop and for orphans; "" = not known or not tried."""

    case: Case
    stop: Stop | None = None
    naive: str = "uncertain"
    static: str = "uncertain"
    truth: str = ""
    reaps: str = "unknown"
    orphan: str = ""
    kind: str = ""
    clone: str = ""

    @property
    def foretold(self) -> str:
        """In the words of the truth."""
        word = self.stop.word if self.stop else "unknown"
        told = {"handled": "clean", "not passed on": "not told"}
        return "killed" if word in _KILLED else told.get(word, "uncertain")

    @property
    def rehearsed(self) -> str:
        """The same, after a rehearsal where one was made."""
        return self.clone or self.foretold

    @property
    def doubtful(self) -> bool:
        """Whether a rehearsal would tell more: no rule of the kernel, and the program itself is the first process.

        Behind an init a clone ends cleanly whether its program is told or not.
        """
        stop = self.stop
        return bool(stop and stop.proof != "certain" and stop.word in _DOUBTFUL and self.kind in ("plain", "shell"))


def mark(foretold: str, truth: str) -> str:
    """Right, wrong or uncertain."""
    return "uncertain" if foretold in ("uncertain", "unknown") else "right" if foretold == truth else "wrong"


def main(halves: Sequence[str]) -> int:
    """Start all, look once, probe, stop all, and print; returns 1 when a goal is missed."""
    wanted = [case for case in CASES if case.half in halves and case.runtime == "docker"]
    names = {case.name for case in wanted}
    wanted = [case for case in CASES if case in wanted or case.name in {each.beside for each in wanted}]
    with tempfile.TemporaryDirectory(prefix="score-") as folder, Docker() as engine:
        os.environ["DOCKER_HOST"] = engine.url
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for group in (False, True):
                list(
                    pool.map(
                        lambda case: _start(case, engine, Path(folder)),
                        [case for case in wanted if bool(case.beside) is group],
                    )
                )
            time.sleep(SETTLED)
            with connect("localhost", Config()) as host:
                found = look(host)
            rows = [_foretell(case, found) for case in wanted if case.name in names]
            list(pool.map(lambda row: _probe(row, found), rows))
            for row in rows:
                if row.doubtful:
                    _rehearse(row, Path(folder))
            ordered = sorted(rows, key=lambda row: row.case.name in {each.beside for each in wanted})
            list(pool.map(lambda row: _stop(row, engine, Path(folder)), ordered))
    return show(rows, halves)


def _start(case: Case, engine: Docker, folder: Path) -> None:
    seen = folder / case.name
    seen.mkdir()
    for name, text in FILES.items():
        (seen / name).write_text(text)
    shared = (f"--pid=container:{case.beside}",) if case.beside else ()
    options = ("-v", f"{seen}:/seen", "--stop-timeout", str(GRACE), *case.options, *shared)
    engine.run(*case.command, options=options, name=case.name)
    if case.ready and not poll((seen / "ready").exists, timeout=60):
        raise RuntimeError(f"{case.name} is not ready: {engine.call('logs', case.name, check=False)}")


def _foretell(case: Case, found: Look) -> Row:
    row = Row(case)
    subject = next((each for each in found.subjects if each.workload and each.workload.name == case.name), None)
    first = case.command[0].rpartition("/")[2]
    if "--init" in case.options or first in _INITS:
        row.static = "clean"
    elif case.command[1:2] == ("-c",) or case.command[1:3] == ("sh", "-c"):
        row.static = "killed"
    if subject is not None:
        init, which = subject.init, number(subject.asked)
        row.kind, kind = kind_of(init)
        row.stop = kind.stop(init, which, assumed=subject.assumed)
        row.naive = "clean" if has(init.process.caught, which) else "killed"
        row.reaps = reaps(init, kind)[0]
    return row


def _probe(row: Row, found: Look) -> None:
    """An orphan in its namespace, made and watched by the toolkit's own script."""
    init = next((each.init for each in found.subjects if each.workload and each.workload.name == row.case.name), None)
    if init is None:
        return
    script = files("sretoolkit.pid1").joinpath("reap.sh").read_text(encoding="utf-8")
    command = ["sh", "-c", script, "sh", str(init.process.pid), str(init.process.started), "1"]
    said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stdout.split()
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
    row.clone = "killed" if seen["killed"] else "clean"


def _stop(row: Row, engine: Docker, folder: Path) -> None:
    name, before = row.case.name, engine.call("inspect", "--format", "{{.State.Running}}", row.case.name)
    if before.strip() != "true":
        row.truth = "ended before"
        return
    began = time.monotonic()
    engine.call("stop", "-t", str(GRACE), name)
    took = time.monotonic() - began
    code = int(engine.call("inspect", "--format", "{{.State.ExitCode}}", name))
    told = (folder / name / "told").exists()
    if code == 137 and took >= GRACE:
        row.truth = "killed"
    else:
        row.truth = "not told" if row.case.logs and not told else "clean"


def show(rows: Sequence[Row], halves: Sequence[str]) -> int:
    """The table, the scores, and whether the goals are met (0) or not (1)."""
    print(_ROW.format("case", "half", "foretold", "proof", "truth", "stop", "naive", "static", "reaps/orphan", "why"))
    for row in rows:
        stop = row.stop or Stop("unknown", "it is not the first process of a namespace")
        marks = [mark(each, row.truth) for each in (row.foretold, row.naive, row.static)]
        why = "" if marks[0] == "right" else stop.why
        told = f"{row.foretold} ({stop.word})"
        print(
            _ROW.format(
                row.case.name, row.case.half, told, stop.proof, row.truth, *marks, f"{row.reaps}/{row.orphan}", why
            )
        )
    missed = 0
    for half in halves:
        mine = [row for row in rows if row.case.half == half]
        for what in ("foretold", "rehearsed", "naive", "static"):
            marks = [mark(getattr(row, what), row.truth) for row in mine]
            print(half, what, {word: marks.count(word) for word in ("right", "wrong", "uncertain")}, "of", len(mine))
            if what == "rehearsed":
                missed |= marks.count("right") < 0.95 * len(mine) or marks.count("wrong") > 0.02 * len(mine)
        tried = [mark(row.reaps, row.orphan) for row in mine if row.orphan]
        print(half, "reaping", {word: tried.count(word) for word in ("right", "wrong", "uncertain")}, "of", len(tried))
    certain = [row for row in rows if row.stop and row.stop.proof == "certain" and row.foretold != "uncertain"]
    false = [row.case.name for row in certain if row.foretold != row.truth]
    print(f"certain by the kernel: {len(certain) - len(false)} of {len(certain)} right", *false)
    return int(bool(missed or false))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or ("build", "held back")))
