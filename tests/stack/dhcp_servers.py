"""Other people's DHCP servers, ISC dhcpd and Kea: what stands in their own configuration, with our lines added to it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from sretoolkit.clock import poll
from tests.stack.process import Process, program
from tests.stack.rack import Rack

_POOL = ("10.77.0.100", "10.77.0.200")


class DhcpServer:
    """One of them, in a rack; runs until `stop`."""

    def __init__(self, kind: str, rack: Rack, folder: Path, added: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        command = configured(kind, folder, added, interface=rack.bridge)
        environment = {**os.environ, "KEA_PIDFILE_DIR": str(folder), "KEA_LOCKFILE_DIR": str(folder)}
        self._process = Process(folder, kind, rack.command(command), environment=environment)
        ready = {"isc-dhcpd": "Sending on", "kea": "DHCP4_STARTED"}[kind]
        poll(lambda: ready in self.log or self._process.child.poll() is not None, timeout=30)
        if ready not in self.log or self._process.child.poll() is not None:
            self.stop()
            raise RuntimeError(f"{kind} does not run: {self.log}")

    @property
    def log(self) -> str:
        """What it has said so far."""
        return self._process.log.read_text(errors="replace")

    def stop(self) -> None:
        """End it."""
        self._process.stop()


def configured(kind: str, folder: Path, added: str, *, interface: str) -> list[str]:
    """Write the configuration of a server of that kind into a folder; gives the command that runs it."""
    if kind == "isc-dhcpd":
        (folder / "leases").touch()
        own = [
            "authoritative;",
            "ddns-update-style none;",
            "default-lease-time 3600;",
            "subnet 10.77.0.0 netmask 255.255.255.0 {",
        ]
        own += [f"  range {' '.join(_POOL)};", "  option routers 10.77.0.1;", "}"]
        (folder / "dhcpd.conf").write_text("\n".join(own) + f"\n{added}")
        files = ["-cf", str(folder / "dhcpd.conf"), "-lf", str(folder / "leases"), "-pf", str(folder / "pid")]
        return [program("dhcpd", "isc-dhcp-server"), "-4", "-f", "-d", *files, interface]
    options = [{"name": "routers", "data": "10.77.0.1"}]
    subnet = {"subnet": "10.77.0.0/24", "pools": [{"pool": " - ".join(_POOL)}], "option-data": options}
    leases = {"type": "memfile", "persist": True, "name": str(folder / "leases.csv"), "lfc-interval": 0}
    loggers = [{"name": "kea-dhcp4", "severity": "INFO", "output_options": [{"output": "stdout"}]}]
    whole = {
        "interfaces-config": {"interfaces": [interface]}, "lease-database": leases, "subnet4": [subnet], "loggers": loggers,
        **json.loads(added),
    }  # fmt: skip
    (folder / "kea.conf").write_text(json.dumps({"Dhcp4": whole}))
    return [program("kea-dhcp4", "kea-dhcp4-server"), "-c", str(folder / "kea.conf")]


def checked(kind: str, folder: Path, added: str) -> subprocess.CompletedProcess[str]:
    """What a server itself says of its configuration with our lines."""
    command = configured(kind, folder, added, interface="lo")
    command.insert(1, "-t")
    if kind == "kea":
        command.remove("-c")
    environment = {**os.environ, "KEA_PIDFILE_DIR": str(folder), "KEA_LOCKFILE_DIR": str(folder)}
    return subprocess.run(command, capture_output=True, text=True, timeout=30, env=environment)
