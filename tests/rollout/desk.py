"""An engineer's desk: a home with a configuration, from which ``sretoolkit`` is run as a command."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from sretoolkit.actor import Actor
from sretoolkit.clock import poll
from sretoolkit.config import Config
from sretoolkit.journal import Journal, find_runs
from sretoolkit.journal.entry import Entry
from sretoolkit.rollout.local.opening import Shop
from sretoolkit.store import open_store
from tests.conftest import REPOSITORY


class Written(NamedTuple):
    """A change as the journal has it: the kind of step, what it set, and from when to when (epoch seconds)."""

    kind: str
    value: Any
    start: float
    end: float


def moment(entry: Entry) -> float:
    """When it was written, in epoch seconds."""
    return datetime.fromisoformat(entry.time).timestamp()


def toml(value: Any) -> str:
    """A value as TOML writes it within a line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {toml(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value)


class Desk:
    """A home of its own; ``configuration`` is its sretoolkit.toml as data."""

    def __init__(
        self, home: Path, configuration: Mapping[str, Any], environment: Mapping[str, str] | None = None
    ) -> None:
        self.home = home
        home.mkdir(exist_ok=True)
        (home / "sretoolkit.toml").write_text(
            "".join(f"{key} = {toml(value)}\n" for key, value in configuration.items())
        )
        kept = {key: value for key, value in os.environ.items() if not key.startswith("SRETOOLKIT_")}
        self.environment = {**kept, "HOME": str(home), "XDG_STATE_HOME": str(home / "state"), **(environment or {})}
        self.environment["SRETOOLKIT_RUNBOOKS_FOLDERS"] = json.dumps([str(REPOSITORY / "runbooks")])
        self.environment["SRETOOLKIT_STORE_URL"] = f"sqlite:///{home}/journal.db"

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """The command, not waited for."""
        return subprocess.Popen(
            [sys.executable, "-m", "sretoolkit", *arguments],
            cwd=self.home, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def run(self, *arguments: str) -> tuple[int, str]:
        """Exit code and all that it said."""
        process = self.start(*arguments)
        said, _ = process.communicate(timeout=240)
        return process.returncode, said

    def roll_out(self, version: str) -> tuple[int, str]:
        """The canary runbook on the service ``shop``, for real."""
        return self.run(*self._canary(version))

    def killed_at(self, percent: int, version: str) -> None:
        """The same, whose runner dies by SIGKILL once the candidate has this share of the requests."""
        runner = self.start(*self._canary(version))
        try:
            assert poll(lambda: self.gave(percent) or runner.poll() is not None, timeout=90)
        finally:
            os.kill(runner.pid, signal.SIGKILL)
            said, _ = runner.communicate(timeout=30)
        assert runner.returncode == -signal.SIGKILL, said

    def taken_back(self, seen: Callable[[], bool]) -> None:
        """Wait until ``sretoolkit watchdog`` has taken the dead runner's work back, as ``seen`` sees it."""
        process = self.start("watchdog", "--every", "1s")
        try:
            done = poll(seen, timeout=90, interval=0.5)
        finally:
            process.terminate()
            said, _ = process.communicate(timeout=30)
        assert done, f"{said}\n{self.now}"

    @property
    def now(self) -> str:
        """How the shop stands."""
        return self.run("rollout", "status", "shop")[1]

    def gave(self, percent: int) -> bool:
        """Whether the journal has it that the candidate got this share."""
        return any((each.kind, each.value) == ("SetWeight", percent) and each.end < math.inf for each in self.written())

    def looked(self) -> int:
        """How often a gate was looked at since the last change."""
        kinds = [entry.kind for entry in self.entries()]
        changed = [place for place, kind in enumerate(kinds) if kind in ("step-after", "undo-after")]
        return kinds[changed[-1] :].count("gate-looked") if changed else 0

    def entries(self) -> list[Entry]:
        """What the journal has of the runs, the first one first."""
        with open_store(Config.of(store={"url": self.environment["SRETOOLKIT_STORE_URL"]})) as store:
            runs = sorted(find_runs(store), key=lambda run: run.started)
            return [entry for run in runs for entry in Journal(store, run.id, actor=Actor.current()).entries()]

    def written(self) -> list[Written]:
        """Every change that the journal says was begun, made or taken back, in that order."""
        found: list[Written] = []
        for entry in self.entries():
            if entry.kind in ("step-before", "undo-before"):
                if found and found[-1].end == math.inf:  # its runner died
                    found[-1] = found[-1]._replace(end=moment(entry))
                step, value = entry.payload["step"], "after" if entry.kind == "step-before" else "before"
                found.append(Written(step["type"].rpartition(":")[2], step["data"][value], moment(entry), math.inf))
            elif entry.kind in ("step-after", "undo-after", "step-failed"):
                found[-1] = found[-1]._replace(end=moment(entry))
        return found

    @staticmethod
    def _canary(version: str) -> tuple[str, ...]:
        return ("run", "canary_rollout", "-p", "name=shop", "-p", f"version={version}", "--apply")


def of_shop(shop: Shop, **more: Any) -> dict[str, Any]:
    """What an engineer has written who has the embedded shop; ``more`` replaces parts of its rollout."""
    part = {"kind": "local", "folder": str(shop.folder)}
    errors = {"bad": 'requests_total{code="500"}', "total": "requests_total"}
    measure = {
        "name": "errors",
        "source": "shop",
        "by": "instance",
        "candidate": "candidate-.*",
        "worth": 5.0,
        **errors,
    }
    told = {
        "workload": part,
        "router": part,
        "strategy": {"kind": "canary", "steps": [50], "bake": "40s"},
        "measures": [{**measure, "interval": "1s", "history": "1m"}],
        "markers": ["shop"],
        "look": "1s",
        "patience": "10s",
        **more,
    }
    return {
        "sources": {"shop": {"kind": "local", "url": shop.source["url"]}},
        "slis": {"errors": {"kind": "error_ratio", **errors}},
        "rollouts": {"shop": told},
    }
