"""Starting a real server for a test, and ending just that one."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from sretoolkit.clock import poll


def free_port() -> int:
    """A TCP port of the loopback interface that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def program(name: str, package: str) -> str:
    """The path of a server's program; raises `RuntimeError` that names the Debian package when it is missing."""
    found = shutil.which(name)
    if not found:
        raise RuntimeError(f"{name} is missing; install it: apt-get install {package}")
    return found


def unpacked(name: str, major: str) -> Path:
    """Where ``tests/stack/install`` unpacked a newer version of a package; raises `RuntimeError` when it did not."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(os.environ.get("SRETOOLKIT_STACK_CACHE") or Path(cache) / "sretoolkit-stack") / f"{name}-{major}"
    if not folder.is_dir():
        raise RuntimeError(f"{name} {major} is not unpacked at {folder}; run tests/stack/install")
    return folder


class Process:
    """One child with its log in ``folder``; `wait_for` an address, then `stop` by its own pid."""

    def __init__(
        self, folder: Path, name: str, command: list[str], *, environment: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        with self.log.open("ab") as log:
            self.child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder, env=environment
            )

    def wait_for(self, url: str, *, timeout: float = 30) -> None:
        """Return once ``url`` answers; raises `RuntimeError` with the log when the process ends or stays silent."""
        answered = poll(lambda: self.child.poll() is not None or _answers(url), timeout=timeout)
        if not answered or self.child.poll() is not None:
            self.stop()
            log = self.log.read_text(errors="replace")[-4000:]
            raise RuntimeError(f"{self.name} does not answer at {url} (exit {self.child.returncode}):\n{log}")

    def stop(self) -> None:
        """End the process, gently first."""
        self.child.terminate()
        try:
            self.child.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait(timeout=10)


def _answers(url: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=2) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False
