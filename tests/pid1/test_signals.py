"""The kernel's rules for a signal to a namespace's init, from the facts of a scan."""

from __future__ import annotations

from typing import Any

import pytest

from sretoolkit.errors import ConfigError
from sretoolkit.pid1.init import reaps
from sretoolkit.pid1.inits.plain import Plain
from sretoolkit.pid1.signals import disposition, number
from tests.pid1.facts import CHLD, TERM, Scan, only


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({}, "dropped"),
        ({"caught": TERM}, "caught"),
        ({"ignored": TERM}, "ignored"),
        ({"blocked": TERM}, "blocked"),
        ({"blocked": TERM, "caught": TERM}, "blocked"),
        ({"blocked": TERM, "ignored": TERM}, "blocked"),
        ({"sigwait": TERM}, "sigwait"),
        ({"sigwait": CHLD}, "dropped"),
        ({"blocked": TERM, "signalfd": TERM}, "signalfd"),
        ({"signalfd": TERM}, "dropped"),
        ({"caught": TERM, "blocked": TERM, "threads": [TERM, 0]}, "caught"),
        ({"elf": "1"}, "unknown"),
    ],
)
def test_what_becomes_of_a_stop_signal(facts: dict[str, Any], expected: str) -> None:
    """Waited for, read, blocked, caught, ignored or dropped; unknown for a 32-bit program, whose calls differ."""
    scan = Scan()
    scan.init(500, **facts)
    assert disposition(only(scan.done()), 15) == expected


@pytest.mark.parametrize(
    ("facts", "expected"),
    [({}, "unknown"), ({"caught": TERM}, "caught"), ({"ignored": TERM}, "unknown"), ({"blocked": TERM}, "unknown")],
)
def test_without_root_only_a_handler_can_be_seen(facts: dict[str, Any], expected: str) -> None:
    """A thread in sigwait looks as if it neither blocked nor caught anything, so nothing else is claimed."""
    scan = Scan(uid=1000)
    scan.init(500, **facts)
    assert disposition(only(scan.done()), 15) == expected


def test_another_machine_is_unknown() -> None:
    """Numbers of system calls are known for two architectures only."""
    scan = Scan(machine="riscv64")
    scan.init(500)
    assert disposition(only(scan.done()), 15) == "unknown"


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({}, "no"),
        ({"ignored": CHLD}, "yes"),
        ({"any_child": True}, "yes"),
        ({"sigwait": CHLD}, "yes"),
        ({"signalfd": CHLD, "blocked": CHLD}, "yes"),
        ({"caught": CHLD}, "unknown"),
    ],
)
def test_who_takes_care_of_orphans(facts: dict[str, Any], expected: str) -> None:
    """What it waits for tells; a handler's deeds cannot be seen."""
    scan = Scan()
    scan.init(500, **facts)
    assert reaps(only(scan.done()), Plain())[0] == expected


def test_zombies_that_stayed_prove_it() -> None:
    """Whatever the masks say, the first process that leaves zombies does not reap."""
    scan = Scan()
    scan.init(500, caught=CHLD)
    scan.zombies(500, seen=2, stayed=2, init=500)
    assert reaps(only(scan.done()), Plain()) == ("no", "it has zombies that stayed")


def test_without_root_a_known_name_is_not_believed() -> None:
    """Any program may call itself tini; without its file the answer is unknown."""
    scan = Scan(uid=1000)
    scan.init(500, name="tini")
    assert reaps(only(scan.done()), Plain())[0] == "unknown"


@pytest.mark.parametrize(
    ("name", "expected"), [("SIGTERM", 15), ("term", 15), ("15", 15), ("SIGRTMIN+3", 37), ("RTMIN", 34), ("SIGQUIT", 3)]
)
def test_a_signal_by_name_or_number(name: str, expected: int) -> None:
    """As container tools write it."""
    assert number(name) == expected


@pytest.mark.parametrize("name", ["SIGNOPE", "0", "65", "", "SIGRTMIN+99", "DFL"])
def test_what_is_no_signal_is_refused(name: str) -> None:
    """The error says how to write one."""
    with pytest.raises(ConfigError, match="is no signal"):
        number(name)
