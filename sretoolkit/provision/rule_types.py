"""What each operator of the rule language takes and gives, and what is wrong with a rule that does not keep to it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_MOST_DEEP = 50
_ANY = ("text", "boolean", "number", "nothing")


@dataclass(frozen=True)
class Operator:
    """The kinds that it takes (the last one is that of all further arguments) and gives, and how many."""

    takes: tuple[tuple[str, ...], ...]
    gives: tuple[str, ...]
    least: int = 1
    most: int | None = None


_TEXT, _NUMBER, _BOOLEAN = ("text",), ("number",), ("boolean",)
OPERATORS: dict[str, Operator] = {
    "and": Operator((_BOOLEAN,), _BOOLEAN),
    "or": Operator((_BOOLEAN,), _BOOLEAN),
    "not": Operator((_BOOLEAN,), _BOOLEAN, 1, 1),
    "fact": Operator((_TEXT, _ANY), _ANY, 1, 2),
    "metadata": Operator((_TEXT, _ANY), _ANY, 1, 2),
    "tag": Operator((_TEXT,), _BOOLEAN, 1, 1),
    "state": Operator((_TEXT, _TEXT), _ANY, 1, 2),
    "=": Operator((_ANY,), _BOOLEAN, 2, 2),
    "!=": Operator((_ANY,), _BOOLEAN, 2, 2),
    "like": Operator((_TEXT, _TEXT), _BOOLEAN, 2, 2),
    "in": Operator((_ANY,), _BOOLEAN, 2),
    "num": Operator((_ANY,), _NUMBER, 1, 1),
    "str": Operator((_ANY,), _TEXT, 1, 1),
    "<": Operator((_NUMBER,), _BOOLEAN, 2, 2),
    "<=": Operator((_NUMBER,), _BOOLEAN, 2, 2),
    ">": Operator((_NUMBER,), _BOOLEAN, 2, 2),
    ">=": Operator((_NUMBER,), _BOOLEAN, 2, 2),
    "lower": Operator((_TEXT,), _TEXT, 1, 1),
    "upper": Operator((_TEXT,), _TEXT, 1, 1),
    "has_macaddress": Operator((_TEXT,), _BOOLEAN),
    "has_macaddress_like": Operator((_TEXT,), _BOOLEAN),
}
ALIASES = {"eq": "=", "neq": "!=", "lt": "<", "lte": "<=", "gt": ">", "gte": ">="}


def problems(rule: Any) -> list[str]:
    """What is wrong with a rule; nothing when it can be asked."""
    return list(_check(rule, _BOOLEAN, "the rule", 0))


def _check(rule: Any, wanted: tuple[str, ...], where: str, deep: int) -> Iterator[str]:
    if not isinstance(rule, list | tuple) or not rule:
        yield f"{where} must be a list that begins with an operator, not {short(rule)}"
        return
    name = ALIASES.get(rule[0], rule[0]) if isinstance(rule[0], str) else rule[0]
    operator = OPERATORS.get(name) if isinstance(name, str) else None
    if operator is None:
        yield f"{where} begins with {short(rule[0])}, which is no operator; there are: {' '.join(OPERATORS)}"
        return
    if deep > _MOST_DEEP:
        yield f"{where} is nested more than {_MOST_DEEP} deep"
        return
    count = len(rule) - 1
    if count < operator.least or (operator.most is not None and count > operator.most):
        takes = str(operator.least) if operator.least == operator.most else f"{operator.least} or more"
        takes = (
            takes
            if operator.most is None or operator.least == operator.most
            else f"{operator.least} or {operator.most}"
        )
        yield f"{name!r} takes {takes} arguments, not {count}"
    if loose := sorted(set(operator.gives) - set(wanted)):
        yield f"{name!r} may give {' or '.join(loose)} as {where}, which takes {' or '.join(wanted)}{_cure(wanted)}"
    for place, argument in enumerate(rule[1:]):
        kinds = operator.takes[min(place, len(operator.takes) - 1)]
        yield from _check_argument(argument, kinds, f"argument {place + 1} of {name!r}", deep)
    if name in ("like", "has_macaddress_like"):
        for pattern in rule[2:] if name == "like" else rule[1:]:
            yield from _checkpattern_of(pattern, name)


def _check_argument(argument: Any, kinds: tuple[str, ...], where: str, deep: int) -> Iterator[str]:
    if isinstance(argument, list | tuple):
        yield from _check(argument, kinds, where, deep + 1)
    elif (kind := kind_of(argument)) not in kinds:
        yield f"{where} is {short(argument)}, {kind}; it takes {' or '.join(kinds)}"


def _checkpattern_of(pattern: Any, name: str) -> Iterator[str]:
    if isinstance(pattern, str):
        try:
            pattern_of(pattern)
        except re.error as error:
            yield f"the pattern {short(pattern)} of {name!r} is no regular expression: {error}"


def _cure(wanted: tuple[str, ...]) -> str:
    if wanted == _NUMBER:
        return '; put it into ["num", ...]'
    return '; put it into ["str", ...]' if wanted == _TEXT else '; compare it: ["=", ..., true]'


def kind_of(value: Any) -> str:
    """The kind of a plain value, as the operators know it."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    return "text" if isinstance(value, str) else "nothing" if value is None else f"a {type(value).__name__}"


def short(value: Any) -> str:
    """A rule, or a value in it, as JSON of at most 120 characters."""
    text = json.dumps(value, default=str)
    return text if len(text) <= 120 else text[:117] + "..."


def pattern_of(text: str) -> re.Pattern[str]:
    r"""A Ruby regular expression in Python's words: ``^`` and ``$`` are ends of lines, ``\z``, ``\Z`` and ``\h`` exist."""
    ruby = {r"\z": r"\Z", r"\Z": r"(?=\n?\Z)", r"\h": "[0-9a-fA-F]", r"\H": "[^0-9a-fA-F]"}
    return re.compile(re.sub(r"\\.", lambda found: ruby.get(found[0], found[0]), text, flags=re.DOTALL), re.MULTILINE)
