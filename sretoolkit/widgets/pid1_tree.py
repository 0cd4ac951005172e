"""Looking into containers: pick a host and a container, see its processes and what a stop does to each, watch it grow."""

from __future__ import annotations

from datetime import timedelta

import ipywidgets as widgets

from sretoolkit.config import Config
from sretoolkit.hosts import connect
from sretoolkit.pid1.health import describe
from sretoolkit.pid1.look import look
from sretoolkit.pid1.outlook import outlook
from sretoolkit.pid1.tree import tree
from sretoolkit.report import SEVERITIES
from sretoolkit.widgets.frontend import attended
from sretoolkit.widgets.panel import ROW, Panel, Words, button

_COUNTS, _EVERY = 20, timedelta(seconds=1)


class Pid1Tree(Panel):
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
        self.look = button("Look", "search", "Look at the host", "primary")
        self.grow = button("Count", "line-chart", "Count its process ids for 20 s and tell when they run out")
        self.said = widgets.HTML()
        self.picture = widgets.HTML()
        form = widgets.HBox([self.host, self.look, self.container, self.grow], layout=ROW)
        super().__init__([form, self.said, self.picture], name="pid1")
        self.look.on_click(lambda _: self._ask("host"))
        self.host.observe(lambda _: self._ask("host"), "value")
        self.container.observe(lambda _: self._ask("tree"), "value")
        self.grow.on_click(lambda _: self._ask("growth"))
        if attended():
            self._ask("host")

    def record(self) -> Words:
        """A sentence: it shows nothing before it is asked."""
        return Words("A panel to look into the containers of a host: open this notebook in JupyterLab.")

    def _ask(self, what: str) -> None:
        if what != "host" and not self.container.value:
            return
        self.said.value = "counting for 20 s …" if what == "growth" else "looking …"
        self.soon((what, self.host.value, self.container.value or ""))

    def answer(self, order: tuple[str, str, str]) -> None:
        """The host, the tree of one container, or how it grows."""
        what, host, container = order
        if what == "host":
            self._list(host)
        elif what == "tree":
            self.picture.value = tree(host, container, config=self._config)._repr_html_()
        else:
            counted = outlook(host, container, every=_EVERY, count=_COUNTS, config=self._config)
            self.picture.value = counted._repr_html_()
        self.say("")

    def failed(self, order: tuple[str, str, str]) -> None:
        """The picture goes with its question."""
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
