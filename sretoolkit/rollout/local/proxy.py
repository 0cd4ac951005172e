"""The part of the keeper that passes requests on: shares by weight, a header that leads to the candidate, copies, counters."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from sretoolkit.rollout.local import wire
from sretoolkit.rollout.local.shop import SLOW

_TRIES = 3
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(eq=False)
class Backend:
    """One instance as the proxy sees it: where it listens, connections that are free, requests under way."""

    name: str
    track: str
    port: int
    free: list[Connection] = field(default_factory=list)
    busy: int = 0
    idle: asyncio.Event = field(default_factory=asyncio.Event)

    def close(self) -> None:
        """Close what is free."""
        for _, writer in self.free:
            writer.close()
        self.free.clear()


class Proxy:
    """Shares out requests; ``weight`` is the candidate's in percent, ``match`` leads there whatever the weight.

    Shares come about exactly: of every hundred requests the candidate gets as many as its weight. What an instance did not
    begin to answer goes to another one, so that ending an idle connection loses nothing.
    """

    def __init__(self) -> None:
        self.backends: list[Backend] = []
        self.weight = 0
        self.match: dict[str, str] | None = None
        self.mirror = 0
        self.counted: Counter[str] = Counter()  # requests by track
        self.told: Counter[tuple[str, str, str]] = Counter()  # by instance, track and what became of it
        self._turn = itertools.count()
        self._shared = itertools.count()
        self._copies: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of a customer."""
        with suppress(ConnectionError, wire.WireError, asyncio.CancelledError):
            while (asked := await wire.read(reader)) is not None:
                track = self._track(asked)
                writer.write(await self._passed_on(asked, track))
                await writer.drain()
        writer.close()

    async def leave(self, backend: Backend) -> None:
        """Give an instance no more requests, and wait until it has answered those that it has."""
        self.backends.remove(backend)
        while backend.busy:
            backend.idle.clear()
            await backend.idle.wait()
        backend.close()

    def _track(self, asked: wire.Message) -> str:
        """Which track this request goes to; also copies it, when it is its turn."""
        number = next(self._shared)
        tracks = {backend.track for backend in self.backends}
        if "candidate" not in tracks:
            return "stable"
        if self.match and _matches(asked, self.match):
            return "candidate"
        if self.mirror and (number + 1) * self.mirror // 100 > number * self.mirror // 100:
            copy = asyncio.ensure_future(self._copied(asked))
            self._copies.add(copy)
            copy.add_done_callback(self._copies.discard)
        ours = (number + 1) * self.weight // 100 > number * self.weight // 100
        return "candidate" if ours or "stable" not in tracks else "stable"

    async def _copied(self, asked: wire.Message) -> None:
        """The candidate's answer to a copy is counted with its others, and dropped."""
        await self._passed_on(asked, "candidate", counts=False)

    async def _passed_on(self, asked: wire.Message, track: str, *, counts: bool = True) -> bytes:
        if counts:
            self.counted[track] += 1
        for _ in range(_TRIES):
            backend = self._next(track)
            if backend is None:
                break
            began = time.monotonic()
            backend.busy += 1
            try:
                told = await self._ask(backend, asked)
            finally:
                backend.busy -= 1
                if not backend.busy:
                    backend.idle.set()
            if told is not None:
                self._note(backend, str(told.status), time.monotonic() - began)
                return wire.answer(told.status, told.body, {"X-Version": backend.track})
        self.told["none", track, "502"] += 1
        return wire.answer(502, b"no instance answers")

    def _next(self, track: str) -> Backend | None:
        """The next instance of a track; ``baseline`` shares the stable one's requests."""
        tracks = ("candidate",) if track == "candidate" else ("stable", "baseline")
        able = [backend for backend in self.backends if backend.track in tracks]
        return able[next(self._turn) % len(able)] if able else None

    async def _ask(self, backend: Backend, asked: wire.Message) -> wire.Message | None:
        """Its answer, None when it did not begin to give one: then the request may go elsewhere."""
        try:
            if backend.free:
                reader, writer = backend.free.pop()
            else:
                reader, writer = await asyncio.open_connection("127.0.0.1", backend.port)
            writer.write(wire.request(asked.start[1], method=asked.start[0]))
            told = await wire.read(reader)
        except (ConnectionError, wire.WireError):
            return None
        if told is None:
            writer.close()
            return None
        backend.free.append((reader, writer))
        return told

    def _note(self, backend: Backend, status: str, seconds: float) -> None:
        self.told[backend.name, backend.track, status] += 1
        if seconds > SLOW:
            self.told[backend.name, backend.track, "slow"] += 1


def _matches(asked: wire.Message, match: dict[str, str]) -> bool:
    value = match.get("value", "")
    if "header" in match:
        return asked.headers.get(match["header"].lower()) == value
    cookies: Any = (part.strip().partition("=") for part in asked.headers.get("cookie", "").split(";"))
    return any(name == match.get("cookie") and found == value for name, _, found in cookies)
