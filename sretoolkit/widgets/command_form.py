"""Every command of provisioning as a form, made of its declaration: fill it in, read the plan, run that."""

from __future__ import annotations

import json
from typing import Any

import ipywidgets as widgets

from sretoolkit.config import Config
from sretoolkit.errors import ParameterError
from sretoolkit.plan.session import configuration
from sretoolkit.provision.commands import COMMANDS, Argument, Command
from sretoolkit.provision.registry import Registry
from sretoolkit.report import Report, Table, escape
from sretoolkit.runbook.access import require_operator
from sretoolkit.runbook.kinds import Kind
from sretoolkit.runbook.parameters import Parameter, Parameters
from sretoolkit.store import open_store
from sretoolkit.widgets.fields import Field
from sretoolkit.widgets.panel import ROW, Panel, button
from sretoolkit.widgets.plan_view import PlanView

_NONE = Kind("None")


class CommandForm(Panel):
    """One command at a time. What is left empty is not given; nothing is changed before its plan was shown and run."""

    def __init__(self, *, config: Config | None = None, live: bool | None = None) -> None:
        self._config = config or configuration()
        self._live = live
        self.command = widgets.Dropdown(
            description="change", options=list(COMMANDS), layout=widgets.Layout(width="34em")
        )
        self.help, self.inputs, self.said, self.place = widgets.HTML(), widgets.VBox(), widgets.HTML(), widgets.VBox()
        self.plan = button("Plan", "list", "Show every step that it would take; changes nothing", "primary")
        self.fields: dict[str, Field] = {}
        row = widgets.HBox([self.plan], layout=ROW)
        super().__init__([self.command, self.help, self.inputs, row, self.said, self.place], name="command")
        self.command.observe(lambda _: self._choose(), "value")
        self.plan.on_click(lambda _: self.soon("plan"))
        self._choose()

    @property
    def chosen(self) -> Command:
        """The command whose form is shown."""
        return COMMANDS[self.command.value]

    @property
    def view(self) -> PlanView | None:
        """The plan, once there is one."""
        return self.place.children[0] if self.place.children else None

    def answer(self, order: str) -> None:
        """Make the plan of what stands in the form, and show it."""
        values = self._values()
        if values is None:
            self.say("")
            self.failed(order)
            return
        with open_store(self._config) as store:
            require_operator(self._config, store, f"provision {self.chosen.name}")
            made = self.chosen.plan(Registry(store), **values)
        self.say("" if made.items else "it is so already: there is nothing to do")
        self.place.children = (PlanView(made, config=self._config, live=self._live),)

    def failed(self, order: str) -> None:
        """A plan of other values is not shown beside an error."""
        self.place.children = ()

    def record(self) -> Report:
        """The commands, and what each takes."""
        rows = [
            (name, command.help, ", ".join(each.name for each in command.arguments))
            for name, command in COMMANDS.items()
        ]
        return Report("Changes of provisioning", [], [Table("", ("change", "what it does", "arguments"), rows)])

    def _choose(self) -> None:
        """The form of another command."""
        command = self.chosen
        self.fields = {each.name: Field(_parameter(each), self._config) for each in command.arguments}
        self.inputs.children = [field.box for field in self.fields.values()]
        self.place.children = ()
        example = escape(json.dumps(dict(command.example), ensure_ascii=False))
        self.help.value = (
            f"<div style='line-height:1.5'>{escape(command.help)}<br><small>such as {example}</small></div>"
        )
        self.say("")

    def _values(self) -> dict[str, Any] | None:
        """What was filled in, by its type; None with the faults beside their fields."""
        given = {name: field.given for name, field in self.fields.items() if field.given not in (None, "", [])}
        parameters = Parameters(self.chosen.name, tuple(field.parameter for field in self.fields.values()), {})
        try:
            values = parameters.check(given, texts={name for name in given if self.fields[name].typed})
        except ParameterError as error:
            faults = dict(fault.partition(": ")[::2] for fault in error.faults)
            for name, field in self.fields.items():
                field.tell(faults.get(name, ""))
            return None
        for field in self.fields.values():
            field.tell("")
        return {name: value for name, value in values.items() if name in given and value is not None}


def _parameter(argument: Argument) -> Parameter:
    """The argument as a parameter of a runbook: what is not needed may be none."""
    kind = Kind(argument.kind.__name__)
    if argument.needed:
        return Parameter(argument.name, kind, required=True, help=argument.help)
    return Parameter(argument.name, Kind("union", (kind, _NONE)), None, help=argument.help)
