"""The shop opened: keeper, instances and customers started in a folder of their own, and ended whatever happens."""

from __future__ import annotations

import atexit
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sretoolkit.clock import poll
from sretoolkit.config import Config, Value
from sretoolkit.errors import HostError
from sretoolkit.plan import Context
from sretoolkit.rollout.local.keeper import MEASURED, READY
from sretoolkit.rollout.local.orphan import opened_by_us
from sretoolkit.rollout.rollout import Rollout
from sretoolkit.rollout.workload import STABLE

SOURCE = "shop"


@dataclass(frozen=True)
class Shop:
    """An open shop: ``folder`` is its keeper's, ``port`` the one that customers use."""

    folder: Path
    port: int

    @property
    def source(self) -> dict[str, Any]:
        """The options of its metrics as a source named ``shop``."""
        return {"kind": "local", "url": (self.folder / MEASURED).as_uri()}

    def rollout(self, **more: Any) -> Rollout:
        """Its canary: three shares, each judged for at most 25 seconds; ``more`` replaces parts."""
        part = {"kind": "local", "folder": str(self.folder)}
        told: dict[str, Any] = {
            "source": SOURCE,
            "by": "instance",
            "candidate": "candidate-.*",
            "baseline": "stable-.*",
        }
        told |= {"total": "requests_total", "interval": "1s", "history": "1m", "worth": 5.0}
        return Rollout.of("shop", {
            "workload": part,
            "router": part,
            "strategy": {"kind": "canary", "steps": [10, 50], "bake": "25s"},
            "judge": {"kind": "calibrated"},
            "measures": [
                {"name": "errors", "bad": 'requests_total{code="500"}', **told},
                {"name": "slow answers", "bad": "slow_total", "informational": True, **told},
            ],
            "look": "1s",
            "patience": "10s",
            **more,
        })  # fmt: skip

    @property
    def config(self) -> Config:
        """The user's own configuration, with the shop's metrics in it."""
        more = {f"sources.{SOURCE}.{key}": value for key, value in self.source.items()}
        return Config({**Config.load().values, **{key: Value(key, value, "the shop") for key, value in more.items()}})

    @property
    def served(self) -> dict[str, int]:
        """What customers saw so far: sent, by status, and lost (no answer at all)."""
        told = self.folder / "load.json"
        found: dict[str, int] = json.loads(told.read_text()) if told.exists() else {}
        return found


@contextmanager
def open_shop(
    *, version: str = "1.0", instances: int = 3, rate: float = 150, served: int = 0, folder: Path | None = None
) -> Iterator[Shop]:
    """Open it with that version and ``rate`` requests a second; on leaving, every process of it is ended.

    ``served``: wait until so many were answered, so that there is something to compare a candidate with.

    Raises `HostError` with what the keeper said when it does not come up.
    """
    own = Path(tempfile.mkdtemp(prefix="shop-")) if folder is None else folder
    own.mkdir(parents=True, exist_ok=True)
    started: list[subprocess.Popen[bytes]] = []
    try:
        started.append(_start(own, "keeper", str(own)))
        port = _ready(own, started[0])
        ctx = Context(config=Config.of())
        ctx.start(60)
        shop = Shop(own, port)
        try:
            shop.rollout().workload.set_track(ctx, STABLE, {"version": version, "replicas": instances})
        finally:
            ctx.close()
        if rate:
            started.append(_start(own, "load", str(port), str(rate), str(own / "load.json")))
        poll(lambda: shop.served.get("200", 0) >= served, timeout=60)
        yield shop
    finally:
        for each in reversed(started):
            _end(each)
        if folder is None:
            shutil.rmtree(own, ignore_errors=True)


def _start(folder: Path, name: str, *arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", f"sretoolkit.rollout.local.{name}", *arguments]
    with (folder / f"{name}.log").open("wb") as log:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, env=opened_by_us()
        )


def _ready(folder: Path, keeper: subprocess.Popen[bytes]) -> int:
    """Where the shop listens."""
    ready = folder / READY

    def there() -> bool:
        return keeper.poll() is not None or (ready.exists() and bool(ready.read_text()))

    if not poll(there, timeout=30) or keeper.poll() is not None:
        log = (folder / "keeper.log").read_text(errors="replace")[-500:]
        raise HostError(f"the shop does not open: {log}", host="localhost", hint="is its folder writable?")
    port: int = json.loads(ready.read_text())["port"]
    return port


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(timeout=10)


def keep_open(**options: Any) -> OpenShop:
    """`open_shop` without a block, for a notebook: it stays open until ``close()`` or the end of this process."""
    return OpenShop(**options)


class OpenShop(Shop):
    """A shop that its holder closes."""

    close: Callable[[], None]

    def __init__(self, **options: Any) -> None:
        stack = ExitStack()
        opened = stack.enter_context(open_shop(**{"served": 500, **options}))
        super().__init__(opened.folder, opened.port)
        object.__setattr__(self, "close", stack.close)
        atexit.register(stack.close)
