"""From selectors to Graphite's targets, and from the names that come back to labels.

What is sent only narrows: a condition that Graphite's grammar cannot carry, or that its tag databases read differently
(regular expressions: anchored or not, with or without case), is left out there and applied to the answer here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sretoolkit.errors import ConfigError
from sretoolkit.metrics.matcher import Matcher, Selector

_TAG = re.compile(r"[A-Za-z0-9_.:/-]+")
_VALUE = re.compile(r"[^~\"\\;\x00-\x1f\x7f\ud800-\udfff][^\"\\;\x00-\x1f\x7f\ud800-\udfff]*")
_PLAIN = re.compile(r"(?:[A-Za-z0-9_ /:.|()*+?-]|\\\.|\[[A-Za-z0-9_-]+\])+")
_DIALECT = re.compile(r"\(\?|[*+?]{2}|\(\)|\|\||^\||\|$|\(\||\|\)")  # not read alike by every database
_NODE = re.compile(r"[A-Za-z0-9_:@%+-]+")
_DOTS = re.compile(r"[A-Za-z0-9_.-]+")
_PATH = re.compile(r"[^\s(){},'\"|\\;=\x00-\x1f\x7f]+")
_PLACE = re.compile(r"\{([^{}]*)\}")
METRIC = "metric"  # stands in a path for the selector's metric


@dataclass(frozen=True)
class Template:
    """How the nodes of a path are labels: ``web.{host}.requests.{code}``; ``{metric}`` stands for the metric's name."""

    text: str

    def __post_init__(self) -> None:
        names = self.labels
        rest = _PLACE.sub("x", self.text)
        if not _PATH.fullmatch(rest) or not all(names) or len(set(names)) != len(names):
            hint = 'write path = "web.{host}.{metric}.{code}", each label once, without blanks'
            raise ConfigError(f"{self.text!r} is no path", hint=hint)

    @property
    def labels(self) -> list[str]:
        """The names in braces, in their order."""
        return _PLACE.findall(self.text)

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """Reads a path back."""
        pieces = _PLACE.split(self.text)
        groups = [
            re.escape(piece) if number % 2 == 0 else "(.+)" if piece == METRIC else r"([^.]*)"
            for number, piece in enumerate(pieces)
        ]
        return re.compile("".join(groups), re.S)

    def read(self, path: str) -> dict[str, str] | None:
        """The labels in a path; None when it is none of these."""
        match = self.pattern.fullmatch(path)
        return dict(zip(self.labels, match.groups(), strict=True)) if match else None

    def filled(self, selector: Selector) -> str:
        """The path with wildcards for what the selector leaves open or no path can carry."""
        known = {METRIC: selector.metric}
        for matcher in selector.matchers:
            known.setdefault(matcher.label, _node(matcher))
        return _PLACE.sub(lambda place: known.get(place[1], "*"), self.text)


@dataclass(frozen=True)
class Target:
    """What to ask for one selector; ``apart`` are the conditions that only the answer is held against."""

    text: str
    selector: Selector
    template: Template | None = None
    apart: tuple[Matcher, ...] = ()

    def labels(self, path: str, tags: Mapping[str, str]) -> dict[str, str] | None:
        """The labels of a series in the answer; None when it is not what was asked for."""
        found: dict[str, str] | None = dict(tags)
        if self.template:
            found = self.template.read(path)
        elif tags.get("name") != self.selector.metric:
            found = None
        return found if found is not None and self.selector.accepts(found) else None


def compiled(selector: Selector, paths: str | Mapping[str, str]) -> Target | None:
    """The target of a selector; None when no target can name its metric."""
    text = paths if isinstance(paths, str) else paths.get(selector.metric, "")
    if text:
        template = Template(text)
        if METRIC in template.labels and not _PATH.fullmatch(selector.metric):
            return None
        return Target(template.filled(selector), selector, template, _apart(selector, _node, "*"))
    if not _VALUE.fullmatch(selector.metric):
        return None
    terms = [f"name={selector.metric}", *filter(None, map(_term, selector.matchers))]
    target = f"seriesByTag({','.join(_quoted(term) for term in terms)})"
    return Target(target, selector, None, _apart(selector, _term, ""))


