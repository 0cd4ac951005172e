"""Which tags a machine has, and which policy is its own: compiled once, asked of one machine or of all.

The same object decides when a machine checks in and when a change is simulated, so that both say the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from sretoolkit.errors import ProvisionError
from sretoolkit.provision.entries import Policy, Tag
from sretoolkit.provision.node import Node
from sretoolkit.provision.operators import Facts, Unknown
from sretoolkit.provision.rule import Compiled, Explanation, compiled, parts

Says = Literal["yes", "no", "unknown"]
_SAYS: tuple[Says, ...] = ("no", "unknown", "yes")


@dataclass(frozen=True)
class Decision:
    """What rules and policies say of one machine.

    ``policies`` are the enabled ones whose tags it has, in order (the first that is not full is its own), up to the one
    of which that cannot be told: ``undecided``. A machine is not bound by guessing past it. ``unknown`` says why a tag
    cannot be told.
    """

    tags: frozenset[str]
    unknown: Mapping[str, str]
    policies: tuple[str, ...]
    undecided: str = ""


class Matcher:
    """All tags and policies of a moment. Raises `ProvisionError` for a tag that asks for itself, or that is not there."""

    def __init__(self, tags: Iterable[Tag], policies: Iterable[Policy]) -> None:
        self.rules: dict[str, Compiled] = {
            tag.name: compiled(tag.rule) for tag in sorted(tags, key=lambda tag: tag.name)
        }
        self.policies = sorted(policies, key=lambda policy: policy.rank)
        for name in self.rules:
            self._acyclic(name, ())
        for policy in self.policies:
            if missing := sorted(set(policy.tags) - set(self.rules)):
                raise ProvisionError(f"the policy {policy.name} wants the tag {missing[0]!r}, which there is not")
        self._bit = {name: 1 << place for place, name in enumerate(self.rules)}
        self._needs = [sum(self._bit[name] for name in set(policy.tags)) for policy in self.policies]
        self._by_first: dict[int, list[int]] = {}
        for place, need in enumerate(self._needs):
            self._by_first.setdefault(need & -need, []).append(place)
        self._verdicts: dict[tuple[int, int], bytes] = {}

    def decide(self, node: Node) -> Decision:
        """The tags and the policy of one machine."""
        has, lost, why = self._masks(node.as_facts(self.rules))
        verdicts = self._all_verdicts(has, lost)
        chosen, undecided = [], ""
        for policy, verdict in zip(self.policies, verdicts, strict=True):
            if policy.enabled and verdict == 1:
                undecided = policy.name
                break
            if policy.enabled and verdict == 2:
                chosen.append(policy.name)
        tags = frozenset(name for name, bit in self._bit.items() if has & bit)
        return Decision(tags, why, tuple(chosen), undecided)

    def verdicts(self, node: Node) -> dict[str, Says]:
        """What each policy says of a machine, enabled or not: yes, no, or unknown."""
        has, lost, _ = self._masks(node.as_facts(self.rules))
        return {
            policy.name: _SAYS[verdict]
            for policy, verdict in zip(self.policies, self._all_verdicts(has, lost), strict=True)
        }

    def table(self, nodes: Iterable[Node]) -> list[bytes]:
        """The verdicts of all policies (in their order; 0 no, 1 unknown, 2 yes) on each machine, a byte each."""
        verdicts, masks, rules = self._all_verdicts, self._quick_masks, self.rules
        return [verdicts(*masks(node.as_facts(rules))) for node in nodes]

    def explain(self, node: Node, tag: str) -> Explanation:
        """Why a machine has a tag, or has not; raises `ProvisionError` for a tag that is not there."""
        if tag not in self.rules:
            raise ProvisionError(f"there is no tag {tag!r}", hint=f"there are: {', '.join(self.rules) or 'none'}")
        return self.rules[tag].explain(node.as_facts(self.rules))

    def _masks(self, facts: Facts) -> tuple[int, int, dict[str, str]]:
        has, lost, why = 0, 0, {}
        for name, rule in self.rules.items():
            value = rule(facts)
            if value is True:
                has |= self._bit[name]
            elif isinstance(value, Unknown):
                lost |= self._bit[name]
                why[name] = value.reason
        return has, lost, why

    def _quick_masks(self, facts: Facts) -> tuple[int, int]:
        """The same for whole fleets: what looks at one fact alone is found by that fact's value."""
        groups, others = self._grouped
        has = lost = 0
        for group in groups:
            more_has, more_lost = group.masks(facts)
            has |= more_has
            lost |= more_lost
        for bit, rule in others:
            value = rule.ask(facts)
            if value is True:
                has |= bit
            elif value is not False:
                lost |= bit
        return has, lost

    @cached_property
    def _grouped(self) -> tuple[list[_OfOneFact], list[tuple[int, Compiled]]]:
        groups: dict[str, _OfOneFact] = {}
        others = []
        for name, rule in self.rules.items():
            if fact := _only_fact(rule.rule):
                groups.setdefault(fact, _OfOneFact(fact)).add(self._bit[name], rule)
            else:
                others.append((self._bit[name], rule))
        return list(groups.values()), others

    def _all_verdicts(self, has: int, lost: int) -> bytes:
        """0 no, 1 unknown, 2 yes for each policy. A policy is looked at only where its first tag may be true."""
        found = self._verdicts.get((has, lost))
        if found is None:
            may, verdicts = has | lost, bytearray(len(self._needs))
            for places in (self._by_first[bit] for bit in (0, *_bits(may)) if bit in self._by_first):
                for place in places:
                    need = self._needs[place]
                    verdicts[place] = 2 if has & need == need else 1 if may & need == need else 0
            found = bytes(verdicts)
            if len(self._verdicts) < _MOST_KEPT:
                self._verdicts[has, lost] = found
        return found

    def _acyclic(self, name: str, above: tuple[str, ...]) -> None:
        if name in above:
            raise ProvisionError(f"the tag {name} asks for itself: {' -> '.join((*above, name))}", subject=name)
        if name not in self.rules:
            raise ProvisionError(
                f"the tag {above[-1]} asks for the tag {name!r}, which there is not", subject=above[-1]
            )
        for other in sorted(self.rules[name].tags):
            self._acyclic(other, (*above, name))


