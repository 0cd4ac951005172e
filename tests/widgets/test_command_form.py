"""Provisioning's commands as forms: made of their declarations, checked beside the field, planned before they are run."""

from __future__ import annotations

from sretoolkit.config import Config
from sretoolkit.provision.commands import COMMANDS
from sretoolkit.provision.registry import Registry
from sretoolkit.report import escape
from sretoolkit.store import Store
from sretoolkit.widgets.command_form import CommandForm


def form(config: Config, command: str) -> CommandForm:
    """The form of one command; nobody looks on."""
    found = CommandForm(config=config, live=False)
    found.command.value = command
    return found


def test_every_command_has_a_field_for_each_argument(config: Config) -> None:
    """A new command needs no form of its own."""
    shown = CommandForm(config=config, live=False)
    for name, command in COMMANDS.items():
        shown.command.value = name
        assert [argument.name for argument in command.arguments] == list(shown.fields)
        assert escape(command.help) in shown.help.value


def test_a_change_is_planned_read_and_run(config: Config, store: Store) -> None:
    """Nothing is there before; after the plan was run the tag is, and the same again is nothing to do."""
    shown = form(config, "create-tag")
    shown.fields["name"].control.value = "big"
    shown.fields["rule"].control.value = '["=", ["fact", "cpus"], 8]'
    shown.plan.click()
    shown.join(20)
    assert shown.view is not None
    assert ({}, 1) == (Registry(store).documents("tag"), len(shown.view.plan.items))

    shown.view.run.click()
    shown.view.join(30)
    assert ["big"] == list(Registry(store).documents("tag"))
    shown.plan.click()
    shown.join(20)
    assert "nothing to do" in shown.said.value


def test_what_is_wrong_is_said_beside_its_field_or_below(config: Config) -> None:
    """A missing name, text that is no JSON, a rule that cannot be: no plan is shown."""
    shown = form(config, "create-tag")
    shown.plan.click()
    shown.join(20)
    assert ('role="alert"' in shown.fields["name"].note.value, shown.view) == (True, None)
    shown.fields["name"].control.value = "big"
    shown.fields["rule"].control.value = '["no-such-operator", 1]'
    shown.plan.click()
    shown.join(20)
    assert ("no-such-operator" in shown.said.value, shown.view) == (True, None)


def test_a_plan_of_other_values_does_not_stand_beside_a_fault(config: Config) -> None:
    """A plan is shown, then a value is wrong: neither that plan nor what was said of it is left."""
    shown = form(config, "create-tag")
    shown.fields["name"].control.value = "big"
    shown.fields["rule"].control.value = '["=", ["fact", "cpus"], 8]'
    shown.plan.click()
    shown.join(20)
    assert shown.place.children
    shown.fields["rule"].control.value = '["=", ["fact"'
    shown.plan.click()
    shown.join(20)
    assert ('role="alert"' in shown.fields["rule"].note.value, shown.place.children, "") == (True, (), shown.said.value)
