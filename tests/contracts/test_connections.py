"""The contract of connections, for those that need no server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sretoolkit.config import Config
from sretoolkit.hosts import Host, connect
from sretoolkit.hosts.connection import CONNECTIONS
from tests.contracts.connection_contract import ConnectionContract


class TestLocal(ConnectionContract):
    """This machine."""

    @pytest.fixture
    def host(self) -> Iterator[Host]:
        """This machine, through a child process."""
        with connect("localhost", Config()) as host:
            yield host


def test_every_connection_has_a_contract() -> None:
    """A new connection plug-in must be added here and to the suite (the others: tests/live/test_hosts_*.py)."""
    assert list(CONNECTIONS) == ["docker", "kubernetes", "local", "ssh"]
