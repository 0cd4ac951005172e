"""What is simulated is what then happens; folders of policies, and their cases."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sretoolkit.config import Config
from sretoolkit.errors import ProvisionError
from sretoolkit.plan.recovery import reverse
from sretoolkit.plan.session import rejoin
from sretoolkit.provision.entries import Policy, Tag
from sretoolkit.provision.folder import apply_folder, check_cases
from sretoolkit.provision.handlers import Desk
from sretoolkit.provision.registry import Registry
from sretoolkit.provision.simulate import explain, recorded, simulate
from sretoolkit.store import Store
from tests.provision.conftest import IMAGE, web
from tests.provision.machine import Machine

_VALUES: dict[str, list[Any]] = {"rack": ["a", "b"], "cpus": [2, 8, "8", True]}
_RULES: list[Any] = [
    ["=", ["fact", "rack"], "a"], ["=", ["fact", "rack", ""], "b"], [">=", ["num", ["fact", "cpus"]], 8],
    ["not", ["tag", "t0"]], ["or", ["tag", "t0"], ["=", ["metadata", "site", ""], "ams"]],
]  # fmt: skip


@st.composite
def _worlds(draw: st.DrawFn) -> tuple[list[Tag], list[Policy], list[dict[str, Any]]]:
    """Tags, policies (some full, some off, some automatic) and machines with all kinds of facts and disks."""
    tags = [Tag(name=f"t{place}", rule=rule) for place, rule in enumerate(_RULES)]
    policies = [
        Policy(
            name=f"p{place}", task="image", repo="tiny", order=draw(st.integers(1, 3)),
            tags=tuple(draw(st.lists(st.sampled_from([tag.name for tag in tags]), max_size=2, unique=True))),
            max_count=draw(st.sampled_from([0, 0, 1, 2])), enabled=draw(st.booleans()), automatic=draw(st.booleans()),
        )
        for place in range(draw(st.integers(0, 5)))
    ]  # fmt: skip
    facts = st.fixed_dictionaries({}, optional={name: st.sampled_from(values) for name, values in _VALUES.items()})
    return tags, policies, draw(st.lists(facts, min_size=1, max_size=8))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(world=_worlds(), empty=st.lists(st.booleans(), min_size=8, max_size=8))
def test_what_is_simulated_is_what_then_happens(
    world: tuple[list[Tag], list[Policy], list[dict[str, Any]]],
    empty: list[bool],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Issue "Done when": machines that are known, a change of policies, then every machine checks in: the same as foretold."""
    tags, policies, machines = world
    folder = tmp_path_factory.mktemp("world")
    with Store(f"sqlite:///{folder}/store.db") as store:
        registry = Registry(store)
        desk = Desk(registry, Config.of(store={"url": store.url}))
        fleet = [Machine(desk, number, facts=facts) for number, facts in enumerate(machines, start=1)]
        for machine, blank in zip(fleet, empty, strict=False):
            machine.facts["disks"][0]["empty"] = blank
        with store.transaction() as tx:
            for document in (IMAGE, *tags, Policy(name="old", task="image", repo="tiny", max_count=2)):
                registry.put(tx, document.kind, document.name, document)
        for machine in fleet:
            machine.boot()
        _, foretold = simulate(registry, {"tag": {t.name: t for t in tags}, "policy": {p.name: p for p in policies}})
        with store.transaction() as tx:
            registry.put(tx, "policy", "old", None)
            for policy in policies:
                registry.put(tx, "policy", policy.name, policy)
        for machine in fleet:
            machine.boot()
        then = {node.id: (node.policy, bool(node.order)) for node in registry.nodes()}
    assert {o.node.id: (o.policy, o.writes.startswith("at once")) for o in foretold} == then


def test_a_simulation_says_what_would_change_and_be_written(
    registry: Registry, machines_desk: Desk, write: Any
) -> None:
    """Three machines, a new automatic policy: who moves, whose disk goes, and whose does not for what is on it."""
    write(IMAGE, Tag(name="big", rule=["=", ["fact", "cpus"], 8]), web(tags=("big",)))
    machines = [Machine(machines_desk, number) for number in (1, 2, 3)]
    machines[1].facts["disks"][0] |= {"empty": False, "content": "ext4"}
    machines[2].facts["cpus"] = 2
    for machine in machines:
        machine.boot()
    new = Policy(name="new", task="image", repo="tiny", order=1, tags=("big",), automatic=True)
    documents = {kind: {**registry.documents(kind)} for kind in ("tag", "policy")}
    report, found = simulate(registry, {**documents, "policy": {**documents["policy"], "new": new}})
    assert [("web", "new", True), ("web", "new", False), ("", "", False)] == [
        (o.node.policy, o.policy, o.writes.startswith("at once")) for o in found
    ]
    assert {"machines": 3, "would change": 2, "would be written without an order": 1} == dict(report.facts)
    assert ["high", "medium", "medium"] == [finding.severity for finding in report.sorted]
    assert "ext4" in found[1].writes


