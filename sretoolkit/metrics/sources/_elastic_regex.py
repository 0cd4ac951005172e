r"""Regular expressions in Lucene's dialect: translated as far as both mean the same, refused beyond.

Lucene's match the whole value. There ``^``, ``$``, look-arounds, flags and back-references have no meaning, while
``"``, ``~``, ``#``, ``@``, ``&`` and ``<`` have one of their own; so every character that could is escaped.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_NOT_LITERAL = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]", re.S)
_REPEAT = re.compile(r"\{(\d+)(?:(,)(\d*))?\}")
_CLASSES = {"d": "0-9", "w": "A-Za-z0-9_", "s": " \\\t\\\n\\\f\\\r"}
_CONTROLS = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v"}
_NUMBERS = re.compile(r"(?:\d|\.|\\d|\[0-9\])+")
_DIGIT = re.compile(r"\d|\.|\\d|\[0-9\]")


class Untranslatable(ValueError):
    """A part of a regular expression that Lucene does not have; the text names it."""


def lucene(pattern: str) -> str:
    """The same set of values in Lucene's syntax (flags NONE); raises `Untranslatable`."""
    reader = _Reader(_without_anchors(pattern))
    found = reader.alternatives()
    if reader.at < len(reader.text):
        raise Untranslatable(f"{reader.text[reader.at]!r} closes nothing")
    return found


def numbers(pattern: str) -> list[tuple[int, int]]:
    """The whole numbers that a pattern such as ``5..`` or ``500|50[0-9]`` matches, as ranges; raises `Untranslatable`."""
    text = _without_anchors(pattern)
    if text.startswith("(") and text.endswith(")") and text.count("(") == 1:
        text = text[1:-1].removeprefix("?:")
    found = []
    for part in text.split("|"):
        if not _NUMBERS.fullmatch(part):
            raise Untranslatable(f"{part!r} on a field of numbers")
        digits = _DIGIT.findall(part)
        fixed = "".join(digit for digit in digits if digit.isdigit())
        if "".join(digits[: len(fixed)]) != fixed or (digits[0] == "0" and len(digits) > 1):
            raise Untranslatable(f"{part!r} on a field of numbers: digits must come before what is left open")
        open_ = len(digits) - len(fixed)
        least = int(fixed or "0") * 10**open_
        if not fixed:  # no leading zeros: ".." is 10 to 99, "." is 0 to 9
            found.append((10 ** (open_ - 1) if open_ > 1 else 0, 10**open_ - 1))
            if digits[0] == "." and open_ > 1:  # a minus, too, is any character
                found.append((1 - 10 ** (open_ - 1), -(10 ** (open_ - 2))))
        else:
            found.append((least, least + 10**open_ - 1))
    return found


@dataclass
class _Reader:
    text: str
    at: int = 0

    def alternatives(self) -> str:
        branches = [self._branch()]
        while self._next() == "|":
            self.at += 1
            branches.append(self._branch())
        return "|".join(branch or "()" for branch in branches)

    def _branch(self) -> str:
        found = ""
        while (sign := self._next()) and sign not in "|)":
            found += self._atom() + self._quantifier()
        return found

    def _atom(self) -> str:
        sign = self.text[self.at]
        self.at += 1
        if sign == ".":
            return "."
        if sign == "(":
            return self._group()
        if sign == "[":
            return self._class()
        if sign == "\\":
            return self._escape(inside=False)
        if sign in "^$":
            raise Untranslatable(f"the anchor {sign} inside the expression")
        if sign in "*+?":
            raise Untranslatable(f"a {sign} that repeats nothing")
        return _literal(sign)

    def _group(self) -> str:
        if self.text.startswith("?:", self.at):
            self.at += 2
        elif self._next() == "?":
            raise Untranslatable(f"the group ({self.text[self.at : self.at + 3]}...")
        inside = self.alternatives()
        if self._next() != ")":
            raise Untranslatable("a group that is not closed")
        self.at += 1
        return f"({inside})"

    def _class(self) -> str:
        negated = "^" if self._next() == "^" else ""
        self.at += len(negated)
        members, first = "", True
        while first or self._next() != "]":
            if not self._next():
                raise Untranslatable("a class that is not closed")
            members += self._member()
            first = False
        self.at += 1
        return f"[{negated}{members}]"

    def _member(self) -> str:
        low = self._single()
        is_range = self._next() == "-" and self.text[self.at + 1 : self.at + 2] not in ("]", "")
        if not is_range:
            return low
        self.at += 1
        high = self._single()
        if any(len(side.lstrip("\\")) > 1 for side in (low, high)):
            raise Untranslatable("a range of classes")
        return f"{low}-{high}"

    def _single(self) -> str:
        sign = self.text[self.at]
        self.at += 1
        if sign == "[" or (sign in "&|~-" and self._next() == sign):
            raise Untranslatable("a set operation in a class")
        return self._escape(inside=True) if sign == "\\" else _literal(sign)

    def _escape(self, *, inside: bool) -> str:
        sign = self._next()
        self.at += 1
        if sign in _CLASSES and sign:
            return _CLASSES[sign] if inside else f"[{_CLASSES[sign]}]"
        if sign in _CONTROLS and sign:
            return _literal(_CONTROLS[sign])
        if not sign or sign.isalnum():
            raise Untranslatable(f"the escape \\{sign}")
        return _literal(sign)

    def _quantifier(self) -> str:
        sign = self._next()
        found = sign if sign and sign in "*+?" else ""
        self.at += len(found)
        if repeat := _REPEAT.match(self.text, self.at) if sign == "{" else None:
            self.at = repeat.end()
            least, comma, most = repeat.groups()
            found = f"{{{int(least)}{comma or ''}{int(most) if most else ''}}}"
        elif sign == "{":
            raise Untranslatable("a { that repeats nothing")
        if found and self._next() == "?":  # reluctant: the same values, when the whole must match
            self.at += 1
        if found and self._next() and self._next() in "*+?{":
            raise Untranslatable("a repetition of a repetition")
        return found

    def _next(self) -> str:
        return self.text[self.at : self.at + 1]


def _literal(sign: str) -> str:
    return sign if sign.isalnum() or sign in "_ " else f"\\{sign}"


def _without_anchors(pattern: str) -> str:
    """Without ``^`` and ``$`` around the whole; beside an alternative at the top they belong to the outer ones only."""
    depth = 0
    for part in _NOT_LITERAL.sub("x", pattern):
        depth += {"(": 1, ")": -1}.get(part, 0)
        if part == "|" and not depth:
            return pattern
    text = pattern.removeprefix("^")
    slashes = len(text[:-1]) - len(text[:-1].rstrip("\\"))
    return text[:-1] if text.endswith("$") and slashes % 2 == 0 else text
