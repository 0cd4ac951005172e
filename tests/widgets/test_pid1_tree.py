"""The panel over a host's containers: it lists, draws, and says what went wrong; without anybody looking it is one line."""

from __future__ import annotations

import pytest

from sretoolkit.widgets import Pid1Tree


@pytest.fixture
def panel(monkeypatch: pytest.MonkeyPatch) -> Pid1Tree:
    """A panel that nobody has asked anything yet."""
    monkeypatch.setattr("sretoolkit.widgets.pid1_tree.attended", lambda: False)
    return Pid1Tree()


def test_a_host_is_reported_and_its_containers_listed(panel: Pid1Tree) -> None:
    """A look at this machine, whoever we are, ends in its report."""
    panel.look.click()
    panel._work.join(60)
    assert "PID 1 health of localhost" in panel.picture.value
    assert "" == panel.said.value


def test_what_goes_wrong_is_said(panel: Pid1Tree) -> None:
    """An unknown host and a container that is gone are errors with a hint, harmless as HTML."""
    panel.host.value = "<b>nowhere</b>"
    panel._work.join(60)
    assert "ConfigError" in panel.said.value
    assert "<b>nowhere" not in panel.said.value
    panel.host.value = "localhost"
    panel._work.join(60)
    panel.container.options = ["gone"]
    panel.container.value = "gone"
    panel._work.join(60)
    assert "no container" in panel.said.value
    assert "next:" in panel.said.value


def test_in_a_record_it_is_one_line(panel: Pid1Tree) -> None:
    """Nobody looks on: no empty box."""
    (data, _) = panel._repr_mimebundle_()
    assert "open this notebook in JupyterLab" in data["text/plain"]
