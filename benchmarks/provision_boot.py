"""Provisioning: one whole life of a virtual machine, from power-on to the installed system's call, phase by phase.

``python -m benchmarks.provision_boot [--rounds 3] [--firmware bios]``, as root: in turn behind a plain dnsmasq configuration
(its usual pings, nothing said to iPXE, no IPv6 announcement) and behind ours. Everything else is the same: machine, image,
server. Prints the seconds of each phase (the least of all rounds) and the ratio of the whole; run it on a quiet machine.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from pathlib import Path

from tests.stack import images
from tests.stack.boot_server import BootServer
from tests.stack.machine import Machine
from tests.stack.rack import Rack

_OURS = ("no-ping", "enable-ra", "ra-param", "dhcp-range=fd77", "dhcp-option=tag:ipxe,encap:175,176")
_PHASES = (
    "node-registered",
    "stage-accepted",
    "stage-written",
    "stage-verified",
    "stage-rebooting",
    "boot-script",
    "node-install-finished",
)


def plain(config: str) -> str:
    """The same configuration without what makes iPXE quick."""
    return "".join(line for line in config.splitlines(keepends=True) if not line.startswith(_OURS))


def life(firmware: str, *, ours: bool) -> dict[str, float]:
    """The seconds after power-on of each phase."""
    folder = Path(tempfile.mkdtemp(prefix="rack-"))
    try:
        options = {"secure_boot": firmware == "secureboot", "consoles": "ttyAMA0" if firmware == "arm64" else "ttyS0"}
        rewrite = None if ours else plain
        with Rack() as rack, BootServer(rack, folder / "server", rewrite=rewrite, **options) as server:  # type: ignore[arg-type]
            server.offer(images.small("arm64" if firmware == "arm64" else "x86_64"))
            with Machine(folder / "m", rack, firmware=firmware) as machine:
                began = time.time()
                machine.on()
                node = server.node(machine, timeout=900)
                order = server.order(node)
                state = server.reaches(order, timeout=900)
                if state != "done":
                    raise RuntimeError(f"the machine did not come up: {state}\n{server.told(machine)}")
                rows = server.store.read("SELECT event, at FROM provision_log ORDER BY id DESC")
                return {row["event"]: float(row["at"]) - began for row in rows if row["event"] in _PHASES}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--firmware", default="bios", choices=["bios", "uefi", "secureboot", "arm64"])
    parser.add_argument("--ours", action="store_true", help="without the plain configuration")
    given = parser.parse_args()
    for arch in ("x86_64", "arm64"):  # made before anything is measured
        images.microkernel(arch)
        images.small(arch)
    best: dict[str, dict[str, float]] = {}
    for _ in range(given.rounds):
        for name, ours in (("plain", False), ("ours", True))[given.ours :]:
            lived = life(given.firmware, ours=ours)
            if name not in best or max(lived.values()) < max(best[name].values()):
                best[name] = lived
    print(f"{given.firmware}, seconds after power-on (the best of {given.rounds})")
    for phase in _PHASES:
        print(f"{phase:22}" + "".join(f" {name} {lived.get(phase, 0):7.1f}  " for name, lived in best.items()))
    whole = {name: max(lived.values()) for name, lived in best.items()}
    if not given.ours:
        print(
            f"whole: {whole['ours']:.1f} s against {whole['plain']:.1f} s, {whole['ours'] / whole['plain']:.2f} of it"
        )


if __name__ == "__main__":
    main()
