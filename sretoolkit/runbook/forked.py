"""Starting a part of a run: a fork of the warm process where there is one, a new interpreter everywhere else."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import select
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

PIPE, DEVNULL = subprocess.PIPE, subprocess.DEVNULL
_LIKE = ("PYTHON", "LD_", "LC_", "LANG", "GCONV_", "MALLOC_")
_SPACES = ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")


class Forked:
    """A fork, as `subprocess.Popen` shows a process: it is the warm process's child, which tells when it has ended."""

    def __init__(self, connection: socket.socket, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self.stdin: IO[bytes] | None = None
        self.stdout: IO[bytes] | None = None
        self.stderr: IO[bytes] | None = None
        self._connection = connection
        self._heard = b""

    def poll(self) -> int | None:
        """Its exit code when it has ended (negative: the signal that ended it)."""
        return self._hear(0.0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; raises `subprocess.TimeoutExpired`."""
        code = self._hear(timeout)
        if code is None:
            raise subprocess.TimeoutExpired("a fork", timeout or 0.0)
        return code

    def send_signal(self, number: int) -> None:
        """Send it a signal while it runs."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def _hear(self, timeout: float | None) -> int | None:
        while self.returncode is None:
            if b"\n" in self._heard:
                line, _, self._heard = self._heard.partition(b"\n")
                self.returncode = int(json.loads(line)["exit"])
                self._connection.close()
                break
            if not select.select([self._connection], [], [], timeout)[0]:
                return None
            more = self._connection.recv(4096)
            if not more:  # the warm process was killed: only that its fork is gone can be known now
                self._await(timeout)
                return self.returncode
            self._heard += more
        return self.returncode

    def _await(self, timeout: float | None) -> None:
        try:
            end = os.pidfd_open(self.pid)
        except ProcessLookupError:
            self.returncode = -signal.SIGKILL
            return
        try:
            if select.select([end], [], [], timeout)[0]:
                self.returncode = -signal.SIGKILL
        finally:
            os.close(end)


Process = subprocess.Popen[bytes] | Forked


def start(
    module: str,
    *arguments: str,
    stdin: int | None = DEVNULL,
    stdout: int | None = None,
    keep: Sequence[int] = (),
    merge: bool = False,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Process:
    """Start `warm.MODULES`' ``module`` in a session of its own, with the files ``keep`` open; ``merge`` is 2>&1."""
    environment = os.environ if environment is None else environment
    found = warm(module, arguments, stdin, stdout, keep, merge=merge, cwd=cwd, environment=environment)
    if found is not None:
        return found
    from sretoolkit.runbook.warm import MODULES

    return subprocess.Popen(
        [sys.executable, "-m", MODULES[module], *arguments], stdin=stdin, stdout=stdout,
        stderr=subprocess.STDOUT if merge else None, pass_fds=keep, cwd=cwd, env=environment, start_new_session=True,
    )  # fmt: skip


def warm(
    module: str,
    arguments: Sequence[str],
    stdin: int | None,
    stdout: int | None,
    keep: Sequence[int] = (),
    *,
    merge: bool = False,
    bound: bool = False,
    cwd: Path | None = None,
    environment: Mapping[str, str],
) -> Forked | None:
    """A fork of the warm process; None when there is none that is like this process. ``bound``: it hangs up with us."""
    ours: list[int] = []
    try:
        here = str(cwd or Path.cwd())
    except OSError:  # it was deleted under us
        return None
    with socket.socket(socket.AF_UNIX) as connection:
        if not _connected(connection):
            return None
        given = [_end(stdin, 0, ours), _end(stdout, 1, ours)]
        given.append(given[1] if merge else 2)
        request = {
            "module": module, "arguments": list(arguments), "numbers": [0, 1, 2, *keep], "bound": bound,
            "cwd": here, "umask": _umask(), "environment": dict(environment),
        }  # fmt: skip
        answer = _ask(connection, request, [*given, *keep])
        for descriptor in {*given} - {0, 1, 2}:
            os.close(descriptor)
        if answer is None:
            for descriptor in ours:
                os.close(descriptor)
            return None
        fork = Forked(connection.dup(), answer)
    fork.stdin = os.fdopen(ours.pop(0), "wb") if stdin == PIPE else None
    fork.stdout = os.fdopen(ours.pop(0), "rb") if stdout == PIPE else None
    return fork


def _connected(connection: socket.socket) -> bool:
    """Whether there is a warm process like this one, with which we speak now."""
    try:
        with beside(place()) as name:
            connection.connect(name)
    except OSError:
        return False
    return True


def _ask(connection: socket.socket, request: Mapping[str, Any], descriptors: list[int]) -> int | None:
    """The pid of the fork."""
    data = json.dumps(request).encode() + b"\n"
    try:
        sent = socket.send_fds(connection, [data], descriptors)
        connection.sendall(data[sent:])
        line = b""
        while not line.endswith(b"\n"):
            if not (more := connection.recv(1)):
                return None
            line += more
    except OSError:
        return None
    pid: int | None = json.loads(line).get("pid")
    return pid


def _end(how: int | None, number: int, ours: list[int]) -> int:
    """The descriptor for the fork; our end of a pipe is added to ``ours``."""
    if how == PIPE:
        reading, writing = os.pipe()
        ours.append(writing if number == 0 else reading)
        return reading if number == 0 else writing
    return os.open(os.devnull, os.O_RDWR) if how == DEVNULL else number if how is None else os.dup(how)


def place() -> Path:
    """Where the socket of a warm process like this one is: same user, login, limits, namespaces, control group, interpreter.

    What a fork would have from the warm process instead of from us is part of its name.
    """
    links = sorted(str(path.readlink()) for path in Path("/proc/self/ns").iterdir() if path.name in _SPACES)
    limits = [resource.getrlimit(getattr(resource, name)) for name in dir(resource) if name.startswith("RLIMIT_")]
    like = sorted((name, value) for name, value in os.environ.items() if name.startswith(_LIKE))
    about = [
        sys.executable, sys.prefix, __file__, os.getresuid(), os.getresgid(), sorted(os.getgroups()),
        os.getpriority(os.PRIO_PROCESS, 0), _content("/proc/self/loginuid"), _content("/proc/self/cgroup"), links, limits, like,
    ]  # fmt: skip
    key = hashlib.sha256(json.dumps(about).encode()).hexdigest()[:16]
    return _folder() / f"warm-{key}"


def _folder() -> Path:
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if runtime and os.access(runtime, os.W_OK):
        return Path(runtime) / "sretoolkit"
    from sretoolkit.config import state_folder

    return state_folder() / "run"


@contextmanager
def beside(path: Path) -> Iterator[str]:
    """A short name for a socket's path: the kernel takes a hundred characters of it and no more."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def _content(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def _umask() -> int:
    """Read, and not set for a moment as the system call would: other threads make files."""
    lines = _content("/proc/self/status").splitlines()
    return next((int(line.split()[1], 8) for line in lines if line.startswith("Umask:")), 0o077)


def warm_up(*, owned: bool = False) -> tuple[Process, int]:
    """Start a warm process for processes like this one, if there is none; ``owned``: it ends when the pipe is closed.

    Gives the process and our end of that pipe (-1 for none). It is there for others as soon as it has loaded all, which
    takes a second or two.
    """
    path = place()
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    reading, writing = os.pipe() if owned else (-1, -1)
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "sretoolkit.runbook.warm", str(path), *([str(reading)] if owned else [])],
            stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL, start_new_session=True, cwd="/",
            pass_fds=[reading] if owned else [], env=_harmless(),
        )  # fmt: skip
    finally:
        if owned:
            os.close(reading)
    return process, writing


def warm_pid() -> int | None:
    """The warm process that processes like this one are forked from; None when there is none."""
    with socket.socket(socket.AF_UNIX) as connection:
        if not _connected(connection):
            return None
        return peer(connection)[0]


def peer(connection: socket.socket) -> tuple[int, int]:
    """The process at the other end of a Unix socket, and its user."""
    pid, uid, _ = struct.unpack(
        "3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    )
    return pid, uid


def _harmless() -> dict[str, str]:
    """What the warm process may have of our environment: it lives on, and no secret is to live in it."""
    kept = ("HOME", "PATH", "USER", "LOGNAME", "TZ", "TMPDIR", "XDG_")
    return {name: value for name, value in os.environ.items() if name.startswith((*_LIKE, *kept))}
