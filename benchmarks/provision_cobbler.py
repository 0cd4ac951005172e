"""Beside a real Cobbler 3.3.10, in one run: adding machines, its sync (there is none here), boot scripts a second.

``python -m benchmarks.provision --cobbler`` prints it. Cobbler's client is a process in Cobbler's own network that asks
its WSGI program for boot scripts, as machines do, and speaks to cobblerd for the rest; ours
speaks to `sretoolkit serve` over the loopback interface. The machines are the same.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
import xmlrpc.client
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.provision_storm import Asked, mac, written
from sretoolkit.config import Config
from sretoolkit.plan import Plan
from sretoolkit.provision.commands import COMMANDS
from sretoolkit.provision.importers.cobbler import Cobbler as Importer
from sretoolkit.provision.registry import Registry
from sretoolkit.store import Store
from tests.provision.test_server import start, stop
from tests.stack.cobbler import Cobbler

_DAEMON = "http://127.0.0.1:25151/RPC2"
# cobblerd resets connections when there are 32 clients
_CLIENTS, _MANY, _SCRIPTS, _TIMES, _MINUTES = 4, 32, 2000, 2, 60


def ours_added(config: Config, count: int, *, at_once: int) -> float:
    """Seconds for so many machines by the steps of register-node, so many of them in a plan."""
    register = COMMANDS["register-node"]
    with Store(config["store.url"]) as store:
        registry = Registry(store)
        given = [
            {
                "hardware": {"mac": [mac(number, 0)]},
                "metadata": {"cobbler_profile": "base", "hostname": f"s{number}"},
            }
            for number in range(count)
        ]
        began = time.perf_counter()
        for first in range(0, count, at_once):
            steps = [step for one in given[first : first + at_once] for step in register.make(registry, one)]
            Plan("add machines", steps).run(apply=True, config=config)
        return time.perf_counter() - began


def ours_scripts(home: Path, config: Config, count: int) -> tuple[float, float, float]:
    """Boot scripts a second, every request over a connection of its own: with few clients, with many; CPU ms of the server each.

    The machines are known.
    """
    server = start(home, config)
    try:
        before = _cpu(server.process.pid)
        few, many = (asyncio.run(_asked(server.port, count, clients)) for clients in (_CLIENTS, _MANY))
        return few, many, (_cpu(server.process.pid) - before) * 1000 / (2 * _SCRIPTS * _TIMES)
    finally:
        stop(server)


async def _asked(port: int, count: int, clients: int) -> float:
    def path(number: int) -> str:
        return f"/svc/boot?mac={mac(number, 0)}&platform=pcbios&arch=x86_64"

    return await _rate(port, [path(number % count) for number in range(_SCRIPTS * _TIMES)], clients)


async def _rate(port: int, paths: list[str], clients: int) -> float:
    """Requests a second, each over a connection of its own."""
    loop, waiting = asyncio.get_running_loop(), iter(paths)

    async def client() -> None:
        for path in waiting:
            data = written(f"GET {path} HTTP/1.1")
            _, asked = await loop.create_connection(partial(Asked, data), "127.0.0.1", port)
            answer = await asked.done
            if answer[9:12] != b"200" or b"kernel" not in answer:
                raise RuntimeError(answer[:500].decode(errors="replace"))

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    return len(paths) / (time.perf_counter() - began)


def _cpu(pid: int) -> float:
    """Seconds of CPU that a process and its children have taken."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK") + sum(_cpu(int(child)) for child in children)


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
            if way == "single":
                api.xapi_object_edit("system", f"s{number}", "add", {**options, "mac_address": mac(number, 0)}, token)
                continue
            handle = api.new_system(token)
            for name, value in {**options, "modify_interface": {"macaddress-default": mac(number, 0)}}.items():
                api.modify_system(handle, name, value, token)
            api.save_system(handle, token)
        took = time.perf_counter() - began
        if not api.find_system({"mac_address": mac(last - 1, 0)}):
            raise RuntimeError("Cobbler did not take the machines' cards")
        return took


def cobbler_synced() -> float:
    """Seconds for one sync."""
    with xmlrpc.client.ServerProxy(_DAEMON, allow_none=True) as api:
        token = api.login("cobbler", "cobbler")
        began = time.perf_counter()
        api.sync(token)
        return time.perf_counter() - began


