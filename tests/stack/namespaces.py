"""Real PID namespaces for tests: a program as the first process of one, known by its host process id, killed by it."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from sretoolkit.clock import poll


class Namespace:
    """Runs a command as PID 1 of a namespace of its own; ``ready`` is what it prints when it is set up, if it does."""

    def __init__(self, *command: str, ready: str = "", cgroup: Path | None = None) -> None:
        self.command: Sequence[str] = command
        self.ready = ready
        self.cgroup = cgroup
        self.pid = 0
        self._process: subprocess.Popen[bytes] | None = None

    def send(self, which: int) -> None:
        """Send the first process a signal from outside, as a container runtime does."""
        os.kill(self.pid, which)

    def ends(self, timeout: float) -> bool:
        """Whether the namespace is gone within so many seconds."""
        return bool(poll(lambda: not Path(f"/proc/{self.pid}").exists() or _state(self.pid) == "Z", timeout=timeout))

    def __enter__(self) -> Self:
        enter = f"echo $$ > {self.cgroup}/cgroup.procs && " if self.cgroup else ""
        line = f'{enter}exec env --default-signal=INT,QUIT unshare --fork --pid --mount-proc --kill-child -- "$@"'
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", line, "sh", *self.command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
        )
        try:
            self._wait()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _wait(self) -> None:
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        if not poll(
            lambda: children.read_text().split() and self._replaced(int(children.read_text().split()[0])), timeout=30
        ):
            raise RuntimeError(f"{self.command} did not start in a namespace")
        self.pid = int(children.read_text().split()[0])
        assert self._process.stdout is not None
        if self.ready and self._process.stdout.readline().decode().strip() != self.ready:
            raise RuntimeError(f"{self.command} did not say {self.ready!r}")

    def _replaced(self, pid: int) -> bool:
        """Whether unshare's child has become the command."""
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0] == os.fsencode(self.command[0])
        except OSError:
            return False

    def _end(self) -> None:
        """Nothing of the namespace is left afterwards: its first process ends last, and unshare waits for that one."""
        if self._process is not None:
            if self.pid:
                _kill(self.pid)
            else:
                self._process.kill()
            self._process.wait(timeout=20)
            if self._process.stdout:
                self._process.stdout.close()


def _kill(pid: int) -> None:
    """Kill one process if it is still there."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0]
    except OSError:
        return "X"
