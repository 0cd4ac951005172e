"""What can be changed of machines and their orders."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from sretoolkit.errors import ProvisionError
from sretoolkit.plan import Step
from sretoolkit.provision import orders
from sretoolkit.provision.entries import Policy
from sretoolkit.provision.node import Hardware, Node
from sretoolkit.provision.registry import Registry
from sretoolkit.provision.steps import GiveOrder, PutNode, RevokeOrder, SetNode, kept_of

Steps = Iterator[Step]
Given = Mapping[str, Any]


def changed(node: Node, why: str, **after: Any) -> SetNode:
    """The step that sets these fields of a machine from what they are now."""
    before = {name: node.hardware.to_dict() if name == "hardware" else getattr(node, name) for name in after}
    return SetNode(
        node=node.id, before={n: dict(v) if n == "metadata" else v for n, v in before.items()}, after=after, why=why
    )


def _metadata(registry: Registry, given: Given) -> Steps:
    node = registry.node(str(given["node"]))
    update, remove = dict(given.get("update") or {}), list(given.get("remove") or [])
    if given.get("clear") and (update or remove):
        raise ProvisionError("clear goes alone", hint="first clear, then update")
    if given.get("no_replace") and (taken := sorted(set(update) & set(node.metadata))):
        raise ProvisionError(f"{node.id} has {taken[0]!r} already, and no_replace was asked for", subject=node.id)
    kept = {} if given.get("clear") else {name: value for name, value in node.metadata.items() if name not in remove}
    after = {**kept, **update}
    if after != dict(node.metadata):
        yield changed(node, "metadata by a person", metadata=after)


def _hardware(registry: Registry, given: Given) -> Steps:
    """A card or board moved, or two machines said that they were one: a person says what is true."""
    node = registry.node(str(given["node"]))
    after = Hardware.of({**node.hardware.to_dict(), **dict(given["hardware"])}).to_dict()
    yield changed(node, "identity by a person", hardware=after, held="")


def _release(registry: Registry, given: Given) -> Steps:
    node = registry.node(str(given["node"]))
    if node.held:
        yield changed(node, str(given["reason"]), held="")


def _hold(registry: Registry, given: Given) -> Steps:
    node = registry.node(str(given["node"]))
    yield changed(node, str(given["reason"]), held=str(given["reason"]))


def _reinstall(registry: Registry, given: Given) -> Steps:
    """Back to be matched; with ``same_policy`` it keeps its own. Nothing is written before an order says so."""
    node = registry.node(str(given["node"]))
    if node.order:
        raise ProvisionError(f"{node.id} has the order {node.order}", subject=node.id, hint="wait for it, or revoke it")
    same = bool(given.get("same_policy")) and node.policy
    after = {"state": "matched" if same else "registered", "installed": ""}
    yield changed(node, "to be installed again", **after | ({} if same else {"policy": "", "hostname": ""}))


def _rescue(registry: Registry, given: Given) -> Steps:
    node = registry.node(str(given["node"]))
    free = replace(node, state="matched", installed="")
    order = orders.decided(free, Policy(name="rescue", task="rescue"), kind="rescue")
    order = replace(order, policy=node.policy)
    what = f"tell {node.hostname or node.id} to open a shell on its console; no disk is written"
    yield GiveOrder(order=order.to_dict(), what=what)


def _delete(registry: Registry, given: Given) -> Steps:
    node = registry.node(str(given["node"]))
    if node.order:
        raise ProvisionError(f"{node.id} has the order {node.order}", subject=node.id, hint="revoke it first")
    yield PutNode(node=node.id, before=kept_of(registry, node.id), after=None)


def _register(registry: Registry, given: Given) -> Steps:
    """A machine that is known before it ever boots, by what is written on its label; an installed one is left alone."""
    hardware = Hardware.of(dict(given["hardware"]))
    if not hardware.keys():
        raise ProvisionError("a machine is registered by its serial number, UUID or MAC addresses")
    empty = dict.fromkeys(("policy", "hostname", "host_key", "held", "order_id", "address"), "")
    installed = bool(given.get("installed"))
    row = {
        **empty, "orders": 0, "hardware": json.dumps(hardware.to_dict()),
        "metadata": json.dumps(dict(given.get("metadata") or {})),
        "state": "installed" if installed else "registered", "installed": "by somebody else" if installed else "",
    }  # fmt: skip
    yield PutNode(node=f"n{secrets.token_hex(5)}", before=None, after=row)


def _revoke(registry: Registry, given: Given) -> Steps:
    rows = registry.store.read("SELECT id, node FROM provision_orders WHERE id = :id", id=str(given["order"]))
    if not rows:
        raise ProvisionError(f"there is no order {given['order']!r}", hint="`sretoolkit provision orders` lists them")
    yield RevokeOrder(order=rows[0]["id"], node=rows[0]["node"], before={"open": True}, after={"open": False})


_NODE = ("node", str, "the machine: id, host name, serial number, UUID or MAC address", True)
_REASON = ("reason", str, "why; it is written down", True)
_HARDWARE = ("hardware", dict, "uuid, serial, asset, and mac: a list", True)
Declared = tuple[str, str, tuple[tuple[Any, ...], ...], Mapping[str, Any], Callable[[Registry, Given], Steps]]
DECLARED: tuple[Declared, ...] = (
    (
        "register-node", "Write a machine down before it boots.",
        (_HARDWARE, ("installed", bool, "leave what is on it alone"), ("metadata", dict, "what is known of it")),
        {"hardware": {"serial": "SN42"}, "installed": True}, _register,
    ),
    (
        "modify-node-metadata", "Change what people say of a machine.",
        (_NODE, ("update", dict, "names and values"), ("remove", list, "names"), ("clear", bool, "remove all"),
         ("no_replace", bool, "refuse to overwrite")),
        {"node": "n0123456789", "update": {"rack": "a1"}}, _metadata,
    ),
    ("set-node-hardware", "Say which machine it is, after a card or board moved; it is no longer held.", (_NODE, _HARDWARE),
     {"node": "n0123456789", "hardware": {"mac": ["52:54:00:00:00:01"]}}, _hardware),
    ("hold-node", "Let nothing be done to a machine.", (_NODE, _REASON), {"node": "n0123456789", "reason": "smells"}, _hold),
    ("release-node", "End that it is held.", (_NODE, _REASON), {"node": "n0123456789", "reason": "seen, it is well"}, _release),
    ("reinstall-node", "Let an installed machine be matched, and ordered, again.",
     (_NODE, ("same_policy", bool, "keep its policy")), {"node": "n0123456789", "same_policy": True}, _reinstall),
    ("rescue-node", "Open a shell on a machine's console, at its next boot into the microkernel.", (_NODE,),
     {"node": "n0123456789"}, _rescue),
    ("delete-node", "Forget a machine; should it boot again it is a new one.", (_NODE,), {"node": "n0123456789"}, _delete),
    ("revoke", "End an order; the machine stops where it is.", (("order", str, "the order's id", True),),
     {"order": "o0123456789ab"}, _revoke),
)  # fmt: skip
