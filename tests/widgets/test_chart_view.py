"""ChartView without a browser: what it sends, what it answers, what a record gets of it."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sretoolkit.chart import Annotation, Chart, Line, Threshold, drawing
from sretoolkit.widgets import ChartView
from sretoolkit.widgets import chart as module

FIRST = datetime(2026, 11, 23, tzinfo=UTC)
AT = FIRST.timestamp() * 1000
HOSTILE = "</script>\x1b[31m\u202e"
WIDGET = "application/vnd.jupyter.widget-view+json"


def long(count: int = 100_000) -> Chart:
    """A chart of one long line, with a mark and a limit."""
    times = AT + np.arange(count) * 1000.0
    values = np.sin(np.arange(count) / 1000)
    return Chart("t", "s", [Line("a", times, values)], [Annotation(FIRST, "deploy")], [Threshold(2, "SLO")])


def table(data: bytes, rows: int) -> Any:
    """What the browser makes of a buffer."""
    return np.frombuffer(data, "<f8").reshape(rows, -1)


class Sent(list[tuple[dict[str, Any], list[bytes]]]):
    """What a view sent, in place of a browser; `view` is asked as a browser asks."""

    def __init__(self, view: ChartView, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.view = view
        monkeypatch.setattr(view, "send", lambda content, buffers=(): self.append((content, list(buffers))))

    def ask(self, start: float, end: float, **more: Any) -> None:
        """Ask for detail, and wait for the answer."""
        order = {"ask": "detail", "view": "v", "number": 1, "start": start, "end": end, "columns": 500, **more}
        self.view._handle_custom_msg(order, [])
        self.view._worker.join(20)


def test_what_is_sent_first_is_small_and_binary() -> None:
    """A hundred thousand points are sent as at most five doubles a column and line; no sample is in the JSON."""
    view = ChartView(long())
    sent = table(view.data, 2)
    assert sent.shape[1] <= 5 * module.COLUMNS
    assert AT == np.frombuffer(view.marks, "<f8")[0]
    assert {"lines": ["a"], "marks": ["deploy"], "limits": [[2.0, "SLO 2 s"]], "complete": False} == {
        name: view.head[name] for name in ("lines", "marks", "limits", "complete")
    }
    assert len(str(view.head)) < 1500


def test_a_zoom_is_answered_with_every_sample_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Detail comes from the chart in the kernel; when all samples of the window fit, it says that there is no more."""
    sent = Sent(ChartView(long()), monkeypatch)
    sent.ask(AT + 5_000_000, AT + 5_100_000)
    ((content, (buffer,)),) = sent
    assert {"view": "v", "number": 1, "complete": True}.items() <= content.items()
    assert (AT + 5_000_000 + np.arange(101) * 1000).tolist() == table(buffer, 2)[0].tolist()


def test_a_source_supplies_the_detail_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """`detail` gets the window in UTC, off the main thread; its lines are matched by name, a missing one is empty."""
    asked: list[Any] = []

    def finer(start: datetime, end: datetime) -> Chart:
        asked.append((start, end, threading.current_thread() is threading.main_thread()))
        return Chart("finer", series=[Line("other", [AT + 1], [7]), Line("b", [AT + 1, AT + 2], [5, 6])])

    chart = Chart("t", series=[Line("a", [AT, AT + 9e6], [1, 2]), Line("b", [AT, AT + 9e6], [1, 2])])
    sent = Sent(ChartView(chart, detail=finer), monkeypatch)
    sent.ask(AT, AT + 1000)
    assert [(FIRST, FIRST + timedelta(seconds=1), False)] == asked
    ((content, (buffer,)),) = sent
    assert not content["complete"]
    assert [[AT + 1, AT + 2], [np.inf, np.inf], [5, 6]] == table(buffer, 3).tolist()


