"""`sretoolkit panel` with folders of its own, for a browser."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Browser, Page

from tests.stack.process import Process, free_port
from tests.ui.lab import Tab


class Panel:
    """Voilà on a free port, as the command starts it; `close` ends it."""

    def __init__(self, folder: Path, name: str) -> None:
        self.home = folder
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        folders = {
            "HOME": folder,
            **{f"XDG_{each}_HOME": folder / each.lower() for each in ("STATE", "CONFIG", "DATA", "CACHE")},
        }
        folders |= {f"JUPYTER_{each}_DIR": folder / f"jupyter-{each.lower()}" for each in ("CONFIG", "DATA", "RUNTIME")}
        environment = [f"{key}={value}" for key, value in {**folders, "IPYTHONDIR": folder / "ipython"}.items()]
        options = [f"--port={self._port}", "--no-browser", "--token=open-sesame", "--Voila.port_retries=0"]
        self._process = Process(
            folder, "panel", ["env", *environment, sys.executable, "-m", "sretoolkit", "panel", name, *options]
        )
        self._process.wait_for(f"{self.url}/voila/static/voila.js?token=open-sesame", timeout=60)

    def open(
        self, browser: Browser, *, token: str = "open-sesame", before: Callable[[Page], None] = lambda page: None
    ) -> Tab:
        """The page in a browser context of its own; ``before`` gets it while it is still empty."""
        tab = Tab(browser.new_context(viewport={"width": 1280, "height": 900}), self.url)
        before(tab.page)
        tab.page.goto(f"{self.url}/?token={token}", timeout=60_000)
        return tab

    def close(self) -> None:
        """End the server and its kernels."""
        self._process.stop()
