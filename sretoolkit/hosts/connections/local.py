"""This machine: a child process in a process group of its own, which is killed as a whole at the deadline."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from contextlib import suppress
from typing import IO

from sretoolkit.hosts.connection import Connection
from sretoolkit.hosts.result import OUTPUT_LIMIT, Output, Sink

_LINGER = 1.0  # seconds that a background child which keeps the pipes open is listened to after the command has ended
_LOOK = 0.05
_CHUNK = 65536


class Local(Connection):
    """Commands on this machine, by ``/bin/sh``."""

    def execute(self, command: str, *, timeout: float, data: bytes) -> Output:
        """Run the command; nothing of it is left running after a timeout or an interrupt."""
        process = subprocess.Popen(
            ["/bin/sh", "-c", command],
            stdin=subprocess.PIPE if data else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            bufsize=0,
        )
        out, err = Sink(OUTPUT_LIMIT), Sink(OUTPUT_LIMIT)
        try:
            ended = _converse(process, data, out, err, time.monotonic() + timeout)
        except BaseException:
            _kill(process)
            raise
        finally:
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe:
                    pipe.close()
        if not ended:
            _kill(process)
        truncated = out.truncated or err.truncated
        code = process.returncode if process.returncode >= 0 else 128 - process.returncode
        return Output(code if ended else None, out.bytes(), err.bytes(), truncated, killed=not ended)

    def by_hand(self, command: str) -> str:
        """The command itself."""
        return command


def _converse(process: subprocess.Popen[bytes], data: bytes, out: Sink, err: Sink, deadline: float) -> bool:
    """Feed stdin and drain both pipes until the process has ended; False at the deadline."""
    rest, ended = memoryview(data), None
    with selectors.DefaultSelector() as pipes:
        for pipe, sink in ((process.stdout, out), (process.stderr, err)):
            if pipe:
                pipes.register(pipe.fileno(), selectors.EVENT_READ, sink)
        if process.stdin:
            os.set_blocking(process.stdin.fileno(), False)
            pipes.register(process.stdin.fileno(), selectors.EVENT_WRITE, process.stdin)
        while pipes.get_map():
            if (left := deadline - time.monotonic()) <= 0:
                return False
            for key, _ in pipes.select(min(left, _LOOK)):
                if isinstance(key.data, Sink):
                    _take(pipes, key.fd, key.data)
                else:
                    rest = _give(pipes, key.data, rest)
            if ended is None and process.poll() is not None:
                ended = time.monotonic()
            if ended is not None and min(time.monotonic() - ended, out.idle, err.idle) > _LINGER:
                return True
    try:
        process.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        return False
    return True


def _take(pipes: selectors.BaseSelector, fd: int, sink: Sink) -> None:
    if chunk := os.read(fd, _CHUNK):
        sink.feed(chunk)
    else:
        pipes.unregister(fd)


def _give(pipes: selectors.BaseSelector, stdin: IO[bytes], rest: memoryview) -> memoryview:
    try:
        rest = rest[os.write(stdin.fileno(), rest[:_CHUNK]) :]
    except BrokenPipeError:
        rest = rest[len(rest) :]
    if not rest:
        pipes.unregister(stdin.fileno())
        stdin.close()
    return rest


def _kill(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
