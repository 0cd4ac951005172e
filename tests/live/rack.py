"""A rack with a boot server and bare machines, for the live tests of provisioning."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from sretoolkit.provision.node import Node
from tests.conftest import REPOSITORY
from tests.stack.boot_server import BootServer
from tests.stack.lldp import FRAME
from tests.stack.machine import Machine
from tests.stack.rack import Rack

LIVE = [
    pytest.mark.live,
    pytest.mark.timeout(1200),  # software emulation, beside whatever else this machine does
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


def hears_its_switch(server: BootServer, machine: Machine) -> Mapping[str, Any]:
    """A switch announces itself at the end of the machine's cable until that is a fact; gives the facts then."""

    def told() -> Mapping[str, Any]:
        machine.rack.send(machine.ports[0], FRAME)
        facts = server.node(machine).facts
        return facts if "lldp_eth0_port" in facts else {}

    found: Mapping[str, Any] = server.wait(told)
    return found


def install(server: BootServer, machine: Machine) -> Node:
    """Switch on, discover, order and wait until the installed system has called; gives the node as discovered."""
    machine.on()
    node = server.node(machine)
    order = server.order(node)
    assert "done" == server.reaches(order), server.told(machine)
    return node


def command(server: BootServer, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command line, in the rack's network, with the server's store and folders."""
    config = server.config
    environment = {
        **os.environ, "PYTHONPATH": str(REPOSITORY), "SRETOOLKIT_STORE_URL": config["store.url"],
        "SRETOOLKIT_JOURNAL_KEYS": config["journal.keys"], "SRETOOLKIT_RECORDS_FOLDER": config["records.folder"],
        "SRETOOLKIT_PROVISION_URL": server.api, "SRETOOLKIT_PROVISION_FOLDER": config["provision.folder"],
        "SRETOOLKIT_PROVISION_SSH_KEY": str(server.folder / "login"),
        "SRETOOLKIT_RUNBOOKS_FOLDERS": f'["{REPOSITORY}/runbooks"]',
    }  # fmt: skip
    whole = server.rack.command([sys.executable, "-m", "sretoolkit", *arguments])
    return subprocess.run(whole, env=environment, capture_output=True, text=True, timeout=1000, cwd=server.folder)
