"""Live updates: a browser is told that something changed, and fetches its page again. What changed is not in the message."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from typing import cast

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from sretoolkit.errors import JournalError, SREToolkitError
from sretoolkit.runbook.access import Person
from sretoolkit.server.guard import visit_of
from sretoolkit.server.site import Site

_INTERVAL = 0.5
_LONGEST = 300.0  # the browser comes back by itself, and is asked who it is again
_MOST, _MOST_EACH = 300, 12
_LIST = "SELECT id, state FROM runs ORDER BY started DESC, id DESC LIMIT 60"
_QUEUE = "SELECT id, state, changed FROM requests WHERE state IN ('waiting', 'taken') ORDER BY number LIMIT 60"
_ONE = "SELECT state, progress, plan_hash, (SELECT max(seq) FROM entries WHERE run = :run) AS seq FROM runs WHERE id = :run"
_ASKED = "SELECT state FROM requests WHERE id = :run"


class Live:
    """The streams of one server; they share what they read from the store, and end with the server."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._open: dict[str, int] = {}
        self._marks: dict[str, tuple[float, str]] = {}
        self._closing = asyncio.Event()

    def close(self) -> None:
        """End every stream."""
        self._closing.set()

    async def runs(self, request: Request) -> Response:
        """Something in the list changed."""
        return self._stream(request, "")

    async def run(self, request: Request) -> Response:
        """Something about one run changed."""
        person, run = cast(Person, visit_of(request.scope).person), request.path_params["run"]
        try:
            await asyncio.to_thread(self._site.desk(person).load, run)
        except JournalError:
            asked = await asyncio.to_thread(self._site.queue.one, run)
            name = asked.request.runbook.rpartition("/")[2].removesuffix(".ipynb") if asked else ""
            if not self._site.access.allows(person, name, "viewer"):
                raise
        return self._stream(request, run)

    def _stream(self, request: Request, run: str) -> Response:
        visit = visit_of(request.scope)
        who = visit.session.id if visit.session else visit.address
        if sum(self._open.values()) >= _MOST or self._open.get(who, 0) >= _MOST_EACH:
            return Response("too many live pages are open\n", 503, headers={"retry-after": "30"})
        if request.method == "HEAD":
            return Response(media_type="text/event-stream")
        headers = {"x-accel-buffering": "no"}
        return StreamingResponse(self._events(who, run), media_type="text/event-stream", headers=headers)

    async def _events(self, who: str, run: str) -> AsyncIterator[str]:
        self._open[who] = self._open.get(who, 0) + 1
        try:
            loop = asyncio.get_running_loop()
            ends, spoke, last = loop.time() + _LONGEST, loop.time(), ""
            yield "retry: 2000\n\n"
            while loop.time() < ends and not self._closing.is_set():
                mark = await self._mark(run)
                if mark != last:
                    yield f"id: {mark}\nevent: changed\ndata: {mark}\n\n"
                    last, spoke = mark, loop.time()
                elif loop.time() - spoke > 15:
                    yield ": still here\n\n"
                    spoke = loop.time()
                try:
                    await asyncio.wait_for(self._closing.wait(), _INTERVAL)
                except TimeoutError:
                    continue
        finally:
            self._open[who] -= 1
            if not self._open[who]:
                del self._open[who]

    async def _mark(self, run: str) -> str:
        """A text that is another one when something changed; read once for all who look at the same."""
        now = asyncio.get_running_loop().time()
        at, mark = self._marks.get(run, (0.0, ""))
        if now - at >= _INTERVAL:
            self._marks[run] = (now, mark)
            try:
                mark = await asyncio.to_thread(self._read, run)
            except SREToolkitError:
                return mark  # the store is away for a moment
            self._marks = {name: kept for name, kept in self._marks.items() if now - kept[0] < 10}
            self._marks[run] = (now, mark)
        return mark

    def _read(self, run: str) -> str:
        store = self._site.store
        rows = (
            [store.read(_ONE, run=run), store.read(_ASKED, run=run)] if run else [store.read(_LIST), store.read(_QUEUE)]
        )
        return hashlib.sha256(repr(rows).encode()).hexdigest()[:16]
