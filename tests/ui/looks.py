"""What every page has to be: readable by everybody, of one house, without complaints; and a picture of it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.ui.lab import Tab

OURS = "[class*='srt-']"  # widgets, amid what is JupyterLab's or Voilà's
_AXE = Path(__file__).parent / "axe" / "axe.min.js"
_SERIOUS = """within => {
  const found = [...document.querySelectorAll(within)].filter(each => each.checkVisibility());
  if (!found.length) return [`nothing of ${within} is to be seen`];
  return axe.run({include: found}, {resultTypes: ["violations"]}).then(result => result.violations
    .filter(v => ["serious", "critical"].includes(v.impact))
    .map(v => `${v.id}: ${v.nodes.map(n => n.html.slice(0, 160) + " " + (n.any[0]?.message || "")).slice(0, 4).join(" | ")}`));
}"""


def keep(page: Page, name: str, *, within: str = OURS, whole: bool = False) -> None:
    """A picture of the page where UI_PICTURES says; and nothing serious that axe-core finds in these parts of it.

    ``within`` "" is for a page that has nothing of ours but what is in a frame.
    """
    if folder := os.environ.get("UI_PICTURES"):
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=whole)
    if not within:
        return
    page.evaluate(_AXE.read_text())
    serious = page.evaluate(_SERIOUS, within)
    assert not serious, "\n".join(serious)


def assert_clean(tab: Tab) -> None:
    """Nothing went wrong, and nothing was asked of anybody else."""
    assert ([], []) == (tab.errors, tab.strangers)
