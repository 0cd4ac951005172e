"""A virtual machine as a bare one: firmware, cards, disks and SMBIOS texts; power goes on, off, and away in the middle.

QEMU runs by software emulation, detached, so that any process can be its controller: what it needs is in ``folder``
(``command.json``, ``qmp.sock``, ``qemu.pid``, ``serial.log``). It ends with the process whose machine it is, however
that ends.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sretoolkit.clock import poll
from sretoolkit.errors import ProvisionError
from sretoolkit.provision.powers._qmp import Qmp, alive
from tests.stack.process import program
from tests.stack.rack import Rack

OVMF = Path("/usr/share/OVMF")
AAVMF = Path("/usr/share/AAVMF")
# waits for the end of its owner, of whom it holds a pipe; then nobody can switch the machine on any more, and it is off
_GUARD = """
cat
rm -f "$0/command.json"
pid=$(cat "$0/qemu.pid") && grep -qF "$0/" "/proc/$pid/cmdline" && kill -9 "$pid"
"""


@dataclass(frozen=True)
class Disk:
    """A disk: its serial, its size in MiB, and how it is attached ("virtio", "nvme", "sata")."""

    serial: str = "DISK0"
    size: int = 2048
    kind: str = "virtio"


@dataclass
class Machine:
    """One machine in a rack. ``firmware``: "bios", "uefi", "secureboot" (enforced) or "arm64"; cards by their addresses."""

    folder: Path
    rack: Rack
    firmware: str = "bios"
    macs: Sequence[str] = ("52:54:00:77:00:10",)
    uuid: str = "7a5a11c0-0000-4000-8000-000000000010"
    serial: str = "SRT-0010"
    smbios: Mapping[str, str] = field(default_factory=dict)
    disks: Sequence[Disk] = (Disk(),)
    memory: int = 1024
    card: str = "virtio-net-pci"
    pxe: bool = True  # what the setup of a UEFI firmware says; without it, it boots by HTTP
    ports: list[str] = field(init=False, default_factory=list)  # where its cables end
    _guard: subprocess.Popen[bytes] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        for number, disk in enumerate(self.disks):
            if not self.disk(number).exists():
                _run("qemu-img", "create", "-q", "-f", "qcow2", str(self.disk(number)), f"{disk.size}M")
        self._firmware_files()
        (self.folder / "command.json").write_text(json.dumps(self.rack.command(self._command())))

    def disk(self, number: int = 0) -> Path:
        """The file of a disk."""
        return self.folder / f"disk{number}.qcow2"

    def digest(self, number: int = 0) -> str:
        """The sha256 of all that a disk holds; the machine must be off."""
        raw = self.folder / f"disk{number}.raw"
        try:
            _run("qemu-img", "convert", "-O", "raw", str(self.disk(number)), str(raw))
            return _run("sha256sum", str(raw)).split()[0]
        finally:
            raw.unlink(missing_ok=True)

    def fill(self, content: Path, number: int = 0) -> None:
        """Put a raw image on a disk; the machine must be off."""
        size = self.disks[number].size
        _run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(content), str(self.disk(number)))
        _run("qemu-img", "resize", "-q", str(self.disk(number)), f"{size}M")

    @property
    def qmp(self) -> Path:
        """The socket by which QEMU is spoken to."""
        return self.folder / "qmp.sock"

    @property
    def console(self) -> str:
        """What came over the serial line since the machine was made."""
        log = self.folder / "serial.log"
        return log.read_text(errors="replace") if log.exists() else ""

    def on(self) -> None:
        """Press the button; returns when QEMU runs."""
        if not self.is_on():
            power_on(self.folder)

    def off(self) -> None:
        """Cut the power: nothing is written any more."""
        power_off(self.folder)

    def reset(self) -> None:
        """As the button for it."""
        with Qmp(self.qmp) as qmp:
            qmp.ask("system_reset")

    def is_on(self) -> bool:
        """Whether QEMU runs."""
        return power_state(self.folder)

    def waits_until_off(self, timeout: float) -> bool:
        """Whether the machine switched itself off within so many seconds."""
        return bool(poll(lambda: not self.is_on(), timeout=timeout, interval=0.2))

    def __enter__(self) -> Self:
        nothing = subprocess.DEVNULL
        self._guard = subprocess.Popen(
            ["sh", "-c", _GUARD, str(self.folder)],
            stdin=subprocess.PIPE, stdout=nothing, stderr=nothing, start_new_session=True,
        )  # fmt: skip
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.off()
        self._guard.communicate(timeout=30)

    def _firmware_files(self) -> None:
        if self.firmware == "arm64":
            for name in ("CODE", "VARS"):
                with (self.folder / f"{name}.fd").open("wb") as made:
                    made.write((AAVMF / f"AAVMF_{name}.fd").read_bytes())
                    made.truncate(64 << 20)
        elif self.firmware != "bios":
            which = "OVMF_VARS_4M.ms.fd" if self.firmware == "secureboot" else "OVMF_VARS_4M.fd"
            shutil.copyfile(OVMF / which, self.folder / "VARS.fd")

    def _command(self) -> list[str]:
        named = "qemu-system-aarch64" if self.firmware == "arm64" else "qemu-system-x86_64"
        command = [program(named, "qemu-system-arm" if self.firmware == "arm64" else "qemu-system-x86")]
        command += ["-smp", "2", "-m", str(self.memory), "-display", "none", "-no-user-config", "-daemonize"]
        command += ["-pidfile", str(self.folder / "qemu.pid"), "-qmp", f"unix:{self.qmp},server,nowait"]
        command += ["-chardev", f"file,id=serial,path={self.folder}/serial.log,append=on", "-serial", "chardev:serial"]
        command += ["-uuid", self.uuid, "-smbios", self._smbios(), *self._board()]
        for version in () if self.pxe else (4, 6):
            command += ["-fw_cfg", f"name=opt/org.tianocore/IPv{version}PXESupport,string=n"]
        for number, disk in enumerate(self.disks):
            command += self._disk(number, disk)
        for number, mac in enumerate(self.macs):
            # romfile= (none): UEFI's own network client has to fetch the boot loader, as on a real card
            rom = "" if self.firmware == "bios" else ",romfile="
            self.ports.append(self.rack.card())
            command += ["-netdev", f"tap,id=net{number},ifname={self.ports[-1]},script=no,downscript=no"]
            command += [
                "-device",
                f"{self.card},id=nic{number},netdev=net{number},mac={mac},bootindex={number + 1}{rom}",
            ]
        return command

    def _smbios(self) -> str:
        texts = {
            "manufacturer": "SreToolkit",
            "product": "Rack",
            "serial": self.serial,
            "uuid": self.uuid,
            **self.smbios,
        }
        return ",".join(["type=1", *(f"{key}={value.replace(',', ',,')}" for key, value in texts.items())])

    def _board(self) -> list[str]:
        code = "if=pflash,format=raw,unit=0,readonly=on,file="
        variables = ["-drive", f"if=pflash,format=raw,unit=1,file={self.folder}/VARS.fd"]
        emulated = ["-accel", "tcg,thread=multi", "-device", "virtio-rng-pci"]
        if self.firmware == "bios":
            return ["-machine", "pc,graphics=off", "-vga", "none", "-cpu", "max", *emulated]
        if self.firmware == "arm64":
            board = ["-machine", "virt", "-cpu", "cortex-a57", "-drive", f"{code}{self.folder}/CODE.fd"]
            return [*board, *variables, *emulated]
        if self.firmware == "secureboot":
            secure = ["-global", "driver=cfi.pflash01,property=secure,value=on", "-global", "ICH9-LPC.disable_s3=1"]
            board = ["-machine", "q35,smm=on", *secure, "-drive", f"{code}{OVMF}/OVMF_CODE_4M.secboot.fd"]
        else:
            board = ["-machine", "q35", "-drive", f"{code}{OVMF}/OVMF_CODE_4M.fd"]
        return [*board, "-vga", "none", "-cpu", "max", *variables, *emulated]

    def _disk(self, number: int, disk: Disk) -> list[str]:
        words = ["-drive", f"if=none,id=drive{number},file={self.disk(number)},format=qcow2,cache=writeback"]
        kinds = {"virtio": "virtio-blk-pci", "nvme": "nvme", "sata": "ide-hd"}
        serial = f",serial={disk.serial}" if disk.serial else ""
        last = len(self.macs) + number + 1
        return [*words, "-device", f"{kinds[disk.kind]},id=disk{number},drive=drive{number},bootindex={last}{serial}"]


def power_on(folder: Path) -> None:
    """Start the QEMU of a machine's folder; raises `RuntimeError` with what it says when it does not start."""
    command: list[str] = json.loads((folder / "command.json").read_text())
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise RuntimeError(f"QEMU did not start: {done.stderr.strip()}")


def power_off(folder: Path) -> None:
    """Kill the QEMU of a machine's folder, if it runs, and wait until it is gone."""
    try:
        pid = int((folder / "qemu.pid").read_text())
        if os.fsencode(folder) not in Path(f"/proc/{pid}/cmdline").read_bytes():
            return
        os.kill(pid, signal.SIGKILL)
    except (OSError, ValueError):
        return
    if not poll(lambda: not alive(pid), timeout=60):
        raise RuntimeError(f"the QEMU {pid} of {folder} does not end")


def power_state(folder: Path) -> bool:
    """Whether the QEMU of a machine's folder runs."""
    try:
        with Qmp(folder / "qmp.sock", timeout=20) as qmp:
            told: dict[str, Any] = qmp.ask("query-status")
            return bool(told["running"])
    except ProvisionError:
        return False


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


if __name__ == "__main__":
    power_on(Path(sys.argv[1]))
