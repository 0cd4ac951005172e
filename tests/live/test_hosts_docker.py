"""Commands in a container of a real Docker Engine: the contract, and what goes wrong."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from sretoolkit.config import Config
from sretoolkit.errors import HostError, Unreachable
from sretoolkit.hosts import Host, connect
from tests.contracts.connection_contract import ConnectionContract
from tests.stack.docker import Docker

pytestmark = [pytest.mark.live, pytest.mark.skipif(os.getuid() != 0, reason="a Docker Engine needs root")]


@pytest.fixture(scope="module")
def engine() -> Iterator[Docker]:
    """One engine for this file."""
    with Docker() as running, pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCKER_HOST", running.url)
        yield running


@pytest.fixture(scope="module")
def container(engine: Docker) -> str:
    """One that shares this machine's processes and /tmp, so that the suite can see from outside what is left."""
    return engine.run("sleep", "600", options=("--init", "--pid", "host", "-v", "/tmp:/tmp"))


@pytest.fixture
def host(container: str) -> Iterator[Host]:
    """It, as a host."""
    with connect(f"docker://{container}", Config()) as host:
        yield host


class TestDocker(ConnectionContract):
    """The contract of connections, by docker exec."""


def test_a_container_that_is_not_there_says_so(engine: Docker) -> None:
    """It cannot help to try again."""
    with pytest.raises(HostError, match="No such container") as caught, connect("docker://none", Config()) as host:
        host.run("true", timeout=20)
    assert not caught.value.retryable


def test_a_container_that_has_ended_says_that_nothing_ran(engine: Docker) -> None:
    """It may be started again, so trying again can help."""
    name = engine.run("true")
    engine.call("wait", name)
    with pytest.raises(Unreachable, match="nothing ran"), connect(f"docker://{name}", Config()) as host:
        host.run("true", timeout=20)


def test_a_container_that_ends_leaves_the_command_in_doubt(engine: Docker) -> None:
    """Its command may have done something before it was killed."""
    name = engine.run("sleep", "600", options=("--init", "--stop-timeout", "0"))
    with pytest.raises(Unreachable, match="in doubt"), connect(f"docker://{name}", Config()) as host:
        host.run("kill -9 1; kill -TERM 1; sleep 60", timeout=50)


def test_what_a_person_types(container: str) -> None:
    """The command line is docker's own."""
    with connect(f"docker://{container}", Config()) as host:
        assert host.by_hand(["echo", "a b"]) == f"""docker exec {container} sh -c 'echo '"'"'a b'"'"''"""