def templates(paths: Any) -> list[Template]:
    """Those of the option ``path``; raises `ConfigError` for what is none."""
    given = [paths] if isinstance(paths, str) else list(paths.values()) if isinstance(paths, Mapping) else [None]
    if not all(isinstance(text, str) for text in given):
        hint = 'write path = "web.{host}.{metric}.{code}", or a table: path = { requests = "web.{host}.requests" }'
        raise ConfigError(f"the option path is neither text nor a table of texts: {paths!r}", hint=hint)
    return [Template(text) for text in given if text]


def whole(target: Target) -> str | None:
    """The target with every condition in it; None when Graphite's grammar cannot carry one."""
    terms = [denied(matcher) for matcher in target.apart]
    if (target.template and terms) or not all(terms):
        return None
    return (
        target.text.removesuffix(")") + "".join(f",{_quoted(term)}" for term in terms) + ")" if terms else target.text
    )


def series_of(path: str) -> tuple[str, dict[str, str]]:
    """A series' name and tags from ``name;tag=value;...``."""
    name, *pairs = path.split(";")
    found = [pair.partition("=") for pair in pairs]
    return (name, {tag: value for tag, _, value in found}) if all(equal for _, equal, _ in found) else (path, {})


def fault(target: str) -> tuple[str, int] | None:
    """What is wrong with a target and where: Graphite itself reads up to there and forgets the rest in silence."""
    depth, at, opened, closed = 0, len(target) - len(target.lstrip()), [], False
    while at < len(target):
        sign = target[at]
        if sign in "\"'":
            end = _string_end(target, at)
            if end < 0 or not depth:
                return ("a quotation mark is not closed" if depth else "text stands where a path should"), at
            at = end
        elif sign == "\\":
            at += 1
        elif sign == "(":
            opened.append(at)
            depth += 1
        elif sign == ")":
            if not depth:
                return "a parenthesis closes that was not opened", at
            opened.pop()
            depth -= 1
            closed = True
        elif not depth and sign == "|":
            closed = False
        elif not depth and ((sign.isspace() and target[at:].lstrip()[:1] not in ("|", "")) or sign == ","):
            if sign == "," and target.count("{", 0, at) > target.count("}", 0, at):
                at += 1
                continue
            if not target[:at].rstrip().endswith("|"):
                return "the expression ends here, and more follows", at
        elif not depth and closed and not sign.isspace():
            return "the expression ends here, and more follows", at
        at += 1
    return ("a parenthesis is not closed", opened[-1]) if depth else None


def _string_end(target: str, start: int) -> int:
    at = start + 1
    while at < len(target) and target[at] != target[start]:
        at += 2 if target[at] == "\\" else 1
    return at if at < len(target) else -1


def _apart(selector: Selector, sent: Any, nothing: str) -> tuple[Matcher, ...]:
    return tuple(one for one in selector.matchers if sent(one) == nothing)


def denied(matcher: Matcher) -> str:
    """A condition with ``!=`` or ``!~`` as a tag expression, for a query of the user's own; "" when there is none.

    It is not sent for an indicator: a database that takes no notice of case would deny too much.
    """
    kept = matcher._replace(operator="=~" if matcher.is_regex else "=")
    term = _term(kept) if matcher.operator.startswith("!") else ""
    return term.replace("=", "!=", 1) if term else ""


def _term(matcher: Matcher) -> str:
    """A condition as a tag expression; "" when it is for us alone."""
    if not _TAG.fullmatch(matcher.label) or matcher.operator.startswith("!"):
        return ""
    if matcher.operator == "=":
        return f"{matcher.label}={matcher.value}" if _VALUE.fullmatch(matcher.value) else ""
    plain = _PLAIN.fullmatch(matcher.value) and not _DIALECT.search(matcher.value)
    inside = matcher.value.replace(
        "\\.", "[.]"
    )  # a backslash in a string means nothing in one Graphite, much in another
    return f"{matcher.label}=~^({inside})$" if plain and not re.fullmatch(matcher.value, "") else ""


def _node(matcher: Matcher) -> str:
    """A condition as a node of a path."""
    if matcher.operator == "=" and _NODE.fullmatch(matcher.value):
        return matcher.value
    if matcher.operator == "=~" and _DOTS.fullmatch(matcher.value):
        return matcher.value.replace(".", "?")
    return "*"


def _quoted(term: str) -> str:
    return f'"{term}"'