@pytest.mark.parametrize(
    ("failing", "says"),
    [
        (lambda start, end: 1 / 0, "division by zero"),
        (lambda start, end: "no chart", "detail gave str, not a Chart"),
        (lambda start, end: Chart("t", series=[Line("a", [AT, AT + 1], [1])]), "line 'a' has 2 times and 1 values"),
    ],
)
def test_a_failing_source_is_told(
    failing: Callable[[datetime, datetime], Any],
    says: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Its error goes to the picture as text, and nothing into the log; the next zoom is tried again."""
    sent = Sent(ChartView(long(), detail=failing), monkeypatch)
    sent.ask(AT, AT + 1000)
    sent.ask(AT, AT + 1000, number=2)
    assert [(1, says), (2, says)] == [(content["number"], content["error"]) for content, _ in sent]
    assert ("", "") == capfd.readouterr()


def test_only_the_newest_zoom_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a slow source works, orders of the same picture replace one another; the handler never waits."""
    begun, go_on = threading.Event(), threading.Event()

    def slow(start: datetime, end: datetime) -> Chart:
        begun.set()
        assert go_on.wait(20)
        return long(10)

    view = ChartView(long(), detail=slow)
    sent = Sent(view, monkeypatch)
    for number in range(1, 6):
        order = {"ask": "detail", "view": "v", "number": number, "start": AT, "end": AT + 1, "columns": 500}
        view._handle_custom_msg(order, [])
        assert begun.wait(20)
    go_on.set()
    view._worker.join(20)
    assert [1, 5] == [content["number"] for content, _ in sent]


@pytest.mark.parametrize(
    "wrong",
    [
        {"start": "x"},
        {"start": float("nan")},
        {"end": AT},
        {"end": 1e300},
        {"columns": None},
        {"ask": "else"},
        {"number": []},
    ],
)
def test_nonsense_from_the_browser_is_ignored(wrong: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A message that makes no sense is neither answered nor an error."""
    sent = Sent(ChartView(long(10)), monkeypatch)
    sent.ask(**{"start": AT, "end": AT + 1000, **wrong})
    assert [] == sent


def test_an_absurd_width_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many columns are asked for, the answer stays bounded."""
    sent = Sent(ChartView(long(300_000)), monkeypatch)
    sent.ask(AT, AT + 3e8, columns=10**12)
    assert table(sent[0][1][0], 2).shape[1] <= 5 * 20_000


def test_appended_samples_are_shown() -> None:
    """`append` sends the whole anew and the window follows; a sample of the past changes nothing."""
    view = ChartView(long(10), keep=timedelta(seconds=5))
    view.append([Line("a", [AT + 10_000], [5]), Line("b", [AT + 10_000], [6])])
    assert ["a", "b"] == view.head["lines"]
    assert [AT + 5000, AT + 10_000] == view.head["span"]
    assert 5.0 == table(view.data, 3)[1, -1]
    before = view.data
    with pytest.raises(ValueError, match="is not newer than its last"):
        view.append([Line("a", [AT], [5])])
    assert before == view.data


def test_hostile_words_are_plain() -> None:
    """No control character of a name gets to the browser, which writes all words as text."""
    chart = Chart(HOSTILE, HOSTILE, [Line(HOSTILE, [AT], [1])], [Annotation(FIRST, HOSTILE)], [Threshold(1, HOSTILE)])
    head = ChartView(chart).head
    told = [head["title"], head["summary"], *head["lines"], *head["marks"], *(words for _, words in head["limits"])]
    told += [suffix for _, _, suffix in head["scales"]]
    assert set() == {character for text in told for character in text if not character.isprintable()}
    script = (Path(module.__file__).parent / "chart.js").read_text()
    assert [] == [word for word in ("innerHTML", "insertAdjacentHTML", "eval(", "fetch(", "import(") if word in script]


def test_where_nobody_looks_it_is_the_picture() -> None:
    """Without a front end no connection is opened, and the output is the chart's picture and text."""
    view = ChartView(long(10))
    assert view.comm is None
    bundle, _ = view._repr_mimebundle_()
    assert {"text/html": long(10)._repr_html_(), "text/plain": str(long(10))} == bundle


def test_where_somebody_looks_the_picture_is_there_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a front end the output holds both the view and the picture, which is what stays of it in a saved notebook."""
    monkeypatch.setattr(module, "attended", lambda: True)
    view = ChartView(long(10))
    bundle, _ = view._repr_mimebundle_()
    view.close()
    assert {WIDGET, "text/html", "text/plain"} == set(bundle)


def test_a_record_holds_the_picture_once(write_notebook: Callable[..., Path]) -> None:
    """A notebook that nbclient runs and nbconvert exports shows the picture once, and no box that stays empty."""
    import nbformat
    from nbclient import NotebookClient
    from nbconvert.exporters.html import HTMLExporter

    path = write_notebook(
        "from sretoolkit.chart import Chart, Line\nfrom sretoolkit.widgets import ChartView\n"
        "ChartView(Chart('cpu', series=[Line('a', [0, 1e6], [1, 2])]))"
    )
    notebook = nbformat.read(path, 4)
    NotebookClient(notebook, timeout=60).execute()
    body, _ = HTMLExporter().from_notebook_node(notebook)
    assert 1 == body.count('alt="Chart: cpu')
    assert "widget-view+json" not in body
    assert len(str(notebook.metadata)) < 5000


def test_the_lines_have_the_colours_of_the_picture() -> None:
    """In the light theme a line has the colour that it has in the record."""
    style = (Path(module.__file__).parent / "chart.css").read_text()
    light = style[: style.index("body[data-jp-theme-light")]
    assert list(drawing._COLOURS) == re.findall(r"--srt-line-\d: (#\w+);", light)


def test_importing_the_package_loads_no_widget_library() -> None:
    """`import sretoolkit.widgets` is cheap."""
    code = (
        "import sys, sretoolkit.widgets; print([m for m in ('anywidget', 'ipywidgets', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert "[]" == done.stdout.strip()


def test_uplot_is_what_it_is_said_to_be() -> None:
    """The files from elsewhere are unchanged: their SHA-256 is the one on record."""
    import hashlib

    folder = Path(module.__file__).parent / "uplot"
    told = dict(
        line.split()[::-1] for line in (folder / "SOURCE").read_text().splitlines() if re.match(r"[0-9a-f]{64} ", line)
    )
    assert told == {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in told}
    assert {"uPlot.iife.min.js", "uPlot.min.css"} == set(told)
