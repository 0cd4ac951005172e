"""Passwords by reference, and a server that stops answering; against a server in this process."""

from __future__ import annotations

from pathlib import Path

import pytest

from sretoolkit.config import Config
from sretoolkit.errors import HostError, Unreachable
from sretoolkit.hosts import connect
from sretoolkit.hosts.connections import ssh
from sretoolkit.secrets import redaction
from tests.stack.ssh_double import SSHDouble


def test_a_password_is_read_when_it_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reference is resolved at the first command, and the value is masked in every record from then on."""
    with SSHDouble(tmp_path, password="s3cret-of-mine") as server:
        host = connect("far", Config.of(hosts={"far": server.options(password="env:SRT_PASSWORD")}))
        monkeypatch.setenv("SRT_PASSWORD", "s3cret-of-mine")
        with host:
            assert host.run("anything", timeout=20).stdout == "hello\n"
    assert redaction("it is s3cret-of-mine") == "it is «secret»"


def test_a_wrong_password_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not tried again, nothing ran, and the error does not repeat it."""
    monkeypatch.setenv("SRT_PASSWORD", "wrong-password")
    with SSHDouble(tmp_path, password="right-password") as server:
        with pytest.raises(HostError, match="does not let us in") as caught:
            connect("far", Config.of(hosts={"far": server.options(password="env:SRT_PASSWORD")})).run(
                "true", timeout=20
            )
        assert server.commands == []
    assert not caught.value.retryable
    assert "wrong-password" not in str(caught.value)


def test_a_server_that_falls_silent_leaves_the_command_in_doubt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the deadline the command cannot be killed either, so nobody may believe that it is gone."""
    monkeypatch.setattr(ssh, "_KILL_TIMEOUT", 0.2)
    monkeypatch.setenv("SRT_PASSWORD", "right-password")
    with SSHDouble(tmp_path, password="right-password", answer=None) as server:
        host = connect("far", Config.of(hosts={"far": server.options(password="env:SRT_PASSWORD")}))
        with host, pytest.raises(Unreachable, match="in doubt, it may still run"):
            host.run("reboot", timeout=1)
        assert len(server.commands) == 1
