"""Razor's rule language: every operator, what is refused when it is written, and what is unknown when it is asked."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sretoolkit.errors import ProvisionError
from sretoolkit.provision.operators import Facts, Unknown
from sretoolkit.provision.rule import compiled
from sretoolkit.provision.rule_types import OPERATORS, problems

FACTS: dict[str, Any] = {
    "cpus": 8, "cores": "16", "vendor": "Dell Inc.", "virtual": False, "nothing": None, "a.b": "dotted",
    "macaddress_eth0": "DE:EA:DB:EE:F0:00", "disks": [{"serial": "S1"}, {"serial": "S2"}], "os": {"family": "Debian"},
}  # fmt: skip
SEEN = Facts(
    facts=FACTS, metadata={"rack": "a1", "n": 3}, state={"installed": "web", "stage": "installed"},
    macs=("52:54:00:77:00:10",), tags={"small": compiled(["<", ["num", ["fact", "cpus"]], 64])},
)  # fmt: skip
UNKNOWN = object()

CASES: list[tuple[list[Any], Any]] = [
    (["and", True, True], True),
    (["and", True, ["=", 1, 2]], False),
    (["or", False, True], True),
    (["or", False, False], False),
    (["not", False], True),
    (["=", ["fact", "cpus"], 8], True),
    (["=", ["fact", "cpus"], 8.0], True),
    (["=", ["fact", "cpus"], "8"], False),
    (["=", True, 1], False),
    (["=", ["fact", "nothing"], None], True),
    (["eq", ["fact", "cpus"], 8], True),
    (["!=", ["fact", "cpus"], 8], False),
    (["neq", ["fact", "cpus"], 9], True),
    (["=", ["fact", "absent"], 1], UNKNOWN),
    (["=", ["fact", "absent", 1], 1], True),
    (["=", ["fact", "disks.1.serial"], "S2"], True),
    (["=", ["fact", "disks.length"], 2], True),
    (["=", ["fact", "disks.7.serial"], "S2"], UNKNOWN),
    (["=", ["fact", "os.family"], "Debian"], True),
    (["=", ["fact", "a.b"], "dotted"], True),
    (["=", ["fact", "disks"], "S1"], UNKNOWN),
    (["=", ["metadata", "rack"], "a1"], True),
    (["=", ["metadata", "owner"], "sre"], UNKNOWN),
    (["=", ["metadata", "owner", "sre"], "sre"], True),
    (["=", ["state", "installed"], "web"], True),
    (["=", ["state", "stage"], "installed"], True),
    (["tag", "small"], True),
    (["=", ["tag", "small"], True], True),
    (["tag", "absent"], UNKNOWN),
    (["like", ["str", ["fact", "vendor"]], "^Dell"], True),
    (["like", ["str", ["fact", "vendor"]], r"Inc\.\z"], True),
    (["like", "one\ntwo", "^two$"], True),
    (["like", "c0ffee", r"\A\h+\Z"], True),
    (["like", ["str", ["fact", "vendor"]], "HP"], False),
    (["in", ["metadata", "rack"], "a1", "a2"], True),
    (["in", ["metadata", "rack"], "b1"], False),
    (["in", ["fact", "cpus"], "8", ["fact", "cpus"]], True),
    (["=", ["num", ["fact", "cores"]], 16], True),
    (["=", ["num", "0x10"], 16], True),
    (["=", ["num", "010"], 8], True),
    (["=", ["num", "0b11"], 3], True),
    (["=", ["num", " 2.5 "], 2.5], True),
    (["=", ["num", ["fact", "vendor"]], 1], UNKNOWN),
    (["=", ["str", 8], "8"], True),
    (["=", ["str", True], "true"], True),
    (["=", ["str", None], ""], True),
    (["<", ["num", ["fact", "cpus"]], 9], True),
    (["<=", ["num", ["fact", "cpus"]], 8], True),
    ([">", ["num", ["fact", "cpus"]], 8], False),
    ([">=", ["num", ["fact", "cpus"]], 8], True),
    (["lt", 1, 2], True),
    (["lte", 2, 2], True),
    (["gt", 1, 2], False),
    (["gte", 1, 2], False),
    (["=", ["lower", ["str", ["fact", "vendor"]]], "dell inc."], True),
    (["=", ["upper", "ab"], "AB"], True),
    (["has_macaddress", "52-54-00-77-00-10"], True),
    (["has_macaddress", "de:ea:db:ee:f0:00"], True),
    (["has_macaddress", "00:00:00:00:00:01"], False),
    (["has_macaddress_like", "^52:54"], True),
    (["has_macaddress_like", "^53"], False),
    # three answers
    (["and", ["=", ["fact", "absent"], 1], False], False),
    (["and", False, ["=", ["fact", "absent"], 1]], False),
    (["and", True, ["=", ["fact", "absent"], 1]], UNKNOWN),
    (["or", ["=", ["fact", "absent"], 1], True], True),
    (["or", False, ["=", ["fact", "absent"], 1]], UNKNOWN),
    (["not", ["=", ["fact", "absent"], 1]], UNKNOWN),
]


@pytest.mark.parametrize(("rule", "expected"), CASES, ids=lambda value: str(value) if isinstance(value, list) else "")
def test_an_operator_means_what_it_means_in_razor(rule: list[Any], expected: Any) -> None:
    """Issue "all its operators": each gives Razor's answer, and unknown where Razor raises."""
    found = compiled(rule)(SEEN)
    assert (expected is UNKNOWN) == isinstance(found, Unknown)
    if expected is not UNKNOWN:
        assert expected is found


