"""The types that a parameter may have: read from an annotation, and used to check, parse, render and describe values."""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sretoolkit.clock import format_duration, parse_duration
from sretoolkit.errors import ConfigError, SecretError
from sretoolkit.secrets import Secret


class HostName(str):
    """A parameter that names a host: one from the configuration, or "localhost"."""


class SourceName(str):
    """A parameter that names a monitoring system: one from the configuration, or its URL."""


@dataclass(frozen=True)
class Range:
    """``Annotated[int, Range(1, 100)]``: bounds that are included; None leaves a side open. ``unit`` is shown only."""

    low: float | None = None
    high: float | None = None
    unit: str = ""


@dataclass(frozen=True)
class Regex:
    """``Annotated[str, Regex("[a-z]+")]``: the whole text must match."""

    pattern: str


class Fault(ValueError):
    """Why a value or an annotation is refused; becomes one line of a `ParameterError`."""


@dataclass(frozen=True)
class Kind:
    """A type as data: its name, its parts (of a list, dict or union), its choices and its bounds."""

    name: str
    parts: tuple[Kind, ...] = ()
    choices: tuple[Any, ...] = ()
    bounds: tuple[Range | Regex, ...] = ()

    def __str__(self) -> str:
        if self.name == "union":
            return " | ".join(map(str, self.parts))
        if self.choices:
            return f"Literal[{', '.join(map(repr, self.choices))}]"
        inner = f"[{', '.join(map(str, self.parts))}]" if self.parts else ""
        return f"{self.name}{inner}{''.join(f' ({_bound_text(bound)})' for bound in self.bounds)}"

    def accept(self, value: Any) -> Any:
        """The value as this type, from Python, YAML or JSON data; raises `Fault`. Nothing is converted by guessing."""
        if self.name == "union":
            return self._first_that(lambda part: part.accept(value), value)
        if self.choices:
            if not any(value == choice and type(value) is type(choice) for choice in self.choices):
                raise Fault(f"{value!r} is not one of {', '.join(map(repr, self.choices))}")
            return value
        result = _ACCEPT[self.name](self, value)
        for bound in self.bounds:
            _check_bound(bound, result)
        return result

    def parse(self, text: str) -> Any:
        """The value that a text from the command line means for this type; raises `Fault`."""
        if self.name == "union":
            return self._first_that(lambda part: part.parse(text), text)
        if self.choices:
            found = [choice for choice in self.choices if str(choice) == text]
            if not found:
                raise Fault(f"{text!r} is not one of {', '.join(map(repr, self.choices))}")
            return found[0]
        return self.accept(_PARSE.get(self.name, _as_text)(self, text))

    def encode(self, value: Any) -> Any:
        """The value as JSON data: what the journal holds and `accept` takes back."""
        if isinstance(value, Secret):
            return value.reference
        if isinstance(value, timedelta):
            return format_duration(value)
        if isinstance(value, list):
            return [self.encode(item) for item in value]
        if isinstance(value, dict):
            return {key: self.encode(item) for key, item in value.items()}
        return value

    def code(self, value: Any, names: Mapping[str, str]) -> str:
        """Python source that makes the value; ``names`` says how this notebook spells ``timedelta`` and ``Secret``."""
        if isinstance(value, timedelta):
            return f"{names.get('timedelta', 'timedelta')}(seconds={value.total_seconds()!r})"
        if isinstance(value, Secret):
            return f"{names.get('Secret', 'Secret')}({value.reference!r})"
        if isinstance(value, list):
            return f"[{', '.join(self.code(item, names) for item in value)}]"
        if isinstance(value, dict):
            return "{" + ", ".join(f"{key!r}: {self.code(item, names)}" for key, item in value.items()) + "}"
        if isinstance(value, float) and not math.isfinite(value):
            return f"float({str(value)!r})"
        return repr(value)

    def schema(self) -> dict[str, Any]:
        """JSON Schema of the type."""
        if self.name == "union":
            return {"anyOf": [part.schema() for part in self.parts]}
        if self.choices:
            return {"enum": list(self.choices)}
        schema = dict(_SCHEMA[self.name])
        if self.name == "list" and self.parts:
            schema["items"] = self.parts[0].schema()
        if self.name == "dict" and len(self.parts) == 2:
            schema["additionalProperties"] = self.parts[1].schema()
        for bound in self.bounds:
            if isinstance(bound, Regex):
                schema["pattern"] = f"^(?:{bound.pattern})$"
            else:
                pairs = {"minimum": bound.low, "maximum": bound.high, "x-unit": bound.unit or None}
                schema |= {key: value for key, value in pairs.items() if value is not None}
        return schema

    def _first_that(self, attempt: Callable[[Kind], Any], given: Any) -> Any:
        faults = []
        for part in sorted(self.parts, key=lambda part: part.name == "str"):
            try:
                return attempt(part)
            except Fault as fault:
                faults.append(str(fault))
        raise Fault(f"{given!r} fits none of {self}: {'; '.join(faults)}")


