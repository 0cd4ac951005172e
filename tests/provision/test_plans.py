"""Plans that give orders: carried out with a machine, undone, killed in the middle, and refused."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from sretoolkit.config import Config
from sretoolkit.errors import GateFailed, PlanRefused, ProvisionError, StepFailed
from sretoolkit.plan import Plan
from sretoolkit.provision import board, describe, foresee, install, retire
from sretoolkit.provision.commands import COMMANDS
from sretoolkit.provision.entries import Broker, Tag
from sretoolkit.provision.handlers import Desk
from sretoolkit.provision.registry import Registry
from tests.provision.conftest import IMAGE, web
from tests.provision.machine import Machine, files_of

STAGES = ("accepted", "writing", "written", "verified", "seeded", "rebooting")


@contextmanager
def at_work(machine: Machine, *, fails: str = "", until: tuple[str, ...] = STAGES) -> Iterator[None]:
    """The machine polls and obeys in a thread of its own, as far as ``until`` says."""
    done = threading.Event()

    def work() -> None:
        while not done.wait(0.02):
            told = machine.poll()
            if told.get("action") not in ("install", "wipe"):
                continue
            obey(machine, told, fails=fails, until=until)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def obey(machine: Machine, told: dict[str, str], *, fails: str = "", until: tuple[str, ...] = STAGES) -> None:
    """One order, stage by stage; what is not told to go on stops."""
    order = told["order"]
    stages = ("accepted", "writing", "wiped") if told["action"] == "wipe" else until
    for stage in stages:
        if stage == fails:
            machine.stage(order, "failed", reason="the disk does not answer")
            return
        if stage == "seeded":
            seed = files_of(machine.ask("GET", "seed", order=order))
        if machine.stage(order, stage, proof="zeros").status != 200:
            return
    if until == STAGES and told["action"] == "install":
        token = seed["callback"].split("token=")[1].split("\n")[0]
        machine.ask("POST", "installed", token=token, body={"os": "tiny"})


@pytest.fixture
def machine(machines_desk: Desk, write: Callable[..., None]) -> Machine:
    """A machine that is matched."""
    write(IMAGE, Broker(name="nobody", uses="noop"), web(hostname="web1"))
    made = Machine(machines_desk, 1)
    made.boot()
    return made


def test_a_machine_is_installed_by_a_plan(machine: Machine, registry: Registry, config: Config) -> None:
    """Shown first, then order, each stage, and its call home; the record of the machine shows them in their order."""
    plan = install("SN1", ssh=False, config=config)
    assert "tell web1" in str(plan)
    assert "D1" in str(plan)
    with at_work(machine):
        outcome = plan.run(apply=True, config=config)
    assert ("completed", "installed") == (outcome.state, registry.node(machine.node).state)
    events = [entry["event"] for entry in registry.log(machine.node)]
    order = ["ordered", "stage-accepted", "stage-verified", "stage-seeded", "node-install-finished"]
    assert order == [event for event in events if event in order]
    assert "installed" in str(describe("web1", config))


def test_only_a_plan_is_made_without_apply(machine: Machine, registry: Registry, config: Config) -> None:
    """Plan mode gives no order."""
    assert "planned" == install("web1", ssh=False, config=config).run(config=config).state
    assert ("", "wait") == (registry.node("web1").order, machine.poll()["action"])


def test_a_plan_that_is_made_again_is_the_same_plan(machine: Machine, registry: Registry, config: Config) -> None:
    """What was approved is what runs: the same order by name, until it was given; after that another one."""
    first, again = (install("web1", ssh=False, config=config) for _ in range(2))
    assert first.hash == again.hash
    with at_work(machine, fails="accepted"), pytest.raises(GateFailed):
        first.run(apply=True, config=config)
    assert install("web1", ssh=False, config=config).hash != first.hash


@pytest.mark.parametrize("fails", ["accepted", "written", "verified"])
def test_a_failed_install_takes_its_order_back(
    machine: Machine, registry: Registry, config: Config, fails: str
) -> None:
    """The machine waits again, nothing is told to it any more, and the reason is in the plan's failure."""
    with at_work(machine, fails=fails), pytest.raises(GateFailed, match="the disk does not answer"):
        install("web1", ssh=False, config=config).run(apply=True, config=config)
    assert ("matched", "", "wait") == (
        registry.node("web1").state,
        registry.node("web1").order,
        machine.poll()["action"],
    )


def test_a_disk_with_data_needs_its_serial_number_and_a_yes(machine: Machine, config: Config) -> None:
    """First the confirmation, then the explicit yes to what cannot be taken back."""
    machine.facts["disks"][0] |= {"empty": False, "content": "ext4"}
    machine.boot()
    with pytest.raises(ProvisionError, match="not empty: ext4"):
        install("web1", config=config)
    plan = install("web1", erase_confirmed="D1", ssh=False, config=config)
    assert "CANNOT BE TAKEN BACK" in str(plan)
    with pytest.raises(PlanRefused):
        plan.run(apply=True, config=config)
    with at_work(machine):
        assert "completed" == plan.run(apply=True, config=config, irreversible=True).state


def test_an_installed_machine_is_installed_again_only_when_told(
    machine: Machine, registry: Registry, config: Config
) -> None:
    """The runbook reprovision_host: its disk's serial number, and ``again``."""
    with at_work(machine):
        install("web1", ssh=False, config=config).run(apply=True, config=config)
    machine.facts["disks"][0] |= {"empty": False, "content": "gpt"}
    machine.boot()
    with pytest.raises(ProvisionError, match="not installed again"):
        install("web1", erase_confirmed="D1", config=config)
    plan = install("web1", erase_confirmed="D1", again=True, ssh=False, config=config)
    with at_work(machine):
        outcome = plan.run(apply=True, config=config, irreversible=True)
    assert ("completed", "installed") == (outcome.state, registry.node("web1").state)


