"""What every page has to be: readable by everybody, of one house, without complaints; and a picture of it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.ui.lab import Tab

OURS = "[class*='srt-']"  # widgets, amid what is JupyterLab's or Voilà's
_AXE = Path(__file__).parent / "axe" / "axe.min.js"
_SERIOUS = """async within => {
  const found = [...document.querySelectorAll(within)].filter(each => each.checkVisibility());
  if (!found.length) return [`nothing of ${within} is to be seen`];
  for (const each of [document.documentElement, document.body])  // JupyterLab's have none: axe-core takes all for hidden
    if (!each.getBoundingClientRect().height) each.style.height = "100%";
  const result = await axe.run({include: found}, {resultTypes: ["violations", "passes"]});
  const read = [...result.passes, ...result.violations].filter(rule => rule.id === "color-contrast")
    .flatMap(rule => rule.nodes).some(node => node.any[0].data?.contrastRatio);
  if (!read) return [`no text of ${within} was looked at`];
  return result.violations.filter(v => ["serious", "critical"].includes(v.impact))
    .map(v => `${v.id}: ${v.nodes.map(n => n.html.slice(0, 160) + " " + (n.any[0]?.message || "")).slice(0, 4).join(" | ")}`);
}"""
_THEME = """() => !window.jupyterapp?.commands.hasCommand('apputils:change-theme') ? ''
  : document.body.dataset.jpThemeLight === 'false' ? 'Dark' : 'Light'"""
_SWITCH = "theme => window.jupyterapp.commands.execute('apputils:change-theme', { theme }).then(() => null)"
_SWITCHED = """dark => document.body.dataset.jpThemeLight === String(!dark)
  && getComputedStyle(document.body).getPropertyValue('--jp-layout-color0').trim() === (dark ? '#111' : 'white')
  && document.getAnimations().every(each => each.playState !== 'running')"""

Theme = Literal["Light", "Dark"]


def switch(page: Page, theme: Theme) -> None:
    """Have JupyterLab in this theme, and wait until all of it is."""
    page.evaluate(_SWITCH, f"JupyterLab {theme}")
    page.wait_for_function(_SWITCHED, arg=theme == "Dark")


def keep(page: Page, name: str, *, within: str = OURS, whole: bool = False) -> None:
    """A picture of the page where UI_PICTURES says; and nothing serious that axe-core finds in these parts of it.

    A page of JupyterLab is looked at in its other theme too, and is left as it was.
    ``within`` "" is for a page that has nothing of ours but what is in a frame.
    """
    theme: Theme | Literal[""] = page.evaluate(_THEME)
    _look(page, f"{name}-{theme.lower()}" if theme else name, within, whole)
    if theme and within:
        other: Theme = "Light" if theme == "Dark" else "Dark"
        switch(page, other)
        _look(page, f"{name}-{other.lower()}", within, whole)
        switch(page, theme)


def _look(page: Page, name: str, within: str, whole: bool) -> None:
    if folder := os.environ.get("UI_PICTURES"):
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=whole)
    if not within:
        return
    page.evaluate(_AXE.read_text())
    serious = page.evaluate(_SERIOUS, within)
    assert not serious, "\n".join([name, *serious])


def assert_clean(tab: Tab) -> None:
    """Nothing went wrong, and nothing was asked of anybody else."""
    assert ([], []) == (tab.errors, tab.strangers)