def kind_of(annotation: ast.expr) -> Kind:
    """The type that an annotation names; raises `Fault` for one that a parameter cannot have."""
    match annotation:
        case ast.Constant(value=None):
            return Kind("None")
        case ast.Constant(value=str(text)):
            return kind_of(_expression(text))
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return _union([kind_of(left), kind_of(right)])
        case ast.Subscript(value=head, slice=inner):
            return _subscript(_last_name(head), list(inner.elts) if isinstance(inner, ast.Tuple) else [inner])
        case ast.Name() | ast.Attribute():
            name = _last_name(annotation)
            if name in _ACCEPT:
                return Kind(name)
    raise Fault(f"a parameter cannot be a {ast.unparse(annotation)}; use one of {', '.join(_ACCEPT)}, Literal, Annotated, |")


def kind_of_value(value: Any) -> Kind:
    """The type that a default without an annotation stands for."""
    name = type(value).__name__
    return Kind("Any" if value is None or name not in _ACCEPT else name)


def _subscript(head: str, inner: list[ast.expr]) -> Kind:
    if head == "Literal":
        return Kind("Literal", choices=tuple(ast.literal_eval(item) for item in inner))
    if head == "Optional":
        return _union([kind_of(inner[0]), Kind("None")])
    if head == "Union":
        return _union([kind_of(item) for item in inner])
    if head == "Annotated":
        base = kind_of(inner[0])
        bounds = tuple(bound for item in inner[1:] if (bound := _bound(item)) is not None)
        return Kind(base.name, base.parts, base.choices, bounds)
    if head in ("list", "List"):
        return Kind("list", (kind_of(inner[0]),))
    if head in ("dict", "Dict") and len(inner) == 2:
        return Kind("dict", (kind_of(inner[0]), kind_of(inner[1])))
    raise Fault(f"a parameter cannot be a {head}[...]")


def _union(parts: Sequence[Kind]) -> Kind:
    flat = [inner for part in parts for inner in (part.parts if part.name == "union" else (part,))]
    return Kind("union", tuple(dict.fromkeys(flat)))


def _bound(item: ast.expr) -> Range | Regex | None:
    if not isinstance(item, ast.Call):
        return None
    made = {"Range": Range, "Regex": Regex}.get(_last_name(item.func))
    if made is None:
        return None
    try:
        arguments = [ast.literal_eval(argument) for argument in item.args]
        bound: Range | Regex = made(*arguments, **{word.arg or "": ast.literal_eval(word.value) for word in item.keywords})
        if isinstance(bound, Regex):
            re.compile(bound.pattern)
    except (ValueError, TypeError, re.error) as error:
        raise Fault(f"{ast.unparse(item)} cannot be read: {error}") from error
    return bound


def _expression(text: str) -> ast.expr:
    try:
        return ast.parse(text, mode="eval").body
    except SyntaxError as error:
        raise Fault(f"the annotation {text!r} is no type") from error


def _last_name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _check_bound(bound: Range | Regex, value: Any) -> None:
    if isinstance(bound, Regex):
        if not re.fullmatch(bound.pattern, str(value)):
            raise Fault(f"{value!r} does not match {bound.pattern}")
        return
    number = value.total_seconds() if isinstance(value, timedelta) else value
    if (bound.low is not None and not number >= bound.low) or (bound.high is not None and not number <= bound.high):
        raise Fault(f"{value!r} is not {_bound_text(bound)}")


def _bound_text(bound: Range | Regex) -> str:
    if isinstance(bound, Regex):
        return f"like {bound.pattern}"
    low, high = ("" if side is None else f"{side:g}" for side in (bound.low, bound.high))
    return f"{low} to {high}{' ' + bound.unit if bound.unit else ''}"


def _as_text(kind: Kind, text: str) -> str:
    return text


def _parse_bool(kind: Kind, text: str) -> bool:
    words = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
    if text.lower() not in words:
        raise Fault(f"{text!r} is neither true nor false")
    return words[text.lower()]


def _parse_number(convert: Callable[[str], Any]) -> Callable[[Kind, str], Any]:
    def parse(kind: Kind, text: str) -> Any:
        try:
            return convert(text)
        except ValueError:
            raise Fault(f"{text!r} is no {kind.name}") from None

    return parse


def _parse_none(kind: Kind, text: str) -> None:
    if text.lower() not in ("none", "null"):
        raise Fault(f"{text!r} is not none")


def _parse_list(kind: Kind, text: str) -> Any:
    if text.lstrip().startswith("["):
        return _parse_json(kind, text)
    items = [item.strip() for item in text.split(",")] if text.strip() else []
    return [kind.parts[0].parse(item) if kind.parts else item for item in items]


def _parse_json(kind: Kind, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise Fault(f"{text!r} is no JSON: {error}") from None


def _accept_exactly(*types: type) -> Callable[[Kind, Any], Any]:
    def accept(kind: Kind, value: Any) -> Any:
        if type(value) not in types:
            raise Fault(f"{value!r} is a {type(value).__name__}, not {kind.name}")
        return value

    return accept


def _accept_float(kind: Kind, value: Any) -> float:
    return float(_accept_exactly(int, float)(kind, value))


def _accept_list(kind: Kind, value: Any) -> list[Any]:
    items = _accept_exactly(list, tuple)(kind, value)
    return [kind.parts[0].accept(item) if kind.parts else item for item in items]


def _accept_dict(kind: Kind, value: Any) -> dict[Any, Any]:
    items = _accept_exactly(dict)(kind, value)
    if len(kind.parts) != 2:
        return dict(items)
    return {kind.parts[0].accept(key): kind.parts[1].accept(item) for key, item in items.items()}


def _accept_duration(kind: Kind, value: Any) -> timedelta:
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str):
        raise Fault(f'{value!r} is no duration: write "90s", "5m" or "1h30m"')
    try:
        return parse_duration(value)
    except ConfigError as error:
        raise Fault(error.message) from None


def _accept_secret(kind: Kind, value: Any) -> Secret:
    if isinstance(value, Secret):
        return value
    try:
        return Secret(value if isinstance(value, str) else "")
    except SecretError as error:
        raise Fault(str(error)) from None


_ACCEPT: dict[str, Callable[[Kind, Any], Any]] = {
    "int": _accept_exactly(int),
    "float": _accept_float,
    "bool": _accept_exactly(bool),
    "str": _accept_exactly(str, HostName, SourceName),
    "list": _accept_list,
    "dict": _accept_dict,
    "None": _accept_exactly(type(None)),
    "Any": lambda kind, value: value,
    "timedelta": _accept_duration,
    "Secret": _accept_secret,
    "SourceName": _accept_exactly(str, SourceName),
    "HostName": _accept_exactly(str, HostName),
}
_PARSE: dict[str, Callable[[Kind, str], Any]] = {
    "int": _parse_number(int),
    "float": _parse_number(float),
    "bool": _parse_bool,
    "list": _parse_list,
    "dict": _parse_json,
    "None": _parse_none,
}
_SCHEMA: dict[str, dict[str, Any]] = {
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "bool": {"type": "boolean"},
    "str": {"type": "string"},
    "list": {"type": "array"},
    "dict": {"type": "object"},
    "None": {"type": "null"},
    "Any": {},
    "timedelta": {"type": "string", "format": "sretoolkit-duration"},
    "Secret": {"type": "string", "format": "sretoolkit-secret"},
    "SourceName": {"type": "string", "format": "sretoolkit-source"},
    "HostName": {"type": "string", "format": "sretoolkit-host"},
}
