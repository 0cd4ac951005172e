"""Machines that boot from the network, seen live: the board, one machine's log, a rule to try, and what policies would do."""

from __future__ import annotations

import threading
from typing import Any

import ipywidgets as widgets

from sretoolkit.config import Config
from sretoolkit.provision.overview import board, describe, foresee, try_rule
from sretoolkit.report import Report
from sretoolkit.widgets.frontend import attended
from sretoolkit.widgets.latest import Latest
from sretoolkit.widgets.trouble import trouble

_EVERY = 2.0  # seconds between two looks at the store


class ProvisionBoard(widgets.VBox):
    """Four views, kept up to date while somebody looks: all machines, one of them, a rule on all of them, a simulation.

    Nothing here changes anything; installing is the runbook `provision_host`.
    """

    def __init__(self, *, config: Config | None = None) -> None:
        self._config = config or Config.load()
        self._done = threading.Event()
        self.machines = widgets.HTML()
        self.node = widgets.Text(description="machine", placeholder="id, host name, serial number, UUID or MAC address")
        self.story = widgets.HTML()
        self.rule = widgets.Textarea(
            description="rule",
            value='[">=", ["num", ["fact", "cpus"]], 8]',
            layout=widgets.Layout(width="60em", height="5em"),
        )
        self.matched = widgets.HTML()
        self.folder = widgets.Text(description="folder", placeholder="of policies to try; empty: those in force")
        self.foreseen = widgets.HTML()
        self._views = {
            "Board": widgets.VBox([self.machines]),
            "One machine": widgets.VBox([self.node, self.story]),
            "Try a rule": widgets.VBox([self.rule, self.matched]),
            "Simulate": widgets.VBox([self.folder, self.foreseen]),
        }
        self.tabs = widgets.Tab(list(self._views.values()))
        self.tabs.titles = tuple(self._views)
        self._work: Latest[str] = Latest(self._answer, name="provision-board")
        super().__init__([self.tabs])
        self.add_class("srt-provision")
        self._listen()
        if attended():
            threading.Thread(target=self._follow, name="provision-follow", daemon=True).start()

    def close(self) -> None:
        """End looking."""
        self._done.set()
        super().close()

    def join(self, timeout: float | None = None) -> None:
        """Wait until nothing is asked."""
        self._work.join(timeout)

    def _listen(self) -> None:
        self.node.observe(lambda _: self._work.ask("log", "log"), "value")
        self.rule.observe(lambda _: self._work.ask("rule", "rule"), "value")
        self.folder.observe(lambda _: self._work.ask("simulation", "simulation"), "value")
        self.tabs.observe(lambda _: self._work.ask("all", "all"), "selected_index")

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        if attended():
            return super()._repr_mimebundle_(**kwargs)
        report = board(self._config)
        return {"text/plain": str(report), "text/html": report._repr_html_()}, {}

    def _follow(self) -> None:
        while not self._done.is_set():
            self._work.ask("all", "all")
            self._done.wait(_EVERY)

    def _answer(self, what: str) -> None:
        shown = {"log": 1, "rule": 2, "simulation": 3}.get(what, self.tabs.selected_index or 0)
        places = (self.machines, self.story, self.matched, self.foreseen)
        makers = (self._board, self._story, self._rule, self._simulation)
        place, make = places[shown], makers[shown]
        try:
            found = make()
            text = found._repr_html_() if found else ""
        except Exception as error:  # whatever it is, it is for whoever looks at the panel
            text = trouble(error)
        if place.value != text:
            place.value = text

    def _board(self) -> Report:
        return board(self._config)

    def _story(self) -> Report | None:
        word = self.node.value.strip()
        return describe(word, self._config) if word else None

    def _rule(self) -> Report:
        return try_rule(self.rule.value, self._config)

    def _simulation(self) -> Report:
        return foresee(self.folder.value.strip(), config=self._config)
