"""Customers of the shop: ``python -m sretoolkit.rollout.local.load PORT RATE FILE``; requests come when they come.

Open loop: a slow answer delays no other request. ``FILE`` holds, as JSON once a second and at the end, how many were sent,
answered (by status) and lost: a lost one got no answer at all.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path

from sretoolkit.rollout.local import wire
from sretoolkit.rollout.local.orphan import until_orphaned

_PATIENCE = 10.0  # seconds


class Load:
    """``rate`` requests a second to one port, over connections that are kept."""

    def __init__(self, port: int, rate: float, told: Path) -> None:
        self.port = port
        self.rate = rate
        self.told = told
        self.counted: Counter[str] = Counter()
        self._free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self._going: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Send until told to end; what is under way is still waited for."""
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, ended.set)
        orphaned = asyncio.ensure_future(until_orphaned(ended))
        began, sent, written = loop.time(), 0, 0.0
        while not ended.is_set():
            due = int((loop.time() - began) * self.rate)
            for _ in range(due - sent):
                one = asyncio.ensure_future(self._one())
                self._going.add(one)
                one.add_done_callback(self._going.discard)
            sent = due
            if loop.time() - written >= 1:
                self._tell()
                written = loop.time()
            with suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), 0.01)
        orphaned.cancel()
        await asyncio.gather(*self._going)
        self._tell()

    async def _one(self) -> None:
        self.counted["sent"] += 1
        try:
            reader, writer = await self._connection()
            writer.write(wire.request("/"))
            told = await asyncio.wait_for(wire.read(reader), _PATIENCE)
        except (OSError, wire.WireError, TimeoutError):
            self.counted["lost"] += 1
            return
        if told is None:
            self.counted["lost"] += 1
            return
        self.counted[str(told.status)] += 1
        self._free.append((reader, writer))

    async def _connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """One that is kept, unless the other side has closed it by now (as any client looks before it sends), or a new one."""
        while self._free:
            reader, writer = self._free.pop()
            if not reader.at_eof():
                return reader, writer
            writer.close()
        return await asyncio.open_connection("127.0.0.1", self.port)

    def _tell(self) -> None:
        beside = self.told.with_suffix(".new")
        beside.write_text(json.dumps(self.counted))
        beside.replace(self.told)


if __name__ == "__main__":
    asyncio.run(Load(int(sys.argv[1]), float(sys.argv[2]), Path(sys.argv[3])).run())
