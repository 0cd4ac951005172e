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
from sretoolkit.widgets.frontend import attended
from sretoolkit.widgets.latest import Latest
from sretoolkit.widgets.trouble import trouble

_RANGES = ("5m", "15m", "1h", "3h", "6h", "12h", "1d", "2d", "7d", "30d")
_METRICS = 5000  # more are no list to pick from
_WIDE = widgets.Layout(width="98%")


class MetricExplorer(widgets.VBox):
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
        self.ask = widgets.Button(description="Ask", icon="search", button_style="primary", tooltip="Ask the source")
        self.query = widgets.Text(
            description="query", continuous_update=False, layout=_WIDE, placeholder="in the system's own language"
        )
        self.code = widgets.Text(description="as code", disabled=True, layout=_WIDE)
        self.said = widgets.HTML()
        self.picture = widgets.VBox()
        self._work = Latest(self._answer, name="explorer")
        self._asked = ""
        form = widgets.HBox(
            [self.source, self.metric, self.where, self.range, self.ask], layout=widgets.Layout(flex_flow="row wrap")
        )
        super().__init__([form, self.query, self.code, self.said, self.picture])
        self.add_class("srt-explorer")
        self.ask.on_click(lambda _: self._by_form())
        self.query.observe(lambda _: self._by_query(), "value")
        self.source.observe(lambda _: self._work.ask("metrics", ("metrics", self.source.value)), "value")
        if names:
            self._work.ask("metrics", ("metrics", names[0]))
        else:
            self.said.value = "no source is configured: add a table [sources.NAME] to sretoolkit.toml"

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        if attended():
            return super()._repr_mimebundle_(**kwargs)
        text = "A panel to look around in the monitoring systems: open this notebook in JupyterLab."
        return {"text/plain": text, "text/html": f"<p><i>{text}</i></p>"}, {}

    def _by_form(self) -> None:
        self.said.value = "asking …"
        self._work.ask("series", ("form", self.source.value, self.metric.value, self.where.value, self.range.value))

    def _by_query(self) -> None:
        if self.query.value == self._asked:  # it was written there by us
            return
        self.said.value = "asking …"
        self._work.ask("series", ("query", self.source.value, self.query.value, self.range.value))

    def _answer(self, order: tuple[Any, ...]) -> None:
        try:
            if order[0] == "metrics":
                self._list(order[1])
            else:
                self._show(order)
        except Exception as error:  # whatever it is, it is for whoever looks at the panel
            self.said.value = trouble(error)
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
