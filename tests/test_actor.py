"""Who acts, and in which process."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from dataclasses import replace

import pytest

from sretoolkit.actor import Actor, Process
from sretoolkit.config import Config


def test_the_actor_is_the_user_with_the_configured_identity() -> None:
    """The operating system says the user, the configuration the identity."""
    actor = Actor.current(Config.of(identity="ada@example.org"))
    assert (True, "ada@example.org", f"ada@example.org ({actor.user})") == (
        bool(actor.user),
        actor.identity,
        str(actor),
    )


def test_an_identity_counts_only_where_it_was_proved() -> None:
    """Whoever says of himself that he is somebody else stays himself when two people must differ."""
    assert "alice" == Actor("alice", identity="bob").principal
    assert "bob" == Actor("alice", identity="bob", via="chat").principal
    assert "alice" == Actor("alice", via="chat").principal


def test_an_unknown_user_id_has_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a container the user may have no entry; it is named by its number."""
    monkeypatch.setattr("sretoolkit.actor._login_id", lambda: 3_999_999_999)
    assert "uid-3999999999" == Actor.current(Config()).user


def test_this_process_is_alive_and_survives_json() -> None:
    """A process is plain data, and known again from it."""
    me = Process.current()
    assert (True, os.getpid(), me) == (me.alive, me.pid, Process(**me.to_dict()))


def test_a_reaped_process_and_a_pid_used_again_are_dead() -> None:
    """A pid alone proves nothing: the start time must be the same too, and of another boot or namespace nothing is known."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    process = Process.of(child.pid)
    assert process.alive is True
    assert replace(process, started="1").alive is False
    assert replace(process, boot="another").alive is None
    child.communicate(b"\n")
    assert process.alive is False


def test_a_zombie_is_dead() -> None:
    """A process that ended and was not waited for yet runs no more."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    process = Process.of(child.pid)
    assert child.stdin is not None
    child.stdin.close()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert process.alive is False
    child.wait()


def test_of_a_process_elsewhere_nothing_is_known() -> None:
    """Another machine's process is neither alive nor dead from here."""
    assert replace(Process.current(), host="elsewhere.example").alive is None


def test_a_process_whose_name_is_no_text_can_be_read() -> None:
    """A process may call itself by any bytes."""
    libc = ctypes.CDLL(None)
    name = ctypes.create_string_buffer(16)
    libc.prctl(16, name)
    try:
        libc.prctl(15, b"\xff) S 1 \xfe")
        assert Process.current().alive is True
    finally:
        libc.prctl(15, name)
