"""Machines that boot from the network: the board, one machine's log, a rule to try, what policies would do, and changes."""

from __future__ import annotations

import ipywidgets as widgets

from sretoolkit.config import Config
from sretoolkit.provision.overview import board, describe, foresee, try_rule
from sretoolkit.report import Report
from sretoolkit.widgets.command_form import CommandForm
from sretoolkit.widgets.frontend import attended
from sretoolkit.widgets.panel import LONG, Panel, put
from sretoolkit.widgets.trouble import trouble

_EVERY = 2.0  # seconds between two looks at the store


class ProvisionBoard(Panel):
    """Four views, kept up to date while somebody looks: all machines, one of them, a rule on all of them, a simulation.

    Beside them the form of each command (`CommandForm`), whose plan is read before it is run. Installing is the runbook
    `provision_host`.
    """

    def __init__(self, *, config: Config | None = None) -> None:
        self._config = config or Config.load()
        self.machines = widgets.HTML()
        self.node = widgets.Text(
            description="machine", placeholder="id, host name, serial number, UUID or MAC address", layout=LONG
        )
        self.story = widgets.HTML()
        self.rule = widgets.Textarea(
            description="rule",
            value='[">=", ["num", ["fact", "cpus"]], 8]',
            layout=widgets.Layout(width="60em", height="5em"),
        )
        self.matched = widgets.HTML()
        self.folder = widgets.Text(
            description="folder", placeholder="of policies to try; empty: those in force", layout=LONG
        )
        self.foreseen = widgets.HTML()
        self.changes = CommandForm(config=self._config)
        self._views = {
            "Board": widgets.VBox([self.machines]),
            "One machine": widgets.VBox([self.node, self.story]),
            "Try a rule": widgets.VBox([self.rule, self.matched]),
            "Simulate": widgets.VBox([self.folder, self.foreseen]),
            "Change": self.changes,
        }
        self.tabs = widgets.Tab(list(self._views.values()))
        self.tabs.titles = tuple(self._views)
        super().__init__([self.tabs], name="provision")
        self._listen()
        if attended():
            self.follow("all", every=_EVERY)

    def _listen(self) -> None:
        self.node.observe(lambda _: self.soon("log", who="log"), "value")
        self.rule.observe(lambda _: self.soon("rule", who="rule"), "value")
        self.folder.observe(lambda _: self.soon("simulation", who="simulation"), "value")
        self.tabs.observe(lambda _: self.soon("all"), "selected_index")

    def record(self) -> Report:
        """The board."""
        return board(self._config)

    def answer(self, what: str) -> None:
        """One view; what goes wrong is told in its place."""
        shown = {"log": 1, "rule": 2, "simulation": 3}.get(what, self.tabs.selected_index or 0)
        if shown >= len(self._views) - 1:
            return
        places = (self.machines, self.story, self.matched, self.foreseen)
        makers = (self._board, self._story, self._rule, self._simulation)
        place, make = places[shown], makers[shown]
        try:
            found = make()
            text = found._repr_html_() if found else ""
        except Exception as error:  # whatever it is, it is for whoever looks at the panel
            text = trouble(error)
        put(place, text)

    def _board(self) -> Report:
        return board(self._config)

    def _story(self) -> Report | None:
        word = self.node.value.strip()
        return describe(word, self._config) if word else None

    def _rule(self) -> Report:
        return try_rule(self.rule.value, self._config)

    def _simulation(self) -> Report:
        return foresee(self.folder.value.strip(), config=self._config)