def cobbler_pages(count: int, port: int) -> float:
    """Boot scripts a second as machines ask for them, by as many clients as ours."""
    paths = [f"/cblr/svc/op/ipxe/system/s{number % count}" for number in range(_SCRIPTS // 10)]
    return asyncio.run(_rate(port, paths, _CLIENTS))


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
    done = subprocess.run(command, capture_output=True, text=True, timeout=_MINUTES * 60)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return float(json.loads(done.stdout))


def imported(source: str, config: Config, count: int) -> float:
    """Seconds for reading Cobbler's collections and writing them down by the importer's plan."""
    with Store(config["store.url"]) as store:
        began = time.perf_counter()
        registry = Registry(store)
        Importer().read(source).plan(registry).run(apply=True, config=config)
        took = time.perf_counter() - began
        if len(registry.nodes()) != count:
            raise RuntimeError(f"{len(registry.nodes())} machines were imported, not {count}")
        return took


def compare(count: int = 1000, most: int = 4000) -> None:
    """The table; what is compared with each other is measured one after the other."""
    with tempfile.TemporaryDirectory() as folder, Cobbler(Path(folder)) as cobbler:
        kernel, initrd = cobbler.kernel("deb")
        distro = {"arch": "x86_64", "breed": "debian", "os_version": "bullseye"}
        cobbler.make("distro", name="deb", kernel=kernel, initrd=initrd, **distro)
        cobbler.make("profile", name="base", distro="deb")
        documented = _cobbler(cobbler, "added", 0, count, "documented")
        with _site() as (home, config):
            by_import = imported(str(cobbler.collections), config, count)
            with cobbler.pages() as place:
                asked_for = [_cobbler(cobbler, "pages", count, place.rpartition(":")[2]) for _ in range(3)]
            rates = [(*_scripts(cobbler, count), *ours_scripts(home, config, count)) for _ in range(3)]
        sync = _cobbler(cobbler, "synced")
        single = _cobbler(cobbler, "added", count, 2 * count, "single")
        with _site() as (_, config):
            by_steps = ours_added(config, count, at_once=count)
        with _site() as (_, config):
            one_by_one = ours_added(config, count // 20, at_once=1) * 20
        _cobbler(cobbler, "added", 2 * count, most, "single")
        later = _cobbler(cobbler, "synced")
    theirs, their_cpu, few, many, cpu = (sorted(column)[1] for column in zip(*rates, strict=True))
    as_machines = sorted(asked_for)[1]
    quick = min(single, documented)
    rows = (
        (f"{count} machines by the import of them, s", by_import, quick, quick / by_import),
        (f"{count} machines by one plan of {count} steps, s", by_steps, quick, quick / by_steps),
        (f"{count} machines by a plan each (twenty times {count // 20}), s", one_by_one, quick, quick / one_by_one),
        (f"boot scripts a second, {_CLIENTS} clients", few, as_machines, few / as_machines),
        ("beside calls of cobblerd itself, without its web server", few, theirs, few / theirs),
        (f"the same, {_MANY} clients here", many, theirs, many / theirs),
        ("CPU of the server for a script, ms", cpu, their_cpu, their_cpu / cpu),
    )
    print("\n| beside Cobbler 3.3.10 | here | Cobbler | times |\n|---|---|---|---|")
    for name, here, there, ratio in rows:
        print(f"| {name} | {here:.2f} | {there:.2f} | {ratio:.1f} |")
    print(f"| sync at {count}, s | none needed | {sync:.2f} | |\n| sync at {most}, s | none needed | {later:.2f} | |")
    print(
        f"\nCobbler's {count} machines by new, modify and save: {documented:.1f} s; by one call each: {single:.1f} s."
    )


def _scripts(cobbler: Cobbler, count: int) -> tuple[float, float]:
    """Cobbler's scripts a second, and milliseconds of its CPU for one."""
    before = _cpu(cobbler.pid)
    rate = _cobbler(cobbler, "scripts", count)
    return rate, (_cpu(cobbler.pid) - before) * 1000 / _SCRIPTS


@contextmanager
def _site() -> Iterator[tuple[Path, Config]]:
    with tempfile.TemporaryDirectory() as folder:
        store, keys = {"url": f"sqlite:///{folder}/store.db"}, {"keys": f"{folder}/keys"}
        yield Path(folder), Config.of(store=store, journal=keys)


if __name__ == "__main__":
    asked, *words = sys.argv[1:]
    given: list[Any] = [int(word) if word.isdigit() else word for word in words]
    ways: dict[str, Callable[..., float]] = {
        "added": cobbler_added,
        "synced": cobbler_synced,
        "scripts": cobbler_scripts,
        "pages": cobbler_pages,
    }
    print(json.dumps(ways[asked](*given)))
