"""Looking into containers: pick a host and a container, see its processes and what a stop does to each, watch it grow."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import ipywidgets as widgets

from sretoolkit.config import Config
from sretoolkit.hosts import connect
from sretoolkit.pid1.health import describe
from sretoolkit.pid1.look import look
from sretoolkit.pid1.outlook import outlook
from sretoolkit.pid1.tree import tree
from sretoolkit.report import SEVERITIES
from sretoolkit.widgets.frontend import attended
from sretoolkit.widgets.latest import Latest
from sretoolkit.widgets.trouble import trouble

_COUNTS, _EVERY = 20, timedelta(seconds=1)
Order = tuple[str, str, str]


class Pid1Tree(widgets.VBox):
    """A list of the containers of a host, the worst first; the tree of one, or its growth. Asked in a thread, reads only."""

    def __init__(self, host: str = "localhost") -> None:
        self._config = Config.load()
        self.host = widgets.Combobox(
            value=host,
            options=["localhost", *self._config.names("hosts")],
            description="host",
            ensure_option=False,
            continuous_update=False,
        )
        self.container = widgets.Dropdown(options=[], description="container", disabled=True)
        self.look = widgets.Button(
            description="Look", icon="search", button_style="primary", tooltip="Look at the host"
        )
        self.grow = widgets.Button(
            description="Count", icon="line-chart", tooltip="Count its process ids for 20 s and tell when they run out"
        )
        self.said = widgets.HTML()
        self.picture = widgets.HTML()
        self._work: Latest[Order] = Latest(self._answer, name="pid1")
        form = widgets.HBox(
            [self.host, self.look, self.container, self.grow], layout=widgets.Layout(flex_flow="row wrap")
        )
        super().__init__([form, self.said, self.picture])
        self.add_class("srt-pid1")
        self.look.on_click(lambda _: self._ask("host"))
        self.host.observe(lambda _: self._ask("host"), "value")
        self.container.observe(lambda _: self._ask("tree"), "value")
        self.grow.on_click(lambda _: self._ask("growth"))
        if attended():
            self._ask("host")

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        if attended():
            return super()._repr_mimebundle_(**kwargs)
        text = "A panel to look into the containers of a host: open this notebook in JupyterLab."
        return {"text/plain": text, "text/html": f"<p><i>{text}</i></p>"}, {}

    def _ask(self, what: str) -> None:
        if what != "host" and not self.container.value:
            return
        self.said.value = "counting for 20 s …" if what == "growth" else "looking …"
        self._work.ask("report", (what, self.host.value, self.container.value or ""))

    def _answer(self, order: Order) -> None:
        what, host, container = order
        try:
            if what == "host":
                self._list(host)
            elif what == "tree":
                self.picture.value = tree(host, container, config=self._config)._repr_html_()
            else:
                counted = outlook(host, container, every=_EVERY, count=_COUNTS, config=self._config)
                self.picture.value = counted._repr_html_()
            self.said.value = ""
        except Exception as error:  # whatever it is, it is for whoever looks at the panel
            self.said.value = trouble(error)
            self.picture.value = ""

    def _list(self, host: str) -> None:
        """The report on the host, and its containers to pick from, the worst first."""
        with connect(host, self._config) as opened:
            found = look(opened)
        named = [subject for subject in found.subjects if subject.workload]
        rank = {subject.name: len(SEVERITIES) for subject in named}
        for ruling in found.rulings:
            if ruling.subject and ruling.subject.name in rank:
                severity = SEVERITIES.index(ruling.finding.severity)
                rank[ruling.subject.name] = min(rank[ruling.subject.name], severity)
        with self.hold_trait_notifications():
            self.container.options = sorted(rank, key=lambda name: (rank[name], name))
            self.container.index = None
            self.container.disabled = not rank
        self.picture.value = describe(found)._repr_html_()
