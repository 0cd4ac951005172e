"""The command line against wrong words, hostile names and readers that go away."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from sretoolkit.plan.control import kill_switch
from sretoolkit.store import Store
from tests.runbook.desk import CHANGING, Desk

Write = Callable[..., Path]


def test_the_global_kill_switch(desk: Desk) -> None:
    """``control --all stop`` needs no run; ``control --all resume`` ends it."""
    assert 0 == desk.run("control", "--all", "stop", "--reason", "fire").returncode
    with Store(desk.config["store.url"]) as store:
        assert "fire" == (kill_switch(store) or {})["reason"]
        assert 0 == desk.run("control", "--all", "resume").returncode
        assert None is kill_switch(store)


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["stop"],
        ["--all"],
        ["last", "halt"],
        ["last", "--all", "stop"],
        ["a", "b", "stop"],
        ["last", "skip", "--step", "²"],
    ],
)
def test_control_says_what_is_wrong(desk: Desk, words: list[str]) -> None:
    """Wrong words are bad input, and nobody is told anything."""
    assert 2 == desk.run("control", *words).returncode


def test_a_run_is_aborted(desk: Desk, write_notebook: Write) -> None:
    """``control RUN abort`` between two steps: the run undoes what it did."""
    desk.world.tell("b.done", "hang")
    process = desk.start_apply(write_notebook(*CHANGING))
    assert desk.hanging("b")
    told = desk.run("control", "last", "abort")
    (desk.world.path / "b.done").unlink()
    process.communicate(timeout=60)

    assert (0, "aborted", ["old"] * 3) == (told.returncode, desk.last.state, desk.values)


def test_no_name_reaches_the_terminal_raw(desk: Desk, write_notebook: Write) -> None:
    """A title, ticket, value or error with escape sequences is shown escaped by show and by errors."""
    evil = "\x1b]0;owned\x07"
    path = write_notebook(("value: str = ''", ["parameters"]), "raise ValueError(value)", title=evil, purpose=evil)
    desk.run("run", str(path), "-p", f"value={evil}", "--ticket", evil)
    shown = desk.run("show", "last").stdout + desk.run("show", str(path)).stdout + desk.run("run", evil).stdout

    assert (False, True) == ("\x1b]" in shown, "owned" in shown)


def test_the_exit_code_does_not_depend_on_the_reader(desk: Desk, write_notebook: Write) -> None:
    """A run that is interrupted while nobody reads exits with the signal's code, a good one with 0."""
    desk.world.tell("b.done", "hang")
    process = desk.start_apply(write_notebook(*CHANGING))
    assert process.stdout is not None
    process.stdout.close()
    assert desk.hanging("b")
    process.send_signal(signal.SIGTERM)
    good = desk.start("run", str(write_notebook("1", name="good")))
    assert good.stdout is not None
    good.stdout.close()

    assert (143, 0) == (process.wait(60), good.wait(60))


def test_a_terminal_that_knows_ascii_only(desk: Desk) -> None:
    """What it cannot show is escaped, not fatal."""
    path = desk.home / "plain.ipynb"
    path.write_text(
        '{"nbformat": 4, "nbformat_minor": 5, "metadata": {"sretoolkit": {"title": "\u00fcber"}}, "cells": []}', "utf-8"
    )
    shown = desk.run("show", str(path), PYTHONIOENCODING="ascii", PYTHONUTF8="0")

    assert 0 == shown.returncode, shown.stdout
