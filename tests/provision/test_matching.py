"""Tags and policies of one machine and of many; what is not known is never guessed."""

from __future__ import annotations

import random
from typing import Any

import pytest

from sretoolkit.errors import ProvisionError
from sretoolkit.provision.entries import Policy, Tag
from sretoolkit.provision.matching import Matcher
from sretoolkit.provision.node import Hardware, Node


def node(facts: dict[str, Any] | None = None, **more: Any) -> Node:
    """A machine with these facts."""
    return Node(id="n1", hardware=Hardware(serial="S1"), facts=facts or {}, **more)


BIG = Tag(name="big", rule=[">=", ["num", ["fact", "cpus"]], 8])
LAB = Tag(name="lab", rule=["=", ["metadata", "site"], "lab"])


def test_the_first_policy_whose_tags_all_match_is_first() -> None:
    """Razor's order: by rank, then by name; a policy without tags takes every machine."""
    matcher = Matcher(
        [BIG],
        [Policy(name="rest", task="image", order=9), Policy(name="a", task="image", tags=("big",), order=5)],
    )
    assert (("a", "rest"), ("rest",)) == (
        matcher.decide(node({"cpus": 16})).policies,
        matcher.decide(node({"cpus": 2})).policies,
    )


def test_a_machine_is_not_bound_past_a_policy_that_cannot_be_told() -> None:
    """An unknown tag in front stops: what lies behind it might not be meant. The reason is kept."""
    matcher = Matcher(
        [LAB], [Policy(name="keep", task="image", tags=("lab",), order=1), Policy(name="rest", task="image")]
    )
    decision = matcher.decide(node())
    assert ((), "keep", {"lab": "there is no metadata 'site'"}) == (
        decision.policies,
        decision.undecided,
        decision.unknown,
    )
    assert ("rest",) == matcher.decide(node(metadata={"site": "ams"})).policies


def test_a_disabled_policy_is_passed_over() -> None:
    """It takes nobody, and what it would need need not be known."""
    matcher = Matcher(
        [LAB],
        [Policy(name="off", task="image", tags=("lab",), order=1, enabled=False), Policy(name="rest", task="image")],
    )
    assert ("rest",) == matcher.decide(node()).policies
    assert {"off": "unknown", "rest": "yes"} == matcher.verdicts(node())


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ([Tag(name="a", rule=["tag", "a"])], "asks for itself: a -> a"),
        ([Tag(name="a", rule=["tag", "b"]), Tag(name="b", rule=["not", ["tag", "a"]])], "a -> b -> a"),
        ([Tag(name="a", rule=["tag", "c"])], "asks for the tag 'c'"),
    ],
)
def test_tags_that_cannot_be_asked_together_are_refused(tags: list[Tag], words: str) -> None:
    """A circle, or a tag that is not there, is found when it is written."""
    with pytest.raises(ProvisionError, match=words):
        Matcher(tags, [])


def test_a_policy_whose_tag_is_not_there_is_refused() -> None:
    """It would never match, and nobody would know why."""
    with pytest.raises(ProvisionError, match="wants the tag 'gone'"):
        Matcher([], [Policy(name="p", task="image", tags=("gone",))])


def test_the_table_of_a_fleet_says_what_each_machine_is_told_alone() -> None:
    """The quick way for all machines (one look-up a fact) and the slow one agree, on every kind of rule and value."""
    draw = random.Random(7)
    rules: list[Any] = [
        ["=", ["fact", "rack"], "a"], ["in", ["fact", "rack"], "a", "b"], ["=", ["fact", "n"], 1], ["=", ["fact", "n"], True],
        ["!=", ["fact", "n"], 1], ["=", ["fact", "rack", "a"], "a"], ["=", ["fact", "list"], 1], ["=", ["fact", "a.b"], 1],
        [">", ["num", ["fact", "n"]], 0], ["and", ["=", ["fact", "rack"], "a"], ["=", ["fact", "n"], 1]],
    ]  # fmt: skip
    tags = [Tag(name=f"t{place}", rule=rule) for place, rule in enumerate(rules)]
    names = [tag.name for tag in tags]
    policies = [
        Policy(
            name=f"p{place}", task="image", tags=tuple(draw.sample(names, draw.randint(0, 3))), order=draw.randint(1, 5)
        )
        for place in range(20)
    ]
    matcher = Matcher(tags, policies)
    values: dict[str, list[Any]] = {
        "rack": ["a", "b", "c"],
        "n": [0, 1, True, "1", None, 1.0],
        "list": [[1], 1],
        "a": [{"b": 1}],
    }
    fleet = [
        node({name: draw.choice(choices) for name, choices in values.items() if draw.random() < 0.7})
        for _ in range(300)
    ]
    says = {"no": 0, "unknown": 1, "yes": 2}
    assert [bytes(says[word] for word in matcher.verdicts(machine).values()) for machine in fleet] == matcher.table(
        fleet
    )
