"""A request's body: whole, of a bounded size, and within a bounded time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any


class BodyError(Exception):
    """There is no whole body; ``status`` is what is answered, the text why."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


async def read_body(receive: Callable[[], Awaitable[MutableMapping[str, Any]]], *, most: int, within: float) -> bytes:
    """All of it; raises `BodyError` for more than ``most`` bytes, after ``within`` seconds, and when whoever sent it is gone."""
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(within):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise BodyError(400, "whoever sent the request is gone")
                parts.append(message.get("body", b""))
                size += len(parts[-1])
                if size > most:
                    raise BodyError(413, f"a body may have {most} bytes")
                if not message.get("more_body"):
                    return b"".join(parts)
    except TimeoutError:
        raise BodyError(408, f"the request did not arrive within {within:g} s") from None
