"""/svc: what booting machines ask, routed to `provision.handlers`; files go out by the server's own way where it has one."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from sretoolkit.errors import StoreUnavailable
from sretoolkit.provision.facts import MOST_BYTES
from sretoolkit.provision.handlers import Desk, Request, Response
from sretoolkit.server.bandwidth import Bandwidth
from sretoolkit.server.batch import Batch
from sretoolkit.server.body import BodyError, read_body

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
_CHUNK = 1024 * 1024
_PATIENCE = 30.0  # seconds that a body may take to arrive
_FILES = ("/svc/file/", "/svc/microkernel/", "/svc/loader/")


class Machines:
    """An ASGI application. ``bandwidth`` bounds what all image downloads together may take."""

    def __init__(self, desk: Desk, batch: Batch, bandwidth: Bandwidth) -> None:
        self.desk = desk
        self.batch = batch
        self.bandwidth = bandwidth

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["path"].startswith(_FILES):
            request = _request(scope, b"")
            await self._send_file(scope, request, self.desk.file(request), send)
            return
        try:
            asked = _request(scope, await read_body(receive, most=MOST_BYTES, within=_PATIENCE))
        except BodyError as error:
            await _send(Response.text(f"{error}\n", error.status), send)
            return
        try:
            response: Response = await self.batch.do(lambda tx: self.desk.answer(tx, asked))
        except StoreUnavailable as error:
            response = Response.text(f"{error.message}\n", 503, **{"Retry-After": "5"})
        await _send(response, send)

    async def _send_file(self, scope: Scope, request: Request, response: Response, send: Send) -> None:
        if response.file is None:
            await _send(response, send)
            return
        size = response.file.stat().st_size
        wanted = _range(request.headers.get("range", ""), size)
        if wanted is None:
            await _send(Response.text("no such part\n", 416, **{"Content-Range": f"bytes */{size}"}), send)
            return
        first, end = wanted
        headers = {"content-length": str(end - first), "accept-ranges": "bytes"}
        part = (first, end) != (0, size)
        if part:
            headers["content-range"] = f"bytes {first}-{end - 1}/{size}"
        await send(_start(206 if part else 200, response.kind, headers))
        if request.method == "HEAD":
            await send({"type": "http.response.body", "body": b""})
        elif not part and not self.bandwidth.limited and "http.response.pathsend" in scope.get("extensions", {}):
            await send({"type": "http.response.pathsend", "path": str(response.file)})
        else:
            await self._send_part(response.file, first, end, send)

    async def _send_part(self, path: Path, first: int, end: int, send: Send) -> None:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            while first < end:
                count = min(_CHUNK, end - first)
                await self.bandwidth.wait(count)
                data = _cached(descriptor, count, first) or await asyncio.to_thread(os.pread, descriptor, count, first)
                if not data:  # the file became shorter under us: the machine sees it by its length and its digest
                    break
                first += len(data)
                await send({"type": "http.response.body", "body": data, "more_body": first < end})
        finally:
            os.close(descriptor)
        if first < end:
            raise ConnectionError(f"{path} became shorter while it was sent")


def _cached(descriptor: int, count: int, first: int) -> bytes:
    """What is in memory already, read without waiting for a disk; empty when it is not, or where that cannot be told."""
    buffer = bytearray(count)
    try:
        return bytes(buffer[: os.preadv(descriptor, [buffer], first, os.RWF_NOWAIT)])
    except OSError:
        return b""


def _request(scope: Scope, body: bytes) -> Request:
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    given = scope.get("query_string", b"").decode("latin-1")
    query = dict(parse_qsl(given, keep_blank_values=True, max_num_fields=40)) if given else {}
    return Request(scope["method"], scope["path"], query, headers, body, (scope.get("client") or ("",))[0])


async def _send(response: Response, send: Send) -> None:
    headers = {
        **{name.lower(): value for name, value in response.headers.items()},
        "content-length": str(len(response.body)),
    }
    await send(_start(response.status, response.kind, headers))
    await send({"type": "http.response.body", "body": response.body})


def _start(status: int, kind: str, headers: Mapping[str, str]) -> dict[str, Any]:
    given = {"content-type": kind, "cache-control": "no-store", **headers}
    pairs = [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in given.items()]
    return {"type": "http.response.start", "status": status, "headers": pairs}


def _range(given: str, size: int) -> tuple[int, int] | None:
    """The first byte and the end of what is wanted; all of it for what is no range; None for a range that is not there."""
    unit, _, text = given.partition("=")
    first, dash, last = text.partition("-")
    if unit.strip() != "bytes" or not dash or "," in text or not (first + last).isdecimal():
        return 0, size
    if not first:
        return max(0, size - int(last)), size
    end = min(int(last) + 1, size) if last else size
    return (int(first), end) if int(first) < end else None
