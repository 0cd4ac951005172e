"""RolloutPanel in JupyterLab, over the embedded shop: plan, apply, see it go on, abort; by hand as at three in the night."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.ui.looks import assert_clean, keep

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from tests.ui.lab import Lab

pytestmark = pytest.mark.ui
CELL = """
from sretoolkit.rollout import local
from sretoolkit.widgets import RolloutPanel
shop = local.keep_open(rate=60, served=60)
never = {"kind": "calibrated", "alpha": 1e-9, "beta": 1e-9}
service = shop.rollout(strategy={"kind": "canary", "steps": [50], "bake": "5m"}, judge=never)
RolloutPanel(service, config=shop.config)
"""


def _says(text: str) -> str:
    return f"document.querySelector('.srt-rollout')?.innerText.includes({text!r})"


def test_a_rollout_is_planned_applied_seen_and_aborted(lab: Lab, browser: Browser) -> None:
    """Nothing can be applied before it was shown; the share and the open gate are seen; abort takes all back."""
    lab.write("rollout.ipynb", CELL)
    tab = lab.open(browser, "rollout.ipynb")
    tab.run()
    page = tab.page
    page.wait_for_function(_says("version 1.0"), timeout=60_000)
    button = {name: page.locator(".srt-rollout button", has_text=name).first for name in ("Plan", "Apply", "Abort")}
    assert button["Apply"].is_disabled()
    field = page.locator(".srt-rollout input")
    field.fill("2.0")
    field.press("Tab")
    button["Plan"].click()
    page.wait_for_function(_says("give the candidate 50 %"))
    keep(page, "rollout-plan")
    button["Apply"].click()
    page.wait_for_function(_says("ruled out") + " || " + _says("not decided"), timeout=60_000)
    keep(page, "rollout-running")
    button["Abort"].click()
    page.wait_for_function(_says("Aborted"), timeout=60_000)
    page.wait_for_function(_says("nobody is at it"), timeout=60_000)
    keep(page, "rollout-aborted")
    assert_clean(tab)
    tab.close()
