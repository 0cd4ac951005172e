"""The shop that is rolled out in the demo: ``python -m sretoolkit.rollout.local.shop VERSION PORT [RECOMMENDATIONS]``.

A web server that asks a recommendation service (the same program, as ``recommend``) and makes a page of it. Every version
errs once in a hundred requests; some err more, or in other ways:

=======  ========================================================
``2.1``  answers one request in ten with an error
``2.2``  is slow
``2.3``  is fine until it gets more than thirty requests a second
``2.4``  ends at its start
``2.5``  takes two seconds to start
=======  ========================================================
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections import deque
from contextlib import suppress

from sretoolkit.rollout.local import wire
from sretoolkit.rollout.local.orphan import opened, until_orphaned

_USUAL, _BAD = 0.01, 0.10
_BUSY = 30  # requests in a second
SLOW = 0.3  # seconds; an answer that takes longer is slow


class Shop:
    """One instance. Whether a request errs goes by its number, so that a run can be repeated."""

    def __init__(self, version: str, recommendations: int) -> None:
        self.version = version
        self.recommendations = recommendations
        self._served = 0
        self._recent: deque[float] = deque()
        self._kept: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        with suppress(ConnectionError, wire.WireError, asyncio.CancelledError):
            while (asked := await wire.read(reader)) is not None:
                writer.write(await self._answer(asked.start[1]))
                await writer.drain()
        writer.close()

    async def _answer(self, path: str) -> bytes:
        if path == "/health":
            return wire.answer(200, self.version.encode())
        if self.version == "recommend":
            return wire.answer(200, b"a hat, two gloves")
        self._served += 1
        if self.version == "2.2":
            await asyncio.sleep(SLOW * 1.2)
        if (self._served * 0.6180339887) % 1 < self._errors():
            return wire.answer(500, b"sold out of answers")
        return wire.answer(200, b"shop " + self.version.encode() + b": " + await self._recommended())

    def _errors(self) -> float:
        """The part of the requests that err now."""
        now = asyncio.get_running_loop().time()
        self._recent.append(now)
        while self._recent[0] < now - 1:
            self._recent.popleft()
        bad = self.version == "2.1" or (self.version == "2.3" and len(self._recent) > _BUSY)
        return _BAD if bad else _USUAL

    async def _recommended(self) -> bytes:
        """What the other service says; the page goes without it when it does not answer."""
        if not self.recommendations:
            return b""
        try:
            reader, writer = (
                self._kept.pop() if self._kept else await asyncio.open_connection("127.0.0.1", self.recommendations)
            )
            writer.write(wire.request("/"))
            told = await wire.read(reader)
        except (ConnectionError, wire.WireError):
            return b""
        self._kept.append((reader, writer))
        return told.body if told else b""


async def _main(version: str, port: int, recommendations: int) -> None:
    if version == "2.4":
        sys.exit("the configuration of 2.4 names a table that is not there")
    if version == "2.5":
        await asyncio.sleep(2)
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    orphaned = asyncio.ensure_future(until_orphaned(ended)) if opened() else None
    server = await asyncio.start_server(Shop(version, recommendations).serve, "127.0.0.1", port)
    await ended.wait()
    server.close()
    if orphaned:
        orphaned.cancel()


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 0))
