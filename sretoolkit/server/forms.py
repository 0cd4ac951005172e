"""A form from a runbook's parameters, and what somebody typed into it as values, with each fault beside its field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from sretoolkit.config import Config
from sretoolkit.journal import canonical
from sretoolkit.runbook.kinds import Kind, Range, Regex
from sretoolkit.runbook.parameters import Parameter, Parameters

PREFIX = "p."
Control = Literal["checkbox", "select", "number", "date", "text", "area"]
_INPUT: dict[str, Control] = {"int": "number", "float": "number", "date": "date"}


@dataclass(frozen=True)
class Field:
    """One field: what it is called, how it is filled in, what is in it, and what is wrong with that."""

    name: str
    label: str
    control: Control
    kind: str
    help: str = ""
    value: str = ""
    checked: bool = False
    required: bool = False
    options: Sequence[str] = ()
    suggestions: Sequence[str] = ()
    limits: Mapping[str, str] | None = None
    unit: str = ""
    hint: str = ""
    fault: str = ""


def fields_of(parameters: Parameters, config: Config, values: Mapping[str, Any] | None = None) -> list[Field]:
    """The fields with their defaults, or with the (encoded) values of an earlier run."""
    values = values or {}
    found = []
    for item in parameters.items:
        default = values.get(item.name, None if item.required else item.kind.encode(item.default))
        field = _field(item, config)
        shown = default is True if field.control == "checkbox" else _typed(default)
        found.append(replace(field, checked=shown is True, value=shown if isinstance(shown, str) else ""))
    return found


def read_form(parameters: Parameters, form: Mapping[str, str]) -> dict[str, Any]:
    """The checked values of what was typed; raises `ParameterError` with a fault a field."""
    given: dict[str, Any] = {}
    texts: set[str] = set()
    for item in parameters.items:
        text = form.get(PREFIX + item.name, "")
        if item.kind.name == "bool":
            given[item.name] = text == "true"
        elif text.strip() or (
            item.kind.name in ("str", "list", "dict") and not item.required and PREFIX + item.name in form
        ):
            given[item.name] = _read(item.kind, text)
            texts |= {item.name} if isinstance(given[item.name], str) else set()
    unknown = {name.removeprefix(PREFIX): "" for name in form if name.startswith(PREFIX)}
    unknown = {name: text for name, text in unknown.items() if name not in {item.name for item in parameters.items}}
    return parameters.check({**given, **unknown}, texts=texts)


def refilled(
    fields: Sequence[Field], parameters: Parameters, form: Mapping[str, str], sentences: Sequence[str] = ()
) -> list[Field]:
    """The fields as they were typed, each with its fault; what may be a secret is not shown again.

    ``sentences`` are those of `ParameterError`, which begin with the name.
    """
    kinds = {item.name: item.kind for item in parameters.items}
    faults = {name: text for name, _, text in (fault.partition(": ") for fault in sentences)}
    found = []
    for field in fields:
        text = form.get(PREFIX + field.name, "")
        kept = "" if kinds[field.name].secret and field.name in faults else text
        found.append(replace(field, value=kept, checked=text == "true", fault=faults.get(field.name, "")))
    return found


def _read(kind: Kind, text: str) -> Any:
    """Texts are read by the declared type; of a text of several lines that is to be a list, each line is an item."""
    text = text.replace("\r\n", "\n")
    if kind.name == "list" and "\n" in text.strip() and not text.lstrip().startswith("["):
        return ",".join(line.strip() for line in text.split("\n") if line.strip())
    if kind.name == "dict" and not text.strip():
        return {}
    return text


def _field(item: Parameter, config: Config) -> Field:
    kind = item.kind
    plain = Field(item.name, item.name.replace("_", " "), "text", str(kind), item.help, required=item.required)
    if kind.name == "bool":
        return replace(plain, control="checkbox", required=False)
    if kind.choices:
        return replace(plain, control="select", options=[str(choice) for choice in kind.choices])
    if kind.name in ("list", "dict", "Any"):
        hint = {"list": "separated by commas, one a line, or JSON", "dict": "JSON", "Any": ""}[kind.name]
        return replace(plain, control="area", hint=hint, suggestions=_known(kind, config))
    return replace(
        plain, control=_INPUT.get(kind.name, "text"), limits=_limits(kind), unit=_unit(kind),
        suggestions=_known(kind, config), hint=_hint(kind),
    )  # fmt: skip


def _hint(kind: Kind) -> str:
    if kind.secret:
        return 'a reference such as "env:NAME" or "vault:path#key", never the secret itself'
    if "timedelta" in str(kind):
        return "90s, 5m, 1h30m"
    return next((f"must match {bound.pattern}" for bound in kind.bounds if isinstance(bound, Regex)), "")


def _known(kind: Kind, config: Config) -> list[str]:
    """Names from the configuration that fit."""
    if "SourceName" in str(kind):
        return config.names("sources")
    return ["localhost", *config.names("hosts")] if "HostName" in str(kind) else []


def _limits(kind: Kind) -> dict[str, str]:
    if kind.name not in ("int", "float"):
        return {}
    found = {"step": "1" if kind.name == "int" else "any"}
    for bound in kind.bounds:
        if isinstance(bound, Range):
            sides = {"min": bound.low, "max": bound.high}
            found |= {name: f"{side:g}" for name, side in sides.items() if side is not None}
    return found


def _unit(kind: Kind) -> str:
    return next((bound.unit for bound in kind.bounds if isinstance(bound, Range)), "")


def _typed(value: Any) -> str | bool:
    """A value as somebody would type it."""
    if value is None or isinstance(value, bool | str):
        return value or ""
    simple = isinstance(value, list) and all(
        isinstance(item, str) and "," not in item and "\n" not in item for item in value
    )
    return ", ".join(value) if simple else canonical(value)
