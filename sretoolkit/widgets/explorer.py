"""Looking around in a monitoring system: pick a source, a metric, conditions and a range; copy the query out."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import ipywidgets as widgets

from sretoolkit.clock import format_duration, parse_duration
from sretoolkit.config import Config
from sretoolkit.metrics import Selector, connect
from sretoolkit.report import escape
from sretoolkit.widgets.chart import ChartView
from sretoolkit.widgets.panel import ROW, WIDE, Panel, Words, button

_RANGES = ("5m", "15m", "1h", "3h", "6h", "12h", "1d", "2d", "7d", "30d")
_METRICS = 5000  # more are no list to pick from


class MetricExplorer(Panel):
    """A form over the configured sources and one picture; what is asked is asked in a thread, the newest question wins.

    ``source`` is asked first (the first configured one without it). The field *query* always holds what was asked in the
    system's own language; a query typed there is asked as it is.
    """

    def __init__(self, source: str = "", *, metric: str = "", window: timedelta = timedelta(hours=1)) -> None:
        self._config = Config.load()
        names = list(dict.fromkeys([*([source] if source else []), *self._config.names("sources")]))
        ranges = list(dict.fromkeys([format_duration(window), *_RANGES]))
        self.source = widgets.Dropdown(options=names, description="source", disabled=not names)
        self.metric = widgets.Combobox(
            value=metric, description="metric", placeholder="a metric's name", ensure_option=False
        )
        self.where = widgets.Text(
            description="where", placeholder='service="web", code=~"5.."', continuous_update=False
        )
        self.range = widgets.Dropdown(options=ranges, description="range")
        self.ask = button("Ask", "search", "Ask the source", "primary")
        self.query = widgets.Text(
            description="query", continuous_update=False, layout=WIDE, placeholder="in the system's own language"
        )
        self.code = widgets.Text(description="as code", disabled=True, layout=WIDE)
        self.said = widgets.HTML()
        self.picture = widgets.VBox()
        self._asked = ""
        form = widgets.HBox([self.source, self.metric, self.where, self.range, self.ask], layout=ROW)
        super().__init__([form, self.query, self.code, self.said, self.picture], name="explorer")
        self.ask.on_click(lambda _: self._by_form())
        self.query.observe(lambda _: self._by_query(), "value")
        self.source.observe(lambda _: self.soon(("metrics", self.source.value), who="metrics"), "value")
        if names:
            self.soon(("metrics", names[0]), who="metrics")
        else:
            self.said.value = "no source is configured: add a table [sources.NAME] to sretoolkit.toml"

    def record(self) -> Words:
        """A sentence: it shows nothing before it is asked."""
        return Words("A panel to look around in the monitoring systems: open this notebook in JupyterLab.")

    def _by_form(self) -> None:
        self.said.value = "asking …"
        self.soon(("form", self.source.value, self.metric.value, self.where.value, self.range.value), who="series")

    def _by_query(self) -> None:
        if self.query.value == self._asked:  # it was written there by us
            return
        self.said.value = "asking …"
        self.soon(("query", self.source.value, self.query.value, self.range.value), who="series")

    def answer(self, order: tuple[Any, ...]) -> None:
        """The metrics that a source knows, or the series that were asked for."""
        if order[0] == "metrics":
            self._list(order[1])
        else:
            self._show(order)

    def failed(self, order: tuple[Any, ...]) -> None:
        """The picture goes with its question."""
        self.picture.children = ()

    def _list(self, name: str) -> None:
        """Fill the list of metrics with what the system knows; one that cannot tell leaves it empty."""
        with connect(name, self._config) as source:
            known = source.discover() if "discover" in source.capabilities else []
        self.metric.options = tuple(sorted({service for entity in known for service in entity.services})[:_METRICS])

    def _show(self, order: tuple[Any, ...]) -> None:
        kind, name, *given, range_ = order
        window = parse_duration(range_)
        with connect(name, self._config) as source:
            if kind == "form":
                metric, where = given
                native = source.native(Selector.parse(f"{metric}{{{where}}}" if where.strip() else metric))
            else:
                (native,) = given
            frame = source.range(native, window=window)

        def detail(start: Any, end: Any) -> Any:
            with connect(name, self._config) as finer:
                return finer.range(native, window=end - start, end=end).chart(native)

        self._asked = self.query.value = native
        self.code.value = f"metrics.query({name!r}, {native!r}, window=timedelta(seconds={window.total_seconds():g}))"
        self.said.value = "<br>".join(escape(text) for text in [f"{len(frame)} series", *frame.warnings])
        self.picture.children = (ChartView(frame.chart(native), detail=detail, live=True),)
