"""Driving a rollout by hand: read the plan, let it run, see shares and evidence as they come, pause, promote, abort, go back."""

from __future__ import annotations

import threading

import ipywidgets as widgets

from sretoolkit.config import Config
from sretoolkit.errors import GateFailed, PlanError
from sretoolkit.plan import Plan
from sretoolkit.plan.control import Verb
from sretoolkit.report import Report
from sretoolkit.rollout.progress import listener, status
from sretoolkit.rollout.rollout import Rollout
from sretoolkit.runbook.access import Person
from sretoolkit.runbook.desk import RunDesk
from sretoolkit.store import open_store
from sretoolkit.widgets.controls import control_buttons
from sretoolkit.widgets.frontend import attended
from sretoolkit.widgets.panel import ROW, Panel, button, put
from sretoolkit.widgets.trouble import trouble

_EVERY = 1.0  # seconds between two looks while a rollout goes on


class RolloutPanel(Panel):
    """One service: the plan to a version, how it stands, and what may be said to the run that is at it.

    The plan is carried out in a thread of its own, on record as any other; closing the browser does not end it. Only a plan
    that was shown can be applied, and only as long as the version it is for stands in the field.
    """

    def __init__(self, service: Rollout, *, config: Config | None = None) -> None:
        self._service = service
        self._config = config or Config.load()
        self._shown: Plan | None = None
        self._running: threading.Thread | None = None
        self.version = widgets.Text(description="version", placeholder="what is to be rolled out")
        self.plan = button("Plan", "list", "Read the world and show every step; changes nothing", "primary")
        self.back = button("Plan back", "undo", "Show the way back to the version before; changes nothing")
        self.apply = button("Apply", "play", "Carry out the plan that is shown", "warning")
        self.apply.disabled = True
        self.verbs = control_buttons("pause", "resume", "promote", "abort")
        self.said = widgets.HTML()
        self.now = widgets.HTML()
        self.picture = widgets.HTML()
        first = widgets.HBox([self.version, self.plan, self.back, self.apply], layout=ROW)
        row = widgets.HBox(list(self.verbs.values()), layout=ROW)
        super().__init__([first, row, self.said, self.now, self.picture], name="rollout")
        self._listen()
        if attended():
            self.soon("now", who="now")

    def _listen(self) -> None:
        self.plan.on_click(lambda _: self.soon("plan", who="plan"))
        self.back.on_click(lambda _: self.soon("back", who="plan"))
        self.apply.on_click(lambda _: self._begin())
        self.version.observe(lambda _: self._forget(), "value")
        for verb, each in self.verbs.items():
            each.on_click(lambda _, verb=verb: self.soon(verb, who="say"))

    def record(self) -> Report:
        """How the service stands."""
        return status(self._service, config=self._config)

    def join(self, timeout: float | None = None) -> None:
        """Wait until nothing is asked and no plan runs."""
        if self._running is not None:
            self._running.join(timeout)
        super().join(timeout)

    def answer(self, what: str) -> None:
        """How it stands, a plan, or something said to the run."""
        if what == "now":
            put(self.now, self.record()._repr_html_())
        elif what in ("plan", "back"):
            self._show(what)
        else:
            with open_store(self._config) as store:
                run = listener(store, self._service).id
                RunDesk(store, self._config, Person.current(self._config)).control(run, _VERBS[what])
            self.say(f"told run {run}: {what}")

    def _show(self, what: str) -> None:
        """The plan, and the leave to apply it."""
        self._forget()
        version = self.version.value.strip()
        if what == "plan" and not version:
            raise PlanError("no version is named", hint="write what is to be rolled out into the field")
        service = self._service
        plan = (
            service.plan(version, config=self._config)
            if what == "plan"
            else service.rollback(version, config=self._config)
        )
        self._shown = plan
        self.picture.value = plan._repr_html_()
        self.apply.disabled = not plan.items
        self.say("")

    def _forget(self) -> None:
        self._shown = None
        self.apply.disabled = True

    def _begin(self) -> None:
        """Carry out what is shown, in a thread; the status follows it."""
        plan, self._shown = self._shown, None
        self.apply.disabled = True
        if plan is None:
            return
        self._running = threading.Thread(target=self._run, args=(plan,), name="rollout-plan", daemon=True)
        self._running.start()
        threading.Thread(target=self._follow, args=(self._running,), name="rollout-status", daemon=True).start()

    def _run(self, plan: Plan) -> None:
        try:
            outcome = plan.run(apply=True, config=self._config)
            self.say(f"{outcome.state}: run {outcome.run}")
            self.picture.value = outcome._repr_html_()
        except GateFailed as error:
            self.said.value = trouble(error)
            self.picture.value = error.outcome._repr_html_() if error.outcome else ""
        except Exception as error:  # a failed plan is told, it must not end the kernel's thread in silence
            self.said.value = trouble(error)

    def _follow(self, running: threading.Thread) -> None:
        while running.is_alive():
            self.soon("now", who="now")
            running.join(_EVERY)
        self.soon("now", who="now")


_VERBS: dict[str, Verb] = {"pause": "pause", "resume": "resume", "promote": "promote", "abort": "abort"}
