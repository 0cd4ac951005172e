"""The panel over a rollout: it shows a plan before it may be applied, runs it in a thread, and passes on what is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from sretoolkit.clock import poll
from sretoolkit.config import Config
from sretoolkit.rollout.rollout import Rollout
from sretoolkit.widgets import RolloutPanel
from tests.rollout.memory import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A service with one version."""
    return World(tmp_path / "world.json")


@pytest.fixture
def panel(world: World, config: Config, monkeypatch: pytest.MonkeyPatch) -> RolloutPanel:
    """A panel over that service."""
    monkeypatch.setattr("sretoolkit.widgets.rollout_panel.attended", lambda: False)
    part = {"kind": "memory", "path": str(world.path)}
    strategy = {"kind": "canary", "steps": [5], "bake": "30s"}
    service = Rollout.of("shop", {"workload": part, "router": part, "strategy": strategy})
    return RolloutPanel(service, config=config)


def test_nothing_is_applied_that_was_not_shown(panel: RolloutPanel, world: World) -> None:
    """Apply wakes up with a plan, and sleeps again when another version is written."""
    before = panel.apply.disabled
    panel.version.value = "2"
    panel.plan.click()
    panel.join(30)
    with_plan = panel.apply.disabled
    panel.version.value = "3"

    assert (True, False, True) == (before, with_plan, panel.apply.disabled)
    assert "give the candidate 5 %" in panel.picture.value
    assert [] == world.read()["log"]


def test_a_person_promotes_a_rollout(panel: RolloutPanel, world: World) -> None:
    """The plan runs in a thread; the gate passes when the button is pressed, and all is on the new version."""
    _start(panel, world)

    def promoted() -> bool:
        panel.verbs["promote"].click()  # again: the gate that is open may be another one by now
        return bool(world.read()["tracks"]["stable"]["version"] == "2")

    assert poll(promoted, timeout=30, interval=0.5)
    panel.join(30)

    assert "completed" in panel.picture.value
    assert "shop" in panel.now.value


def test_an_abort_takes_it_back(panel: RolloutPanel, world: World) -> None:
    """All that was done is undone, and the panel says who said so."""
    _start(panel, world)
    panel.verbs["abort"].click()
    panel.join(30)

    content = world.read()
    assert (0, "1", None) == (content["weight"], content["tracks"]["stable"]["version"], content["tracks"]["candidate"])
    assert "abort" in panel.said.value


def test_what_goes_wrong_is_said(panel: RolloutPanel) -> None:
    """No version, and nobody to talk to: both are told with what to do."""
    panel.plan.click()
    panel.join(30)
    first = panel.said.value
    panel.verbs["abort"].click()
    panel.join(30)

    assert "no version is named" in first
    assert "nobody is rolling shop out" in panel.said.value


def test_in_a_record_it_is_the_status(panel: RolloutPanel) -> None:
    """Nobody looks on: the tracks as they are, and no empty box."""
    (data, _) = panel._repr_mimebundle_()

    assert "version 1" in data["text/plain"]


def _start(panel: RolloutPanel, world: World) -> None:
    """Let a rollout run until its share is given and its gate has looked once."""
    panel.version.value = "2"
    panel.plan.click()
    panel.join(30)
    panel.apply.click()
    assert poll(lambda: world.read()["weight"] == 5, timeout=30)
