r"""Riemann's query grammar, read and applied by rules of the tests' own (nothing is shared with the source's writer).

Tokens are the longest possible, as with the server's ANTLR lexer; strings are then read by Clojure's rules, which
end at the first quote that is not escaped. Source: riemann/riemann@24343516 resources/query.g4, src/riemann/query.clj.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_HEAD = r"""[^0-9^`'"\#~@:/%()\[\]{} \n\r\t,]"""
_TOKENS = [
    ("string", re.compile(r'"(?:\\"|[^"])*"')),
    ("float", re.compile(r"-?[0-9]+(?:\.[0-9]+(?:[eE]-?[0-9]+)?|[eE]-?[0-9]+)|-?Infinity|-?NaN")),
    ("bign", re.compile(r"-?[0-9]+[nN]")),
    ("long", re.compile(r"-?[0-9]+")),
    ("operator", re.compile(r"=~|~=|!=|<=|>=|=|<|>|\(|\)")),
    ("name", re.compile(rf"{_HEAD}(?:{_HEAD}|[0-9.])*(?::(?:{_HEAD}|[0-9.])+)*")),
]
_BLANK = re.compile(r"[ \n\r\t,]*")
_ESCAPES = {"t": "\t", "r": "\r", "n": "\n", "\\": "\\", '"': '"', "b": "\b", "f": "\f"}
_CONSTANTS = {"true": True, "false": False, "nil": None, "null": None}
_COMPARED = {"=": "=", "!=": "not=", "<": "<", ">": ">", "<=": "<=", ">=": ">=", "=~": "like", "~=": "regex"}


class ParseError(ValueError):
    """The text is no query."""


@dataclass(frozen=True)
class Field:
    """The value of an event's field of that name."""

    name: str


def parse(text: str) -> Any:
    """The tree of a query: tuples of an operator and its terms, fields and constants."""
    tokens = _tokens(text)
    tree, at = _or(tokens, 0)
    if at < len(tokens):
        raise ParseError(f"parse error: extraneous input {tokens[at][1]!r}")
    return tree


def matches(tree: Any, event: Mapping[str, Any]) -> bool:
    """Whether an event (a mapping of its fields) fulfils a query."""
    if not isinstance(tree, tuple):
        return _value(tree, event) not in (None, False)
    operator, *terms = tree
    if operator in ("and", "or", "not"):
        found = [matches(term, event) for term in terms]
        return not found[0] if operator == "not" else all(found) if operator == "and" else any(found)
    if operator == "tagged":
        return terms[0] in (event.get("tags") or ())
    left, right = (_value(term, event) for term in terms)
    if operator in ("=", "not="):
        same = type(left) is type(right) and left == right
        return same is (operator == "=")
    if operator in ("like", "regex"):
        return isinstance(left, str) and bool(re.search(_pattern(operator, right), left))
    if not (_is_number(left) and _is_number(right)):
        return False
    return bool({"<": left < right, ">": left > right, "<=": left <= right, ">=": left >= right}[operator])


def _tokens(text: str) -> list[tuple[str, str]]:
    found = []
    at = _BLANK.match(text).end()  # type: ignore[union-attr]
    while at < len(text):
        candidates = [(kind, match[0]) for kind, rule in _TOKENS if (match := rule.match(text, at))]
        if not candidates:
            raise ParseError(f"parse error: token recognition error at {text[at : at + 10]!r}")
        token = max(candidates, key=lambda one: len(one[1]))  # the first of the longest
        found.append(token)
        at = _BLANK.match(text, at + len(token[1])).end()  # type: ignore[union-attr]
    return found


def _or(tokens: list[tuple[str, str]], at: int) -> tuple[Any, int]:
    left, at = _and(tokens, at)
    while _next(tokens, at) == ("name", "or"):
        right, at = _and(tokens, at + 1)
        left = ("or", left, right)
    return left, at


def _and(tokens: list[tuple[str, str]], at: int) -> tuple[Any, int]:
    left, at = _not(tokens, at)
    while _next(tokens, at) == ("name", "and"):
        right, at = _not(tokens, at + 1)
        left = ("and", left, right)
    return left, at


def _not(tokens: list[tuple[str, str]], at: int) -> tuple[Any, int]:
    if _next(tokens, at) == ("name", "not"):
        inner, at = _not(tokens, at + 1)
        return ("not", inner), at
    if _next(tokens, at) == ("operator", "("):
        inner, at = _or(tokens, at + 1)
        if _next(tokens, at) != ("operator", ")"):
            raise ParseError("parse error: missing ')'")
        return inner, at + 1
    return _simple(tokens, at)


def _simple(tokens: list[tuple[str, str]], at: int) -> tuple[Any, int]:
    if _next(tokens, at) == ("name", "tagged"):
        return ("tagged", _term(tokens, at + 1, "string")), at + 2
    left = _term(tokens, at)
    kind, operator = _next(tokens, at + 1)
    if kind != "operator" or operator not in _COMPARED:
        return left, at + 1
    wanted = {"=~": "string", "~=": "string", "=": "", "!=": ""}.get(operator, "number")
    return (_COMPARED[operator], left, _term(tokens, at + 2, wanted)), at + 3


def _term(tokens: list[tuple[str, str]], at: int, wanted: str = "") -> Any:
    kind, text = _next(tokens, at)
    group = "number" if kind in ("float", "bign", "long") else kind
    if not kind or kind == "operator" or (wanted and group != wanted):
        raise ParseError(f"parse error: mismatched input {text!r} expecting {wanted or 'a value'}")
    if kind == "string":
        return _read_string(text)
    if kind == "name":
        return _CONSTANTS[text] if text in _CONSTANTS else Field(text)
    return float(text) if kind == "float" else int(text.rstrip("nN"))


def _next(tokens: list[tuple[str, str]], at: int) -> tuple[str, str]:
    return tokens[at] if at < len(tokens) else ("", "<EOF>")


def _read_string(token: str) -> str:
    out, at = [], 1
    while token[at] != '"':
        if token[at] != "\\":
            out.append(token[at])
            at += 1
        elif token[at + 1] == "u":
            if not re.fullmatch(r"[0-9a-fA-F]{4}", token[at + 2 : at + 6]):
                raise ParseError("Invalid unicode escape")
            out.append(chr(int(token[at + 2 : at + 6], 16)))
            at += 6
        elif token[at + 1] in _ESCAPES:
            out.append(_ESCAPES[token[at + 1]])
            at += 2
        else:
            raise ParseError(f"Unsupported escape character: \\{token[at + 1]}")
    return "".join(out)


def _value(term: Any, event: Mapping[str, Any]) -> Any:
    return event.get(term.name) if isinstance(term, Field) else term


def _pattern(operator: str, text: str) -> str:
    if operator == "regex":
        return text.replace(r"\z", r"\Z")  # Java's end of input
    return "^" + "".join(".*" if part == "%" else re.escape(part) for part in re.findall("%|[^%]+", text)) + "$"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
