r"""Riemann's query language, written so that no value can be read as anything else.

A quote or a backslash is written as ``\u0022`` or ``\u005c``, never as ``\"`` or ``\\``: the server's lexer takes the
longest text between quotes in which every ``\"`` may stand inside, so that ``"a\\" and host = "b"`` would be one
string to it. Source: riemann's ``query.g4``, ``query.clj`` and Clojure's reader.
"""

from __future__ import annotations

import re

from sretoolkit.metrics.matcher import Matcher, Selector

NUMBERS = frozenset({"metric", "metric_f", "metric_d", "metric_sint64", "time", "ttl", "tags"})
_FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_WORDS = frozenset({"not", "and", "or", "tagged", "true", "false", "nil", "null", "Infinity", "NaN"})


def literal(text: str) -> str:
    """The text as a string of the language."""
    return '"' + "".join(_written(character) for character in text) + '"'


def is_field(label: str) -> bool:
    """Whether a condition can be put on this: a name of the language, of a field that holds text."""
    return bool(_FIELD.fullmatch(label)) and label not in _WORDS and label not in NUMBERS


def condition(matcher: Matcher) -> str:
    """A condition on a field or attribute (a missing one is empty), or on the tags (label ``tag``, = and != alone)."""
    if matcher.label == "tag":
        found = f"tagged {literal(matcher.value)}"
    elif matcher.is_regex:
        pattern = literal(rf"^(?s:{matcher.value})\z")
        found = f"{matcher.label} ~= {pattern}"
        found = _or_missing(found, matcher.label) if re.fullmatch(matcher.value, "", re.S) else found
    else:
        found = f"{matcher.label} = {literal(matcher.value)}"
        found = _or_missing(found, matcher.label) if not matcher.value else found
    return f"not ({found})" if matcher.operator.startswith("!") else found


def of_service(service: str, selector: Selector) -> str:
    """The events of one service that fulfil a selector's conditions."""
    parts = [f"service = {literal(service)}", *(f"({condition(one)})" for one in selector.matchers)]
    return " and ".join(parts)


def _or_missing(found: str, label: str) -> str:
    return f"({found} or {label} = nil)"


def _written(character: str) -> str:
    code = ord(character)
    odd = character in '"\\' or code < 0x20 or 0x7F <= code < 0xA0 or 0xD800 <= code < 0xE000
    return f"\\u{code:04x}" if odd else character
