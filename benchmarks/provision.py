"""Provisioning: a storm of machines against one server, files from the page cache, and all verdicts of a fleet.

``python -m benchmarks.provision [--machines 1000] [--rounds 3]`` prints milliseconds of each stage of a boot, the server's
memory, gigabytes a second, and seconds for 10,000 machines x 200 policies, beside Razor's way of asking (every rule of every
policy, one after the other). With ``--cobbler`` it prints the comparison with a real Cobbler instead (`provision_cobbler`).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from sretoolkit.config import Config
from sretoolkit.provision.entries import Policy, Tag
from sretoolkit.provision.matching import Matcher
from sretoolkit.provision.node import Hardware, Node
from tests.provision.test_server import Server, start, stop

_KERNEL, _INITRD = 14_200_000, 6_000_000


def fleet(machines: int, policies: int) -> tuple[Matcher, list[Node]]:
    """Machines of 100 racks and 40 models, and policies that want three of 155 tags of every kind."""
    draw = random.Random(1)
    racks, models = [f"r{number}" for number in range(100)], [f"m{number}" for number in range(40)]
    rules: dict[str, Any] = {f"rack-{rack}": ["=", ["fact", "rack"], rack] for rack in racks}
    rules |= {f"model-{model}": ["=", ["fact", "product"], model] for model in models}
    rules |= {f"cpus-{count}": [">=", ["num", ["fact", "cpus"]], count] for count in (4, 8, 16, 32, 64)}
    memory = ["num", ["fact", "memory_bytes"]]
    rules |= {
        f"memory-{size}": ["and", [">=", memory, size << 30], ["<", memory, size << 31]]
        for size in (8, 16, 32, 64, 128)
    }
    rules |= {f"vendor-{number}": ["like", ["str", ["fact", "vendor"]], f"^Vendor {number}"] for number in range(5)}
    names = list(rules)
    wanted = [
        Policy(name=f"p{number}", task="image", tags=tuple(draw.sample(names, 3)), order=number)
        for number in range(policies)
    ]
    nodes = [
        Node(
            id=f"n{number}", hardware=Hardware(serial=f"s{number}"),
            facts={
                "rack": draw.choice(racks), "product": draw.choice(models), "cpus": draw.choice([2, 4, 8, 16, 32, 64, 128]),
                "memory_bytes": draw.randrange(2**32, 2**38), "vendor": f"Vendor {draw.randrange(9)}",
            },
        )
        for number in range(machines)
    ]  # fmt: skip
    return Matcher([Tag(name=name, rule=rule) for name, rule in rules.items()], wanted), nodes


def verdicts() -> None:
    """Seconds for all verdicts, beside asking every rule of every policy of a tenth of the machines."""
    took = []
    for _ in range(3):
        matcher, nodes = fleet(10_000, 200)
        began = time.perf_counter()
        matcher.table(nodes)
        took.append(time.perf_counter() - began)
    began = time.perf_counter()
    for node in nodes[:1000]:
        facts = node.as_facts(matcher.rules)
        for policy in matcher.policies:
            all([matcher.rules[tag](facts) is True for tag in policy.tags])  # noqa: C419 - Razor asks them all
    slow = 10 * (time.perf_counter() - began)
    began = time.perf_counter()
    for node in nodes[:1000]:
        matcher.decide(node)
    one = time.perf_counter() - began
    print("\n| 10,000 machines x 200 policies | s |\n|---|---|")
    print(f"| all verdicts | {sorted(took)[1]:.2f} |\n| every rule asked (of 1,000, times ten) | {slow:.1f} |")
    print(f"| one machine, with its reasons | {one / 1000:.4f} |")


def storm(server: Server, machines: int, rounds: int) -> None:
    """Milliseconds of each stage, in rounds of machines that nobody knows yet."""
    print(f"\n| {machines} machines within 0.2 s | p50 ms | p99 ms | failed |\n|---|---|---|---|")
    found: dict[str, list[dict[str, Any]]] = {}
    for number in range(rounds):
        words = [str(server.port), str(machines), "0.2", str(number * machines)]
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.provision_storm", *words], capture_output=True, text=True, check=True
        )
        for stage, shown in json.loads(done.stdout).items():
            found.setdefault(stage, []).append(shown)
    for stage, shown in found.items():
        middle = {key: sorted(round_[key] for round_ in shown)[len(shown) // 2] for key in ("p50_ms", "p99_ms")}
        print(
            f"| {stage} | {middle['p50_ms']:.1f} | {middle['p99_ms']:.1f} | {sum(round_['failed'] for round_ in shown)} |"
        )
    print(f"\nmemory of the server: {memory_of(server.process.pid) / 1024:.0f} MiB at most")


def files(server: Server) -> None:
    """Gigabytes a second of a kernel, read again and again over one connection by curl."""
    address = f"http://127.0.0.1:{server.port}/svc/microkernel/x86_64/kernel"
    count = 100
    began = time.perf_counter()
    subprocess.run(["curl", "-s", *(["-o", "/dev/null", address] * count)], check=True)
    took = time.perf_counter() - began
    print(f"\nfiles from the page cache: {count * _KERNEL / took / 1e9:.2f} GB/s, one connection")


def memory_of(pid: int) -> int:
    """The most memory that a process and its children had, in KiB."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    own = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    return own + sum(memory_of(int(child)) for child in children)


def main() -> None:
    """All of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--machines", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cobbler", action="store_true", help="only the comparison with a real Cobbler (needs root)")
    given = parser.parse_args()
    if given.cobbler:
        from benchmarks.provision_cobbler import compare

        compare()
        return
    verdicts()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        kernels = home / "provision" / "microkernel" / "x86_64"
        kernels.mkdir(parents=True)
        (kernels / "kernel").write_bytes(os.urandom(_KERNEL))
        (kernels / "initrd").write_bytes(os.urandom(_INITRD))
        config = Config.of(store={"url": f"sqlite:///{home}/store.db"}, journal={"keys": str(home / "keys")})
        server = start(home, config)
        try:
            storm(server, given.machines, given.rounds)
            files(server)
        finally:
            stop(server)


if __name__ == "__main__":
    main()
