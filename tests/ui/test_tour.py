"""The first notebook, and every panel beside another, in JupyterLab: no error, every control with a name."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.conftest import REPOSITORY
from tests.ui.looks import assert_clean, keep
from tests.ui.test_runbooks import button, press, says

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from tests.ui.lab import Lab

pytestmark = pytest.mark.ui
UNLABELLED = """() => [...document.querySelectorAll('.jp-OutputArea :is(input, select, textarea, button)')]
  .filter(each => each.checkVisibility() && !(each.labels?.length || each.ariaLabel || each.title || each.innerText))
  .map(each => each.outerHTML)"""
PANELS = """
from sretoolkit.config import Config
from sretoolkit.pid1 import health
from sretoolkit.widgets import FleetPicker, ReportView
hosts = {name: {"connection": "local", "tags": [name[:-1]]} for name in ("web1", "web2", "db1")}
picker = FleetPicker(config=Config.of(hosts=hosts))
display(picker, ReportView(lambda: health("localhost")))
"""


def test_the_tour_is_walked_by_run_all_and_two_clicks(lab: Lab, browser: Browser) -> None:
    """Run All Cells, Run, Record: a newcomer has a run and its record; the list below knows it."""
    shutil.copy(REPOSITORY / "notebooks/00-start.ipynb", lab.work / "00-start.ipynb")
    tab = lab.open(browser, "00-start.ipynb")
    tab.run()
    page = tab.page
    page.wait_for_selector(".srt-form", timeout=60_000)
    press(page, "Run", "completed")
    keep(page, "tour")
    button(page, "Record").click()
    page.frame_locator("iframe[title=record]").get_by_text("PID 1 health").first.wait_for(timeout=30_000)
    page.locator(".srt-runs select[multiple] option", has_text="pid1_health").first.wait_for(
        state="attached", timeout=30_000
    )
    page.locator(".srt-runs select[multiple]").hover()
    keep(page, "tour-runs")
    assert [] == page.evaluate(UNLABELLED)
    assert_clean(tab)
    tab.close()


def test_hosts_are_picked_and_a_report_is_narrowed(lab: Lab, browser: Browser) -> None:
    """By keyboard: a tag, a host; a word that no finding has leaves none."""
    lab.write("panels.ipynb", PANELS, "print(picker.names)")
    tab = lab.open(browser, "panels.ipynb")
    tab.run()
    page = tab.page
    page.locator(".srt-fleet select:not([multiple])").nth(1).select_option("web")
    page.wait_for_function("document.querySelectorAll('.srt-fleet select[multiple] option').length === 2")
    page.locator(".srt-fleet select[multiple]").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("d")
    page.keyboard.press("d")
    says(page, "1 of 3 hosts", ".srt-fleet")
    says(page, "PID 1 health of localhost", ".srt-report")
    keep(page, "panels")
    page.locator(".srt-report input").fill("no finding has this word")
    says(page, "nothing to show", ".srt-report")
    assert [] == page.evaluate(UNLABELLED)
    assert_clean(tab)
    tab.close()