class _OfOneFact:
    """Rules that look at the same one fact and at nothing else: each value of it is judged once."""

    def __init__(self, fact: str) -> None:
        self.fact = fact
        self.absent = 0
        self.equal: dict[tuple[bool, Any], int] = {}
        self.rules: list[tuple[int, Compiled]] = []
        self.judged: dict[tuple[bool, Any], tuple[int, int]] = {}

    def add(self, bit: int, rule: Compiled) -> None:
        """Comparisons with fixed values go into one table, all others are asked."""
        self.absent |= bit
        values = _compared(rule.rule)
        if values is None:
            self.rules.append((bit, rule))
        for value in values or ():
            key = (value is True or value is False, value)
            self.equal[key] = self.equal.get(key, 0) | bit

    def masks(self, facts: Facts) -> tuple[int, int]:
        """The bits of the rules that are true of these facts, and of those that cannot be told."""
        value = facts.facts.get(self.fact, _ABSENT)
        if value is _ABSENT or type(value) in (list, dict):  # neither of them can be compared
            return 0, self.absent
        key = (value is True or value is False, value)
        has = self.equal.get(key, 0)
        if not self.rules:
            return has, 0
        judged = self.judged.get(key)
        if judged is None:
            judged = self._judge(facts)
            if len(self.judged) < _MOST_KEPT:
                self.judged[key] = judged
        return has | judged[0], judged[1]

    def _judge(self, facts: Facts) -> tuple[int, int]:
        has = lost = 0
        for bit, rule in self.rules:
            value = rule.ask(facts)
            if value is True:
                has |= bit
            elif value is not False:
                lost |= bit
        return has, lost


_ABSENT = object()
_MOST_KEPT = 100_000


def _only_fact(rule: Any) -> str:
    """The one fact that a rule looks at, where absent means unknown; "" for rules that look at anything else."""
    looked = [
        part for part in parts(rule) if part[0] in ("fact", "metadata", "state", "tag") or "macaddress" in part[0]
    ]
    names = {part[1] if part[0] == "fact" and len(part) == 2 and "." not in part[1] else "" for part in looked}
    strict = all(part[0] not in ("or", "and") for part in parts(rule))  # these may answer although a fact is absent
    return names.pop() if len(names) == 1 and (strict or _all_look(rule)) else ""


def _all_look(rule: Any) -> bool:
    """Whether every branch of ``and`` and ``or`` looks at a fact, so that all are unknown when it is absent."""
    if rule[0] in ("and", "or", "not"):
        return all(isinstance(part, list | tuple) and _all_look(part) for part in rule[1:])
    return any(part[0] == "fact" for part in parts(rule))


def _compared(rule: Any) -> list[Any] | None:
    """The values of ``["=", ["fact", n], v]`` and ``["in", ["fact", n], v, ...]``; None for any other rule."""
    name, first, values = rule[0], rule[1], list(rule[2:])
    fixed = (
        isinstance(first, list | tuple) and first[0] == "fact" and not any(isinstance(v, list | tuple) for v in values)
    )
    return values if name in ("=", "eq", "in") and fixed else None


def _bits(mask: int) -> Iterator[int]:
    while mask:
        bit = mask & -mask
        yield bit
        mask ^= bit
