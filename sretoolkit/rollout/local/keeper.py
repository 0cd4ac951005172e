"""What keeps a service of processes on this machine: ``python -m sretoolkit.rollout.local.keeper FOLDER``.

One process: it starts the instances and ends them, passes requests on (`Proxy`), writes what became of them once a second to
``FOLDER/measured.db`` (a source of kind ``local``), and does what it is told over ``FOLDER/keeper.sock``, a line of JSON each.
Only this user can write there. When it ends, so do its instances.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from sretoolkit.rollout.local import wire
from sretoolkit.rollout.local.orphan import opened_by_us, until_orphaned
from sretoolkit.rollout.local.proxy import Backend, Proxy

SOCKET, MEASURED, READY = "keeper.sock", "measured.db", "ready.json"
_START, _STOP, _ANSWER = 10.0, 5.0, 2.0  # seconds that an instance may take


class KeeperError(Exception):
    """What was asked cannot be done; the text is for a person."""


@dataclass(eq=False)
class Instance:
    """One process of a version."""

    version: str
    backend: Backend
    child: asyncio.subprocess.Process
    log: Path
    ended: bool = field(default=False)


class Keeper:
    """The service: its instances by track, and its proxy."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.proxy = Proxy()
        self.tracks: dict[str, list[Instance]] = {}
        self.versions: dict[str, str] = {}  # of a track that has no instance just now, too
        self.wanted: dict[str, int] = {}
        self.history: list[str] = []  # versions that the stable track had, oldest first
        self._numbers = iter(range(1, 1_000_000))
        self._change = asyncio.Lock()
        self._recommend: Instance | None = None

    async def run(self, port: int) -> None:
        """Listen, say where, and go on until told to end."""
        ended = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, ended.set)
        self._recommend = await self._started("recommend", "recommend", wait=True)
        with suppress(FileNotFoundError):
            (self.folder / SOCKET).unlink()
        told = await asyncio.start_unix_server(self._listen, self.folder / SOCKET)
        asked = await asyncio.start_server(self.proxy.serve, "127.0.0.1", port)
        measuring = asyncio.ensure_future(self._measure())
        orphaned = asyncio.ensure_future(until_orphaned(ended))
        where = {"port": asked.sockets[0].getsockname()[1], "pid": os.getpid()}
        (self.folder / READY).write_text(json.dumps(where))
        await ended.wait()
        told.close()
        asked.close()
        measuring.cancel()
        orphaned.cancel()
        every = [each for found in self.tracks.values() for each in found]
        await asyncio.gather(*(self._ended(each) for each in [*every, self._recommend]))

    async def _listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One order a line, one answer a line."""
        while line := await reader.readline():
            try:
                told: dict[str, Any] = {"answer": await self._obey(json.loads(line))}
            except KeeperError as error:
                told = {"error": str(error)}
            except (ValueError, KeyError, TypeError) as error:
                told = {"error": f"that is no order: {error!r}"}
            writer.write(json.dumps(told).encode() + b"\n")
            with suppress(ConnectionError):
                await writer.drain()
        writer.close()

    async def _obey(self, order: Mapping[str, Any]) -> Any:
        match order["do"]:
            case "look":
                return self._state()
            case "track":
                async with self._change:
                    await self._make(str(order["track"]), order["state"])
            case "weight":
                self.proxy.weight = int(order["percent"])
            case "match":
                self.proxy.match = order["match"]
            case "mirror":
                self.proxy.mirror = int(order["percent"])
            case other:
                raise KeeperError(f"nobody knows how to {other!r}")
        return self._state()

    def _state(self) -> dict[str, Any]:
        """All there is to know."""
        return {
            "tracks": {name: self._track(name) for name in self.tracks},
            "lacking": {name: self._lacking(name) for name in self.tracks},
            "weight": self.proxy.weight,
            "history": self.history,
            "match": self.proxy.match,
            "mirror": self.proxy.mirror,
            "counted": dict(self.proxy.counted),
            "pids": [each.child.pid for found in self.tracks.values() for each in found],
        }

    def _track(self, name: str) -> dict[str, Any]:
        """What it is meant to be: its version, and how many instances; what is not yet so, or no longer, is trouble."""
        return {"version": self.versions.get(name, ""), "replicas": self.wanted.get(name, 0)}

    def _lacking(self, name: str) -> list[str]:
        """What is wrong with its instances."""
        version, wanted = self.versions.get(name, ""), self.wanted.get(name, 0)
        found = self.tracks[name]
        ended = [f"ended by itself: {_last_words(each)}" for each in found if each.ended]
        good = sum(each.version == version and not each.ended for each in found)
        return ended or ([f"{good} of {wanted} run {version}"] if good < wanted else [])

    async def _make(self, track: str, state: Mapping[str, Any] | None) -> None:
        """Make a track that state, instance by instance: a new one answers before an old one goes."""
        found = self.tracks.get(track)
        if state is None:
            for each in list(found or []):
                await self._removed(track, each)
            self.tracks.pop(track, None)
            self.versions.pop(track, None)
            self.wanted.pop(track, None)
            return
        version = str(state.get("version") or self.versions.get(track, ""))
        wanted = int(state.get("replicas", self.wanted.get(track, 1)))
        if not version:
            raise KeeperError(f"the track {track} has no version yet")
        if track == "stable" and self.versions.get(track, version) != version:
            self.history.append(self.versions[track])
        self.versions[track] = version
        self.wanted[track] = wanted
        found = self.tracks.setdefault(track, [])
        old = [each for each in found if each.version != version or each.ended]
        while sum(each.version == version and not each.ended for each in found) < wanted:
            found.append(await self._started(version, track))
            if old:
                await self._removed(track, old.pop(0))
        for each in old:
            await self._removed(track, each)
        while len(found) > wanted:
            await self._removed(track, found[-1])

    async def _started(self, version: str, track: str, *, wait: bool = False) -> Instance:
        """A new instance that answers; raises `KeeperError` with its last words when it ends, or takes too long."""
        name = f"{track}-{next(self._numbers)}"
        log = self.folder / f"{name}.log"
        port = _free_port()
        beside = [] if wait or self._recommend is None else [str(self._recommend.backend.port)]
        with log.open("wb") as out:
            child = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "sretoolkit.rollout.local.shop", version, str(port), *beside,
                stdin=asyncio.subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
                env=opened_by_us(),
            )  # fmt: skip
        made = Instance(version, Backend(name, track, port), child, log)
        asyncio.ensure_future(self._watched(made))  # noqa: RUF006  it ends with its process
        until = time.monotonic() + _START
        while not await _answers(port):
            if made.ended or time.monotonic() > until:
                await self._ended(made)
                why = (
                    "ended at its start" if made.child.returncode not in (None, -signal.SIGTERM) else "does not answer"
                )
                raise KeeperError(f"an instance of {version} {why}: {_last_words(made)}")
            await asyncio.sleep(0.02)
        if not wait:
            self.proxy.backends.append(made.backend)
        return made

    async def _watched(self, instance: Instance) -> None:
        """An instance that ends gets no more requests."""
        await instance.child.wait()
        instance.ended = True
        if instance.backend in self.proxy.backends:
            self.proxy.backends.remove(instance.backend)

    async def _removed(self, track: str, instance: Instance) -> None:
        """No more requests to it; it answers those that it has, and ends."""
        if instance.backend in self.proxy.backends:
            with suppress(TimeoutError):
                await asyncio.wait_for(self.proxy.leave(instance.backend), _STOP)
        await self._ended(instance)
        self.tracks[track].remove(instance)

    async def _ended(self, instance: Instance) -> None:
        for tell in (instance.child.terminate, instance.child.kill):
            if instance.child.returncode is None:
                with suppress(ProcessLookupError):
                    tell()
                with suppress(TimeoutError):
                    await asyncio.wait_for(instance.child.wait(), _STOP)

    async def _measure(self) -> None:
        """Once a second, what became of all requests so far, by instance."""
        from sretoolkit.metrics.sources._local_database import Database

        database = Database(self.folder / MEASURED, timeout=timedelta(seconds=5))
        await asyncio.to_thread(database.create)
        while True:
            now, told = round(time.time() * 1000), self._counters()
            for (metric, instance, track, code), value in told.items():
                labels = {"instance": instance, "track": track, **({"code": code} if code else {})}
                sample = [(now, float(value))]
                await asyncio.to_thread(database.append, metric, labels, sample, kind="cumulative")
            await asyncio.sleep(1 - time.time() % 1)

    def _counters(self) -> dict[tuple[str, str, str, str], int]:
        """``requests_total`` by code and ``slow_total``; an instance that has answered nothing yet is there, with 0."""
        found = {
            ("requests_total", each.name, each.track, code): 0
            for each in self.proxy.backends
            for code in ("200", "500")
        }
        found |= {("slow_total", each.name, each.track, ""): 0 for each in self.proxy.backends}
        for (instance, track, what), value in self.proxy.told.items():
            key = ("slow_total", instance, track, "") if what == "slow" else ("requests_total", instance, track, what)
            found[key] = value
        return found


async def _answers(port: int) -> bool:
    try:
        async with asyncio.timeout(_ANSWER):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(wire.request("/health"))
                told = await wire.read(reader)
            finally:
                writer.close()
    except (ConnectionError, TimeoutError, wire.WireError):
        return False
    return told is not None and told.status == 200


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        found: int = probe.getsockname()[1]
        return found


def _last_words(instance: Instance) -> str:
    text = instance.log.read_text(errors="replace").strip()
    return text.splitlines()[-1][-200:] if text else f"exit {instance.child.returncode}, and no word"


if __name__ == "__main__":
    asyncio.run(Keeper(Path(sys.argv[1])).run(int(sys.argv[2]) if len(sys.argv) > 2 else 0))
