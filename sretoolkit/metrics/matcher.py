r"""What to select, said once for every system: a metric and conditions on labels, as ``http_requests_total{code=~"5.."}``.

The text is read by rules of our own (those of PromQL's selectors), so that a value with quotes, backslashes or line
breaks is one value in every system's language: `Selector.of("m", path='a"b\\c')`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, Self

from sretoolkit.errors import ConfigError

Operator = Literal["=", "!=", "=~", "!~"]
_NAME = re.compile(r"""(?:[^\s{}"',=!~\[]|\[(?:"(?:[^"\\]|\\.)*"|\[[^\[\]]*\]|[^\[\]"])*\]|\[)+""")
_CONDITION = re.compile(
    r"""\s*(?P<label>[^\s{}"',=!~]+)\s*(?P<operator>=~|!~|!=|=)\s*(?P<value>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')\s*""",
    re.S,
)
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|x[0-9a-fA-F]{2}|.)", re.S)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", '"': '"', "'": "'"}


class Matcher(NamedTuple):
    """One condition; a missing label is an empty value. ``=~`` and ``!~`` are regular expressions of the whole value."""

    label: str
    operator: Operator
    value: str

    @property
    def is_regex(self) -> bool:
        """Whether the value is a regular expression."""
        return self.operator in ("=~", "!~")

    def accepts(self, labels: Mapping[str, str]) -> bool:
        """Whether labels fulfil it."""
        value = labels.get(self.label, "")
        found = bool(re.fullmatch(self.value, value, re.S)) if self.is_regex else value == self.value
        return found is not self.operator.startswith("!")

    def __str__(self) -> str:
        return f"{self.label}{self.operator}{quoted(self.value)}"


@dataclass(frozen=True)
class Selector:
    """A metric and the conditions on its labels, in the order given."""

    metric: str
    matchers: tuple[Matcher, ...] = ()

    @classmethod
    def of(cls, metric: str, **labels: str) -> Self:
        """A metric whose labels have exactly these values."""
        return cls(metric, tuple(Matcher(label, "=", value) for label, value in labels.items()))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``metric{label="value", other=~"regex"}``; a bad one raises `ConfigError` with the place."""
        name = _NAME.match(text.strip())
        metric = name[0] if name else ""
        rest = text.strip()[len(metric) :].strip()
        if not metric or (rest and not (rest.startswith("{") and rest.endswith("}"))):
            raise ConfigError(f"{text!r} is no selector", hint='write metric{label="value", other=~"regex"}')
        return cls(metric, tuple(_conditions(text, rest[1:-1])))

    def accepts(self, labels: Mapping[str, str]) -> bool:
        """Whether all conditions hold for these labels."""
        return all(matcher.accepts(labels) for matcher in self.matchers)

    def where(self, *more: Matcher) -> Selector:
        """The same with further conditions."""
        return Selector(self.metric, (*self.matchers, *more))

    def __str__(self) -> str:
        inside = ", ".join(map(str, self.matchers))
        return f"{self.metric}{{{inside}}}" if inside else self.metric


def quoted(text: str) -> str:
    r"""The text between double quotes, with ``\\``, ``\"``, ``\n`` and the like for what cannot stand there."""
    inside = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r")
    return f'"{inside}"'


def _conditions(whole: str, text: str) -> Iterator[Matcher]:
    at = 0
    while text[at:].strip():
        match = _CONDITION.match(text, at)
        after = text[match.end() :].lstrip() if match else ""
        if not match or (after and not after.startswith(",")):
            where = text[at:].strip()[:40]
            hint = 'a condition is label="value", and also !=, =~ (regular expression) and !~'
            raise ConfigError(f"{whole!r} is no selector: {where!r} is no condition", hint=hint)
        value = _ESCAPE.sub(_unescaped, match["value"][1:-1])
        if match["operator"] in ("=~", "!~"):
            _check_regex(whole, value)
        yield Matcher(match["label"], match["operator"], value)  # type: ignore[arg-type]
        at = len(text) - len(after) + 1 if after else len(text)


def _unescaped(match: re.Match[str]) -> str:
    code = match[1]
    if len(code) > 1:
        try:
            return chr(int(code[1:], 16))
        except (ValueError, OverflowError) as error:
            raise ConfigError(f"{match[0]!r} is no character") from error
    if code not in _ESCAPES:
        raise ConfigError(f"{match[0]!r} is no escape", hint="a backslash is written twice, in regular expressions too")
    return _ESCAPES[code]


def _check_regex(whole: str, value: str) -> None:
    try:
        re.compile(value)
    except re.error as error:
        raise ConfigError(f"{whole!r}: {value!r} is no regular expression: {error}") from error