def test_an_explanation_shows_policies_and_rules(registry: Registry, machines_desk: Desk, write: Any) -> None:
    """Issue "why does this node have this tag?": in a record, for the machine by its serial number."""
    write(IMAGE, Tag(name="big", rule=["=", ["fact", "cpus"], 8]), web(tags=("big",)))
    Machine(machines_desk, 1).boot()
    text = str(explain(registry, "SN1"))
    assert ('["fact", "cpus"]: 8' in text, "policy: web" in text) == (True, True)


def _folder(path: Path, **files: Any) -> Path:
    for name, content in files.items():
        file = path / name.replace("__", "/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.with_suffix(".json").write_text(json.dumps(content))
    return path


def test_a_folder_is_applied_and_taken_back(registry: Registry, config: Config, tmp_path: Path, write: Any) -> None:
    """Issue "declarative folder -> plan -> apply -> undo": tags before the policies that want them, deletes behind."""
    write(Tag(name="gone", rule=["=", 1, 1]))
    folder = _folder(
        tmp_path / "f", tags__big={"rule": ["=", ["fact", "cpus"], 8]}, policies__web={"task": "image", "tags": ["big"]}
    )
    plan = apply_folder(registry, folder, prune=True)
    assert ["create the tag big", "create the policy web", "delete the tag gone"] == [
        step.describe() for step in plan.steps
    ]
    outcome = plan.run(apply=True, config=config, store=registry.store)
    assert ("completed", ["big"], ["web"]) == (
        outcome.state,
        [*registry.documents("tag")],
        [*registry.documents("policy")],
    )
    assert [] == list(apply_folder(registry, folder, prune=True).items)
    reverse(rejoin(registry.store, outcome.run, config=config)).run(apply=True, config=config, store=registry.store)
    assert (["gone"], []) == ([*registry.documents("tag")], [*registry.documents("policy")])


def test_the_cases_of_a_folder_are_tested(tmp_path: Path) -> None:
    """Policies live in git with tests: a case that comes out otherwise is a finding, with what it was."""
    folder = _folder(
        tmp_path / "f", tags__big={"rule": [">=", ["num", ["fact", "cpus"]], 8]},
        policies__web={"task": "image", "tags": ["big"]},
        cases__large={"facts": {"cpus": "16"}, "expect": {"policy": "web", "tags": ["big"]}},
        cases__small={"facts": {"cpus": 2}, "expect": {"policy": "web"}},
    )  # fmt: skip
    report = check_cases(folder)
    assert [("small", "policy is '', not 'web'")] == [(f.subject, f.summary) for f in report.findings]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("policies__p", {"task": "image", "tags": ["gone"]}, "wants the tag 'gone'"),
        ("policies__p", {"tsak": "image"}, "did you mean 'task'"),
        ("policies__p", {"task": "image", "root_password": "hunter2"}, "clear text"),
        ("tags__t", {"rule": ["xor"]}, "is no operator"),
        ("repos__r", {"image": "x.img"}, "needs image_sha256"),
        ("repos__r", {"image": "../x", "image_sha256": "0" * 64, "image_bytes": 512}, "is no file name"),
        ("hooks__h", {"command": ["x"], "events": ["node-exploded"]}, "there is no event"),
        ("brokers__b", {"uses": "webhook", "options": {"url": "x", "token": "abc"}}, "clear text"),
    ],
)
def test_a_folder_that_makes_no_sense_is_refused_whole(
    registry: Registry, tmp_path: Path, name: str, content: Any, words: str
) -> None:
    """Bad input gets a clear error and changes nothing."""
    folder = _folder(tmp_path / "f", tags__fine={"rule": ["=", 1, 1]}, **{name: content})
    with pytest.raises(ProvisionError) as caught:
        apply_folder(registry, folder)
    assert (True, {}) == (words in str(caught.value), registry.documents("tag"))


def test_recorded_facts_can_be_simulated(registry: Registry, write: Any) -> None:
    """A machine that nobody knows, from a file of what it said."""
    write(IMAGE, web())
    _, found = simulate(registry, nodes=[recorded({"serial": "X1", "nics": [{"mac": "52:54:00:00:00:09"}]})])
    assert [("web", True)] == [(o.policy, "0 disks" in o.writes or "no disk" in o.writes) for o in found]
