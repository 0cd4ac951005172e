"""A parameter's annotation, read from the syntax tree as a `Kind`; nothing of it is run."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from typing import Any

from sretoolkit.runbook.kinds import NAMES, NUMBERS, TEXTS, Fault, Kind, Range, Regex


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
            if name in NAMES:
                return Kind(name)
    raise Fault(
        f"a parameter cannot be a {ast.unparse(annotation)}; use one of {', '.join(NAMES)}, Literal, Annotated, |"
    )


def _subscript(head: str, inner: list[ast.expr]) -> Kind:
    if head == "Literal":
        return Kind("Literal", choices=_choices(inner))
    if head == "Optional" and len(inner) == 1:
        return _union([kind_of(inner[0]), Kind("None")])
    if head == "Union":
        return _union([kind_of(item) for item in inner])
    if head == "Annotated" and len(inner) > 1:
        return _bounded(kind_of(inner[0]), tuple(bound for item in inner[1:] if (bound := _bound(item)) is not None))
    if head in ("list", "List") and len(inner) == 1:
        return Kind("list", (kind_of(inner[0]),))
    if head in ("dict", "Dict") and len(inner) == 2:
        key = kind_of(inner[0])
        if {key.name, *(part.name for part in key.parts)} & {"list", "dict", "Any"}:
            raise Fault(f"the keys of a dict cannot be a {key}")
        return Kind("dict", (key, kind_of(inner[1])))
    raise Fault(f"a parameter cannot be a {head}[...] like that")


def _choices(inner: Sequence[ast.expr]) -> tuple[Any, ...]:
    try:
        choices = tuple(ast.literal_eval(item) for item in inner)
    except (ValueError, TypeError) as error:
        raise Fault(f"Literal[{', '.join(map(ast.unparse, inner))}] has a choice that is no plain value") from error
    if not choices or not all(choice is None or type(choice) in (str, int, bool) for choice in choices):
        raise Fault("the choices of a Literal are texts, whole numbers, True, False or None, at least one of them")
    return choices


def _bounded(base: Kind, bounds: tuple[Range | Regex, ...]) -> Kind:
    """The type with these bounds; in a union they are those of every part that is not None."""
    if base.name == "union":
        parts = tuple(part if part.name == "None" else _bounded(part, bounds) for part in base.parts)
        return Kind("union", parts)
    for bound in bounds:
        if base.name not in (TEXTS if isinstance(bound, Regex) else NUMBERS):
            raise Fault(f"a {type(bound).__name__} says nothing about a {base}")
    return Kind(base.name, base.parts, base.choices, base.bounds + bounds)


def _union(parts: Sequence[Kind]) -> Kind:
    flat = [inner for part in parts for inner in (part.parts if part.name == "union" else (part,))]
    return Kind("union", tuple(dict.fromkeys(flat)))


def _bound(item: ast.expr) -> Range | Regex | None:
    if isinstance(item, ast.Constant) and isinstance(item.value, str):
        return None  # a note for readers
    made = {"Range": Range, "Regex": Regex}.get(_last_name(item.func)) if isinstance(item, ast.Call) else None
    if made is None or not isinstance(item, ast.Call):
        raise Fault(
            f"{ast.unparse(item)} is neither Range(...) nor Regex(...), and what it demands would not be checked"
        )
    try:
        arguments = [ast.literal_eval(argument) for argument in item.args]
        bound: Range | Regex = made(
            *arguments, **{word.arg or "": ast.literal_eval(word.value) for word in item.keywords}
        )
        if isinstance(bound, Regex):
            re.compile(bound.pattern)
        elif not all(side is None or type(side) in (int, float) for side in (bound.low, bound.high)):
            raise TypeError("the bounds are numbers (of seconds, for a timedelta)")
    except (ValueError, TypeError, re.error) as error:
        raise Fault(f"{ast.unparse(item)} cannot be read: {error}") from error
    return bound


def _expression(text: str) -> ast.expr:
    try:
        return ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise Fault(f"the annotation {text!r} is no type") from error


def _last_name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
