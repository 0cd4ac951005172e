"""A real server for a test, people with browsers of their own, and the provider that they log in with."""

from __future__ import annotations

import html
import json
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlencode, urlsplit

import urllib3

from sretoolkit.clock import poll
from sretoolkit.config import Config
from sretoolkit.journal import Run, load_run
from sretoolkit.store import Store
from tests.conftest import REPOSITORY
from tests.stack.process import Process, free_port


class Served:
    """``sretoolkit serve`` in a process of its own, with the configuration that stands in ``home/sretoolkit.toml``."""

    def __init__(
        self, home: Path, config: Config, *, name: str = "serve", warm: bool = False, **environment: str
    ) -> None:
        self.home = home
        self.config = config
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        given = {
            **os.environ, "PYTHONPATH": str(REPOSITORY), "SRETOOLKIT_STORE_URL": config["store.url"],
            "SRETOOLKIT_JOURNAL_KEYS": config["journal.keys"], "SRETOOLKIT_RECORDS_FOLDER": config["records.folder"],
            "SRETOOLKIT_RUNBOOKS_FOLDERS": json.dumps([str(home)]), "PYTHONUNBUFFERED": "1", **environment,
        }  # fmt: skip
        command = [
            sys.executable,
            "-m",
            "sretoolkit",
            "serve",
            "--port",
            str(self.port),
            "--warm" if warm else "--cold",
        ]
        self.process = Process(home, name, command, environment=given)
        self.process.wait_for(f"{self.url}/healthz", timeout=60)

    @property
    def log(self) -> str:
        """What the server said."""
        return self.process.log.read_text(errors="replace")

    @property
    def login(self) -> str:
        """The address that it printed, without its beginning."""
        found = re.search(r"http://\S+(/login\?token=\S+)", self.log)
        assert found, self.log
        return found[1]

    @property
    def token(self) -> str:
        """The token of the local user's programs."""
        return Path(os.environ["XDG_STATE_HOME"], "sretoolkit", "serve.token").read_text().strip()

    def local(self) -> Visitor:
        """A browser in which the local user is logged in."""
        visitor = Visitor(self.url)
        visitor.get(self.login)
        assert 303 == visitor.post("/login/local", {"token": self.login.partition("=")[2]}).status
        return visitor

    def ended(self, run: str) -> Run:
        """The run, when it waits for nobody but a person."""
        with Store(self.config["store.url"]) as store:
            assert poll(lambda: _resting(store, run), timeout=90), self.log[-3000:]
            return load_run(store, run)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def stop(self) -> int | None:
        """End it."""
        self.process.stop()
        return self.process.child.returncode


def _resting(store: Store, run: str) -> bool:
    rows = store.read("SELECT state FROM runs WHERE id = :id", id=run)
    return bool(rows) and rows[0]["state"] != "running"


class Visitor:
    """A browser without JavaScript: it keeps cookies, and sends forms as they stand on the page."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.cookies: dict[str, str] = {}
        self.csrf = ""
        self.page = ""

    def get(self, path: str, **headers: str) -> urllib3.BaseHTTPResponse:
        """One page; its form's token is remembered."""
        answer = self.send("GET", path, headers=headers)
        self.page = answer.data.decode(errors="replace")
        if found := re.search(r'name="csrf" value="([^"]+)"', self.page):
            self.csrf = html.unescape(found[1])
        return answer

    def post(self, path: str, form: Mapping[str, Any], **headers: str) -> urllib3.BaseHTTPResponse:
        """Send a form of ours."""
        body = urlencode({"csrf": self.csrf, **form})
        kind = {"Content-Type": "application/x-www-form-urlencoded", "Origin": self.url}
        answer = self.send("POST", path, body=body, headers={**kind, **headers})
        self.page = answer.data.decode(errors="replace")
        return answer

    def send(
        self, method: str, path: str, *, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> urllib3.BaseHTTPResponse:
        """One request over a connection of its own."""
        cookies = (
            {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())} if self.cookies else {}
        )
        url = path if path.startswith("http") else self.url + path
        with urllib3.PoolManager() as pool:
            answer = pool.request(
                method,
                url,
                body=body,
                headers={**cookies, **(headers or {})},
                redirect=False,
                retries=False,
                timeout=30,
            )
        for cookie in answer.headers.getlist("set-cookie"):
            name, _, value = cookie.partition(";")[0].partition("=")
            self.cookies[name] = value.strip('"')
            if "Max-Age=0" in cookie or not value.strip('"'):
                self.cookies.pop(name, None)
        return answer

    def follow(self, answer: urllib3.BaseHTTPResponse) -> urllib3.BaseHTTPResponse:
        """Go where it leads, until it leads nowhere."""
        for _ in range(8):
            if answer.status not in (302, 303, 307):
                return answer
            answer = self.get(answer.headers["location"])
        raise AssertionError("it leads in a circle")

    def log_in(self, provider: Any, email: str, *groups: str) -> Visitor:
        """Log in with the provider as somebody."""
        provider.somebody = {"email": email, "email_verified": True, "groups": list(groups)}
        answer = self.follow(self.get("/login/provider"))
        assert 200 == answer.status, self.page
        return self

    def hash_of(self, runbook: str) -> str:
        """Open a runbook's form; gives the hash that is in it."""
        assert 200 == self.get(f"/runbooks/{runbook}").status, self.page
        hashed = re.search(r'name="hash" value="([^"]+)"', self.page)
        assert hashed, self.page
        return hashed[1]

    def start(self, runbook: str, mode: str = "plan", **parameters: str) -> str:
        """Fill a runbook's form in and send it; gives the run's id."""
        form = {f"p.{name}": value for name, value in parameters.items()}
        form |= {"hash": self.hash_of(runbook), "mode": mode, "ticket": "INC-7"}
        answer = self.post(f"/runbooks/{runbook}", form)
        assert 303 == answer.status, self.page
        return answer.headers["location"].rpartition("/")[2]


def path_of(url: str) -> str:
    """An address without its beginning."""
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}" if parts.query else parts.path
