"""The board of machines: four views over the store, live, and a table in a record."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sretoolkit.config import Config
from sretoolkit.provision.entries import Tag
from sretoolkit.provision.handlers import Desk
from sretoolkit.provision.registry import Registry
from sretoolkit.widgets import ProvisionBoard
from tests.provision.conftest import IMAGE, machines_desk, registry, web, write
from tests.provision.machine import Machine

__all__ = ["machines_desk", "registry", "write"]  # fixtures


@pytest.fixture
def board(
    machines_desk: Desk, write: Callable[..., None], config: Config, monkeypatch: pytest.MonkeyPatch
) -> ProvisionBoard:
    """A board over one machine that is matched; nobody looks, so that nothing is asked but by the test."""
    monkeypatch.setattr("sretoolkit.widgets.provision_board.attended", lambda: False)
    write(IMAGE, Tag(name="big", rule=["=", ["fact", "cpus"], 8]), web(tags=("big",), hostname="web1"))
    Machine(machines_desk, 1).boot()
    return ProvisionBoard(config=config)


def test_each_view_shows_what_it_is_asked(board: ProvisionBoard) -> None:
    """All machines; one with its log; a rule with who it is true of; what the policies would do."""
    board.tabs.selected_index = 1
    board.node.value = "SN1"
    board.join(20)
    board.tabs.selected_index = 2
    board.rule.value = '["=", ["fact", "cpus"], 9]'
    board.join(20)
    board.tabs.selected_index = 3
    board.join(20)
    board.tabs.selected_index = 0
    board.join(20)
    assert "node-bound-to-policy" in board.story.value
    assert "[&quot;fact&quot;, &quot;cpus&quot;]: 8" in board.matched.value
    assert "on an order: D1" in board.foreseen.value
    assert "web1" in board.machines.value


def test_what_is_wrong_is_said_in_its_place(board: ProvisionBoard) -> None:
    """A rule that is being typed is no JSON yet; a machine that nobody knows; neither ends the board."""
    board.tabs.selected_index = 2
    board.rule.value = '["=", ["fact"'
    board.join(20)
    board.tabs.selected_index = 1
    board.node.value = "nobody"
    board.join(20)
    assert ("no JSON" in board.matched.value, "no one node" in board.story.value) == (True, True)


def test_in_a_record_it_is_a_table(board: ProvisionBoard, registry: Registry) -> None:
    """No widget's empty box: the board's report."""
    bundle, _ = board._repr_mimebundle_()
    assert {"text/plain", "text/html"} == set(bundle)
    assert "web1" in bundle["text/html"]
