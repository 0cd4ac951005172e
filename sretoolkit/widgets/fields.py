"""Inputs of a form: for each type of parameter the control that fits it, and what is wrong with what stands in it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import ipywidgets as widgets

from sretoolkit.config import Config
from sretoolkit.report import escape
from sretoolkit.runbook.choices import choices
from sretoolkit.runbook.kinds import TEXTS, Kind, Range
from sretoolkit.runbook.parameters import Parameter
from sretoolkit.secrets import Secret
from sretoolkit.widgets.panel import ROW, visible

_STYLE = {"description_width": "11em"}
_WORDS = {"timedelta": "90s, 5m, 1h30m", "Secret": "its reference, never the secret itself"}
_KNOWN = "a known name …"
_WIDEST = 10_000  # a slider over more is no way to hit a number


class Field:
    """One parameter: its control, its help, and the fault of what is in it. ``typed`` values are read by the declared type."""

    def __init__(self, parameter: Parameter, config: Config) -> None:
        self.parameter = parameter
        self.name = parameter.name
        kind = parameter.kind
        self.typed = not _is_picked(kind)
        self.control = _control(kind, config)
        self.control.layout = widgets.Layout(width="34em", max_width="98%")
        self.control.add_class(f"srt-field-{parameter.name}")
        self._hint = _hint(parameter)
        self.note = widgets.HTML()
        self.more = widgets.Dropdown(
            description="or add",
            options=[_KNOWN],
            style={"description_width": "initial"},
            layout=widgets.Layout(width="15em"),
        )
        self.more.observe(lambda change: self._add(change["new"]), "value")
        line = widgets.HBox([_labelled(self.control, parameter.name), self.more], layout=ROW)
        self.box = widgets.VBox([line, self.note])
        self.offer(choices(kind, config))
        if not parameter.required:
            self.show(kind.encode(parameter.default))
        self.tell("")

    @property
    def given(self) -> Any:
        """What stands in the control; None when nothing does and something must."""
        value = self.control.value
        if self.parameter.required and value in ("", [], None):
            return None
        return list(value) if isinstance(value, tuple) else value

    def show(self, value: Any) -> None:
        """Put a value, as JSON data, into the control; one that does not fit any more is left out."""
        kind = self.parameter.kind
        try:
            self.control.value = _text(value) if self.typed else kind.accept(value)
        except Exception:  # remembered for an older form of this runbook: the default stays
            return

    def offer(self, names: list[str]) -> None:
        """More to pick from."""
        part = self.more if _is_tags(self.parameter.kind) else self.control
        if isinstance(part, widgets.Combobox) or part is self.more:
            part.options = tuple(dict.fromkeys([*part.options, *names]))
        visible(self.more, len(self.more.options) > 1)

    def _add(self, name: str) -> None:
        """Put a picked name among the tags."""
        if name != _KNOWN:
            self.control.value = [*(each for each in self.control.value if each != name), name]
            self.more.value = _KNOWN

    def tell(self, fault: str) -> None:
        """Show what is wrong, or the help when nothing is."""
        colour = "color:var(--srt-alarm);font-weight:600" if fault else "opacity:.75"
        mark = ' role="alert"' if fault else ""
        text = f'<div{mark} style="margin-left:11.5em;line-height:1.3;{colour}">{escape(fault or self._hint)}</div>'
        if self.note.value != text:
            self.note.value = text

    def on_change(self, changed: Callable[[], None]) -> None:
        """Call it whenever the value changes; of a secret's field, what is no reference is taken out again."""

        def heard(change: Any) -> None:
            if self.parameter.kind.name == "Secret" and change["new"] and not Secret.is_reference(change["new"]):
                self.control.value = ""
                self.tell("not a reference, and taken out: it may be the secret itself. Write env:NAME or file:/path")
                return
            changed()

        self.control.observe(heard, "value")


def _control(kind: Kind, config: Config) -> widgets.DOMWidget:
    """The control for a type; where nothing fits better, a text that is checked while one types."""
    known = choices(kind, config)
    if kind.choices:
        return widgets.Dropdown(options=[(str(choice), choice) for choice in kind.choices])
    if kind.name == "bool":
        return widgets.Checkbox(indent=True)
    if kind.name == "date":
        return widgets.DatePicker()
    if slide := _slide(kind):
        number = widgets.IntSlider if kind.name == "int" else widgets.FloatSlider
        step = 1 if kind.name == "int" else (slide.high - slide.low) / 100  # type: ignore[operator]
        slider = number(min=slide.low, max=slide.high, step=step, value=slide.low)
        slider.readout_format = f"{'d' if kind.name == 'int' else '.3g'}"
        return slider
    if _is_tags(kind):
        return widgets.TagsInput(allow_duplicates=False, placeholder="type, then Enter")
    if kind.name == "Secret" or known:
        place = "env:NAME, file:/path, keyring:service/user or vault:path#key" if kind.name == "Secret" else ""
        return widgets.Combobox(ensure_option=False, placeholder=place, continuous_update=False)
    return widgets.Text(placeholder=_example(kind), continuous_update=True)


def _labelled(control: widgets.DOMWidget, name: str) -> widgets.DOMWidget:
    """The control with its name before it; tags have no place for one, and get it beside them."""
    control.description = name
    if not isinstance(control, widgets.TagsInput):
        control.style = _STYLE
        return control
    control.placeholder = f"{name}: {control.placeholder}"
    control.layout = widgets.Layout(width="22.5em", max_width="98%")
    label = f'<div style="width:11em;text-align:right;margin-right:.4em">{escape(name)}</div>'
    return widgets.HBox([widgets.HTML(label), control])


def _is_picked(kind: Kind) -> bool:
    """Whether the control gives a value of the type, and not a text for it."""
    return bool(kind.choices or kind.name in ("bool", "date") or _slide(kind) or _is_tags(kind))


def _is_tags(kind: Kind) -> bool:
    return kind.name == "list" and bool(kind.parts) and kind.parts[0].name in TEXTS and not kind.parts[0].choices


def _slide(kind: Kind) -> Range | None:
    """The bounds of a slider: both sides are known, and not too far apart."""
    for bound in kind.bounds:
        if kind.name in ("int", "float") and isinstance(bound, Range) and None not in (bound.low, bound.high):
            return bound if bound.high - bound.low <= _WIDEST else None  # type: ignore[operator]
    return None


def _example(kind: Kind) -> str:
    return {"timedelta": "90s, 5m, 1h30m", "dict": '{"name": "value"}', "list": "one, two"}.get(kind.name, "")


def _hint(parameter: Parameter) -> str:
    units = [bound.unit for bound in parameter.kind.bounds if isinstance(bound, Range) and bound.unit]
    plain = parameter.kind.name in ("bool", "int", "float", *TEXTS) and not parameter.kind.bounds
    picked = parameter.kind.choices or _is_tags(parameter.kind)
    kind = "" if plain or picked else f" ({_WORDS.get(str(parameter.kind), parameter.kind)})"
    unit = f" in {units[0]}" if units and units[0] not in kind else ""
    return f"{parameter.help}{unit}{kind}"


def _text(value: Any) -> str:
    """JSON data as the text that is read as the same again."""
    if isinstance(value, str):
        return value
    return "none" if value is None else json.dumps(value, ensure_ascii=False)
