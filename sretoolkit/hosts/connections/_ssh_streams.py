"""How a command is wrapped for a channel, and how its three streams are moved."""

from __future__ import annotations

import shlex
import threading
import time
from contextlib import suppress
from typing import Any

import paramiko  # type: ignore[import-untyped]

from sretoolkit.hosts.result import Sink

BROKEN = (paramiko.SSHException, EOFError, OSError)
_LINGER = 1.0  # seconds that a background child which keeps the streams open is listened to after the command has ended


def start(channel: paramiko.Channel, data: bytes, out: Sink, err: Sink) -> list[threading.Thread]:
    """Begin to feed stdin and to drain the others; returns the two threads that drain."""
    jobs = ((_drain, channel.recv, out), (_drain, channel.recv_stderr, err), (_feed, channel, data))
    threads = [threading.Thread(target=work, args=args, daemon=True) for work, *args in jobs]
    for thread in threads:
        thread.start()
    return threads[:2]


def wrapped(command: str, mark: str) -> str:
    """In a known shell whatever the login shell is; says its process id first, and reports a signal as 128 + n."""
    script = f"printf '%s%s\\n' {shlex.quote(mark)} $$; /bin/sh -c {shlex.quote(command)}; exit $?"
    return f"exec /bin/sh -c {shlex.quote(script)}"


def without_noise(data: bytes, mark: bytes) -> tuple[bytes, str]:
    """The command's own output, without what a login script printed before it; and the process id."""
    _, found, rest = data.partition(mark)
    if not found:
        return data, ""
    pid, _, output = rest.partition(b"\n")
    return output, pid.decode() if pid.isdigit() else ""


def _drain(receive: Any, sink: Sink) -> None:
    with suppress(*BROKEN):
        while chunk := receive(65536):
            sink.feed(chunk)


def _feed(channel: paramiko.Channel, data: bytes) -> None:
    with suppress(*BROKEN):
        channel.sendall(data)
        channel.shutdown_write()


def settle(moving: list[threading.Thread], sinks: tuple[Sink, Sink], deadline: float) -> bool:
    """Let the rest of the output arrive; False when the deadline came first.

    A background child that keeps the streams open and silent is not waited for.
    """
    ended = time.monotonic()
    for thread in moving:
        while thread.is_alive():
            thread.join(0.05)
            if min(time.monotonic() - ended, *(sink.idle for sink in sinks)) > _LINGER:
                return True
            if time.monotonic() > deadline:
                return False
    return True
