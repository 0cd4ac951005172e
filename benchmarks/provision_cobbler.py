"""Beside a real Cobbler 3.3.10, in one run: adding machines, its sync (there is none here), boot scripts a second.

``python -m benchmarks.provision --cobbler`` prints it. Cobbler's client is a process in Cobbler's own network that speaks
to cobblerd directly; ours speaks to `sretoolkit serve` over the loopback interface. The machines are the same.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
import xmlrpc.client
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.provision_storm import Asked, mac, written
from sretoolkit.config import Config
from sretoolkit.plan import Plan
from sretoolkit.provision.commands import COMMANDS
from sretoolkit.provision.entries import read
from sretoolkit.provision.registry import Registry
from sretoolkit.store import Store
from tests.provision.test_server import start, stop
from tests.stack.cobbler import Cobbler

_DAEMON = "http://127.0.0.1:25151/RPC2"
_CLIENTS, _SCRIPTS, _MINUTES = 4, 2000, 60


def ours_added(config: Config, count: int, *, at_once: int) -> float:
    """Seconds for so many machines by the steps of register-node, so many of them in a plan."""
    register = COMMANDS["register-node"]
    with Store(config["store.url"]) as store:
        registry = Registry(store)
        given = [
            {
                "hardware": {"mac": [mac(number, at_once % 251)]},
                "metadata": {"cobbler_profile": "base", "hostname": f"s{number}"},
            }
            for number in range(count)
        ]
        began = time.perf_counter()
        for first in range(0, count, at_once):
            steps = [step for one in given[first : first + at_once] for step in register.make(registry, one)]
            Plan("add machines", steps).run(apply=True, config=config)
        return time.perf_counter() - began


def ours_scripts(home: Path, config: Config, count: int) -> float:
    """Boot scripts a second for machines that are known and matched, every request over a connection of its own."""
    with Store(config["store.url"]) as store, store.transaction() as tx:
        registry = Registry(store)
        rule = ["=", ["metadata", "cobbler_profile", ""], "base"]
        for kind, given in (
            ("tag", {"name": "base", "rule": rule}),
            ("policy", {"name": "base", "task": "discovery", "tags": ["base"]}),
        ):
            registry.put(tx, kind, "base", read(kind, given))
    server = start(home, config)
    try:
        return asyncio.run(_asked(server.port, count))
    finally:
        stop(server)


async def _asked(port: int, count: int) -> float:
    loop, waiting = asyncio.get_running_loop(), iter(range(_SCRIPTS * 5))

    async def client() -> None:
        for number in waiting:
            query = f"mac={mac(number % count, count % 251)}&platform=pcbios&arch=x86_64"
            data = written(f"GET /svc/boot?{query} HTTP/1.1")
            _, asked = await loop.create_connection(partial(Asked, data), "127.0.0.1", port)
            answer = await asked.done
            assert answer[9:12] == b"200", answer[:200]

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(_CLIENTS)))
    return _SCRIPTS * 5 / (time.perf_counter() - began)


def cobbler_added(first: int, last: int, way: str) -> float:
    """Seconds for machines over XML-RPC: ``single`` by one call each, ``documented`` by new, modify and save."""
    with xmlrpc.client.ServerProxy(_DAEMON, allow_none=True) as api:
        token = api.login("cobbler", "cobbler")
        began = time.perf_counter()
        for number in range(first, last):
            options: dict[str, Any] = {
                "name": f"s{number}",
                "profile": "base",
                "hostname": f"s{number}",
                "netboot_enabled": True,
            }
            card = {"macaddress-default": mac(number, 0)}
            if way == "single":
                api.xapi_object_edit("system", f"s{number}", "add", {**options, **card}, token)
                continue
            handle = api.new_system(token)
            for name, value in {**options, "modify_interface": card}.items():
                api.modify_system(handle, name, value, token)
            api.save_system(handle, token)
        return time.perf_counter() - began


def cobbler_synced() -> float:
    """Seconds for one sync."""
    with xmlrpc.client.ServerProxy(_DAEMON, allow_none=True) as api:
        token = api.login("cobbler", "cobbler")
        began = time.perf_counter()
        api.sync(token)
        return time.perf_counter() - began


def cobbler_scripts(count: int) -> float:
    """Calls of generate_ipxe a second, by as many clients as ours."""

    def client(place: int) -> None:
        with xmlrpc.client.ServerProxy(_DAEMON, allow_none=True) as api:
            for number in range(place, _SCRIPTS, _CLIENTS):
                answer = str(api.generate_ipxe("", "", f"s{number % count}"))
                assert "kernel" in answer, answer

    began = time.perf_counter()
    with ThreadPoolExecutor(_CLIENTS) as pool:
        list(pool.map(client, range(_CLIENTS)))
    return _SCRIPTS / (time.perf_counter() - began)


def _cobbler(cobbler: Cobbler, *words: Any) -> float:
    command = cobbler.command([sys.executable, "-m", "benchmarks.provision_cobbler", *map(str, words)])
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=_MINUTES * 60)
    return float(json.loads(done.stdout))


def compare(count: int = 1000, most: int = 4000) -> None:
    """The table."""
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder, Cobbler(Path(folder)) as cobbler:
        kernel, initrd = cobbler.kernel("deb")
        cobbler.make(
            "distro", name="deb", kernel=kernel, initrd=initrd, arch="x86_64", breed="debian", os_version="bullseye"
        )
        cobbler.make("profile", name="base", distro="deb")
        found["documented"] = _cobbler(cobbler, "added", 0, count, "documented")
        found["sync"] = _cobbler(cobbler, "synced")
        found["scripts"] = _cobbler(cobbler, "scripts", count)
        found["single"] = _cobbler(cobbler, "added", count, 2 * count, "single")
        _cobbler(cobbler, "added", 2 * count, most, "single")
        found["sync later"] = _cobbler(cobbler, "synced")
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        config = Config.of(store={"url": f"sqlite:///{home}/store.db"}, journal={"keys": str(home / "keys")})
        found["plan"] = ours_added(config, count, at_once=count)
        few = count // 20
        found["one by one"] = ours_added(config, few, at_once=1) * count / few
        found["ours"] = ours_scripts(home, config, count)
    quick = min(found["documented"], found["single"])
    rows = (
        (f"{count} machines added: a plan, beside one call each, s", found["plan"], found["single"], quick / found["plan"]),
        (f"the same: a plan each (of {few}), beside new, modify and save, s", found["one by one"], found["documented"],
         found["documented"] / found["one by one"]),
        (f"sync at {count}, s", 0.0, found["sync"], 0.0),
        (f"sync at {most}, s", 0.0, found["sync later"], 0.0),
        ("boot scripts a second", found["ours"], found["scripts"], found["ours"] / found["scripts"]),
    )  # fmt: skip
    print("\n| beside Cobbler 3.3.10 | here | Cobbler | times |\n|---|---|---|---|")
    for name, here, there, ratio in rows:
        print(
            f"| {name} | {f'{here:.2f}' if here else 'none needed'} | {there:.2f} | {f'{ratio:.1f}' if ratio else ''} |"
        )


if __name__ == "__main__":
    asked, *words = sys.argv[1:]
    given: list[Any] = [int(word) if word.isdigit() else word for word in words]
    ways: dict[str, Callable[..., float]] = {
        "added": cobbler_added,
        "synced": cobbler_synced,
        "scripts": cobbler_scripts,
    }
    print(json.dumps(ways[asked](*given)))
