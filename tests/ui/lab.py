"""JupyterLab with a folder of its own, and a browser tab that tells what went wrong in it."""

from __future__ import annotations

import json
import secrets
import sys
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request

from tests.stack.process import Process, free_port

_READY = """async () => {
  const w = window.jupyterapp.shell.currentWidget;
  await w.context.ready; await w.revealed; await w.sessionContext.ready;
  await w.sessionContext.session.kernel.info;
}"""


class _Straight(urllib.request.HTTPRedirectHandler):
    """A redirect, as to the login, is no answer."""

    def redirect_request(self, *_: Any) -> None:
        """Raise it as the error that it is here."""


class Lab:
    """A server on a free port; `close` ends it and its kernels."""

    def __init__(self, folder: Path) -> None:
        self.work = folder / "work"
        self.work.mkdir()
        self._token = secrets.token_hex(16)
        self._folder = folder
        self.home = folder
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._process = Process(folder, "lab", ["env", *self._environment(), *self._command(port)])
        self._process.wait_for(f"{self.url}/api/status?token={self._token}", timeout=60)

    def _environment(self) -> list[str]:
        names = {
            "JUPYTER_CONFIG_DIR",
            "JUPYTER_DATA_DIR",
            "JUPYTER_RUNTIME_DIR",
            "JUPYTERLAB_WORKSPACES_DIR",
            "IPYTHONDIR",
        }
        folders = {name: self._folder / name.lower() for name in sorted(names)}
        folders |= {f"XDG_{name}_HOME": self._folder / name.lower() for name in ("STATE", "CONFIG", "DATA", "CACHE")}
        folders |= {"JUPYTERLAB_SETTINGS_DIR": self._folder / "settings", "HOME": self._folder}
        return [f"{name}={path}" for name, path in folders.items()]

    def _command(self, port: int) -> list[str]:
        options = {
            "--ip": "127.0.0.1",
            "--port": port,
            "--ServerApp.port_retries": 0,
            "--ServerApp.root_dir": self.work,
            "--IdentityProvider.token": self._token,
            "--LabApp.expose_app_in_browser": True,
            "--LabApp.extension_manager": "readonly",
        }
        switches = ["--no-browser"]
        return [
            sys.executable,
            "-m",
            "sretoolkit",
            "lab",
            *switches,
            *(f"{name}={value}" for name, value in options.items()),
        ]

    def write(self, name: str, *cells: str) -> None:
        """Put a notebook of code cells into the server's folder."""
        kernel = {"kernelspec": {"name": "python3", "language": "python", "display_name": "Python 3"}}
        made: list[dict[str, Any]] = [
            {
                "cell_type": "code",
                "id": f"c{number}",
                "metadata": {},
                "source": source,
                "outputs": [],
                "execution_count": None,
            }
            for number, source in enumerate(cells)
        ]
        content = {"nbformat": 4, "nbformat_minor": 5, "metadata": kernel, "cells": made}
        (self.work / name).write_text(json.dumps(content))

    def read(self, name: str) -> Mapping[str, Any]:
        """A saved notebook."""
        content: Mapping[str, Any] = json.loads((self.work / name).read_text())
        return content

    def open(self, browser: Browser, name: str) -> Tab:
        """Open a notebook in a new browser context, and wait for its kernel."""
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        tab = Tab(context, self.url)
        tab.page.goto(f"{self.url}/doc/tree/{name}?token={self._token}&reset")
        tab.page.wait_for_function("window.jupyterapp?.shell?.currentWidget?.context", timeout=60_000)
        tab.page.evaluate(_READY)
        return tab

    def launcher(self, browser: Browser, **context: Any) -> Tab:
        """Open the whole of JupyterLab in a new browser context, at its launcher."""
        tab = Tab(browser.new_context(viewport={"width": 1280, "height": 900}, **context), self.url)
        tab.page.goto(f"{self.url}/lab?token={self._token}&reset")
        tab.page.wait_for_selector(".jp-LauncherCard", timeout=60_000)
        return tab

    def ask(self, path: str, body: Mapping[str, Any] | None = None, *, token: str | None = None) -> Any:
        """The server's JSON answer; raises `HTTPError` for one that is none."""
        headers = {"Authorization": f"token {self._token if token is None else token}"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/{path}", data=data, headers=headers)
        with urllib.request.build_opener(_Straight).open(request, timeout=60) as answer:
            return json.loads(answer.read())

    def close(self) -> None:
        """End the server."""
        self._process.stop()


class Tab:
    """One page; ``errors`` holds what the console complained of, ``strangers`` every request to elsewhere, which is stopped."""

    def __init__(self, context: BrowserContext, home: str) -> None:
        self._context = context
        self._homes = (home, home.replace("http", "ws"), "data:", "blob:")
        self.errors: list[str] = []
        self.strangers: list[str] = []
        context.on("request", self._requested)
        context.route(lambda url: not url.startswith(self._homes), lambda route: route.abort())
        self.page: Page = context.new_page()
        self.page.on("console", self._told)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))

    def _requested(self, request: Request) -> None:
        if not request.url.startswith(self._homes):
            self.strangers.append(request.url)

    def _told(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.errors.append(f"{message.text} ({message.location.get('url', '')})")

    def command(self, name: str, arguments: Mapping[str, Any] | None = None) -> None:
        """Carry out one of JupyterLab's commands, and wait until it is done."""
        self.page.evaluate(
            "([name, args]) => window.jupyterapp.commands.execute(name, args).then(() => null)", [name, arguments or {}]
        )

    def run(self) -> None:
        """Run all cells."""
        self.command("notebook:run-all-cells")

    def outputs(self) -> Sequence[str]:
        """The text of every output."""
        return self.page.locator(".jp-OutputArea-output").all_inner_texts()

    def abandon(self) -> None:
        """End the page alone, as a browser that is closed."""
        self._context.close()

    def close(self) -> None:
        """End the kernel and the page."""
        self.page.evaluate("window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")
        self._context.close()
