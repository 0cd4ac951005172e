"""Charts against peers, in the same minutes on the same machine.

``python -m benchmarks.charts [--rounds 5]``: the static picture of 500 series x 11,000 points against matplotlib (Agg to
SVG, all it was given: the 24 lines that our picture shows), and what a live picture of a million points sends first
against plotly's JSON. A peer that is not installed (``pip install matplotlib plotly``) is said to be missing.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import statistics
import time
from collections.abc import Callable

import numpy as np

from sretoolkit.chart import Chart, Line
from sretoolkit.widgets import ChartView

GOAL = 0.5  # seconds for the static picture
Sized = Callable[[], int]


def pods() -> Chart:
    """500 series of 11,000 points."""
    times = 1_763_800_000_000 + np.arange(11_000) * 15_000.0
    values = np.random.default_rng(1).normal(1, 0.1, (500, 11_000))
    return Chart("pods", "s", [Line(f"pod-{number}", times, row) for number, row in enumerate(values)])


def million() -> Chart:
    """One series of a million points."""
    times = 1_763_800_000_000 + np.arange(1_000_000) * 100.0
    return Chart("million", "s", [Line("p99", times, np.random.default_rng(1).normal(1, 0.1, 1_000_000))])


def by_matplotlib(lines: list[Line]) -> int:
    """The bytes of an SVG that matplotlib's pyplot-free interface saves."""
    figure_module = importlib.import_module("matplotlib.figure")
    figure = figure_module.Figure(figsize=(9, 3))
    axes = figure.subplots()
    for line in lines:
        axes.plot(line.times, line.values, linewidth=1.2)
    made = io.BytesIO()
    figure.savefig(made, format="svg")
    return len(made.getvalue())


def by_plotly(lines: list[Line]) -> int:
    """The bytes of the JSON that plotly hands to the browser."""
    go = importlib.import_module("plotly.graph_objects")
    return len(go.Figure([go.Scattergl(x=line.times, y=line.values) for line in lines]).to_json())


def first_paint(chart: Chart) -> int:
    """The bytes of data that a live picture sends first."""
    view = ChartView(chart)
    return len(view.data) + len(view.marks) + len(repr(view.head))


def measure(work: Sized, rounds: int) -> tuple[float, int]:
    """Median seconds, after one round to warm up, and the size of what was made."""
    size, took = work(), []
    for _ in range(rounds):
        began = time.perf_counter()
        size = work()
        took.append(time.perf_counter() - began)
    return statistics.median(took), size


def row(case: str, ours: Sized, peer: str, theirs: Sized, rounds: int) -> str:
    """One line of the table; what a chart remembers is not shared between rounds."""
    seconds, size = measure(ours, rounds)
    told = f"| {case} | {seconds:.3f} | {size / 1024:.0f} |"
    if importlib.util.find_spec(peer) is None:
        return f"{told} {peer} is missing | | | |"
    other, other_size = measure(theirs, rounds)
    return f"{told} {other:.3f} | {other_size / 1024:.0f} | {seconds / other:.3f} | {size / other_size:.3f} |"


def main() -> None:
    """Print the table (Markdown)."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    static, live = pods(), million()
    drawn = [track.line for track in static.tracks]
    print("| case | ours s | ours KiB | peer s | peer KiB | ratio of time | ratio of size |")
    print("|---|---|---|---|---|---|---|")
    again = Chart(static.title, static.unit, static.series)
    case = f"static, 500 x 11,000 (goal {GOAL} s; matplotlib draws 24 of them)"
    fresh: Sized = lambda: len(Chart(again.title, again.unit, again.series).svg())  # noqa: E731
    print(row(case, fresh, "matplotlib", lambda: by_matplotlib(drawn), rounds), flush=True)
    paint: Sized = lambda: first_paint(Chart(live.title, live.unit, live.series))  # noqa: E731
    print(
        row(
            "live, first paint of 1,000,000 (plotly to_json)",
            paint,
            "plotly",
            lambda: by_plotly(list(live.series)),
            rounds,
        )
    )


if __name__ == "__main__":
    main()
