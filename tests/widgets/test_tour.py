"""The first notebook, as a record: run by papermill with nobody looking on."""

from __future__ import annotations

from pathlib import Path

from sretoolkit.config import Config
from sretoolkit.runbook.notebook import Runbook
from sretoolkit.runbook.run import Order, run_runbook
from tests.conftest import REPOSITORY
from tests.stack.process import free_port


def test_every_panel_of_the_tour_has_a_static_form(config: Config) -> None:
    """It runs to its end on a machine without anything; the record has tables where panels are, and no empty box."""
    book = Runbook.read(REPOSITORY / "notebooks" / "00-start.ipynb")
    values = book.parameters.check({"source": f"prometheus+http://127.0.0.1:{free_port()}"})
    result = run_runbook(Order(book, values), config)

    assert result.ok, result.error
    page, notebook = Path(str(result.html)).read_text(), Path(str(result.notebook)).read_text()
    assert "widget-view+json" not in notebook
    assert "PID 1 health" in page
    assert result.run in page