def test_a_machine_is_retired_with_proof(machine: Machine, registry: Registry, config: Config) -> None:
    """Wiped, read back, and never matched again."""
    with pytest.raises(ProvisionError, match="'D2' is confirmed"):
        retire("web1", erase_confirmed="D2", config=config)
    with at_work(machine):
        retire("web1", erase_confirmed="D1", config=config).run(apply=True, config=config, irreversible=True)
    machine.boot()
    wiped = [entry["entry"] for entry in registry.log(machine.node) if entry["event"] == "wiped"]
    assert ("retired", "zeros", "wait") == (
        registry.node(machine.node).state,
        wiped[0]["proof"],
        machine.poll()["action"],
    )


def test_a_policy_that_hands_over_does_so_once(
    machine: Machine, registry: Registry, config: Config, write: Any
) -> None:
    """The broker is the last step, and is on the machine's record."""
    write(web(hostname="web1", broker="nobody"))
    machine.boot()
    with at_work(machine):
        install("web1", ssh=False, config=config).run(apply=True, config=config, irreversible=True)
    assert [{"broker": "nobody", "said": "nothing to do"}] == [
        entry["entry"] for entry in registry.log(machine.node) if entry["event"] == "handed-over"
    ]


def test_two_plans_for_one_machine(machine: Machine, config: Config, registry: Registry) -> None:
    """The second order is refused while the first one is open; the first one is not disturbed."""
    first, second = (install("web1", ssh=False, erase_confirmed=word, config=config) for word in ("", "D1"))
    for _ in range(2):  # the very same order is given once
        Plan("first", [first.steps[0]]).run(apply=True, config=config)
    with pytest.raises(StepFailed, match="has an order already"):
        second.run(apply=True, config=config, irreversible=True)
    assert first.steps[0].to_dict()["data"]["order"]["id"] == registry.node("web1").order


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_declares_itself(name: str) -> None:
    """Issue "a schema, a help text and an example from one declaration": the example fits the schema."""
    command = COMMANDS[name]
    schema = command.schema()
    assert set(command.example) <= set(schema["properties"])
    assert set(schema["required"]) <= set(command.example) or name in ("hold-node", "release-node", "move-policy")
    assert all(item["description"] for item in schema["properties"].values())


def test_commands_change_and_are_taken_back(registry: Registry, config: Config, machine: Machine) -> None:
    """One of each kind, carried out in turn; what is refused says why."""

    def do(command: str, /, **given: Any) -> str:
        return COMMANDS[command].plan(registry, **given).run(apply=True, config=config, irreversible=True).state

    do("create-tag", name="big", rule=["=", ["fact", "cpus"], 8])
    do("create-policy", name="rest", task="image", repo="tiny")
    do("add-policy-tag", name="rest", tag="big")
    do("move-policy", name="rest", before="web")
    do("modify-node-metadata", node="web1", update={"rack": "a1"})
    do("disable-policy", name="web")
    assert ["rest", "web"] == [policy.name for policy in sorted(registry.policies().values(), key=lambda p: p.rank)]
    assert (("big",), False, {"rack": "a1"}) == (
        registry.policies()["rest"].tags, registry.policies()["web"].enabled, dict(registry.node("web1").metadata),
    )  # fmt: skip
    refused: list[tuple[str, dict[str, Any], str]] = [
        ("delete-tag", {"name": "big"}, "wants the tag"),
        ("create-tag", {"name": "big", "rule": ["=", 1, 1]}, "already"),
        ("create-tag", {"name": "big"}, "needs 'rule'"),
        ("create-tag", {"name": "x", "rule": "y"}, "must be list"),
        ("delete-tag", {"nam": "big"}, "no argument 'nam'"),
        ("modify-node-metadata", {"node": "nobody"}, "no one node"),
        ("move-policy", {"name": "web"}, "one of before and after"),
        ("revoke", {"order": "o1"}, "no order"),
    ]
    for name, given, words in refused:
        with pytest.raises(Exception, match=words):
            do(name, **given)
    assert isinstance(registry.documents("tag")["big"], Tag)


def test_a_machine_is_registered_by_its_label_and_forgotten(
    registry: Registry, config: Config, machines_desk: Desk
) -> None:
    """One that is installed by somebody else is left alone when it boots; one that is deleted is new again."""
    COMMANDS["register-node"].plan(registry, hardware={"serial": "SN7"}, installed=True).run(apply=True, config=config)
    machine = Machine(machines_desk, 7)
    node = registry.node("SN7").id
    machine.boot()
    assert (node, "installed", False) == (machine.node, registry.node("SN7").state, "microkernel" in machine.script())
    COMMANDS["delete-node"].plan(registry, node="SN7").run(apply=True, config=config)
    machine.boot()
    assert machine.node != node


def test_a_held_machine_is_shown_and_released(machine: Machine, registry: Registry, config: Config) -> None:
    """Issue "Bad input gets a clear error": the board says who is held, and how to end it."""
    Machine(machine.desk, 2, hw={"uuid": machine.hw["uuid"]}).boot()
    report = board(config)
    assert ["high"] == [finding.severity for finding in report.findings]
    assert "release-node" in report.findings[0].remedy
    COMMANDS["release-node"].plan(registry, node="web1", reason="looked at it").run(apply=True, config=config)
    assert ("", []) == (registry.node("web1").held, list(board(config).findings))
    assert {"machines": 1} == {key: value for key, value in foresee(config=config).facts.items() if key == "machines"}
