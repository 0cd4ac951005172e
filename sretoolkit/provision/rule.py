"""Razor's rule language, with three answers: yes, no, and unknown, which never matches and says what is missing.

A rule is JSON in prefix form: ``["and", ["=", ["fact", "cpus"], 8], ["in", ["metadata", "rack"], "a1", "a2"]]``. The
operators and their types are those of razor-server 1.9.9 (lib/razor/matcher.rb). What raises there (a fact that is not
there and has no default, text that is no number) is unknown here, for that sub-expression alone: ``and`` is no as soon
as one part is no, ``or`` is yes as soon as one part is yes, ``not`` of unknown is unknown.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sretoolkit.errors import ProvisionError
from sretoolkit.provision.operators import Facts, Lookup, Unknown, build
from sretoolkit.provision.rule_types import problems, short

Rule = Sequence[Any]
_WRAPPERS = tuple(f'["{name}", ' for name in ("and", "or", "not", "num", "str", "lower", "upper"))


@dataclass(frozen=True)
class Explanation:
    """Why a rule answered as it did: each part with its value, so that a person sees which one decided."""

    text: str
    value: Any
    parts: tuple[Explanation, ...] = ()

    def lines(self, indent: int = 0) -> Iterator[str]:
        """One line a part, deeper parts further in."""
        yield f"{'  ' * indent}{self.text}: {answer(self.value)}"
        for part in self.parts:
            yield from part.lines(indent + 1)

    @property
    def brief(self) -> str:
        """The parts that say most in one line, the innermost: each look-up with what was found."""
        leaves = [
            line.strip() for line in self.lines() if not any(line.lstrip().startswith(word) for word in _WRAPPERS)
        ]
        return "; ".join(dict.fromkeys(leaves)) or f"{self.text}: {answer(self.value)}"

    def __str__(self) -> str:
        return "\n".join(self.lines())


@dataclass(frozen=True)
class Compiled:
    """A rule that was found to be valid: asked by calling it, explained by `explain`."""

    rule: Rule
    ask: Lookup

    def __call__(self, facts: Facts) -> bool | Unknown:
        """True, False or `Unknown`."""
        found: bool | Unknown = self.ask(facts)
        return found

    def explain(self, facts: Facts) -> Explanation:
        """The same answer, with that of every part."""
        return _explained(self.rule, facts)

    @property
    def tags(self) -> set[str]:
        """The other tags that it asks for."""
        return {part[1] for part in parts(self.rule) if part[0] == "tag"}


def compiled(rule: Any) -> Compiled:
    """The rule, ready to be asked; raises `ProvisionError` with what is wrong and where, as it would when it is written."""
    wrong = problems(rule)
    if wrong:
        raise ProvisionError(f"the rule {short(rule)} is not valid: {wrong[0]}", hint=_hint(wrong))
    return Compiled(rule, build(rule))


def answer(value: Any) -> str:
    """A value as a person reads it: yes, no, unknown with its reason, or the value itself."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return repr(value) if isinstance(value, Unknown) else json.dumps(value, default=str)


def _explained(rule: Any, facts: Facts) -> Explanation:
    value = build(rule)(facts)
    if rule[0] == "tag" and isinstance(other := facts.tags.get(rule[1]), Compiled):
        return Explanation(short(rule), value, (other.explain(facts),))
    nested = tuple(_explained(part, facts) for part in rule[1:] if isinstance(part, list | tuple))
    return Explanation(short(rule), value, nested)


def parts(rule: Any) -> Iterator[Rule]:
    """A rule and all rules inside it."""
    yield rule
    for part in rule[1:]:
        if isinstance(part, list | tuple):
            yield from parts(part)


def _hint(wrong: Sequence[str]) -> str:
    return (
        "; ".join(wrong[1:4]) or 'such as ["and", ["=", ["fact", "cpus"], 8], ["in", ["metadata", "rack"], "a1", "a2"]]'
    )
