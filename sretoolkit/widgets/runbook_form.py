"""A runbook as a form: fill in, read the plan, apply it; the run goes on by itself and is found again."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Literal

import ipywidgets as widgets

from sretoolkit.config import Config
from sretoolkit.errors import JournalError, ParameterError
from sretoolkit.journal import find_runs, load_run
from sretoolkit.plan.session import configuration
from sretoolkit.report import Report, Table, badge, escape
from sretoolkit.runbook.access import require_operator
from sretoolkit.runbook.choices import discovered
from sretoolkit.runbook.executor import EXECUTORS
from sretoolkit.runbook.notebook import Runbook
from sretoolkit.runbook.progress import Progress
from sretoolkit.runbook.remembered import recall, remember
from sretoolkit.runbook.request import Request
from sretoolkit.runbook.run import Order
from sretoolkit.store import open_store
from sretoolkit.widgets.fields import Field
from sretoolkit.widgets.panel import LONG, ROW, Panel, button, visible
from sretoolkit.widgets.run_view import RunView

Mode = Literal["plan", "apply"]


class RunbookForm(Panel):
    """The form of a runbook, by its name or path. A run is a process of its own: it needs neither browser nor kernel.

    Apply wakes up when a plan of exactly these parameters was shown, and carries out that plan or none. What was given
    last is there again, and so is the run. ``live`` False looks only when asked to; None looks who is there.
    """

    def __init__(self, runbook: str, *, config: Config | None = None, live: bool | None = None) -> None:
        self._config = config or configuration()
        self._live = live
        self.runbook = Runbook.find(runbook, self._config)
        self._planned: Progress | None = None
        self._starting = False
        self._before: RunView | None = None
        self.fields = {item.name: Field(item, self._config) for item in self.runbook.parameters.items}
        self._changes = self.runbook.metadata.get("changes") is not False
        self.ticket = widgets.Text(
            description="ticket", placeholder="the incident that this belongs to; optional", layout=LONG
        )
        self.plan = button("Plan", "list", "Show every step that it would take; changes nothing", "primary")
        self.apply = button("Apply", "play", "Carry out the plan that is shown below", "warning")
        if not self._changes:
            self.plan.description, self.plan.icon, self.plan.tooltip = "Run", "play", "Run it; it only reads"
        self.yes = widgets.Checkbox(description="also what cannot be taken back", indent=False)
        self.said, self.touches, self.place = widgets.HTML(), widgets.HTML(), widgets.VBox()
        row = widgets.HBox([self.plan, *([self.apply] if self._changes else []), self.yes], layout=ROW)
        inputs = [field.box for field in self.fields.values()]
        parts = [widgets.HTML(self._about()), *inputs, self.ticket, row, self.said, self.touches, self.place]
        super().__init__(parts, name="form")
        self.ticket.style, self.ticket.layout = {"description_width": "11em"}, widgets.Layout(width="34em")
        self._begin()

    def answer(self, order: Any) -> None:
        """Start a run, find out what can be picked, or look at the run."""
        if order == "discover":
            for field in self.fields.values():
                field.offer(discovered(field.parameter.kind, self._config))
            return
        mode, values, planned, irreversible = order
        try:
            self._start(mode, values, planned, irreversible)
        finally:
            self._starting = False
            self._refresh()

    def record(self) -> Report:
        """What it is for, and what it takes."""
        rows = [
            (item.name, str(item.kind), "required" if item.required else item.kind.encode(item.default), item.help)
            for item in self.runbook.parameters.items
        ]
        about = self.runbook.metadata
        facts: dict[str, Any] = {name: about[name] for name in ("purpose", "risk", "owner") if name in about}
        return Report(
            self.runbook.title, [], [Table("", ("parameter", "type", "default", "meaning"), rows)], facts=facts
        )

    @property
    def view(self) -> RunView | None:
        """The run that is shown."""
        return self.place.children[0] if self.place.children else None

    def _begin(self) -> None:
        """Put in what was given last, show the run that goes on, and listen."""
        last = recall(self.runbook)
        for name, value in last.values.items():
            if name in self.fields:
                self.fields[name].show(value)
        for field in self.fields.values():
            field.on_change(self._refresh)
        self.yes.observe(lambda _: self._refresh(), "value")
        self.plan.on_click(lambda _: self._press("plan"))
        self.apply.on_click(lambda _: self._press("apply"))
        self._refresh()
        with open_store(self._config) as store:
            going_on = [
                run.id
                for state in ("running", "awaiting_approval")
                for run in find_runs(store, runbook=self.runbook.name, state=state)
            ]
            found = ""
            with suppress(JournalError):
                found = load_run(store, last.run).id if last.run else ""
        if shown := next(iter([*going_on, *([found] if found else [])]), ""):
            self._show(shown)
        if self.live(self._live):
            self.soon("discover", who="discover")

    def _about(self) -> str:
        about = self.runbook.metadata
        kind = badge("medium", "changes things") if self._changes else badge(None, "only reads")
        asks = f" {badge('low', 'needs an approval')}" if self.runbook.demands["approval"] else ""
        risk = f"<b>risk:</b> {escape(about.get('risk', 'not said'))} · <b>owner:</b> {escape(about.get('owner', 'nobody'))}"
        return (
            f'<h3 style="margin:4px 0">{escape(self.runbook.title)} {kind}{asks}</h3>'
            f"<div style='line-height:1.5'>{escape(about.get('purpose', ''))}<div style='margin:2px 0 8px'>{risk}</div></div>"
        )

    def _values(self) -> dict[str, Any] | None:
        """The checked values; None with the faults shown beside their fields."""
        given = {name: field.given for name, field in self.fields.items() if field.given is not None}
        faults: Mapping[str, str] = {}
        values = None
        try:
            values = self.runbook.parameters.check(given, texts={name for name in given if self.fields[name].typed})
        except ParameterError as error:
            faults = dict(fault.partition(": ")[::2] for fault in error.faults)
        for name, field in self.fields.items():
            field.tell(faults.get(name, ""))
        return values

    def _refresh(self) -> None:
        """Which buttons make sense now."""
        values = self._values()
        planned = self._planned
        same = values is not None and planned is not None
        same = same and self.runbook.parameters.encode(values) == planned.run.parameters  # type: ignore[union-attr, arg-type]
        same = same and planned.run.runbook_hash == self.runbook.hash  # type: ignore[union-attr]
        final = planned.final if planned and same else []
        visible(self.yes, bool(final))
        self.plan.disabled = values is None or self._starting
        self.apply.disabled = not same or self._starting or (bool(final) and not self.yes.value)
        if planned and same:
            touched = ", ".join(planned.targets)
            self.touches.value = (
                f"<div>Read the steps below. Apply carries out exactly these, on <b>{escape(touched)}</b>.</div>"
            )
        else:
            self.touches.value = ""

    def _press(self, mode: Mode) -> None:
        values = self._values()
        if values is None or self._starting:
            return
        planned = self._planned.run.id if mode == "apply" and self._planned else ""
        self._starting, self._planned = True, None
        self._before, self.place.children = self.view, ()  # how an earlier run ended is not how this one stands
        self._refresh()
        self.say("starting …")
        self.soon((mode, values, planned, self.yes.value))

    def _start(self, mode: Mode, values: Mapping[str, Any], planned: str, irreversible: bool) -> None:
        order = Order(
            self.runbook, values, mode=mode, origin="panel", ticket=self.ticket.value.strip(),
            irreversible=irreversible, planned=planned,
        )  # fmt: skip
        with open_store(self._config) as store:
            require_operator(self._config, store, self.runbook.name)
        request = Request.of(order, self._config)
        remember(self.runbook, values, request.id)
        EXECUTORS["local"](self._config).start(request)
        self.say("")
        self._show(request.id)

    def _show(self, run: str) -> None:
        self.place.children = (RunView(run, config=self._config, on_look=self._looked, live=self._live),)
        if self._before:
            self._before.close()
            self._before = None

    def _looked(self, seen: Progress) -> None:
        """A plan that was shown and has something to do may be applied."""
        ready = seen.run.state == "planned" and any(plan.items for plan in seen.plans)
        was = self._planned
        self._planned = seen if ready else None
        if (was is None) != (self._planned is None):
            self._refresh()
