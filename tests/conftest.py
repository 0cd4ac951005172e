"""What every test shares: its own store, keys and records, and no way out of this machine."""

from __future__ import annotations

import ipaddress
import os
import random
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

from sretoolkit.actor import Actor
from sretoolkit.config import Config
from sretoolkit.journal import Keys
from sretoolkit.plan import Context
from sretoolkit.store import Store

if TYPE_CHECKING:
    from tests.runbook.desk import Desk

REPOSITORY = Path(__file__).parents[1]


settings.register_profile("sretoolkit", deadline=None)  # no test asserts a time
settings.load_profile("sretoolkit")


def pytest_configure() -> None:
    """Choose the seed of sampled faults once, for this process and its workers."""
    os.environ.setdefault("FAULT_SEED", str(random.SystemRandom().randrange(10**6)))


def pytest_report_header() -> str:
    """Say the seed, so that a sample can be drawn again."""
    return f"faults: {'all' if os.environ.get('EVERY_FAULT') else 'sampled'}, FAULT_SEED={os.environ['FAULT_SEED']}"


@pytest.fixture(autouse=True)
def loopback_only(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that connects to anything but this machine (or, live, its own namespaces) fails at once."""
    if request.node.get_closest_marker("live"):
        return
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            host = address[0]
            if host != "localhost" and not ipaddress.ip_address(host).is_loopback:
                raise AssertionError(f"a test tried to reach {address}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """State, configuration and working folder of the test's own; no setting leaks in from outside."""
    for name in [name for name in os.environ if name.startswith(("SRETOOLKIT_", "XDG_"))]:
        monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    for name in ("STATE", "CONFIG", "DATA", "CACHE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(home / name.lower()))
    for name in ("CONFIG", "DATA", "RUNTIME"):
        monkeypatch.setenv(f"JUPYTER_{name}_DIR", str(home / f"jupyter-{name.lower()}"))
    monkeypatch.setenv("IPYTHONDIR", str(home / "ipython"))
    monkeypatch.chdir(home)
    return home


@pytest.fixture
def config(own_home: Path) -> Config:
    """A configuration that keeps everything below the test's home."""
    return Config.of(
        store={"url": f"sqlite:///{own_home}/store.db"},
        journal={"keys": str(own_home / "keys")},
        records={"folder": str(own_home / "records")},
        runbooks={"folders": [str(REPOSITORY / "runbooks")]},
    )


@pytest.fixture
def ctx(config: Config) -> Iterator[Context]:
    """A context whose step has a minute."""
    context = Context(config=config)
    context.start(60)
    yield context
    context.close()


@pytest.fixture
def store(config: Config) -> Iterator[Store]:
    """An empty SQLite store."""
    with Store(config["store.url"]) as opened:
        yield opened


@pytest.fixture
def keys(config: Config) -> Keys:
    """A folder of keys, made on first use."""
    return Keys.of(config)


@pytest.fixture
def actor() -> Actor:
    """Somebody."""
    return Actor("alice")


@pytest.fixture
def write_notebook(own_home: Path) -> Callable[..., Path]:
    """Write a notebook from cell sources: text, or (text, tags); gives its path."""

    def write(*cells: Any, name: str = "book", **metadata: Any) -> Path:
        import json

        made = []
        for number, cell in enumerate(cells):
            source, tags = cell if isinstance(cell, tuple) else (cell, [])
            made.append(
                {
                    "cell_type": "code", "id": f"cell-{number}", "metadata": {"tags": list(tags)},
                    "source": source, "outputs": [], "execution_count": None,
                }
            )  # fmt: skip
        path = own_home / f"{name}.ipynb"
        kernel = {"kernelspec": {"name": "python3", "language": "python", "display_name": "Python 3"}}
        content = {"nbformat": 4, "nbformat_minor": 5, "metadata": {**kernel, "sretoolkit": metadata}, "cells": made}
        path.write_text(json.dumps(content))
        return path

    return write


@pytest.fixture
def desk(own_home: Path, config: Config) -> Desk:
    """The real command line, below the test's home."""
    from tests.runbook.desk import Desk

    return Desk(own_home, config)
