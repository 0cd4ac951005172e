"""A warm process: one of a user that has all loaded that a run needs, and forks it in a tenth of the time.

``python -m sretoolkit.runbook.warm SOCKET [FD]`` listens on a Unix socket of its own user. Each request names one of `MODULES`
and brings environment, folder and open files; the fork becomes that module's ``main``. It answers ``{"pid": N}`` and, when that
has ended, ``{"exit": CODE}``; or ``{"cold": WHY}``, and whoever asked starts a new interpreter instead.

It runs no thread and no event loop, knows no secret, and forks only for a process that is like itself (`forked.place` says
what that means). It ends when the code that it has loaded is changed, and when nobody has asked for half an hour or, where it was
given a pipe, with whoever started it.
"""

from __future__ import annotations

import atexit
import fcntl
import gc
import io
import json
import os
import select
import signal
import socket
import sys
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import sretoolkit
from sretoolkit.runbook.forked import beside, peer

MODULES = {
    "command": "sretoolkit.cli.main",
    "kernel": "sretoolkit.runbook.kernel",
    "notebook": "sretoolkit.runbook.provisioner",
    "page": "sretoolkit.runbook.page",
    "worker": "sretoolkit.runbook.worker",
}
_LOADED = (
    "nbclient", "ipykernel.kernelapp", "ipykernel.ipkernel", "jupyter_client.asynchronous.client", "sretoolkit.plan",
    "sretoolkit.report", "sretoolkit.runbook.record", "sretoolkit.plan.session", "sretoolkit.cli.runbooks",
    "sretoolkit.cli.progress", "sretoolkit.store.dialects.sqlite",
)  # fmt: skip
_IDLE = 1800.0
_PATIENCE = 2.0  # seconds for a request to arrive: whoever asks is on this machine
_LOOKED = 1.0  # seconds for which what was seen of the code's files holds


@dataclass
class Child:
    """A fork: its end, and the connection that is told of it. ``bound`` to whoever asked, it is hung up on with him."""

    pid: int
    end: int
    connection: socket.socket
    bound: bool


class Zygote:
    """Listens, forks, and tells how each fork ended."""

    def __init__(self, path: Path, lock: int, owner: int = -1) -> None:
        self.code = Code()
        self._lock = lock
        self._owner = owner
        self._path = path
        self._open = True
        self._children: dict[int, Child] = {}
        self._by_connection: dict[int, Child] = {}
        self._listener = socket.socket(socket.AF_UNIX)
        with beside(path) as name:
            Path(name).unlink(missing_ok=True)
            self._listener.bind(name)
        self._listener.listen(64)
        self._poller = select.poll()
        self._poller.register(self._listener, select.POLLIN)
        if owner >= 0:
            self._poller.register(owner, select.POLLIN)

    def serve(self) -> None:
        """Until there is a reason to end: then nobody new is let in, and those that were forked are waited for."""
        used = time.monotonic()
        while self._open or self._children:
            ready = [number for number, _ in self._poller.poll(1000 * 60)]
            idle = self._owner < 0 and not (ready or self._children) and time.monotonic() - used > _IDLE
            if self._owner in ready or (self._open and idle):
                self._close()
            for number in ready:
                if self._open and number == self._listener.fileno():
                    used = time.monotonic()
                    self._accept()
                elif number in self._children:
                    self._ended(self._children.pop(number))
                elif number in self._by_connection:
                    self._hung_up(number)

    def _close(self) -> None:
        self._open = False
        self._poller.unregister(self._listener)
        self._listener.close()
        with beside(self._path) as name:
            Path(name).unlink(missing_ok=True)
        os.close(self._lock)  # the next one may begin while our forks go on
        if self._owner >= 0:
            self._poller.unregister(self._owner)
            os.close(self._owner)
            self._owner = -1

    def _accept(self) -> None:
        """Take one request; when the code has changed, nothing may be forked from here any more."""
        connection, _ = self._listener.accept()
        connection.settimeout(_PATIENCE)
        descriptors: list[int] = []
        try:
            if peer(connection)[1] != os.getuid():
                raise OSError("another user's process")
            request, descriptors = _read(connection)
            changed = self.code.changed()
            if why := changed or _unfit():
                connection.sendall(json.dumps({"cold": why}).encode() + b"\n")
                connection.close()
            else:
                self._fork(request, descriptors, connection)
            if changed:
                self._close()
        except (OSError, ValueError, KeyError):
            connection.close()
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def _fork(self, request: dict[str, Any], descriptors: list[int], connection: socket.socket) -> None:
        pid = os.fork()
        if pid == 0:
            self._become(request, descriptors, connection)
        end = os.pidfd_open(pid)
        child = Child(pid, end, connection, bool(request["bound"]))
        self._children[end] = self._by_connection[connection.fileno()] = child
        self._poller.register(end, select.POLLIN)
        self._poller.register(connection, select.POLLIN)
        with suppress(OSError):
            connection.sendall(json.dumps({"pid": pid}).encode() + b"\n")

    def _become(self, request: dict[str, Any], descriptors: list[int], connection: socket.socket) -> None:
        """In the fork: take on what the one who asked has, and be the module that he named; never returns."""
        code = 1
        try:
            os.setsid()
            for child in self._children.values():
                os.close(child.end)
                child.connection.close()
            for each in (self._listener, connection):
                each.close()
            os.close(self._lock)
            if self._owner >= 0:
                os.close(self._owner)
            for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
            _take(descriptors, request["numbers"])
            os.chdir(request["cwd"])
            if not sys.flags.safe_path:
                sys.path[0] = request["cwd"]  # as `python -m` does
            os.umask(request["umask"])
            os.environ.clear()
            os.environ.update(request["environment"])
            sys.argv = [request["module"], *request["arguments"]]
            gc.enable()
            code = _code_of(MODULES[request["module"]], request["arguments"])
        except BaseException:
            traceback.print_exc()
        finally:
            with suppress(BaseException):
                atexit._run_exitfuncs()
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)

    def _ended(self, child: Child) -> None:
        self._poller.unregister(child.end)
        os.close(child.end)
        _, status = os.waitpid(child.pid, 0)
        if child.connection.fileno() >= 0:
            self._forget(child)
            with suppress(OSError):
                child.connection.sendall(json.dumps({"exit": os.waitstatus_to_exitcode(status)}).encode() + b"\n")
            child.connection.close()

    def _hung_up(self, number: int) -> None:
        """Whoever asked is gone; what is bound to him is told so, as a terminal that hangs up does."""
        child = self._by_connection[number]
        self._forget(child)
        child.connection.close()
        if child.bound:
            os.kill(child.pid, signal.SIGHUP)

    def _forget(self, child: Child) -> None:
        self._by_connection.pop(child.connection.fileno(), None)
        with suppress(KeyError):
            self._poller.unregister(child.connection)


