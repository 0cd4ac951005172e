"""Runs a minute through ``sretoolkit serve``, beside stock papermill on the same cores, and whether anything is lost.

``python -m benchmarks.throughput [--minutes 10]``: stock papermill in as many loops as there are cores, for a tenth of the time
before and after; between them a server whose queue is never empty. Each of its runs is asked for over HTTP and must then be
in the store once, ended, proved by the journal, and told once to a webhook.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import urllib3

from benchmarks.engine import notebook
from sretoolkit.clock import poll
from sretoolkit.config import Config
from sretoolkit.journal import Keys, verify_run
from sretoolkit.store import Store
from tests.stack.process import free_port

GOAL = 5.0
_AHEAD = 12  # requests that wait
_AT_ONCE = 4


class Told(BaseHTTPRequestHandler):
    """Counts what the webhook is told, by run."""

    heard: ClassVar[Counter[str]] = Counter()

    def do_POST(self) -> None:
        """One message."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.heard[json.loads(body)["run"]] += 1
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


def stock(folder: Path, seconds: float) -> float:
    """Runs a minute of stock papermill."""
    book = folder / "one.ipynb"
    environment = {**os.environ, "STAMP": str(folder / "stamp")}
    ends = time.monotonic() + seconds

    def loop(number: int) -> int:
        done = 0
        command = [
            sys.executable,
            "-m",
            "papermill",
            "--no-progress-bar",
            str(book),
            str(folder / f"out{number}.ipynb"),
        ]
        while time.monotonic() < ends:
            subprocess.run(command, check=True, env=environment, stderr=subprocess.DEVNULL)
            done += 1
        return done

    began = time.monotonic()
    cores = os.cpu_count() or 1
    with ThreadPoolExecutor(cores) as pool:
        done = sum(pool.map(loop, range(cores)))
    return 60 * done / (time.monotonic() - began)


class Site:
    """A server with a store, folder and webhook of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.told = ThreadingHTTPServer(("127.0.0.1", 0), Told)
        threading.Thread(target=self.told.serve_forever, daemon=True).start()
        (folder / "sretoolkit.toml").write_text(
            f'[webhooks.all]\nurl = "http://127.0.0.1:{self.told.server_port}/"\nsecret = "env:HOOK"\n'
            f"[serve]\nmost_requests = 1000000\nmost_runs = {_AT_ONCE}\n"
        )
        names = ("HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME")
        left = {name: value for name, value in os.environ.items() if name != "XDG_RUNTIME_DIR"}
        environment = {
            **left, **dict.fromkeys(names, str(folder)), "HOOK": "signs what is sent", "STAMP": str(folder / "stamp"),
            "SRETOOLKIT_RUNBOOKS_FOLDERS": json.dumps([str(folder)]), "PYTHONPATH": str(Path(__file__).parents[1]),
        }  # fmt: skip
        self.config = Config.of(
            store={"url": f"sqlite:///{folder}/sretoolkit/store.db"}, journal={"keys": f"{folder}/sretoolkit/keys"}
        )
        command = [sys.executable, "-m", "sretoolkit", "serve", "--port", str(self.port)]
        with (folder / "serve.log").open("wb") as log:
            self.process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
        self.pool = urllib3.PoolManager()
        token = folder / "sretoolkit" / "serve.token"
        if not poll(token.exists, timeout=60) or not poll(self._answers, timeout=60):
            raise SystemExit((folder / "serve.log").read_text())
        self.headers = {"Authorization": f"Bearer {token.read_text().strip()}", "Content-Type": "application/json"}

    def _answers(self) -> bool:
        try:
            return self.pool.request("GET", f"http://127.0.0.1:{self.port}/healthz", retries=False).status == 200
        except urllib3.exceptions.HTTPError:
            return False

    def ask(self) -> str:
        """Ask for a run; gives its id."""
        body = json.dumps({"runbook": "one"})
        answer = self.pool.request("POST", f"http://127.0.0.1:{self.port}/api/v1/runs", body=body, headers=self.headers)
        if answer.status != 202:
            raise SystemExit(f"{answer.status}: {answer.data.decode()}")
        return str(json.loads(answer.data)["run"])

    def waiting(self, store: Store) -> int:
        """How many requests wait."""
        return int(store.read("SELECT count(*) AS count FROM requests WHERE state = 'waiting'")[0]["count"])

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait(60)
        self.told.shutdown()


def served(site: Site, seconds: float) -> tuple[float, list[str]]:
    """Runs a minute through the server, after one that makes it warm; and what is not as it should be."""
    with Store(site.config["store.url"]) as store:

        def ended() -> int:
            return int(store.read("SELECT count(*) AS count FROM runs WHERE runbook = 'one' AND ended > 0")[0]["count"])

        asked = [site.ask()]
        if not poll(lambda: ended() == 1, timeout=60):
            raise SystemExit((site.folder / "serve.log").read_text())
        began, before, ends = time.monotonic(), ended(), time.monotonic() + seconds
        while time.monotonic() < ends:
            asked += [site.ask() for _ in range(_AHEAD - site.waiting(store))]
            time.sleep(0.1)  # the pace of asking, not of what is measured
        rate = 60 * (ended() - before) / (time.monotonic() - began)
        poll(lambda: ended() == len(asked), timeout=300)
        poll(lambda: len(Told.heard) >= len(asked), timeout=60)
        return rate, faults(store, site.config, asked)


def faults(store: Store, config: Config, asked: list[str]) -> list[str]:
    """What was lost, done twice, ended badly, or cannot be proved."""
    states = {row["id"]: row["state"] for row in store.read("SELECT id, state FROM runs WHERE runbook = 'one'")}
    found = [f"{run} is {states.get(run, 'lost')}" for run in asked if states.get(run) != "completed"]
    found += [f"{run} was not asked for" for run in states.keys() - set(asked)]
    found += [f"{run} was told {Told.heard[run]} times" for run in asked if Told.heard[run] != 1]
    keys = Keys.of(config)
    proofs = {run: verify_run(store, keys, run).state for run in asked}
    return found + [f"{run} is {proof}" for run, proof in proofs.items() if proof != "whole"]


def main() -> None:
    """Print the table (Markdown); exit code 1 when anything was lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    seconds = 60 * parser.parse_args().minutes
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "one.ipynb").write_text(notebook(1, 0))
        first = stock(folder, seconds / 10)
        site = Site(folder)
        try:
            rate, wrong = served(site, seconds)
        finally:
            site.stop()
        theirs = (first + stock(folder, seconds / 10)) / 2
    print("| runs a minute | papermill | through the server | times | goal | lost, twice or not proved |")
    print("|---|---|---|---|---|---|")
    print(
        f"| 1 cell, {seconds / 60:g} minutes | {theirs:.0f} | {rate:.0f} | {rate / theirs:.1f} | {GOAL} | {len(wrong)} |"
    )
    for each in wrong[:20]:
        print(f"- {each}")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
