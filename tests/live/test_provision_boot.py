"""Real (virtual) machines boot from the network, are discovered, written and come up, by each kind of firmware."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from sretoolkit.provision.node import Node
from tests.stack import images
from tests.stack.boot_server import BootServer
from tests.stack.machine import Machine
from tests.stack.rack import Rack

pytestmark = [
    pytest.mark.live,
    pytest.mark.timeout(900),  # software emulation, beside whatever else this machine does
    pytest.mark.skipif(os.getuid() != 0, reason="network namespaces need root"),
]


class Lab:
    """A rack, a boot server and machines, in a folder with a short name (a socket's path may have 107 characters)."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self.folder = Path(tempfile.mkdtemp(prefix="rack-"))
        stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self.rack = stack.enter_context(Rack())

    def server(self, **options: Any) -> BootServer:
        """Start it."""
        return self._stack.enter_context(BootServer(self.rack, self.folder / "server", **options))

    def machine(self, name: str = "m", **options: Any) -> Machine:
        """Make one; it is off."""
        return self._stack.enter_context(Machine(self.folder / name, self.rack, **options))


@pytest.fixture
def lab() -> Iterator[Lab]:
    """A rack of the test's own."""
    with ExitStack() as stack:
        yield Lab(stack)


def install(server: BootServer, machine: Machine) -> Node:
    """Switch on, discover, order and wait until the installed system has called; gives the node as discovered."""
    machine.on()
    node = server.node(machine)
    order = server.order(node)
    assert "done" == server.reaches(order), server.told(machine)
    return node


@pytest.mark.parametrize(
    ("firmware", "known"),
    [
        ("bios", ("bios", False, "x86_64")),
        ("uefi", ("uefi", False, "x86_64")),
        ("secureboot", ("uefi", True, "x86_64")),
        ("arm64", ("uefi", False, "arm64")),
    ],
)
def test_a_machine_is_installed(lab: Lab, firmware: str, known: tuple[str, bool, str]) -> None:
    """Power on, discovery, order, image, seed, reboot, callback: by BIOS, UEFI, Secure Boot enforced, and ARM64."""
    console = "ttyAMA0" if firmware == "arm64" else "ttyS0"
    server = lab.server(secure_boot=firmware == "secureboot", consoles=console)
    server.offer(images.small(known[2]))
    machine = lab.machine(firmware=firmware)
    node = install(server, machine)
    facts = node.facts
    assert known == (facts["firmware"], facts["secure_boot"], facts["architecture"])
    (disk,) = facts["disks"]
    assert ("DISK0", 2 << 30, True) == (disk["serial"], disk["bytes"], disk["empty"])
    assert list(machine.macs) == [card["mac"] for card in facts["nics"]]
    stages = [event["event"] for event in server.events(node) if event["event"].startswith("stage-")]
    wanted = ["accepted", "writing", "written", "verified", "seeded", "rebooting"]
    assert wanted == [name.removeprefix("stage-") for name in stages]
    assert "installed" == server.registry.node(node.id).state
    assert "installed: the server answered 200" in machine.console or server.wait(
        lambda: "installed: the server answered 200" in machine.console
    )
    machine.reset()  # and it stays installed: whatever comes, it boots its own disk
    assert server.wait(lambda: machine.console.count("installed: the server answered") == 2, timeout=300)
