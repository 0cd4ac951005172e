"""A baseboard controller (IPMI 2.0, by pyghmi) of a virtual machine, as a process of its own on loopback.

with Bmc(machine) as bmc:
    Ipmi(address="127.0.0.1", port=bmc.port, user=bmc.user, password=Secret(...), cipher=3)
"""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from typing import Any, Self

from sretoolkit.clock import poll
from sretoolkit.provision.powers._qmp import Qmp
from tests.stack.machine import Machine, power_off, power_on, power_state
from tests.stack.process import Process

USER, PASSWORD = "admin", "s3cret-of-a-bmc"


class Bmc:
    """Runs until the block ends; the machine's power is its alone meanwhile."""

    user, password = USER, PASSWORD

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.port = 0
        self._process: Process | None = None

    def __enter__(self) -> Self:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        folder = self.machine.folder
        command = [sys.executable, "-m", "tests.stack.bmc", str(folder), str(self.port)]
        repository = str(Path(__file__).parents[2])
        self._process = Process(folder, "bmc", ["env", f"PYTHONPATH={repository}", *command])
        if not poll(lambda: "listens" in (folder / "bmc.log").read_text(), timeout=30):
            self._process.stop()
            raise RuntimeError(f"the controller does not start: {(folder / 'bmc.log').read_text()}")
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.stop()


def place_devices(folder: Path, device: str) -> None:
    """Change what a running machine boots first the next time; no two devices may share a place, even for a moment."""
    first, second = ("nic0", "disk0") if device == "network" else ("disk0", "nic0")
    with Qmp(folder / "qmp.sock") as qmp:
        for name, index in (("nic0", 100), (second, 2 if second != "nic0" else 101), (first, 1), (second, 2)):
            qmp.ask("qom-set", path=f"/machine/peripheral/{name}", property="bootindex", value=index)


def start(folder: Path, device: str) -> None:
    """Switch a machine on with that device first."""
    power_on(folder)
    if device == "disk":  # QEMU was started with the network first: the firmware is told before it looks
        place_devices(folder, device)
        with Qmp(folder / "qmp.sock") as qmp:
            qmp.ask("system_reset")


def main(folder: Path, port: int) -> None:
    """Listen for ever."""
    from pyghmi.ipmi import bmc

    class Controller(bmc.Bmc):  # type: ignore[misc]
        device = "default"

        def get_power_state(self) -> str:
            return "on" if power_state(folder) else "off"

        def power_on(self) -> int:
            if not power_state(folder):
                start(folder, "disk" if self.device == "hd" else "network")
            return 0

        def power_off(self) -> int:
            power_off(folder)
            return 0

        def power_reset(self) -> int:
            with Qmp(folder / "qmp.sock") as qmp:
                qmp.ask("system_reset")
            return 0

        def get_boot_device(self) -> str:
            return self.device

        def set_boot_device(self, device: Any) -> int:
            self.device = str(device)  # pyghmi's words: network, hd, default
            if power_state(folder):
                place_devices(folder, "disk" if self.device == "hd" else "network")
            return 0

    controller = Controller({USER: PASSWORD}, port=port, address="127.0.0.1")
    print("listens", flush=True)
    controller.listen()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
