"""SSH against a real sshd of the test's own: the contract, and everything that goes wrong with a network in between."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sretoolkit.clock import poll
from sretoolkit.config import Config
from sretoolkit.errors import CommandFailed, ConfigError, HostError, SecretError, Unreachable
from sretoolkit.hosts import Fleet, Host, connect
from sretoolkit.hosts.connections.ssh import SSH
from tests.contracts.connection_contract import ConnectionContract
from tests.stack.sshd import Sshd

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """One sshd for this file."""
    with Sshd(tmp_path_factory.mktemp("sshd")) as server:
        yield server


@pytest.fixture
def host(server: Sshd) -> Iterator[Host]:
    """This machine, over ssh."""
    with connect("far", Config.of(hosts={"far": server.options()})) as host:
        yield host


class TestSSH(ConnectionContract):
    """The contract of connections, over ssh."""


def test_an_unknown_host_key_is_refused(server: Sshd, tmp_path: Path) -> None:
    """Nothing runs, nothing is added to the file, and the error gives fingerprint and command to compare."""
    known = tmp_path / "known_hosts"
    known.write_text("")
    fingerprint = _output("ssh-keygen", "-lf", str(server.folder / "host_key.pub")).split()[1]
    with pytest.raises(HostError, match="unknown host key") as caught, _far(server, known_hosts=str(known)) as host:
        host.run("true", timeout=20)
    assert not caught.value.retryable
    assert fingerprint in caught.value.message
    assert f"ssh-keyscan -p {server.port} 127.0.0.1" in caught.value.hint
    assert known.read_text() == ""


def test_a_changed_host_key_is_refused(server: Sshd, tmp_path: Path) -> None:
    """Another key than the known one is called what it is."""
    known = tmp_path / "known_hosts"
    other = " ".join((server.folder / "other_key.pub").read_text().split()[:2])
    known.write_text(f"[127.0.0.1]:{server.port} {other}\n")
    with pytest.raises(HostError, match="has CHANGED"), _far(server, known_hosts=str(known)) as host:
        host.run("true", timeout=20)


def test_a_known_hosts_file_that_is_none_is_refused(server: Sshd, tmp_path: Path) -> None:
    """A missing or broken file is an error of the configuration, not a reason to trust."""
    broken = tmp_path / "broken"
    broken.write_text("127.0.0.1 ssh-ed25519 not-base64\n")
    with pytest.raises(ConfigError, match="cannot be read"), _far(server, known_hosts=str(broken)) as host:
        host.run("true", timeout=20)
    with pytest.raises(ConfigError, match="there is no file"), _far(server, known_hosts=str(tmp_path / "no")) as host:
        host.run("true", timeout=20)


def test_a_wrong_key_is_refused(server: Sshd) -> None:
    """It cannot help to try again, and the error says so."""
    with pytest.raises(HostError, match="does not let us in") as caught:
        _far(server, key=str(server.folder / "other_key")).run("true", timeout=20)
    assert not caught.value.retryable


def test_a_key_file_that_is_not_there_is_refused(server: Sshd, tmp_path: Path) -> None:
    """Before anything is sent."""
    with pytest.raises(ConfigError, match="there is no file"):
        _far(server, key=str(tmp_path / "none")).run("true", timeout=20)


def test_an_encrypted_key_needs_its_passphrase(server: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The passphrase comes through a secret reference; without it, or with a wrong one, we are not let in."""
    key = tmp_path / "encrypted"
    key.write_text(server.key.read_text())
    key.chmod(0o600)
    _output("ssh-keygen", "-q", "-p", "-P", "", "-N", "right passphrase", "-f", str(key))
    monkeypatch.setenv("SRT_RIGHT", "right passphrase")
    monkeypatch.setenv("SRT_WRONG", "wrong passphrase")
    with _far(server, key=str(key), passphrase="env:SRT_RIGHT") as host:
        assert host.run("echo in", timeout=20).stdout == "in\n"
    for options in ({}, {"passphrase": "env:SRT_WRONG"}):
        with pytest.raises(HostError, match="cannot be used") as caught:
            _far(server, key=str(key), **options).run("true", timeout=20)
        assert not isinstance(caught.value, Unreachable)
        assert "wrong passphrase" not in str(caught.value)
    with pytest.raises(SecretError, match="SRT_NOT_SET"):
        _far(server, key=str(key), passphrase="env:SRT_NOT_SET").run("true", timeout=20)


