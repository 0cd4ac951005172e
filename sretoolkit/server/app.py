"""The application, and running it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import multiprocessing
import os
import signal
import threading
from collections.abc import AsyncIterator
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from sretoolkit.config import Config
from sretoolkit.errors import ConfigError, SREToolkitError
from sretoolkit.provision.handlers import Desk
from sretoolkit.provision.registry import Registry
from sretoolkit.runbook.dispatcher import Dispatcher
from sretoolkit.runbook.forked import warm_up
from sretoolkit.runbook.ticker import Ticker
from sretoolkit.server.answers import page, refusal
from sretoolkit.server.api.site import routes as api_routes
from sretoolkit.server.bandwidth import Bandwidth
from sretoolkit.server.batch import Batch
from sretoolkit.server.entrance import Entrance
from sretoolkit.server.follower import Follower
from sretoolkit.server.guard import Guard, visit_of
from sretoolkit.server.hooks import Hooks
from sretoolkit.server.live import Live
from sretoolkit.server.logins import login_address
from sretoolkit.server.machines import Machines
from sretoolkit.server.oidc import Provider
from sretoolkit.server.pages.approvals import ApprovalPages
from sretoolkit.server.pages.runbooks import RunbookPages
from sretoolkit.server.pages.runs import RunPages
from sretoolkit.server.pages.schedules import SchedulePages
from sretoolkit.server.pages.sources import SourceHealth, SourcePages
from sretoolkit.server.site import Site
from sretoolkit.server.webhooks import Webhooks
from sretoolkit.store import Store, open_store

_HEADERS_WITHIN = 10_000  # milliseconds that a request's head may take to arrive


class Application:
    """What machines ask goes straight to `Machines`: a storm of them is not led through what pages need."""

    def __init__(self, pages: ASGIApp, machines: Machines) -> None:
        self.pages = pages
        self.machines = machines

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or begin and end with the server."""
        machine = scope["type"] == "http" and scope["path"].startswith("/svc/")
        await (self.machines if machine else self.pages)(scope, receive, send)


def make_app(config: Config, store: Store) -> Application:
    """The application for one store."""
    machines = Machines(
        Desk(Registry(store), config), Batch(store), Bandwidth(int(config["provision.bandwidth"]) * 1e6)
    )
    site = Site(config, store)
    live = Live(site)
    followers = (Follower(Registry(store), config), Ticker(store, config), Dispatcher(store, config), Webhooks(site))

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        _at_the_end(live)
        for each in followers:
            each.start()
        yield
        live.close()
        for each in reversed(followers):
            await asyncio.to_thread(each.close)

    errors = {SREToolkitError: _refuse, HTTPException: _missing, Exception: _broken}
    pages = Starlette(routes=_routes(site, live), lifespan=lifespan, exception_handlers=errors)
    return Application(Guard(pages, site), machines)


def _routes(site: Site, live: Live) -> list[Route | Mount]:
    runs, runbooks, approvals = RunPages(site), RunbookPages(site), ApprovalPages(site)
    health = SourceHealth(site.config)
    sources, schedules = SourcePages(site, health), SchedulePages(site)
    entrance, hooks = Entrance(site, Provider.of(site.config)), Hooks(site)
    return [
        Route("/healthz", _health),
        Route("/login", entrance.show),
        Route("/login/local", entrance.local, methods=["POST"]),
        Route("/login/provider", entrance.leave),
        Route("/login/provider/back", entrance.come_back),
        Route("/logout", entrance.log_out, methods=["POST"]),
        Route("/", runs.index),
        Route("/control", runs.control_every, methods=["POST"]),
        Route("/runs/{run}", runs.show),
        Route("/runs/{run}/record", runs.record),
        *(Route(f"/runs/{{run}}/{verb}", call, methods=["POST"]) for verb, call in {
            "control": runs.control, "approve": runs.approve, "apply": runs.apply, "resume": runs.go_on,
            "cancel": runs.cancel,
        }.items()),
        Route("/runbooks", runbooks.index),
        Route("/runbooks/{name}", runbooks.show),
        Route("/runbooks/{name}", runbooks.start, methods=["POST"]),
        Route("/approvals", approvals.index),
        Route("/schedules", schedules.index),
        *(Route(f"/schedules/{{name}}/{verb}", schedules.tell, methods=["POST"]) for verb in ("pause", "resume")),
        Route("/sources", sources.index),
        Route("/live/runs", live.runs),
        Route("/live/runs/{run}", live.run),
        Route("/hooks/alertmanager", hooks.alertmanager, methods=["POST"]),
        Route("/hooks/{name}", hooks.named, methods=["POST"]),
        *api_routes(site, health),
        Mount("/static", StaticFiles(directory=Path(__file__).parent / "static")),
    ]  # fmt: skip


