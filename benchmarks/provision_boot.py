"""A whole BIOS cycle of a virtual machine, beside the same one behind a plain dnsmasq configuration.

``python -m benchmarks.provision_boot [--rounds 3]``, as root, with what tests/stack/install installs: from the power button to
the installed system's call home, in turn. Plain is the same server and image behind what every guide writes: no IPv6
announcement and no word to iPXE that there is no proxyDHCP, so that iPXE waits for both at each boot.
"""

from __future__ import annotations

import argparse
import json
import time
from contextlib import ExitStack
from typing import Any

from tests.live.rack import Lab
from tests.stack import images
from tests.stack.boot_server import BootServer

STAGES = (
    "node-booted",
    "ordered",
    "stage-accepted",
    "stage-written",
    "stage-verified",
    "stage-rebooting",
    "node-install-finished",
)


def cycle(*, plain: bool) -> dict[str, float]:
    """Seconds from power-on to each stage."""
    with ExitStack() as stack:
        lab = Lab(stack)
        server: BootServer = lab.server(plain=plain)
        server.offer(images.small())
        machine = lab.machine()
        began = time.time()
        machine.on()
        order = server.order(server.node(machine))
        assert "done" == server.reaches(order), server.told(machine)
        rows = server.store.read("SELECT event, at FROM provision_log WHERE node = :node ORDER BY id", node=order.node)
        found: dict[str, float] = {}
        for row in rows:
            found.setdefault(row["event"], row["at"] - began)
        return {stage: found[stage] for stage in STAGES}


def main() -> None:
    """In turn, and the median of each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    took: dict[bool, list[dict[str, Any]]] = {True: [], False: []}
    for _ in range(rounds):
        for plain in (False, True):
            took[plain].append(cycle(plain=plain))
            print(json.dumps({"plain": plain, **took[plain][-1]}), flush=True)
    print("\n| seconds from power-on | ours | plain dnsmasq | ratio |\n|---|---|---|---|")
    for stage in STAGES:
        ours, theirs = (sorted(found[stage] for found in took[plain])[rounds // 2] for plain in (False, True))
        print(f"| {stage} | {ours:.1f} | {theirs:.1f} | {ours / theirs:.2f} |")


if __name__ == "__main__":
    main()
