"""The buttons by which a person steers a run, the same wherever one stands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sretoolkit.plan.control import Verb
from sretoolkit.widgets.panel import button

if TYPE_CHECKING:
    import ipywidgets as widgets

_CONTROLS: dict[Verb, tuple[str, str, str, str]] = {
    "abort": ("Abort", "stop", "danger", "End it now, and take back all that it did"),
    "pause": ("Pause", "pause", "", "Stay where it is, before the next step"),
    "resume": ("Resume", "forward", "primary", "Go on after a pause"),
    "promote": ("Promote", "check", "", "Let the open gate pass: your decision, on record"),
    "skip": ("Skip a step", "step-forward", "", "Leave out the next step"),
}


def control_buttons(*verbs: Verb) -> dict[str, widgets.Button]:
    """A button for each verb that a running plan obeys."""
    found = {verb: _CONTROLS[verb] for verb in verbs}
    return {verb: button(text, icon, tip, style) for verb, (text, icon, style, tip) in found.items()}
