"""A plan to be read and then run: every step before and after, its hash; then its run, with all that may be said to it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import ipywidgets as widgets

from sretoolkit.config import Config
from sretoolkit.errors import SREToolkitError
from sretoolkit.plan import Plan
from sretoolkit.plan.execution import run_alone
from sretoolkit.plan.session import Session, configuration, own_session
from sretoolkit.widgets.panel import ROW, Panel, button
from sretoolkit.widgets.run_view import RunView


class PlanView(Panel):
    """Any plan. It is carried out in a thread, as a run of its own, on record; closing the browser does not end it.

    ``begin`` opens the run for it (of an undo, or under a demand for approval); without it a plain run is opened.
    ``on_end`` is called when it is over. ``live`` False looks only when asked to; None looks who is there.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        config: Config | None = None,
        begin: Callable[[], tuple[Plan, Session]] | None = None,
        on_end: Callable[[], None] = lambda: None,
        live: bool | None = None,
    ) -> None:
        self.plan = plan
        self._config = config or configuration()
        self._begin = begin or (lambda: (plan, own_session(plan.title, mode="apply", config=self._config)))
        self._on_end = on_end
        self._live = live
        final = [step.describe() for step in plan.steps if step.irreversible]
        self.shown = widgets.HTML(f'<div style="line-height:1.4">{plan._repr_html_()}</div>')
        self.run = button("Run this plan", "play", "Carry out exactly what is shown", "warning")
        self.yes = widgets.Checkbox(description="also what cannot be taken back", indent=False)
        self.said = widgets.HTML()
        self.place = widgets.VBox()
        row = widgets.HBox([self.run, *([self.yes] if final else [])], layout=ROW)
        super().__init__([self.shown, *([row] if plan.items else []), self.said, self.place], name="plan")
        self.run.disabled = bool(final)
        self.yes.observe(lambda change: setattr(self.run, "disabled", not change["new"]), "value")
        self.run.on_click(lambda _: self._press())

    @property
    def view(self) -> RunView | None:
        """The run, once there is one."""
        return self.place.children[0] if self.place.children else None

    def answer(self, order: str) -> None:
        """Open the run, show it, and carry it out."""
        plan, session = self._begin()
        session.irreversible = self.yes.value
        view = RunView(session.run, config=self._config, live=self._live)
        self.place.children = (view,)
        with suppress(SREToolkitError):  # what it raises is told by the run that is shown
            run_alone(plan, session)
        view.look()
        self._on_end()

    def record(self) -> Plan:
        """The plan."""
        return self.plan

    def _press(self) -> None:
        self.run.disabled = True  # once: what is shown is not what the world is after it
        self.soon("run")
