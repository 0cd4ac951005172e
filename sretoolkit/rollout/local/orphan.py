"""Whoever opened the shop may be killed: what it started ends then too."""

from __future__ import annotations

import asyncio
import os

_OPENER = "SRETOOLKIT_SHOP_OPENER"


def opened_by_us() -> dict[str, str]:
    """The environment of a process that is to end with this one; its opener may die before it can look who that was."""
    return {**os.environ, _OPENER: str(os.getpid())}


def opened() -> bool:
    """Whether this process was opened so; one that a person or a script has started goes on by itself."""
    return _OPENER in os.environ


async def until_orphaned(ended: asyncio.Event) -> None:
    """Set ``ended`` once the opener has gone; without a named one it is the parent at this moment."""
    opener = int(os.environ.get(_OPENER) or os.getppid())
    while os.getppid() == opener:
        await asyncio.sleep(0.5)
    ended.set()
