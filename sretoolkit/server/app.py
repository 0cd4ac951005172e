"""The application, and running it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from sretoolkit.config import Config
from sretoolkit.errors import ConfigError
from sretoolkit.provision.handlers import Desk
from sretoolkit.provision.registry import Registry
from sretoolkit.runbook.dispatcher import Dispatcher
from sretoolkit.runbook.ticker import Ticker
from sretoolkit.server.bandwidth import Bandwidth
from sretoolkit.server.batch import Batch
from sretoolkit.server.follower import Follower
from sretoolkit.server.machines import Machines
from sretoolkit.store import Store, open_store


class Application:
    """What machines ask goes straight to `Machines`: a storm of them is not led through what pages need."""

    def __init__(self, pages: Starlette, machines: Machines) -> None:
        self.pages = pages
        self.machines = machines

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or begin and end with the server."""
        machine = scope["type"] == "http" and scope["path"].startswith("/svc/")
        await (self.machines if machine else self.pages)(scope, receive, send)


def make_app(config: Config, store: Store) -> Application:
    """The application for one store."""
    batch = Batch(store)
    bandwidth = Bandwidth(int(config["provision.bandwidth"]) * 1e6)
    registry = Registry(store)
    machines = Machines(Desk(registry, config), batch, bandwidth)
    threads = (Follower(Registry(store), config), Ticker(store, config), Dispatcher(store, config))

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        for thread in threads:
            thread.start()
        yield
        for thread in threads:
            await asyncio.to_thread(thread.close)

    return Application(Starlette(routes=[Route("/healthz", _health)], lifespan=lifespan), machines)


async def _health(_request: Request) -> JSONResponse:
    return JSONResponse({"ok": True})


def application() -> Application:
    """For the server's worker process: configuration and store as they are there."""
    config = Config.load()
    return make_app(config, open_store(config))


def serve(config: Config, *, address: str, port: int) -> None:
    """Serve until a signal comes. Raises `ConfigError` where the server is not installed."""
    try:
        from granian.constants import Interfaces, Loops
        from granian.server import Server
    except ImportError as error:
        raise ConfigError("the server is not installed", hint="pip install 'sretoolkit[server]'") from error
    open_store(config).close()  # upgrades the store, or says why it cannot be used, before anything listens
    Server(
        "sretoolkit.server.app:application", factory=True, address=address, port=port, interface=Interfaces.ASGI,
        loop=Loops.asyncio, workers=1, backlog=4096, log_access=False, websockets=False,
    ).serve()  # fmt: skip
