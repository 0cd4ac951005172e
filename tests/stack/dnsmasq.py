"""A real dnsmasq in a place of a rack's network, with the configuration that is given."""

from __future__ import annotations

from pathlib import Path

from sretoolkit.clock import poll
from tests.stack.process import Process, program
from tests.stack.rack import Rack


class Dnsmasq:
    """Runs until `stop`. ``folder`` takes its configuration, leases and log."""

    def __init__(self, rack: Rack, folder: Path, config: str, *, place: str = "") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._log = folder / "dnsmasq.log"
        file = folder / "dnsmasq.conf"
        # as root: the folder of a test can be read by nobody else
        file.write_text(f"{config}user=root\nlog-facility={self._log}\n")
        command = [program("dnsmasq", "dnsmasq-base"), "--keep-in-foreground", f"--conf-file={file}"]
        self._process = Process(folder, "dnsmasq-says", rack.command(command, place=place))
        if not poll(lambda: "started" in self.log or self._process.child.poll() is not None, timeout=30):
            self.stop()
            raise RuntimeError(f"dnsmasq does not start: {self.log}")
        if self._process.child.poll() is not None:
            raise RuntimeError(f"dnsmasq ended: {self._process.log.read_text()}")

    @property
    def log(self) -> str:
        """What it has said so far: each request, each answer, each file."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def stop(self) -> None:
        """End it."""
        self._process.stop()