class Code:
    """What is loaded, as its files are on disk."""

    def __init__(self) -> None:
        self._loaded = self._on_disk()
        self._looked = time.monotonic()

    def changed(self) -> str:
        """What was changed since it was loaded; "" when nothing was."""
        if time.monotonic() - self._looked > _LOOKED:
            if self._on_disk() != self._loaded:
                return "the code was changed since it was loaded"
            self._looked = time.monotonic()
        return ""

    @staticmethod
    def _on_disk() -> list[tuple[str, int]]:
        package = Path(sretoolkit.__file__).parent
        folders = [Path(entry) for entry in sys.path if entry and Path(entry).is_dir()]  # installing touches these
        files = [package / root / name for root, _, names in os.walk(package) for name in names if name.endswith(".py")]
        return sorted((str(path), path.stat().st_mtime_ns) for path in [*folders, *files])


def _read(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    data, descriptors, _, _ = socket.recv_fds(connection, 65536, 16)
    try:
        while not data.endswith(b"\n"):
            more = connection.recv(65536)
            if not more:
                raise OSError("the request ended early")
            data += more
        return json.loads(data), descriptors
    except BaseException:
        for descriptor in descriptors:
            os.close(descriptor)
        raise


def _unfit() -> str:
    """A fork has one thread: what others held would be held for ever."""
    return "it has more than one thread" if sum(1 for _ in Path("/proc/self/task").iterdir()) > 1 else ""


def _take(descriptors: list[int], numbers: list[int]) -> None:
    """The files that came, under the numbers that they had there; and Python's own streams on the first three."""
    high = [fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 100) for descriptor in descriptors]
    for descriptor in descriptors:
        os.close(descriptor)
    for descriptor, number in zip(high, numbers, strict=True):
        os.dup2(descriptor, number, inheritable=True)
        os.close(descriptor)
    sys.stdin = io.TextIOWrapper(io.FileIO(0, closefd=False))
    for name, number in (("stdout", 1), ("stderr", 2)):
        raw = io.BufferedWriter(io.FileIO(number, "w", closefd=False))
        setattr(
            sys, name, io.TextIOWrapper(raw, line_buffering=number == 2 or os.isatty(number), errors="backslashreplace")
        )


def _code_of(module: str, arguments: list[str]) -> int:
    try:
        code = import_module(module).main(arguments)
    except SystemExit as error:
        code = error.code
    if isinstance(code, str):
        print(code, file=sys.stderr)
        return 1
    return int(code or 0)


def load() -> None:
    """Import what runs need, and use what is made at the first use, so that every fork has it."""
    from sretoolkit.runbook.page import page
    from sretoolkit.runbook.run import import_papermill

    import_papermill()
    for name in (*MODULES.values(), *_LOADED):
        import_module(name)
    page({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": []}, {})


def main(arguments: list[str]) -> int:
    """Load, listen, fork."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    path = Path(arguments[0])
    lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return 0  # there is one
    load()
    gc.collect()
    gc.freeze()
    gc.disable()
    Zygote(path, lock, int(arguments[1]) if len(arguments) > 1 else -1).serve()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
