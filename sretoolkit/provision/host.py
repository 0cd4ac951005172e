"""A machine from its order to its first login, as one plan; and taking it out of service, with proof."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from sretoolkit.config import Config
from sretoolkit.errors import ProvisionError
from sretoolkit.plan import Gate, Plan, Step
from sretoolkit.provision import orders
from sretoolkit.provision.broker import HandOver
from sretoolkit.provision.entries import Policy
from sretoolkit.provision.facts import size_of
from sretoolkit.provision.gates import AnswersBySSH, SeenSince, StageReached
from sretoolkit.provision.inventory import SCHEME
from sretoolkit.provision.node import Node, shown
from sretoolkit.provision.node_commands import changed
from sretoolkit.provision.orders import Order
from sretoolkit.provision.registry import Registry
from sretoolkit.provision.steps import GiveErasingOrder, GiveOrder
from sretoolkit.provision.task import task
from sretoolkit.store import open_store


def install(
    node: str,
    *,
    disk: str = "",
    erase_confirmed: str = "",
    again: bool = False,
    ssh: bool = True,
    patience: timedelta = timedelta(minutes=60),
    config: Config | None = None,
) -> Plan:
    """The plan that installs a machine as its policy says: order, power, each stage, SSH, broker.

    ``again`` lets an installed one be installed anew; what is on its disk must be confirmed by the disk's serial number.
    Raises `ProvisionError` with what keeps it from being done.
    """
    config = config or Config.load()
    with open_store(config) as store:
        registry = Registry(store)
        found = registry.node(node)
        before: list[Step] = []
        if again and found.state in ("installed", "retired"):
            before = [changed(found, "to be installed again", state="matched", installed="")]
            found = replace(found, state="matched", installed="")
        policy = _policy(registry, found)
        how = task(policy.task, config["provision.tasks"])
        if how.kind == "none":
            raise ProvisionError(f"the policy {policy.name} installs nothing: its task is {how.name}", subject=found.id)
        kinds: dict[str, orders.Kind] = {"image": "install", "installer": "installer", "boot": "boot"}
        kind = kinds[how.kind]
        registry.document("repo", policy.repo)
        order = orders.decided(found, policy, disk=disk, erase_confirmed=erase_confirmed, kind=kind)
    items: list[Step | Gate] = [*before, *_given(order, found, policy.repo or policy.task), *power_up(found)]
    items += _stages(order, patience)
    name = found.hostname or found.id
    if ssh and kind != "boot":
        items.append(AnswersBySSH(host=SCHEME + name, hostname=name))
    if policy.broker and kind != "boot":
        items.append(HandOver.to(policy.broker, name))
    return Plan(f"install {name} as {policy.name} says", items)


def retire(node: str, *, erase_confirmed: str, disk: str = "", config: Config | None = None) -> Plan:
    """The plan that wipes a machine's disk, with proof, and lets it boot nothing but that.

    ``erase_confirmed`` is the serial number of the disk (its name, where it has none).
    """
    config = config or Config.load()
    with open_store(config) as store:
        found = Registry(store).node(node)
    free = replace(found, state="matched", installed="")
    before = [changed(found, "to be wiped", state="matched", installed="")] if found.state != "matched" else []
    order = orders.decided(
        free, Policy(name="wipe", task="wipe"), disk=disk, erase_confirmed=erase_confirmed, kind="wipe"
    )
    order = replace(order, policy=found.policy)
    wiped = StageReached(order=order.id, stage="done", what="it has wiped its disk and read back nothing but zeros")
    name = found.hostname or found.id
    return Plan(f"wipe and retire {name}", [*before, *_given(order, found, "zeros"), *power_up(found), wiped])


def discover(nodes: list[str], *, patience: timedelta = timedelta(minutes=30), config: Config | None = None) -> Plan:
    """The plan that boots machines from the network, so that they say what they are. Nothing of them is written.

    Those whose power is known (``power`` in their metadata) are switched by it; of the others a person is asked.
    """
    items: list[Step | Gate] = []
    config = config or Config.load()
    with open_store(config) as store:
        registry = Registry(store)
        found = [registry.node(word) for word in nodes]
    for node in found:
        items += power_up(node)
    items += [SeenSince(node=node.id, after=node.seen, horizon=patience) for node in found]
    return Plan(f"discover {len(found)} machine{'s' * (len(found) != 1)}", items)


def power_up(node: Node) -> list[Step | Gate]:
    """Boot a machine from the network by its management controller; nothing where ``power`` is not in its metadata."""
    given = node.metadata.get("power")
    if not given:
        return []
    from sretoolkit.provision.power_steps import network_boot

    return network_boot(node.id, given)


def _policy(registry: Registry, node: Node) -> Policy:
    policy = registry.policies().get(node.policy)
    if policy is None:
        raise ProvisionError(
            f"{node.id} has no policy", subject=node.id, hint=f"`sretoolkit provision explain {node.id}` says why"
        )
    return policy


def _given(order: Order, node: Node, what: str) -> list[Step]:
    disk = order.disk
    if not disk:
        text = f"tell {node.hostname or node.id} ({shown(node.hardware)}) to boot {what} once; no disk is written"
        return [GiveOrder(order=order.to_dict(), what=text)]
    name = f"{disk.get('name')}, serial {disk.get('serial') or 'none'}, {size_of(disk)}"
    text = f"tell {node.hostname or node.id} ({shown(node.hardware)}) to write {what} onto its disk {name}"
    kind = GiveErasingOrder if order.erase_confirmed else GiveOrder
    if order.erase_confirmed:
        text += "; what is on it is lost"
    return [kind(order=order.to_dict(), what=text)]


def _stages(order: Order, patience: timedelta) -> list[Gate]:
    told = {
        "accepted": "it boots, and has checked that it and its disk are the ones that are meant",
        "verified": "its disk is written, and was read back",
        "done": "it has started from its disk, and called home",
    }
    if order.kind != "install":
        told.pop("verified")
    if order.kind == "boot":
        return [
            StageReached(order=order.id, stage="done", what="it has been told to boot that, once", horizon=patience)
        ]
    return [StageReached(order=order.id, stage=stage, what=what, horizon=patience) for stage, what in told.items()]
