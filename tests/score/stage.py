"""Where the cases run: a Docker Engine and a Podman store of the score's own, started and stopped again and again."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

from sretoolkit.clock import poll
from tests.score.case import GRACE, Case
from tests.score.corpus import FILES
from tests.stack.docker import Docker
from tests.stack.podman import Podman

SETTLED = 11.0  # seconds; older than the shortest grace period, as containers of a fleet are
_UP = 3.0  # seconds that those which leave no mark are given to start, when nothing is foretold of them


class Stage:
    """Both runtimes; ``environment`` leads their commands to them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._docker, self._podman = Docker(), Podman()

    def __enter__(self) -> Self:
        self._docker.__enter__()
        self._podman.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._podman.__exit__()
        self._docker.__exit__()

    @property
    def environment(self) -> dict[str, str]:
        """For DOCKER_HOST and Podman's own variables."""
        return {"DOCKER_HOST": self._docker.url, **self._podman.environment}

    def start(self, cases: Sequence[Case], pool: ThreadPoolExecutor, *, first: bool) -> None:
        """Start all, and let them settle; raises `RuntimeError` for one that is not ready in time."""
        for group in (False, True):  # those that share a namespace after those that have it
            list(pool.map(self._start, [case for case in cases if bool(case.beside) is group]))
        time.sleep(SETTLED if first else _UP)

    def stop(self, cases: Sequence[Case], pool: ThreadPoolExecutor) -> dict[str, tuple[str, float]]:
        """Stop and remove all: what became of each, and in how many seconds."""
        shared = {case.beside for case in cases}
        found: dict[str, tuple[str, float]] = {}
        for last in (False, True):
            group = [case for case in cases if (case.name in shared) is last]
            found |= dict(zip([case.name for case in group], pool.map(self._stop, group), strict=True))
        return found

    def _engine(self, case: Case) -> Docker | Podman:
        return self._docker if case.runtime == "docker" else self._podman

    def _start(self, case: Case) -> None:
        seen = self._folder / case.name
        shutil.rmtree(seen, ignore_errors=True)
        seen.mkdir()
        for name, text in FILES.items():
            (seen / name).write_text(text)
        shared = (f"--pid=container:{case.beside}",) if case.beside else ()
        options = ("-v", f"{seen}:/seen", "--stop-timeout", str(GRACE), *case.options, *shared)
        engine = self._engine(case)
        engine.run(*case.command, options=options, name=case.name)
        if case.ready and not poll((seen / "ready").exists, timeout=60):
            raise RuntimeError(f"{case.name} is not ready: {engine.call('logs', case.name, check=False)}")

    def _stop(self, case: Case) -> tuple[str, float]:
        engine, name = self._engine(case), case.name
        running = engine.call("inspect", "--format", "{{.State.Running}}", name).strip() == "true"
        began = time.monotonic()
        engine.call("stop", "-t", str(GRACE), name)
        took = time.monotonic() - began
        code = int(engine.call("inspect", "--format", "{{.State.ExitCode}}", name))
        engine.call("rm", "-f", name)
        if not running:
            return "ended before", took
        if code == 137 and took >= GRACE:
            return "killed", took
        done = (self._folder / name / "done").exists()
        return "lost" if case.logs and not done else "clean", took