def _at_the_end(live: Live) -> None:
    """End the streams when the signal comes: the server waits for every answer that is under way before it says so itself.

    The loop is woken by the signal's number as before, and calls what the server has for it; this comes first.
    """
    loop = asyncio.get_running_loop()
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda _number, _frame: loop.call_soon_threadsafe(live.close))


async def _health(_request: Request) -> Response:
    return JSONResponse({"ok": True})


def _html(request: Request) -> bool:
    return not request.url.path.startswith(("/api/", "/hooks/", "/live/"))


def _refuse(request: Request, error: Exception) -> Response:
    assert isinstance(error, SREToolkitError)
    return refusal(error, html=_html(request), visit=visit_of(request.scope))


def _missing(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if not _html(request):
        return JSONResponse({"error": error.detail, "hint": ""}, error.status_code, error.headers)
    heading = "Not found" if error.status_code == 404 else "Not in this way"
    about = {"heading": heading, "message": error.detail, "hint": ""}
    answer = page("error.html", visit_of(request.scope), status=error.status_code, **about)
    answer.headers.update(error.headers or {})
    return answer


def _broken(request: Request, error: Exception) -> Response:
    """A defect of ours: what it is stands in the server's log, not on the page."""
    text = "this is a defect of sretoolkit; the server's log says more"
    if not _html(request):
        return JSONResponse({"error": text, "hint": ""}, 500)
    return page("error.html", visit_of(request.scope), status=500, heading="Something broke", message=text, hint="")


def application() -> Application:
    """For the server's worker process: configuration and store as they are there."""
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
    config = Config.load()
    app = make_app(config, open_store(config))
    gc.freeze()  # what is loaded now stays: it need not be looked at again and again while thousands of requests come
    gc.set_threshold(10_000, 20, 20)
    return app


def _end_with_parent() -> None:
    """A worker whose server was killed would answer for ever, beside the server that is started next."""
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)


def address_of(config: Config, *, address: str, port: int) -> str:
    """Where a browser reaches a server that listens there."""
    any_address = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - a browser cannot go to these
    host = any_address.get(address, address)
    host = f"[{host}]" if ":" in host else host
    return str(config["serve.url"]).rstrip("/") or f"http://{host}:{port}"


def new_login(config: Config, *, address: str, port: int) -> str:
    """An address that logs the local user in, once."""
    with open_store(config) as store:
        return login_address(config, store, address_of(config, address=address, port=port))


def serve(config: Config, *, address: str, port: int, warm: bool = True) -> None:
    """Serve until a signal comes; ``warm``: what runs are forked from ends with us.

    Raises `ConfigError` where the server is not installed.
    """
    try:
        from granian.constants import HTTPModes, Interfaces, Loops
        from granian.http import HTTP1Settings
        from granian.server import Server
    except ImportError as error:
        raise ConfigError("the server is not installed", hint="pip install 'sretoolkit[server]'") from error
    with open_store(config) as store:  # upgrades the store, or says why it cannot be used, before anything listens
        store.now()
        make_app(config, store)  # says what is wrong with the configuration
    if warm:
        warm_up(owned=True)
    Server(
        "sretoolkit.server.app:application", factory=True, address=address, port=port, interface=Interfaces.ASGI,
        loop=Loops.asyncio, workers=1, backlog=4096, log_access=False, websockets=False, http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=_HEADERS_WITHIN),
    ).serve()  # fmt: skip