def test_every_operator_is_tried() -> None:
    """The table above leaves none out."""

    def names(rule: list[Any]) -> set[str]:
        return {rule[0]}.union(*(names(part) for part in rule[1:] if isinstance(part, list)))

    assert set() == set(OPERATORS) - set().union(*(names(rule) for rule, _ in CASES))


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("text", "must be a list"),
        ([], "must be a list"),
        ([["and"]], "is no operator"),
        (["xor", True, False], "is no operator"),
        (["=", 1], "takes 2 arguments, not 1"),
        (["not", True, True], "takes 1 arguments, not 2"),
        (["and", ["fact", "x"]], "compare it"),
        (["<", ["fact", "cpus"], 8], 'put it into ["num", ...]'),
        (["lower", ["fact", "x"]], 'put it into ["str", ...]'),
        (["and", "yes"], "it takes boolean"),
        (["fact", "x"], "as the rule"),
        (["=", {"a": 1}, 1], "a dict"),
        (["like", "x", "("], "no regular expression"),
        (["has_macaddress_like", "("], "no regular expression"),
    ],
)
def test_a_rule_that_cannot_be_asked_is_refused(rule: Any, words: str) -> None:
    """Issue "validated at write time": the error says what is wrong and where."""
    with pytest.raises(ProvisionError) as caught:
        compiled(rule)
    assert words in str(caught.value)


def test_a_rule_nested_without_end_is_refused() -> None:
    """A hostile rule does not exhaust the stack."""
    rule: list[Any] = ["not", True]
    for _ in range(60):
        rule = ["not", rule]
    assert any("nested" in text for text in problems(rule))


def test_an_explanation_shows_which_part_decided() -> None:
    """Issue "why does this node have this tag?": every part with its value, other tags opened."""
    text = str(compiled(["and", ["tag", "small"], ["=", ["metadata", "owner"], "sre"]]).explain(SEEN))
    assert [
        '["and", ["tag", "small"], ["=", ["metadata", "owner"], "sre"]]: unknown (there is no metadata \'owner\')',
        '  ["tag", "small"]: yes',
        '    ["<", ["num", ["fact", "cpus"]], 64]: yes',
        '      ["num", ["fact", "cpus"]]: 8',
        '        ["fact", "cpus"]: 8',
        '  ["=", ["metadata", "owner"], "sre"]: unknown (there is no metadata \'owner\')',
        '    ["metadata", "owner"]: unknown (there is no metadata \'owner\')',
    ] == text.splitlines()


_leaf = st.sampled_from([True, False, ["=", ["fact", "absent"], 1]])
_trees = st.recursive(
    _leaf, lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: ["and", *parts]),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: ["or", *parts]),
        inner.map(lambda part: ["not", part]),
    ), max_leaves=12,
)  # fmt: skip


@given(_trees)
def test_unknown_is_right_for_every_value_that_is_missing(tree: Any) -> None:
    """Whatever the missing fact turns out to be, a yes or a no stays what it was."""
    rule = compiled(["and", tree])
    said = rule(Facts())
    later = [rule(Facts(facts={"absent": value})) for value in (1, 2)]
    if not isinstance(said, Unknown):
        assert [said, said] == later
