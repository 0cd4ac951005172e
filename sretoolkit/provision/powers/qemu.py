"""A virtual machine of QEMU, by its monitor socket: for laboratories, and for tests of what machines do."""

from __future__ import annotations

import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path

from sretoolkit.clock import poll
from sretoolkit.errors import ProvisionError
from sretoolkit.provision.power import Device, Power, State
from sretoolkit.provision.powers._qmp import Qmp, alive

_PARKED = 1000


@dataclass(frozen=True, kw_only=True)
class Qemu(Power):
    """The machine whose QEMU was started with ``-qmp unix:SOCKET,server,nowait``.

    ``start``: the command that starts that QEMU (words as a shell reads them, run without one); it must return when QEMU
    runs (``-daemonize``). ``nics``, ``disks``: ids of the devices with a ``bootindex``, in their order.
    """

    socket: str
    start: str = ""
    nics: str = "nic0"
    disks: str = "disk0"

    @property
    def target(self) -> str:
        """By its socket."""
        return f"power:qemu/{self.socket}"

    def state(self, *, timeout: float = 30) -> State:
        """On while the guest runs; without a QEMU it is off when we could start one."""
        try:
            with self._qmp(timeout) as qmp:
                return "on" if qmp.ask("query-status")["running"] else "off"
        except ProvisionError:
            return "off" if self.start else "unknown"

    def on(self, *, timeout: float = 30) -> None:
        """Start QEMU, or let a stopped guest begin anew."""
        if self.state(timeout=timeout) == "on":
            return
        try:
            with self._qmp(timeout) as qmp:
                qmp.ask("system_reset")
                qmp.ask("cont")
        except ProvisionError:
            if not self.start:
                raise
            self._started(timeout)

    def off(self, *, timeout: float = 30) -> None:
        """End QEMU where we could start it again; else stop the guest as it is."""
        if self.state(timeout=timeout) != "on":
            return
        with self._qmp(timeout) as qmp:
            if not self.start:
                qmp.ask("stop")
                return
            pid = qmp.peer()
            qmp.ask("quit")
        _gone(pid, timeout)

    def reset(self, *, timeout: float = 30) -> None:
        """As the machine's own button."""
        with self._qmp(timeout) as qmp:
            qmp.ask("system_reset")

    def boot_next(self, device: Device, *, timeout: float = 30) -> None:
        """Change the devices' places; a QEMU that does not run cannot be told."""
        with self._qmp(timeout) as qmp:
            cards, disks = (
                [f"/machine/peripheral/{name}" for name in names.split()] for names in (self.nics, self.disks)
            )
            wanted = [*cards, *disks] if device == "network" else [*disks, *cards]
            for first in (_PARKED, 1):  # no two devices may share a place, not even for a moment
                for number, path in enumerate(wanted):
                    qmp.ask("qom-set", path=path, property="bootindex", value=first + number)

    def next_boot(self, *, timeout: float = 30) -> str:
        """By the first card's and the first disk's place; "" when QEMU does not run."""
        try:
            with self._qmp(timeout) as qmp:
                card, disk = (
                    qmp.ask("qom-get", path=f"/machine/peripheral/{name.split()[0]}", property="bootindex")
                    for name in (self.nics, self.disks)
                )
        except ProvisionError:
            return ""
        return "network" if card < disk else "disk"

    def forget_next(self, *, timeout: float = 30) -> None:
        """The network first, as it was made."""
        self.boot_next("network", timeout=timeout)

    def by_hand(self, what: str) -> str:
        """For switching on alone."""
        return self.start if what == "on" else ""

    def _qmp(self, timeout: float) -> Qmp:
        return Qmp(Path(self.socket), timeout=timeout)

    def _started(self, timeout: float) -> None:
        try:
            done = subprocess.run(
                shlex.split(self.start), capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=timeout
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ProvisionError(f"{self.start!r} did not start a QEMU: {error}", subject=self.socket) from error
        if done.returncode:
            raise ProvisionError(f"{self.start!r} failed: {done.stderr.strip()[-500:]}", subject=self.socket)


def _gone(pid: int, timeout: float) -> None:
    if not poll(lambda: not alive(pid), timeout=timeout):
        raise ProvisionError(f"the QEMU {pid} does not end", subject=str(pid), hint=f"kill -9 {pid}")
