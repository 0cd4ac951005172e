"""Picking hosts: from an inventory, by name or tag; what is picked is a list of names that any cell can use."""

from __future__ import annotations

from typing import Any

import ipywidgets as widgets

from sretoolkit.config import Config
from sretoolkit.hosts import Fleet
from sretoolkit.hosts.inventory import INVENTORIES
from sretoolkit.plan.session import configuration
from sretoolkit.report import Report, Table
from sretoolkit.widgets.panel import ROW, Panel, button


class FleetPicker(Panel):
    """The hosts of an inventory. `names` is what is picked, `fleet` the same as a `Fleet`; all that match, if nothing is."""

    def __init__(self, inventory: str = "static", *, config: Config | None = None) -> None:
        self._config = config or configuration()
        self._tags: dict[str, frozenset[str]] = {}
        self.inventory = widgets.Dropdown(description="inventory", options=sorted(INVENTORIES), value=inventory)
        self.tag = widgets.Dropdown(description="tag", options=["all"])
        self.word = widgets.Text(description="search", placeholder="part of a name")
        self.list = widgets.SelectMultiple(
            description="hosts", rows=10, layout=widgets.Layout(width="50em", max_width="98%")
        )
        self.again = button("Ask again", "refresh", "Ask the inventory anew")
        self.said = widgets.HTML()
        form = widgets.HBox([self.inventory, self.tag, self.word, self.again], layout=ROW)
        super().__init__([form, self.list, self.said], name="fleet")
        self.inventory.observe(lambda _: self.soon("ask"), "value")
        self.again.on_click(lambda _: self.soon("ask"))
        self.tag.observe(lambda _: self._show(), "value")
        self.word.observe(lambda _: self._show(), "value")
        self.list.observe(lambda _: self._count(), "value")
        self.soon("ask")

    @property
    def names(self) -> list[str]:
        """The hosts that are picked; all that are shown, if none is."""
        self.join()
        return list(self.list.value or self.list.options)

    @property
    def fleet(self) -> Fleet:
        """The same, to run something on; close it, or use it in a `with`."""
        return Fleet(self.names, config=self._config)

    def answer(self, order: str) -> None:
        """Ask the inventory for its hosts."""
        self.say("asking …")
        self._tags = dict(INVENTORIES[self.inventory.value](self._config).hosts())
        self.tag.options = ["all", *sorted({tag for tags in self._tags.values() for tag in tags})]
        self._show()

    def failed(self, order: Any) -> None:
        """No list that is not this inventory's."""
        self._tags = {}
        self.list.options = ()

    def record(self) -> Report:
        """The hosts that are picked, with their tags."""
        rows = [(name, ", ".join(sorted(self._tags.get(name, ())))) for name in self.names]
        return Report(f"Hosts of the inventory {self.inventory.value}", [], [Table("", ("host", "tags"), rows)])

    def _show(self) -> None:
        tag, word = self.tag.value, self.word.value.strip().lower()
        names = [name for name, tags in self._tags.items() if (tag == "all" or tag in tags) and word in name.lower()]
        kept = [name for name in self.list.value if name in names]
        self.list.options = sorted(names)
        self.list.value = kept
        self._count()

    def _count(self) -> None:
        picked = len(self.list.value) or f"all {len(self.list.options)}"
        self.say(f"{picked} of {len(self._tags)} hosts" if self._tags else "this inventory has no hosts")
