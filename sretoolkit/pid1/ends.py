"""How each process of a PID namespace ends while a command runs: a program of its own, without anything of this package.

``python3 ends.py PID SIGNAL COMMAND...`` as root, on the host of that namespace (PID is its first process), with the kernel's
process events (netlink, CONFIG_PROC_EVENTS). Prints one line of JSON: ``code`` of the command, ``said`` on its stderr, ``ends``:
for each process that ran before, its name, whether it is the first one, whether it would take the SIGNAL itself (a handler, or
it waits for it), and its wait status (None = it has not ended). Source: linux/cn_proc.h.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

_CONNECTOR, _PROC, _LISTEN, _EXIT = 11, 1, 1, 0x80000000
_HEAD = struct.Struct("=IHHII")  # struct nlmsghdr
_ADDRESS = struct.Struct("=IIIIHH")  # struct cn_msg
_EVENT = struct.Struct("=IIQ")  # what, cpu, timestamp
_ENDED = struct.Struct("=IIII")  # pid, tgid, exit code, exit signal
_BUFFER = 1 << 22
_LINGER = 0.3  # seconds for the last events
_SIGWAIT = {"x86_64": "128", "aarch64": "137"}


def watch(first: str, which: int, command: list[str]) -> dict[str, object]:
    """Run the command; raises OSError where the kernel gives us no events."""
    with _events() as feed:
        members = _members(first, which)
        ended: dict[int, int] = {}
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as running:
            until = float("inf")
            while time.monotonic() < until:
                if select.select([feed], [], [], 0.05)[0]:
                    _note(feed.recv(_BUFFER), ended)
                if running.poll() is not None:
                    until = min(until, time.monotonic() + _LINGER)
            said = running.stderr.read() if running.stderr else ""
    ends = [[name, str(pid) == first, takes, ended.get(pid)] for pid, (name, takes) in members.items()]
    return {"code": running.returncode, "said": said[-300:], "ends": ends}


def _events() -> socket.socket:
    feed = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _CONNECTOR)
    feed.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
    feed.bind((0, _PROC))
    body = _ADDRESS.pack(_PROC, _PROC, 0, 0, 4, 0) + struct.pack("=I", _LISTEN)
    feed.send(_HEAD.pack(_HEAD.size + len(body), 3, 0, 0, os.getpid()) + body)
    if not select.select([feed], [], [], 2)[0]:
        raise OSError("the kernel sends no process events")
    return feed


def _note(message: bytes, ended: dict[int, int]) -> None:
    at = _HEAD.size + _ADDRESS.size
    if len(message) < at + _EVENT.size + _ENDED.size or _EVENT.unpack_from(message, at)[0] != _EXIT:
        return
    pid, group, code, _ = _ENDED.unpack_from(message, at + _EVENT.size)
    if pid == group:
        ended[pid] = code


def _members(first: str, which: int) -> dict[int, tuple[str, bool]]:
    """Those that run in the namespace: name, and whether they would take the signal."""
    own, found = Path(f"/proc/{first}/ns/pid").readlink(), {}
    for place in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if place.name.isdigit() and (place / "ns/pid").readlink() == own:
                lines = (place / "status").read_text(errors="replace").splitlines()
                status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
                if not status["State"].startswith("Z"):
                    masks = int(status["SigCgt"], 16) | int(status["SigBlk"], 16)
                    found[int(place.name)] = status["Name"], bool(masks >> (which - 1) & 1) or _waits(place)
    return found


def _waits(place: Path) -> bool:
    """Whether a thread is in sigwait, which hides its signals from the masks."""
    call = _SIGWAIT.get(os.uname().machine)
    return any((task / "syscall").read_text().split()[0] == call for task in (place / "task").iterdir())


if __name__ == "__main__":
    print(json.dumps(watch(sys.argv[1], int(sys.argv[2]), sys.argv[3:])))
