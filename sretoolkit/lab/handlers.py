"""What our JupyterLab extension asks the Jupyter server: all of it behind that server's own login."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from jupyter_server.base.handlers import APIHandler, JupyterHandler
from jupyter_server.utils import ensure_async, url_path_join
from tornado import web

from sretoolkit.config import Config
from sretoolkit.errors import RunbookError, SREToolkitError
from sretoolkit.journal import Keys, load_run, verify_store
from sretoolkit.lab import desk
from sretoolkit.report import Finding, Report
from sretoolkit.runbook.comparison import files_of
from sretoolkit.runbook.relay import pass_on
from sretoolkit.store import open_store

_PAGE = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'"


def routes(base: str) -> list[tuple[str, type[JupyterHandler]]]:
    """The paths and who answers them."""
    table: dict[str, type[JupyterHandler]] = {
        "runbooks": Runbooks, "open": Open, "pass-on": PassOn, "record": Record, "journal": Proof,
    }  # fmt: skip
    return [(url_path_join(base, "sretoolkit", name), handler) for name, handler in table.items()]


class _Answer(APIHandler):
    """JSON in and out; an error of ours is an answer with its hint."""

    async def answer(self, work: Callable[[], Any]) -> None:
        """Do it beside the server's loop, and send what it gives."""
        try:
            self.finish(json.dumps(await in_thread(work)))
        except SREToolkitError as error:
            self.set_status(400)
            self.finish(json.dumps({"message": error.message, "hint": error.hint}))

    def given(self, name: str) -> str:
        """A text of the body, "" when it is not there."""
        body = self.get_json_body() or {}
        return str(body.get(name) or "") if isinstance(body, dict) else ""


class Runbooks(_Answer):
    """The cards of the launcher."""

    @web.authenticated
    async def get(self) -> None:
        """All runbooks."""
        await self.answer(lambda: {"runbooks": desk.cards(Config.load())})


class Open(_Answer):
    """A notebook to work with, made below the server's root where it is not there yet.

    One whose kernel has ended is emptied: what is left of its panel could only say that there is none any more.
    """

    @web.authenticated
    async def post(self) -> None:
        """``{"runbook": NAME, "as": "form" | "copy"}``, or ``{"as": "runs"}``; answers ``{"path": ...}``."""
        kind, name = self.given("as"), self.given("runbook")

        def made() -> tuple[str, dict[str, Any]]:
            """The path and the content."""
            if kind == "runs":
                return desk.browser()
            config = Config.load()
            return desk.copy(name, config, now=datetime.now()) if kind == "copy" else desk.form(name, config)

        try:
            path, content = await in_thread(made)
        except SREToolkitError as error:
            self.set_status(400)
            self.finish(json.dumps({"message": error.message, "hint": error.hint}))
            return
        await self._keep(path, content)
        self.finish(json.dumps({"path": path}))

    async def _keep(self, path: str, content: dict[str, Any]) -> None:
        contents: Any = self.contents_manager
        if not await ensure_async(contents.dir_exists(desk.FOLDER)):
            await ensure_async(contents.save({"type": "directory"}, desk.FOLDER))
        if await ensure_async(contents.file_exists(path)):
            manager: Any = self.session_manager
            if any(session["path"] == path for session in await ensure_async(manager.list_sessions())):
                return  # its panel lives, and is shown again
            content = desk.emptied((await ensure_async(contents.get(path, type="notebook")))["content"])
        await ensure_async(contents.save({"type": "notebook", "format": "json", "content": content}, path))


class PassOn(_Answer):
    """Somebody else looks after a run."""

    @web.authenticated
    async def post(self) -> None:
        """``{"run": ID, "to": PERSON, "note": TEXT}``; answers ``{"run": ID}``."""
        run, to, note = (self.given(name) for name in ("run", "to", "note"))

        def told() -> dict[str, str]:
            """The run that was passed on."""
            config = Config.load()
            with open_store(config) as store:
                return {"run": pass_on(store, run or "last", to, note, config=config)}

        await self.answer(told)


class _Page(JupyterHandler):
    """A page that may do nothing: no script, nothing from anywhere."""

    async def show(self, work: Callable[[], str]) -> None:
        """Send the page, or the error in words."""
        try:
            page = await in_thread(work)
        except SREToolkitError as error:
            page = _framed(Report(error.message, [], facts={"next": error.hint} if error.hint else {}))
        self.set_header("Content-Security-Policy", _PAGE)
        self.set_header("X-Content-Type-Options", "nosniff")
        self.finish(page)


class Record(_Page):
    """The page of a run's record; without a name that of the newest run that has one."""

    @web.authenticated
    async def get(self) -> None:
        """``?run=ID``."""
        name = self.get_query_argument("run", "")
        await self.show(lambda: _record(name))


class Proof(_Page):
    """The journal, verified now."""

    @web.authenticated
    async def get(self) -> None:
        """Every run of the store."""
        await self.show(_proof)


async def in_thread(work: Callable[[], Any]) -> Any:
    """Beside the server's loop: whoever else works in this Lab must not wait for a database."""
    import asyncio

    return await asyncio.get_running_loop().run_in_executor(None, work)


def _record(name: str) -> str:
    """The page as the journal knows it; what was changed since is not shown."""
    config = Config.load()
    with open_store(config) as store:
        if not name:
            rows = store.read("SELECT id FROM runs WHERE html IS NOT NULL ORDER BY started DESC LIMIT 1")
            name = str(rows[0]["id"]) if rows else "last"
        run = load_run(store, name)
        states = {file["path"]: file["state"] for file in files_of(store, run.id, config)}
    if run.html is None or states.get(run.html) != "unchanged":
        state = (
            "has no record"
            if run.html is None
            else f"has a record that is {states.get(run.html, 'not in the journal')}"
        )
        raise RunbookError(f"run {run.id} {state}", hint=f"`sretoolkit show {run.id}` has the journal")
    return Path(run.html).read_text(encoding="utf-8")


def _proof() -> str:
    config = Config.load()
    with open_store(config) as store:
        proofs = verify_store(store, Keys.of(config))
    found = [
        Finding(
            severity="low" if each.ok else "critical",
            subject=each.run or "chain of runs",
            summary=str(each),
            proof="certain",
        )
        for each in proofs
        if each.state != "whole"
    ]
    facts = {"runs": len(proofs) - 1, "whole": sum(each.state == "whole" and bool(each.run) for each in proofs)}
    title = "The journal is broken" if not all(each.ok for each in proofs) else "The journal hangs together"
    return _framed(Report(title, found, facts=facts))


def _framed(report: Report) -> str:
    style = "body{font:15px system-ui,sans-serif;margin:2em;color-scheme:light dark}"
    head = f'<meta charset="utf-8"><title>sretoolkit</title><style>{style}</style>'
    return f'<!doctype html><html lang="en">{head}{report._repr_html_()}'
