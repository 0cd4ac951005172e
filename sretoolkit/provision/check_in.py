"""A machine checks in: it is recognised or new, matched, and given a token for this boot."""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from sretoolkit.errors import IdentityConflict, ProvisionError
from sretoolkit.provision import orders
from sretoolkit.provision.entries import Policy
from sretoolkit.provision.facts import cleaned, is_plain, without_moments
from sretoolkit.provision.lldp import neighbours, not_heard
from sretoolkit.provision.matching import Decision, Matcher
from sretoolkit.provision.node import IDENTITIES, MATCH_ON, Hardware, Node, shown, the_one
from sretoolkit.provision.registry import change, node_in, note, notes, put_node
from sretoolkit.store.store import Transaction

_COUNTED_FOR = 50  # newcomers at least (or a tenth of the room), before they are counted anew
STILL_THERE = 15.0  # seconds after its last word in which a machine counts as running
BOUND = ("matched", "installing", "installed")


class Limits:
    """By what a machine is recognised, and how many that nobody has matched are kept; counted once for many newcomers."""

    def __init__(self, most_new: int = 5000, match_on: tuple[str, ...] = MATCH_ON) -> None:
        self.most_new = most_new
        self.match_on = match_on
        self._room = 0

    def take(self, tx: Transaction) -> None:
        """Room for one more; raises `Crowded` when there is none."""
        if self._room <= 0:
            rows = tx.execute("SELECT count(*) AS count FROM provision_nodes WHERE state = 'registered' AND held = ''")
            left = self.most_new - int(rows[0]["count"])
            self._room = min(left, max(left // 10, _COUNTED_FOR))
        if self._room <= 0:
            raise Crowded(
                f"{self.most_new} machines are waiting that no policy wants; no more are taken in",
                hint="`sretoolkit provision nodes --state registered`: delete them, match them, or raise provision.most_new",
            )
        self._room -= 1


class Crowded(ProvisionError):
    """There are too many machines that nobody knows; no more are taken in."""

    retryable = True


@dataclass(frozen=True)
class Arrival:
    """What a machine brought: who it says it is, its facts, and the address that it came from."""

    hardware: Hardware
    facts: Mapping[str, Any]
    address: str

    @classmethod
    def of(cls, body: Any, address: str, *, raw: bytes = b"") -> Arrival:
        """Read a check-in, and the JSON that it came in; raises `ProvisionError` for one that is none."""
        if not isinstance(body, Mapping) or not isinstance(body.get("hw"), Mapping):
            raise ProvisionError('a check-in is {"hw": {...}, "facts": {...}}')
        hardware, facts = Hardware.of(body["hw"]), body.get("facts", {})
        return cls(hardware, neighbours(facts if raw and is_plain(raw, facts) else cleaned(facts)), address)


@dataclass(frozen=True)
class Entered:
    """Which machine it is, the token of its boot (known to it alone), and what changed: (from state, to state).

    ``booted``: it has, since its last check-in; else it tells of something new, or had lost its token.
    """

    node: Node
    token: str
    moved: tuple[str, str]
    booted: bool


def enter(tx: Transaction, arrival: Arrival, matcher: Matcher, limits: Limits) -> Entered:
    """Recognise or register a machine, match it, and give it a token.

    Raises `IdentityConflict` (the machines concerned are held), `Crowded`, and `ProvisionError` for a machine without any
    identity.
    """
    keys = arrival.hardware.keys(limits.match_on)
    if not keys:
        raise ProvisionError(f"this machine says nothing by which it could be known: {shown(arrival.hardware)}")
    tx.lock("provision-nodes")
    known = _recognised(tx, arrival, keys)
    node = _new(tx, arrival, limits) if known is None else _again(tx, arrival, known)
    if known is None or known.hardware != arrival.hardware:
        _identify(tx, node.id, arrival.hardware)
    before = "" if known is None else known.state
    booted = known is None or _booted(tx, arrival, node.id)
    events: list[tuple[str, dict[str, Any]]] = []
    if known is None:
        events.append(("node-registered", {"hardware": shown(arrival.hardware)}))
    if booted:
        events.append(("node-booted", {"address": arrival.address, "firmware": arrival.facts.get("firmware")}))
    if events:
        notes(tx, node.id, *events)
    node = bind(tx, node, matcher)
    token = secrets.token_urlsafe(32)
    tx.execute(
        "INSERT INTO provision_boots (node, token, boot_id, address, at) VALUES (:node, :token, :boot, :address, {now}) "
        "ON CONFLICT (node) DO UPDATE SET token = :token, boot_id = :boot, address = :address, at = {now}",
        node=node.id, token=digest_of(token), boot=str(arrival.facts.get("boot_id", "")), address=arrival.address,
    )  # fmt: skip
    return Entered(node, token, (before, node.state), booted)


def _booted(tx: Transaction, arrival: Arrival, node: str) -> bool:
    boot = arrival.facts.get("boot_id")
    rows = tx.execute("SELECT boot_id FROM provision_boots WHERE node = :node", node=node)
    return not boot or not rows or rows[0]["boot_id"] != boot


def _identify(tx: Transaction, node: str, hardware: Hardware) -> None:
    keys = {f"key{place}": key for place, key in enumerate(hardware.keys(IDENTITIES))}
    rows = ", ".join(f"(:{name}, :node)" for name in keys)
    tx.execute(
        f"INSERT INTO provision_identities (identity, node) VALUES {rows} ON CONFLICT DO NOTHING", node=node, **keys
    )


def bind(tx: Transaction, node: Node, matcher: Matcher) -> Node:
    """Give a machine that has no installation its policy: the first that matches and is not full."""
    if node.state not in ("registered", "matched") or node.order or node.held:
        return node
    decision = matcher.decide(node)
    by_name = {policy.name: policy for policy in matcher.policies}
    policy = next((by_name[name] for name in decision.policies if room(tx, by_name[name], node)), None)
    if (policy.name if policy else "") != node.policy:
        node = _bound(tx, node, policy)
    if policy and policy.automatic:
        node = orders.make_automatic(tx, node, policy)
    if decision.undecided and not policy:
        _say_undecided(tx, node, decision)
    return node


def room(tx: Transaction, policy: Policy, node: Node) -> bool:
    """Whether a policy takes one more machine (or has this one already)."""
    if not policy.max_count or node.policy == policy.name:
        return True
    rows = tx.execute(
        "SELECT count(*) AS count FROM provision_nodes WHERE policy = :policy AND state IN ('matched', 'installing', "
        "'installed')",
        policy=policy.name,
    )
    return int(rows[0]["count"]) < policy.max_count


def digest_of(token: str) -> str:
    """What is stored of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


def _bound(tx: Transaction, node: Node, policy: Policy | None) -> Node:
    if node.policy:
        note(tx, node.id, "node-unbound-from-policy", policy=node.policy)
    if policy is None:
        change(tx, node.id, state="registered", policy="", hostname="")
        return replace(node, state="registered", policy="", hostname="")
    metadata = {**policy.metadata, **node.metadata}
    name = host_name(tx, policy, node)
    change(tx, node.id, state="matched", policy=policy.name, hostname=name, metadata=metadata)
    note(tx, node.id, "node-bound-to-policy", policy=policy.name, hostname=name)
    return replace(node, state="matched", policy=policy.name, hostname=name, metadata=metadata)


def host_name(tx: Transaction, policy: Policy, node: Node) -> str:
    """The name that a policy's pattern gives a machine; a name that another one has gets its id added."""
    mac = node.hardware.macs[0].replace(":", "") if node.hardware.macs else node.id
    words = {"id": node.id, "serial": node.hardware.serial or node.id, "mac": mac}
    words["hostname"] = str(node.metadata.get("hostname") or node.id)
    if "${count}" in policy.hostname:
        sql = "SELECT count(*) AS count FROM provision_nodes WHERE policy = :policy"
        words["count"] = str(tx.execute(sql, policy=policy.name)[0]["count"] + 1)
    name = policy.hostname
    for word, value in words.items():
        name = name.replace(
            "${" + word + "}", "".join(char if char.isalnum() or char == "." else "-" for char in value).strip("-.")
        )
    taken = tx.execute("SELECT 1 FROM provision_nodes WHERE hostname = :name AND id <> :node", name=name, node=node.id)
    first, dot, rest = name.partition(".")
    return f"{first}-{node.id}{dot}{rest}" if taken else name


def _say_undecided(tx: Transaction, node: Node, decision: Decision) -> None:
    reasons = "; ".join(f"{tag}: {why}" for tag, why in sorted(decision.unknown.items()))
    rows = tx.execute(
        "SELECT entry FROM provision_log WHERE node = :node AND event = 'undecided' ORDER BY id DESC LIMIT 1",
        node=node.id,
    )
    if not rows or json.loads(rows[0]["entry"]).get("reasons") != reasons:
        note(tx, node.id, "undecided", policy=decision.undecided, reasons=reasons)


def _recognised(tx: Transaction, arrival: Arrival, keys: list[str]) -> Node | None:
    names = {f"key{place}": key for place, key in enumerate(keys)}
    rows = tx.execute(
        f"SELECT DISTINCT node FROM provision_identities WHERE identity IN ({', '.join(f':{name}' for name in names)})",
        **names,
    )
    candidates = [node_in(tx, row["node"]) for row in rows]
    try:
        node = the_one(arrival.hardware, candidates)
        if node is not None:
            _alone(tx, arrival, node)
    except IdentityConflict as error:
        for candidate in candidates:
            _hold(tx, candidate, error, arrival)
        raise
    return node


def _alone(tx: Transaction, arrival: Arrival, node: Node) -> None:
    """Refuse a second machine that says the very same while the first one is still speaking from elsewhere."""
    rows = tx.execute(
        "SELECT boot_id, address, {now} - at AS silent FROM provision_boots WHERE node = :node", node=node.id
    )
    if not rows or not rows[0]["boot_id"] or not arrival.facts.get("boot_id"):
        return
    boot = rows[0]
    elsewhere = boot["boot_id"] != arrival.facts["boot_id"] and boot["address"] != arrival.address
    if elsewhere and boot["silent"] < STILL_THERE:
        raise IdentityConflict(
            f"a machine at {arrival.address} says that it is {node.id}, which speaks from {boot['address']} now",
            nodes=[node.id], hint="two machines with one identity, or one that pretends; find the second one",
        )  # fmt: skip


def _hold(tx: Transaction, node: Node, error: IdentityConflict, arrival: Arrival) -> None:
    """Nothing new is done to a machine while it is not known which one it is; what it is in the middle of goes on."""
    if not node.held:
        change(tx, node.id, held=error.message)
    note(tx, node.id, "identity-conflict", reason=error.message, address=arrival.address)


def _new(tx: Transaction, arrival: Arrival, limits: Limits) -> Node:
    limits.take(tx)
    node = Node(id=_new_id(), hardware=arrival.hardware, facts=arrival.facts, address=arrival.address)
    put_node(
        tx,
        {
            "id": node.id, "hardware": json.dumps(arrival.hardware.to_dict()), "facts": _as_text(arrival.facts),
            "address": arrival.address,
        },
    )  # fmt: skip
    return node


def _new_id() -> str:
    """An id that none else has. Those of one minute begin alike, so that their rows lie together on the disk."""
    return f"n{int(time.time()) // 60 % 256:02x}{secrets.token_hex(5)}"


def _again(tx: Transaction, arrival: Arrival, known: Node) -> Node:
    """A machine that is known: its facts and cards as they are now; an identity that it had and lost stays its own."""
    merged = Hardware(
        arrival.hardware.uuid or known.hardware.uuid,
        arrival.hardware.serial or known.hardware.serial,
        arrival.hardware.asset or known.hardware.asset,
        arrival.hardware.macs,
    )
    old, new = without_moments(known.facts), without_moments(arrival.facts)
    if old != new:
        changed = sorted(name for name in {*old, *new} if old.get(name) != new.get(name) and not not_heard(name, new))
        if changed:
            note(tx, known.id, "node-facts-changed", facts=changed)
    change(tx, known.id, hardware=merged.to_dict(), facts=_as_text(arrival.facts), address=arrival.address)
    tx.execute("UPDATE provision_nodes SET seen = {now} WHERE id = :node", node=known.id)
    return replace(known, hardware=merged, facts=arrival.facts, address=arrival.address)


def _as_text(facts: Mapping[str, Any]) -> str:
    return msgspec.json.encode(facts).decode()
