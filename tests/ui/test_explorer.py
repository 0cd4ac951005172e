"""MetricExplorer in JupyterLab, over a real Prometheus: metrics are offered, asked, drawn, and the query can be changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sretoolkit.clock import poll
from sretoolkit.errors import NoData
from sretoolkit.metrics import connect
from tests.stack.prometheus import Prometheus
from tests.ui.looks import assert_clean, keep
from tests.ui.test_chart import line_colour, painted, settled

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from tests.ui.lab import Lab

pytestmark = pytest.mark.ui


def scraped(source: str) -> bool:
    """Whether the server has seen its target once."""
    try:
        return bool(connect(source).instant('up{job="node"}').values.size)
    except NoData:
        return False


def test_a_metric_is_picked_asked_and_drawn(lab: Lab, browser: Browser) -> None:
    """By keyboard: a name, conditions, Enter on Ask; then another query in the system's own language."""
    with Prometheus() as server:
        source = f"prometheus+{server.url}"
        assert poll(lambda: scraped(source), timeout=60)
        lab.write(
            "explorer.ipynb", f"from sretoolkit.widgets import MetricExplorer\nMetricExplorer({source!r}, metric='up')"
        )
        tab = lab.open(browser, "explorer.ipynb")
        tab.run()
        page = tab.page
        where = page.locator(".srt-explorer input").nth(1)
        where.fill('job="node"')
        where.press("Tab")
        page.locator(".srt-explorer button", has_text="Ask").focus()
        page.keyboard.press("Enter")
        page.wait_for_selector(".srt-explorer .srt-chart canvas", timeout=60_000)
        settled(page)
        assert 'up{job="node"}' == page.locator(".srt-explorer input").nth(2).input_value()
        assert painted(page, line_colour(page)) > 5
        keep(page, "explorer")
        query = page.locator(".srt-explorer input").nth(2)
        query.fill("sum by (job) (up)")
        query.press("Enter")
        page.wait_for_function("document.querySelector('.srt-explorer').innerText.includes('3 series')", timeout=60_000)
        query.fill("nonsense(")
        query.press("Enter")
        page.wait_for_function(
            "document.querySelector('.srt-explorer').innerText.includes('QueryError')", timeout=60_000
        )
        keep(page, "explorer-error")
        assert_clean(tab)
        tab.close()
