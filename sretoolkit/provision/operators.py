"""How a rule is asked: each operator of the rule language as a function of a node's facts."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sretoolkit.provision.rule_types import ALIASES, kind_of, pattern_of, short

Lookup = Callable[["Facts"], Any]
_MISSING = object()


class Unknown:
    """The third answer, with the reason; never true, never false."""

    __slots__ = ("reason",)

    def __init__(self, reason: str) -> None:
        self.reason = reason

    def __repr__(self) -> str:
        return f"unknown ({self.reason})"

    def __bool__(self) -> bool:
        raise TypeError("unknown is neither true nor false")


@dataclass(frozen=True)
class Facts:
    """What a rule may look at: facts and metadata (JSON data), state, MAC addresses, and the rules of other tags."""

    facts: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    state: Mapping[str, Any] = field(default_factory=dict)
    macs: Sequence[str] = ()
    tags: Mapping[str, Callable[[Facts], Any]] = field(default_factory=dict)


def build(rule: Any) -> Lookup:
    """A function of the facts that gives the value of a rule, or of a plain argument."""
    if not isinstance(rule, list | tuple):
        return lambda _facts: rule
    name = str(ALIASES.get(rule[0], rule[0]))
    if name in _CONNECTIVES:
        return _CONNECTIVES[name]([build(part) for part in rule[1:]])
    if name in _LOOKUPS:
        return _LOOKUPS[name](*rule[1:])
    if name == "like" and isinstance(rule[2], str):
        pattern = pattern_of(rule[2])
        return _strict(
            lambda text: pattern.search(text) is not None if isinstance(text, str) else _no_text(text), rule[1:2]
        )
    return _strict(_FUNCTIONS[name], rule[1:])


def _strict(function: Callable[..., Any], arguments: Sequence[Any]) -> Lookup:
    """A function of values that is unknown when one of them is."""
    if len(arguments) == 2 and not isinstance(arguments[1], list | tuple):
        left, right = build(arguments[0]), arguments[1]

        def ask_one(facts: Facts) -> Any:
            value = left(facts)
            return value if isinstance(value, Unknown) else function(value, right)

        return ask_one
    parts = [build(argument) for argument in arguments]

    def ask(facts: Facts) -> Any:
        values = [part(facts) for part in parts]
        lost = next((value for value in values if isinstance(value, Unknown)), None)
        return function(*values) if lost is None else lost

    return ask


def _junction(decisive: bool) -> Callable[[list[Lookup]], Lookup]:
    """``and`` (decided by one no) and ``or`` (decided by one yes): else unknown when one part is, else the other answer."""

    def make(parts: list[Lookup]) -> Lookup:
        def ask(facts: Facts) -> Any:
            lost = None
            for part in parts:
                value = part(facts)
                if value is decisive:
                    return decisive
                if value is not (not decisive):
                    lost = value if lost is None else lost
            return (not decisive) if lost is None else lost

        return ask

    return make


def _not(parts: list[Lookup]) -> Lookup:
    def ask(facts: Facts) -> Any:
        value = parts[0](facts)
        return value if isinstance(value, Unknown) else not value

    return ask


def _looked_up(kind: str) -> Callable[..., Lookup]:
    """``["fact", "disks.0.serial", default]``: the name itself first, then the path in it; lists know ``length``."""
    attribute = {"fact": "facts", "metadata": "metadata", "state": "state"}[kind]

    def make(name: str, default: Any = _MISSING) -> Lookup:
        path = name.split(".")
        absent = Unknown(f"there is no {kind} {name!r}") if default is _MISSING else default
        fallback = build(absent) if isinstance(absent, list | tuple) else lambda _facts: absent
        structure = Unknown(f"the {kind} {name!r} is a list or a table, which cannot be compared")

        def ask(facts: Facts) -> Any:
            table = getattr(facts, attribute)
            value = table.get(name, _MISSING)
            if value is _MISSING and len(path) > 1:
                value = _along(table, path)
            if value is _MISSING:
                return fallback(facts)
            return structure if isinstance(value, list | dict) else value

        return ask

    return make


def _along(value: Any, path: Sequence[str]) -> Any:
    for part in path:
        if isinstance(value, Mapping) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        elif isinstance(value, list) and part == "length":
            value = len(value)
        else:
            return _MISSING
    return _MISSING if value is None or isinstance(value, list | dict) else value


def _of_tag(name: str) -> Lookup:
    absent = Unknown(f"there is no tag {name!r}")

    def ask(facts: Facts) -> Any:
        found = facts.tags.get(name)
        return absent if found is None else found(facts)

    return ask


def _macs(matches: Callable[[str, str], bool]) -> Callable[..., Lookup]:
    def make(*wanted: Any) -> Lookup:
        parts = [build(item) for item in wanted]

        def ask(facts: Facts) -> Any:
            asked = [part(facts) for part in parts]
            lost = next((item for item in asked if not isinstance(item, str)), None)
            if lost is not None:
                return lost if isinstance(lost, Unknown) else _no_text(lost)
            return any(matches(item, mac) for mac in _macs_of(facts) for item in asked)

        return ask

    return make


def _macs_of(facts: Facts) -> list[str]:
    named = [value for name, value in facts.facts.items() if name.startswith("macaddress") and isinstance(value, str)]
    return [_colons(mac) for mac in (*facts.macs, *named)]


def _colons(mac: str) -> str:
    return mac.lower().replace("-", ":")


def _same(one: Any, other: Any) -> bool:
    """Equal as JSON has it: 1 is 1.0, but true is not 1 and "1" is not 1."""
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def _compare(name: str) -> Callable[[Any, Any], Any]:
    function = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}[name]

    def ask(one: Any, other: Any) -> Any:
        if kind_of(one) == kind_of(other) == "number":
            return function(one, other)
        wrong = other if kind_of(one) == "number" else one
        return Unknown(f"{short(wrong)} is no number")

    return ask


def _number(value: Any) -> Any:
    if kind_of(value) == "number":
        return value
    if isinstance(value, str):
        text = value.strip()
        try:
            if re.fullmatch(r"-?0[0-7]+", text):
                return int(text, 8)
            return int(text, 0) if re.fullmatch(r"-?0[bBxX][0-9a-fA-F]+", text) else float(text)
        except ValueError:
            pass
    return Unknown(f"{short(value)} is no number")


def _no_text(value: Any) -> Unknown:
    return Unknown(f"{short(value)} is no text")


def _text_of(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def _like(text: Any, pattern: Any) -> Any:
    if not isinstance(text, str) or not isinstance(pattern, str):
        return _no_text(pattern if isinstance(text, str) else text)
    try:
        return pattern_of(pattern).search(text) is not None
    except re.error as error:  # a pattern that is itself a fact
        return Unknown(f"{short(pattern)} is no regular expression: {error}")


_CONNECTIVES: dict[str, Callable[[list[Lookup]], Lookup]] = {
    "and": _junction(False), "or": _junction(True), "not": _not,
}  # fmt: skip
_LOOKUPS: dict[str, Callable[..., Lookup]] = {
    "fact": _looked_up("fact"),
    "metadata": _looked_up("metadata"),
    "state": _looked_up("state"),
    "tag": _of_tag,
    "has_macaddress": _macs(lambda wanted, mac: _colons(wanted) == mac),
    "has_macaddress_like": _macs(
        lambda wanted, mac: re.search(pattern_of(wanted).pattern, mac, re.I | re.M) is not None
    ),
}
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "=": _same,
    "!=": lambda one, other: not _same(one, other),
    "like": _like,
    "in": lambda needle, *hay: any(_same(needle, item) for item in hay),
    "num": _number,
    "str": _text_of,
    "lower": lambda text: text.lower() if isinstance(text, str) else _no_text(text),
    "upper": lambda text: text.upper() if isinstance(text, str) else _no_text(text),
    **{name: _compare(name) for name in ("<", "<=", ">", ">=")},
}
