"""One server for each test that wants one, with two notebooks in its folder: one that reads, one that changes files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sretoolkit.config import Config
from tests.plan.steps import Folder
from tests.runbook.desk import CHANGING
from tests.server.provider import SECRET, OpenIdProvider
from tests.server.serving import Served

READING = (("left: int\nright: int = 2  # the other one\nnote: str = ''", ["parameters"]), "print(left + right, note)")


@pytest.fixture
def world(own_home: Path) -> Folder:
    """The files that the changing notebook writes into."""
    return Folder(own_home / "world")


@pytest.fixture
def notebooks(write_notebook: Callable[..., Path]) -> None:
    """``adding`` reads; ``change`` writes; ``guarded`` writes what somebody else approved."""
    about = {"purpose": "to be tried", "risk": "none", "owner": "SRE"}
    write_notebook(*READING, name="adding", title="Adding", **about)
    write_notebook(*CHANGING, name="change", title="Change", **about)
    write_notebook(*CHANGING, name="guarded", title="Guarded change", approval=True, **about)


@pytest.fixture
def served(own_home: Path, config: Config, notebooks: None) -> Iterator[Served]:
    """A running server."""
    with Served(own_home, config) as server:
        yield server
        assert 0 == server.stop()


POLICIES = """
[access."adding"]
viewer = ["vic@example.com"]
operator = ["ann@example.com"]

[access."guarded"]
viewer = ["vic@example.com"]
operator = ["ann@example.com", "ben@example.com"]
approver = ["group:leads", "ann@example.com"]

[access."*"]
admin = ["root@example.com"]
"""


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenIdProvider]:
    """The provider that people log in with."""
    monkeypatch.setenv("TEST_OIDC_SECRET", SECRET)
    started = OpenIdProvider()
    yield started
    started.close()


@pytest.fixture
def team(own_home: Path, config: Config, notebooks: None, provider: OpenIdProvider) -> Iterator[Served]:
    """A server for several people: ann runs, ben runs and leads, vic looks, root administers, eve is nobody."""
    oidc = "\n".join(f'{name} = "{value}"' for name, value in provider.settings.items())
    (own_home / "sretoolkit.toml").write_text(f"[oidc]\n{oidc}\n{POLICIES}")
    with Served(own_home, config) as server:
        yield server
        assert 0 == server.stop()