def test_nobody_listens(server: Sshd) -> None:
    """A closed port is Unreachable, may be tried again, and nothing ran."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with pytest.raises(Unreachable, match="nothing ran") as caught:
            _far(server, port=closed.getsockname()[1]).run("true", timeout=20)
    assert caught.value.retryable
    assert "ssh -p" in caught.value.hint


def test_something_else_listens(server: Sshd) -> None:
    """A server that is no sshd and hangs up is Unreachable."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        thread = threading.Thread(target=lambda: other.accept()[0].close())
        thread.start()
        with pytest.raises(Unreachable, match="nothing ran"):
            _far(server, port=other.getsockname()[1]).run("true", timeout=20)
        thread.join(10)


def test_a_connection_cut_while_a_command_runs_leaves_it_in_doubt(server: Sshd, host: Host, tmp_path: Path) -> None:
    """The error comes at once and says that the command is in doubt; the next command opens a new connection."""
    began = tmp_path / "began"
    failed: list[BaseException] = []

    def run() -> None:
        try:
            host.run(f"touch {began}; sleep 120", timeout=100)
        except Unreachable as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    assert poll(began.exists, timeout=30)
    started = time.monotonic()
    server.cut()
    thread.join(30)
    assert time.monotonic() - started < 15
    assert "the command is in doubt: touch" in str(failed[0])
    assert "look at the host before you do it again" in str(failed[0])
    assert host.run("echo back", timeout=20).stdout == "back\n"


def test_a_connection_that_died_between_commands_is_opened_anew(server: Sshd, host: Host) -> None:
    """Nothing was running, so nothing is in doubt: once the end is noticed, the next command opens a new one."""
    host.run("true", timeout=20)
    connection = host.connection
    assert isinstance(connection, SSH)
    transport = connection.transport()
    server.cut()
    assert poll(lambda: not transport.is_active(), timeout=20)
    assert host.run("echo back", timeout=20).stdout == "back\n"


def test_a_host_behind_another_is_reached_over_it(server: Sshd) -> None:
    """The jump host's key is checked too; both connections are closed together."""
    tables = {"door": server.options(), "inner": server.options(jump="door")}
    with connect("inner", Config.of(hosts=tables)) as host:
        assert host.run("echo inside", timeout=20).stdout == "inside\n"
        assert f"-J {server.user}@127.0.0.1:{server.port}" in host.by_hand(["uptime"])
    tables["door"] = server.options(known_hosts="/dev/null")
    with pytest.raises(HostError, match="door: unknown host key"), connect("inner", Config.of(hosts=tables)) as host:
        host.run("true", timeout=20)


def test_what_a_login_script_prints_is_no_output(server: Sshd, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A chatty profile does not end up in results, nor in files that are read."""
    folder = tmp_path_factory.mktemp("chatty")
    force = "ForceCommand echo 'Welcome!'; exec /bin/sh -c \"$SSH_ORIGINAL_COMMAND\"\n"
    with Sshd(folder, extra=force) as chatty, _far(chatty) as host:
        assert host.run("echo mine", timeout=20).stdout == "mine\n"
        assert host.read("/proc/sys/kernel/ostype") == b"Linux\n"


def test_a_fleet_keeps_what_it_got_when_some_hosts_fail(server: Sshd) -> None:
    """Results, a host that is down, a host that refuses us and a failed command each stand under their host's name."""
    tables = {
        "good": server.options(),
        "down": server.options(port=1),
        "refused": server.options(key=str(server.folder / "other_key")),
        "here": {"connection": "local"},
    }
    with Fleet(list(tables), config=Config.of(hosts=tables)) as fleet:
        outcome = fleet.run("echo ok", timeout=30, max_failures="50%")
        assert {name: result.stdout for name, result in outcome.results.items()} == {"good": "ok\n", "here": "ok\n"}
        assert {name: type(error) for name, error in outcome.errors.items()} == {
            "down": Unreachable,
            "refused": HostError,
        }
        stopped = fleet.run("exit 1", timeout=30, batch_size=1)
    assert isinstance(stopped.errors["good"], CommandFailed)
    assert stopped.skipped == ("down", "refused", "here")


def _far(server: Sshd, **options: object) -> Host:
    return connect("far", Config.of(hosts={"far": server.options(**options)}))


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout
