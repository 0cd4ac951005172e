"""The types that a parameter may have: they check, parse, render and describe values."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
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


TEXTS = ("str", "HostName", "SourceName")
NUMBERS = ("int", "float", "timedelta")
_MOST_BITS = 1024
_DEEPEST = 50


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

    @property
    def secret(self) -> bool:
        """Whether a value of it is or holds a secret's reference, so that a wrong one may be the secret itself."""
        return self.name == "Secret" or any(part.secret for part in self.parts)

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
        if isinstance(value, date):
            return value.isoformat()
        if isinstance(value, list):
            return [self.encode(item) for item in value]
        if isinstance(value, dict):
            return {_key_text(self.encode(key)): self.encode(item) for key, item in value.items()}
        return value

    def code(self, value: Any, names: Mapping[str, str]) -> str:
        """Python source that makes the value; ``names`` says how this notebook spells ``date``, ``timedelta`` and ``Secret``."""
        if isinstance(value, timedelta):
            return f"{names.get('timedelta', 'timedelta')}(seconds={value.total_seconds()!r})"
        if isinstance(value, date):
            return f"{names.get('date', 'date')}({value.year}, {value.month}, {value.day})"
        if isinstance(value, Secret):
            return f"{names.get('Secret', 'Secret')}({value.reference!r})"
        if isinstance(value, list):
            return f"[{', '.join(self.code(item, names) for item in value)}]"
        if isinstance(value, dict):
            pairs = [f"{self.code(key, names)}: {self.code(item, names)}" for key, item in value.items()]
            return "{" + ", ".join(pairs) + "}"
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
        for part in sorted(
            self.parts, key=lambda part: (part.name != "None", part.name == "str")
        ):  # any text is a list
            try:
                return attempt(part)
            except Fault as fault:
                faults.append(str(fault))
        raise Fault(f"{given!r} fits none of {self}: {'; '.join(faults)}")


def kind_of_value(value: Any) -> Kind:
    """The type that a default without an annotation stands for."""
    name = "list" if isinstance(value, tuple) else type(value).__name__
    return Kind("Any" if value is None or name not in _ACCEPT else name)


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
    except (ValueError, RecursionError) as error:
        raise Fault(f"{text[:60]!r} is no JSON: {error}") from None


def _accept_exactly(*types: type) -> Callable[[Kind, Any], Any]:
    def accept(kind: Kind, value: Any) -> Any:
        if type(value) not in types:
            raise Fault(f"{value!r} is a {type(value).__name__}, not {kind.name}")
        return value

    return accept


def _accept_int(kind: Kind, value: Any) -> int:
    number: int = _accept_exactly(int)(kind, value)
    if number.bit_length() > _MOST_BITS:
        raise Fault(f"a number of {number.bit_length()} bits is too large")
    return number


def _accept_float(kind: Kind, value: Any) -> float:
    try:
        number = float(_accept_exactly(int, float)(kind, value))
    except OverflowError:
        raise Fault("the number is too large") from None
    if not math.isfinite(number):
        raise Fault(f"{number!r} is no number that can be kept: use None for none")
    return number


def _accept_list(kind: Kind, value: Any) -> list[Any]:
    items = _accept_exactly(list, tuple)(kind, value)
    return [kind.parts[0].accept(item) if kind.parts else _accept_data(kind, item) for item in items]


def _accept_dict(kind: Kind, value: Any) -> dict[Any, Any]:
    items = _accept_exactly(dict)(kind, value)
    if len(kind.parts) != 2:
        return dict(_accept_data(kind, items))
    return {_accept_key(kind.parts[0], key): kind.parts[1].accept(item) for key, item in items.items()}


def _accept_key(kind: Kind, key: Any) -> Any:
    """The key of a dict; JSON has only texts there, which are read by the declared type."""
    try:
        return kind.accept(key)
    except Fault:
        if not isinstance(key, str):
            raise
        return kind.parse(key)


def _key_text(key: Any) -> str:
    return key if isinstance(key, str) else json.dumps(key)


def _accept_data(kind: Kind, value: Any, depth: int = 0) -> Any:
    """A value without a declared type: what JSON can say and give back unchanged, and nothing else."""
    if depth > _DEEPEST:
        raise Fault(f"it is nested more than {_DEEPEST} deep")
    if value is None or type(value) in (bool, str, HostName, SourceName):
        return value
    if type(value) is int:
        return _accept_int(Kind("int"), value)
    if type(value) is float:
        return _accept_float(Kind("float"), value)
    if type(value) in (list, tuple):
        return [_accept_data(kind, item, depth + 1) for item in value]
    if type(value) is dict:
        if others := [key for key in value if type(key) is not str]:
            raise Fault(f"the key {others[0]!r} is no text; declare the type, as in dict[int, str]")
        return {key: _accept_data(kind, item, depth + 1) for key, item in value.items()}
    raise Fault(f"a {type(value).__name__} cannot be kept in the journal as it is: write it as text")


def _accept_duration(kind: Kind, value: Any) -> timedelta:
    if isinstance(value, timedelta):
        if value < timedelta():
            raise Fault(f"{value} is less than nothing")
        return value
    if not isinstance(value, str):
        raise Fault(f'{value!r} is no duration: write "90s", "5m" or "1h30m"')
    try:
        return parse_duration(value)
    except ConfigError as error:
        raise Fault(error.message) from None


def _accept_date(kind: Kind, value: Any) -> date:
    if type(value) is date:
        return value
    try:
        if isinstance(value, str) and (found := date.fromisoformat(value)).isoformat() == value:
            return found
    except ValueError:
        pass
    raise Fault(f'{value!r} is no date: write "2026-12-25"')


def _accept_secret(kind: Kind, value: Any) -> Secret:
    if isinstance(value, Secret):
        return value
    try:
        return Secret(value if isinstance(value, str) else "")
    except SecretError as error:
        raise Fault(str(error)) from None


_ACCEPT: dict[str, Callable[[Kind, Any], Any]] = {
    "int": _accept_int,
    "float": _accept_float,
    "bool": _accept_exactly(bool),
    "str": _accept_exactly(str, HostName, SourceName),
    "list": _accept_list,
    "dict": _accept_dict,
    "None": _accept_exactly(type(None)),
    "Any": _accept_data,
    "date": _accept_date,
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
    "date": {"type": "string", "format": "date"},
    "timedelta": {"type": "string", "format": "sretoolkit-duration"},
    "Secret": {"type": "string", "format": "sretoolkit-secret"},
    "SourceName": {"type": "string", "format": "sretoolkit-source"},
    "HostName": {"type": "string", "format": "sretoolkit-host"},
}
NAMES = tuple(_ACCEPT)
