"""The page of a record, as its frame shows it: readable in light and dark, of a run that went well and of one that did not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

from tests.ui.looks import keep

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from tests.runbook.desk import Desk

pytestmark = pytest.mark.ui
SAID = """
import sys
from datetime import UTC, datetime
from sretoolkit.chart import Chart, Line
from sretoolkit.report import SEVERITIES, Finding, Report, Table
print("a line")
print("a warning", file=sys.stderr)
print("\\x1b[31mred\\x1b[0m \\x1b[33;1myellow\\x1b[0m \\x1b[42mground\\x1b[0m")
findings = [Finding(severity=each, subject="web1", summary="is full", evidence="df", remedy="empty it") for each in SEVERITIES]
chart = Chart("Latency", "s", [Line("p99", [0.0, 60_000.0], [0.1, 0.2])])
Report("The disks", findings, [Table("Disks", ("name", "full"), [("sda", 99)])], charts=[chart], facts={"disks": 1})
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("end", ["completed", "failed"])
def test_a_record_is_readable(
    browser: Browser,
    desk: Desk,
    write_notebook: Callable[..., Path],
    end: str,
    scheme: Literal["light", "dark"],
) -> None:
    """Badges, findings, tables, a chart, what was printed, an error, cells that were not run."""
    from tests.runbook.desk import CHANGING

    last = "raise ValueError('no more')" if end == "failed" else "print('the end')"
    about = {"title": "Empty the disks", "purpose": "Empties what is full", "risk": "some", "owner": "SRE"}
    path = write_notebook(*CHANGING[:4], SAID, last, "print('one more')", **about)
    desk.apply(path, "--ticket", "INC-7")
    assert end == desk.last.state
    context = browser.new_context(color_scheme=scheme, viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.goto(Path(str(desk.last.html)).as_uri())
    for fold in page.locator("details").all():
        fold.evaluate("each => { each.open = true }")
    keep(page, f"record-{end}-{scheme}", within="html", whole=True)
    context.close()
