"""One run, wherever it goes on: how it stands, its steps, what its cells say, and what may be said to it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import ipywidgets as widgets

from sretoolkit.config import Config
from sretoolkit.journal import load_run
from sretoolkit.plan.control import VERBS
from sretoolkit.plan.recovery import recover, reverse, undoing
from sretoolkit.plan.session import configuration, rejoin
from sretoolkit.report import Report, escape
from sretoolkit.runbook.access import Person
from sretoolkit.runbook.comparison import files_of
from sretoolkit.runbook.desk import RunDesk
from sretoolkit.runbook.executor import EXECUTORS
from sretoolkit.runbook.progress import Progress, progress, steps_table, usual_seconds
from sretoolkit.runbook.relay import pass_on
from sretoolkit.runbook.request import Request
from sretoolkit.runbook.resumption import resumed
from sretoolkit.store import open_store
from sretoolkit.widgets.controls import control_buttons
from sretoolkit.widgets.headline import cell_html, headline
from sretoolkit.widgets.panel import ROW, Panel, button, put, visible

_FRAME = "width:100%;height:70vh;border:1px solid #8884"
_EVERY = 0.5  # seconds between two looks while a run goes on
_BUTTONS = (
    ("approve", "Approve", "check", "success", "Say yes to exactly the plan below; who asked for it cannot"),
    ("continue", "Continue", "play", "warning", "Go on with it, from where it stands"),
    ("recover", "Take back", "undo", "danger", "Take back all that it changed"),
    ("undo", "Undo", "undo", "", "Show the plan that takes back what it changed; changes nothing yet"),
    ("record", "Record", "file-text", "", "Show the record's page"),
    ("pass", "Pass on", "share", "", "Let somebody else look after it"),
)


class RunView(Panel):
    """A run by its id, or "last"; asked for in the store, so that it is seen whoever began it, and found again later.

    ``on_look`` is told of every look. ``live`` False looks only when asked to; None looks who is there.
    """

    def __init__(
        self,
        run: str = "last",
        *,
        config: Config | None = None,
        on_look: Callable[[Progress], None] = lambda seen: None,
        live: bool | None = None,
    ) -> None:
        self._config = config or configuration()
        self._live = live
        self._on_look = on_look
        self._store = open_store(self._config)
        found = load_run(self._store, run)
        self.run = found.id
        self._usual = usual_seconds(self._store, found)
        self.seen: Progress | None = None
        self.head = widgets.HTML()
        self.buttons = control_buttons("abort", "pause", "resume", "promote", "skip")
        self.buttons |= {name: button(text, icon, tip, style) for name, text, icon, style, tip in _BUTTONS}
        self.to = widgets.Text(placeholder="who is on call next", description="to")
        self.note = widgets.Text(placeholder="what they should know", description="note")
        self.passing = widgets.HBox([self.to, self.note, button("Hand over", "share", "Write it down, and tell them")])
        self.said, self.plans, self.cells = widgets.HTML(), widgets.HTML(), widgets.VBox()
        self.aside, self.page = widgets.VBox(), widgets.HTML()
        row = widgets.HBox(list(self.buttons.values()), layout=ROW)
        parts = [self.head, row, self.passing, self.said, self.page, self.aside, self.plans, self.cells]
        super().__init__(parts, name="run")
        for name, each in self.buttons.items():
            each.on_click(lambda _, name=name: self._press(name))
        self.passing.children[-1].on_click(lambda _: self.soon("hand over", who="press"))
        self.head.add_class("srt-head")
        visible(self.passing, False)
        self.look()
        if self.live(live) and not (self.seen and self.seen.run.closed):
            self.follow("look", every=_EVERY)

    def close(self) -> None:
        """End looking; the run goes on."""
        super().close()
        self.join(10)
        self._store.close()

    def look(self) -> None:
        """Look now, and show what is seen."""
        seen = progress(self._store, self.run, config=self._config, usual=self._usual)
        ended = self.seen is not None and not self.seen.run.closed and seen.run.closed
        self.seen = seen
        put(self.head, headline(seen, self._store.now()))
        for name, each in self.buttons.items():
            visible(each, name in seen.may or (name == "record" and bool(seen.run.html)) or name == "pass")
        tables = "".join(steps_table(plan)._repr_html_() for plan in seen.plans if plan.items)
        put(self.plans, f'<div style="line-height:1.4">{tables}</div>')
        self._show_cells(seen)
        if ended and self.said.value:
            self.say("")
        self._on_look(seen)

    def answer(self, order: str) -> None:
        """Look, say something to the run, or do something about it."""
        if order == "look":
            self.look()
            if self.seen and self.seen.run.closed:
                self._done.set()
            return
        desk = RunDesk(self._store, self._config, Person.current(self._config))
        if order in VERBS:
            desk.control(self.run, order)
            self.say(f"told it: {order}")
        elif order == "approve":
            desk.approve(self.run)
            self.say("approved; Continue goes on with it")
        elif order == "hand over":
            pass_on(self._store, self.run, self.to.value, self.note.value, config=self._config)
            visible(self.passing, False)
            self.say(f"{self.to.value} looks after it from now on")
        elif order == "record":
            self._page()
        else:
            desk.load(self.run, role="operator")
            {"continue": self._continue, "recover": self._recover, "undo": self._undo}[order]()
        self.look()

    def record(self) -> Report:
        """The run as a report."""
        return progress(self._store, self.run, config=self._config).report()

    def _press(self, name: str) -> None:
        if name == "pass":
            visible(self.passing, self.passing.layout.display == "none")
            return
        self.say("…")
        self.soon(name, who="press")

    def _continue(self) -> None:
        order = resumed(self._store, load_run(self._store, self.run), self._config, origin="panel")
        if order is None:
            recover(self._store, self.run, config=self._config, resume=True)
        else:
            EXECUTORS["local"](self._config).start(Request.of(order, self._config))
        self.say("")
        self._again()

    def _recover(self) -> None:
        self.say("; ".join(recover(self._store, self.run, config=self._config)))

    def _undo(self) -> None:
        """The plan that takes it back, to be read and run like any other."""
        from sretoolkit.widgets.plan_view import PlanView  # it shows its own run by one of us

        plan = reverse(rejoin(self._store, self.run, config=self._config))

        def begin() -> Any:
            return undoing(self._store, self.run, config=self._config, mode="apply")

        self.aside.children = (PlanView(plan, config=self._config, begin=begin, on_end=self.look, live=self._live),)
        self.say("")

    def _page(self) -> None:
        """The record's page in a frame that may do nothing, and whether its files are still those that the journal names."""
        assert self.seen is not None
        states = {file["state"] for file in files_of(self._store, self.run, self._config)}
        text = Path(str(self.seen.run.html)).read_text(encoding="utf-8")
        frame = f'<iframe title="record" sandbox srcdoc="{escape_page(text)}" style="{_FRAME}"></iframe>'
        put(
            self.page,
            "" if self.page.value else f"<p>{escape(self.seen.run.html)}: {escape(', '.join(states))}</p>{frame}",
        )
        self.say("")

    def _again(self) -> None:
        """Follow it anew, after it had stopped."""
        if self._done.is_set() and self.live(self._live):
            self._done.clear()
            self.follow("look", every=_EVERY)

    def _show_cells(self, seen: Progress) -> None:
        """One part a cell, of which only those that changed are drawn anew."""
        if missing := len(seen.cells) - len(self.cells.children):
            more = [widgets.HTML() for _ in range(missing)]
            self.cells.children = (*self.cells.children, *more)[: len(seen.cells)]
        for place, cell in zip(self.cells.children, seen.cells, strict=True):
            put(place, cell_html(cell, opened=cell.number == seen.cells[-1].number))


def escape_page(text: str) -> str:
    """A whole page as the value of an attribute."""
    return text.replace("&", "&amp;").replace('"', "&quot;")
