"""ChartView in JupyterLab: drawn, zoomed, in both themes, and what is left of it in a saved notebook."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from sretoolkit.clock import poll
from tests.ui.looks import assert_clean, keep, switch

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from tests.ui.lab import Lab, Tab

pytestmark = pytest.mark.ui

DATA = """
import numpy as np
from datetime import UTC, datetime, timedelta
from sretoolkit.chart import Annotation, Chart, Line, Threshold
from sretoolkit.widgets import ChartView
first = datetime(2026, 11, 23, tzinfo=UTC)
times = first.timestamp() * 1000 + np.arange(1_000_000) * 100.0
values = 0.2 + 0.05 * np.sin(np.arange(1_000_000) / 40_000) + np.random.default_rng(1).normal(0, 0.01, 1_000_000)
values[600_000:660_000] = np.nan
values[250_000] = 0.9
chart = Chart("Latency of the shop", "s", [Line("p99", times, values)],
              [Annotation(first + timedelta(hours=8), "deploy 1.2")], [Threshold(0.7, "SLO")])
"""
MARK = (0x4B, 0x3F, 0xA7)  # the colour of annotations in the light theme


@pytest.fixture
def opened(lab: Lab, browser: Browser, request: pytest.FixtureRequest) -> Iterator[Tab]:
    """A notebook that shows a view of a million points; its last cell is the test's own."""
    name = f"{request.node.name}.ipynb"
    lab.write(name, DATA, getattr(request, "param", "view = ChartView(chart)\nview"))
    tab = lab.open(browser, name)
    tab.run()
    tab.page.wait_for_selector(".srt-chart canvas")
    settled(tab.page)
    yield tab
    keep(tab.page, request.node.name)
    tab.close()


def settled(page: Page) -> None:
    """Wait until the newest picture is as fine as the screen."""
    page.wait_for_function(
        """() => {
          const { from, to, resolution } = document.querySelector('.srt-chart').dataset;
          const width = document.querySelector('.srt-chart canvas').width;
          return Number(resolution) <= 1.5 * (to - from) / width;
        }"""
    )


def zoom(page: Page) -> tuple[float, float]:
    """The window that is shown."""
    found: list[float] = page.evaluate(
        "() => { const d = document.querySelector('.srt-chart').dataset; return [Number(d.from), Number(d.to)]; }"
    )
    return found[0], found[1]


def painted(page: Page, colour: tuple[int, int, int]) -> int:
    """How many pixels of the canvas have (nearly) this colour."""
    count: int = page.evaluate(
        """([r, g, b]) => {
          const canvas = document.querySelector('.srt-chart canvas');
          const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
          let count = 0;
          for (let i = 0; i < data.length; i += 4)
            count += data[i + 3] > 200 && Math.abs(data[i] - r) + Math.abs(data[i + 1] - g) + Math.abs(data[i + 2] - b) < 24;
          return count;
        }""",
        list(colour),
    )
    return count


def line_colour(page: Page) -> tuple[int, int, int]:
    """The colour of the first line in the theme of this moment."""
    text: str = page.evaluate(
        "() => getComputedStyle(document.querySelector('.srt-chart')).getPropertyValue('--srt-line-0').trim()"
    )
    return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)


def test_a_million_points_are_drawn_and_zoomed(opened: Tab) -> None:
    """The line and the annotation are there; a drag zooms in, finer data arrives, keys pan and reset."""
    page = opened.page
    assert painted(page, line_colour(page)) > 1000
    assert painted(page, MARK) > 60
    whole = zoom(page)
    over = page.locator(".srt-chart .u-over").bounding_box()
    assert over is not None
    y = over["y"] + over["height"] / 2
    page.mouse.move(over["x"] + 0.20 * over["width"], y)
    page.mouse.down()
    page.mouse.move(over["x"] + 0.24 * over["width"], y, steps=4)
    page.mouse.up()
    page.wait_for_function(f"Number(document.querySelector('.srt-chart').dataset.from) > {whole[0]}")
    settled(page)
    near = zoom(page)
    assert pytest.approx(0.04, abs=0.005) == (near[1] - near[0]) / (whole[1] - whole[0])
    page.locator(".srt-chart").focus()
    page.keyboard.press("ArrowRight")
    assert zoom(page)[0] > near[0]
    page.keyboard.press("+")
    page.wait_for_function(f"""() => {{
      const d = document.querySelector('.srt-chart').dataset; return d.to - d.from < {0.6 * (near[1] - near[0])};
    }}""")
    settled(page)
    keep(page, "zoomed")
    page.keyboard.press("0")
    assert whole == zoom(page)
    assert_clean(opened)


def test_both_themes_are_readable(opened: Tab) -> None:
    """When the theme changes, the picture is drawn anew in colours of that theme."""
    page = opened.page
    light, width = line_colour(page), page.locator(".srt-chart canvas").bounding_box()
    switch(page, "Dark")
    dark = line_colour(page)
    assert light != dark
    assert poll(lambda: painted(page, dark) > 1000, timeout=10)
    assert width == page.locator(".srt-chart canvas").bounding_box()
    assert 0 == painted(page, light)
    switch(page, "Light")
    assert_clean(opened)


FAILING = """
def broken(start, end):
    raise RuntimeError("the source said <b>503</b>")
ChartView(chart, detail=broken)
"""


@pytest.mark.parametrize("opened", [FAILING], indirect=True, ids=["failing"])
def test_a_failing_source_is_told_in_the_picture(opened: Tab) -> None:
    """The error of the detail stands below the picture, as text; the picture stays, and so does the zoom."""
    page = opened.page
    page.locator(".srt-chart").focus()
    page.keyboard.press("+")
    page.wait_for_selector(".srt-chart-status.srt-error")
    assert "no finer data: the source said <b>503</b>" == page.locator(".srt-chart-status").inner_text()
    assert painted(page, line_colour(page)) > 1000
    assert_clean(opened)


APPENDING = """
view = ChartView(Chart("Live", "", [Line("a", times[:100], values[:100])]))
display(view)
view.append([Line("a", times[100:200], values[100:200]), Line("b", times[:200], values[:200] + 0.1)])
"""


@pytest.mark.parametrize("opened", [APPENDING], indirect=True, ids=["appending"])
def test_new_samples_appear(opened: Tab) -> None:
    """What is appended is drawn, a new line too, and the whole window is followed."""
    page = opened.page
    page.wait_for_function("document.querySelectorAll('.srt-chart .u-series').length === 3")
    start, end = zoom(page)
    assert 199 * 100 == end - start
    assert_clean(opened)


def test_a_saved_notebook_holds_the_picture(lab: Lab, opened: Tab, request: pytest.FixtureRequest) -> None:
    """Saved from JupyterLab and exported as a page, the notebook shows the picture once, and no empty box."""
    from nbconvert.exporters.html import HTMLExporter

    opened.command("docmanager:save")
    saved: Any = lab.read(f"{request.node.name}.ipynb")
    (output,) = saved["cells"][1]["outputs"]
    assert {"text/html", "text/plain", "application/vnd.jupyter.widget-view+json"} == set(output["data"])
    body, _ = HTMLExporter().from_filename(str(lab.work / f"{request.node.name}.ipynb"))
    assert 1 == body.count('alt="Chart: Latency')
    assert "widget-view+json" not in body
