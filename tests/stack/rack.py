"""A rack's network in namespaces of its own: a bridge, cards for virtual machines, and places for servers on it.

with Rack() as rack:
    card = rack.card()                       # a tap device for a virtual machine
    rack.run(["curl", "http://10.77.0.1"])   # a command inside

Nothing of it touches the machine's own network. Needs root.
"""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Sequence
from types import TracebackType
from typing import Self

PREFIX6 = "fd77::"


class Rack:
    """The network ``10.77.0.0/24``; its first address, ``10.77.0.1``, and ``fd77::1`` are the bridge's own."""

    def __init__(self) -> None:
        self.name = f"srt-{uuid.uuid4().hex[:8]}"
        self.address = "10.77.0.1"
        self.bridge = "br0"
        self._cards = 0
        self._places: list[str] = []

    def command(self, command: Sequence[str], *, place: str = "") -> list[str]:
        """The command line that runs ``command`` in this network (or at a `place` of it)."""
        return ["ip", "netns", "exec", place or self.name, *command]

    def run(self, command: Sequence[str], *, place: str = "", check: bool = True, timeout: float = 60) -> str:
        """What a command prints that runs in this network."""
        done = subprocess.run(
            self.command(command, place=place),
            capture_output=True,
            text=True,
            timeout=timeout,
            stdin=subprocess.DEVNULL,
        )
        if check and done.returncode:
            raise RuntimeError(f"{' '.join(command)}: exit {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def card(self) -> str:
        """A new tap device on the bridge; gives its name."""
        name = f"tap{self._cards}"
        self._cards += 1
        self.run(["ip", "tuntap", "add", "dev", name, "mode", "tap"])
        self.run(["ip", "link", "set", name, "master", self.bridge, "up"])
        return name

    def send(self, card: str, frame: bytes) -> None:
        """Let the port at the other end of a card's cable send a frame."""
        port = "import socket, sys; s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW); s.bind((sys.argv[1], 0)); "
        self.run([sys.executable, "-c", f"{port}s.send(bytes.fromhex(sys.argv[2]))", card, frame.hex()])

    def place(self, address: str) -> str:
        """A namespace of its own on the bridge, with that address on ``eth0``; gives its name."""
        name = f"{self.name}-{len(self._places)}"
        _ip("netns", "add", name)
        self._places.append(name)
        peer = f"p{len(self._places)}"
        _ip("link", "add", peer, "netns", self.name, "type", "veth", "peer", "name", "eth0", "netns", name)
        self.run(["ip", "link", "set", peer, "master", self.bridge, "up"])
        for words in (
            ["addr", "add", f"{address}/24", "dev", "eth0"],
            ["link", "set", "eth0", "up"],
            ["link", "set", "lo", "up"],
        ):
            self.run(["ip", *words], place=name)
        return name

    def __enter__(self) -> Self:
        _ip("netns", "add", self.name)
        try:
            for words in (
                ["link", "set", "lo", "up"],
                ["link", "add", self.bridge, "type", "bridge"],
                ["addr", "add", f"{self.address}/24", "dev", self.bridge],
                ["addr", "add", f"{PREFIX6}1/64", "dev", self.bridge, "nodad"],
                ["link", "set", self.bridge, "up"],
            ):
                self.run(["ip", *words])
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        for name in [*self._places, self.name]:
            subprocess.run(["ip", "netns", "del", name], check=False, timeout=30)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, timeout=30, capture_output=True)
