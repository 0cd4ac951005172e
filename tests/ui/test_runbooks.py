"""From the launcher to a run's record, by mouse and by keyboard, on the real runbook in a network namespace."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.live.conftest import algorithm_of, netns, other
from tests.ui.test_chart import assert_clean, keep

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

    from tests.ui.lab import Lab, Tab

__all__ = ["netns", "other"]  # fixtures
pytestmark = pytest.mark.ui
CARD = ".jp-LauncherCard[title^='Change the TCP congestion']"


def button(page: Page, text: str, within: str = ".srt-form") -> Locator:
    """The button with exactly this word that is to be seen."""
    return page.locator(f"{within} button:visible").filter(has_text=text).first


def says(page: Page, text: str, within: str = ".srt-form") -> None:
    """Wait until the panel says it."""
    page.wait_for_function(
        "([where, text]) => document.querySelector(where)?.innerText.includes(text)", arg=[within, text], timeout=60_000
    )


def opened(lab: Lab, browser: Browser, card: str) -> Tab:
    """The launcher, and a click on a card."""
    tab = lab.launcher(browser)
    tab.page.locator(card).click()
    tab.page.wait_for_selector(".srt-form", timeout=60_000)
    return tab


def test_a_change_is_planned_applied_aborted_and_taken_back(lab: Lab, browser: Browser, netns: str, other: str) -> None:
    """Card, Plan, Apply, Abort at once; Plan, Apply, Undo, Run this plan: the kernel says each time what it should."""
    (lab.home / "sretoolkit.toml").write_text(f'[hosts.box]\nconnection = "local"\nnetns = "{netns}"\n')
    tab = lab.launcher(browser)
    page = tab.page
    page.wait_for_selector(CARD)
    keep(page, "launcher")
    page.locator(CARD).click()
    page.wait_for_selector(".srt-form", timeout=60_000)
    assert button(page, "Apply").is_disabled()
    page.locator(".srt-field-host input").fill("box")
    page.locator(".srt-field-host input").press("Tab")
    page.locator(".srt-field-algorithm input").fill(other)
    keep(page, "form")
    button(page, "Plan").click()
    says(page, "Apply touches")
    keep(page, "form-planned")
    button(page, "Apply").click()
    button(page, "Abort").click(timeout=30_000)
    says(page, "aborted")
    keep(page, "form-aborted")
    assert "reno" == algorithm_of(netns)
    button(page, "Plan").click()
    says(page, "Apply touches")
    button(page, "Apply").click()
    says(page, "completed")
    keep(page, "form-applied")
    assert other == algorithm_of(netns)
    button(page, "Undo").click()
    page.wait_for_selector(".srt-plan")
    keep(page, "form-undo")
    button(page, "Run this plan", ".srt-plan").click()
    says(page, "completed", ".srt-plan .srt-run")
    keep(page, "form-undone")
    assert "reno" == algorithm_of(netns)
    assert_clean(tab)
    tab.close()
