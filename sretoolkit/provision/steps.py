"""Changes of what provisioning knows, as steps of plans: documents, what is known of a machine, and orders."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from sretoolkit.errors import PlanError, ProvisionError
from sretoolkit.plan import Context, Step, shown
from sretoolkit.provision import orders
from sretoolkit.provision.entries import read
from sretoolkit.provision.node import STATES, Hardware
from sretoolkit.provision.orders import Order
from sretoolkit.provision.registry import Registry, change, node_in, note, put_node
from sretoolkit.store import open_store
from sretoolkit.store.store import Transaction

NO_ORDER, ORDERED = "no order", "this order"
EDITABLE = ("hardware", "metadata", "state", "installed", "policy", "held", "hostname")


def registry_of(ctx: Context) -> Registry:
    """The registry of a running plan's configuration; its store is closed when the plan ends."""
    store = ctx.use(("store", ctx.config["store.url"]), lambda: open_store(ctx.config))
    return Registry(store)


@dataclass(frozen=True, kw_only=True)
class SetDocument(Step):
    """Write a tag, repo, policy, broker or hook, or remove it: ``before`` and ``after`` are the document, or None."""

    kind: str
    name: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None

    @property
    def target(self) -> str:
        """``provision:KIND/NAME``."""
        return f"provision:{self.kind}/{self.name}"

    def describe(self) -> str:
        """What is done to which document."""
        if self.before is None or self.after is None:
            return f"{'create' if self.before is None else 'delete'} the {self.kind} {self.name}"
        names = sorted(n for n in {*self.before, *self.after} if self.before.get(n) != self.after.get(n))
        return f"change {', '.join(names)} of the {self.kind} {self.name}"

    def observe(self, ctx: Context) -> dict[str, Any] | None:
        """The document as it is now."""
        found = registry_of(ctx).documents(self.kind).get(self.name)
        return found.to_dict() if found else None

    def do(self, ctx: Context) -> None:
        """Write ``after``."""
        self._write(ctx, self.after)

    def undo(self, ctx: Context) -> None:
        """Write ``before``."""
        self._write(ctx, self.before)

    def _write(self, ctx: Context, document: dict[str, Any] | None) -> None:
        registry = registry_of(ctx)
        with registry.store.transaction() as tx:
            registry.put(tx, self.kind, self.name, read(self.kind, document) if document is not None else None)


@dataclass(frozen=True, kw_only=True)
class SetNode(Step):
    """Change what is known of a machine: some of hardware, metadata, state, installed, policy, held, hostname."""

    node: str
    before: dict[str, Any]
    after: dict[str, Any]
    why: str = ""

    @property
    def target(self) -> str:
        """``provision:node/ID``."""
        return f"provision:node/{self.node}"

    def describe(self) -> str:
        """Which machine, and what of it."""
        return f"set {', '.join(sorted(self.after))} of {self.node}" + (f": {self.why}" if self.why else "")

    def observe(self, ctx: Context) -> dict[str, Any]:
        """The same fields as they are now."""
        registry = registry_of(ctx)
        with registry.store.transaction() as tx:
            return fields_of(tx, self.node, list(self.after))

    def do(self, ctx: Context) -> None:
        """Write ``after``."""
        self._write(ctx, self.after)

    def undo(self, ctx: Context) -> None:
        """Write ``before``."""
        self._write(ctx, self.before)

    def _write(self, ctx: Context, values: dict[str, Any]) -> None:
        with registry_of(ctx).store.transaction() as tx:
            if (state := values.get("state", "registered")) not in STATES:
                raise ProvisionError(f"{state!r} is no state of a node", hint=", ".join(STATES))
            if "hardware" in values:
                _own(tx, self.node, Hardware.of(values["hardware"]))
            change(tx, self.node, **values)
            note(tx, self.node, "changed", fields=sorted(values), why=self.why)


@dataclass(frozen=True, kw_only=True)
class PutNode(Step):
    """Write a machine down before it was ever seen (``before`` is None), or forget it (``after`` is None).

    A machine that is forgotten and boots again is a new one.
    """

    node: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None

    @property
    def target(self) -> str:
        """``provision:node/ID``."""
        return f"provision:node/{self.node}"

    def describe(self) -> str:
        """Which machine."""
        return f"{'register' if self.before is None else 'forget'} the node {self.node}"

    def observe(self, ctx: Context) -> dict[str, Any] | None:
        """What is known of it."""
        return kept_of(registry_of(ctx), self.node)

    def do(self, ctx: Context) -> None:
        """Write ``after``."""
        self._write(ctx, self.after)

    def undo(self, ctx: Context) -> None:
        """Write ``before``."""
        self._write(ctx, self.before)

    def _write(self, ctx: Context, row: dict[str, Any] | None) -> None:
        with registry_of(ctx).store.transaction() as tx:
            _put(tx, self.node, row)


@dataclass(frozen=True, kw_only=True)
class PutNodes(Step):
    """Write many machines down before they were ever seen, in one transaction: all or none. ``before`` knows none of them.

    A step a machine costs six commits: a thousand took twelve seconds on a busy disk, by the hundred a quarter of one.
    """

    before: dict[str, None]
    after: dict[str, dict[str, Any]]
    what: str = shown(default="")

    @property
    def target(self) -> str:
        """``provision:nodes/ID+N``: the first of them, and how many follow."""
        first, *others = sorted(self.after)
        return f"provision:nodes/{first}+{len(others)}"

    def describe(self) -> str:
        """How many, and which."""
        return f"register {len(self.after)} nodes{f': {self.what}' if self.what else ''}"

    def observe(self, ctx: Context) -> dict[str, Any]:
        """What is known of each."""
        registry = registry_of(ctx)
        return {node: kept_of(registry, node) for node in self.after}

    def do(self, ctx: Context) -> None:
        """Write ``after``; raises `ProvisionError` when one has an identity of another machine, and then writes none."""
        self._write(ctx, self.after)

    def undo(self, ctx: Context) -> None:
        """Forget them; raises `ProvisionError` when one has an order, and then forgets none."""
        self._write(ctx, self.before)

    def _write(self, ctx: Context, rows: Mapping[str, dict[str, Any] | None]) -> None:
        with registry_of(ctx).store.transaction() as tx:
            for node, row in rows.items():
                _put(tx, node, row)


@dataclass(frozen=True, kw_only=True)
class GiveOrder(Step):
    """Tell a machine what to do to its disk. Undone as long as it has not begun to write; afterwards the machine stops."""

    order: dict[str, Any]
    before: str = NO_ORDER
    after: str = ORDERED
    what: str = shown(default="")

    @property
    def target(self) -> str:
        """``provision:node/ID``."""
        return f"provision:node/{self.order['node']}"

    def describe(self) -> str:
        """Which machine, what, and onto which disk."""
        return self.what

    def observe(self, ctx: Context) -> str:
        """Whether the order stands: given, and not ended otherwise than well."""
        rows = registry_of(ctx).store.read("SELECT state FROM provision_orders WHERE id = :id", id=self.order["id"])
        return ORDERED if rows and rows[0]["state"] not in orders.BAD else NO_ORDER

    def do(self, ctx: Context) -> None:
        """Write it down; the machine is told when it asks next."""
        registry = registry_of(ctx)
        with registry.store.transaction() as tx:
            orders.give(tx, Order(**self.order))

    def undo(self, ctx: Context) -> None:
        """Revoke it; raises `ProvisionError` when the machine is installed already."""
        with registry_of(ctx).store.transaction() as tx:
            if orders.order_in(tx, self.order["id"]).state == "done":
                raise ProvisionError(
                    f"{self.order['node']} is installed already, which no revoking takes back", subject=self.order["node"],
                    hint="the runbook retire_host wipes it, reprovision_host installs it again",
                )  # fmt: skip
            orders.revoke(tx, self.order["id"], "the run that gave it was taken back")

    def by_hand(self) -> str:
        """What a person types."""
        return f"sretoolkit provision revoke --order {self.order['id']} --apply --yes-irreversible"


@dataclass(frozen=True, kw_only=True)
class GiveErasingOrder(GiveOrder):
    """The same for a disk that may hold data. Once the machine has accepted it, what was on the disk is lost."""

    irreversible: ClassVar[bool] = True

    def revocable(self, ctx: Context) -> bool:
        """Until the machine has accepted it."""
        with registry_of(ctx).store.transaction() as tx:
            return not orders.was_accepted(tx, self.order["id"], self.order["node"])


@dataclass(frozen=True, kw_only=True)
class RevokeOrder(Step):
    """End an order; the machine stops where it is. A new order is a new decision, so this cannot be taken back."""

    irreversible: ClassVar[bool] = True
    order: str
    node: str
    before: dict[str, Any]
    after: dict[str, Any]

    @property
    def target(self) -> str:
        """``provision:order/ID``: not the machine, which the run that gave the order has leased."""
        return f"provision:order/{self.order}"

    def describe(self) -> str:
        """Which order of which machine."""
        return f"revoke the order {self.order} of {self.node}"

    def observe(self, ctx: Context) -> dict[str, Any]:
        """Whether it is open."""
        rows = registry_of(ctx).store.read("SELECT state FROM provision_orders WHERE id = :id", id=self.order)
        return {"open": bool(rows) and rows[0]["state"] in orders.OPEN}

    def do(self, ctx: Context) -> None:
        """End it."""
        with registry_of(ctx).store.transaction() as tx:
            orders.revoke(tx, self.order, "revoked by a person")

    def undo(self, ctx: Context) -> None:
        """It is not given again: what it was decided on may have changed."""
        raise PlanError(f"the order {self.order} was revoked", hint="give a new one")


def fields_of(tx: Transaction, node: str, names: list[str]) -> dict[str, Any]:
    """Some fields of a machine as steps hold them; raises `ProvisionError` for one that nobody may set."""
    if wrong := sorted(set(names) - set(EDITABLE)):
        raise ProvisionError(f"{wrong[0]} of a node cannot be set", hint=f"one of {', '.join(EDITABLE)}")
    found = node_in(tx, node)
    values = {name: getattr(found, name) for name in names}
    if "hardware" in values:
        values["hardware"] = found.hardware.to_dict()
    return {name: dict(value) if name == "metadata" else value for name, value in values.items()}


def _put(tx: Transaction, node: str, row: dict[str, Any] | None) -> None:
    """Register a machine, or with None forget it."""
    if row is None:
        if node_in(tx, node).order:
            raise ProvisionError(f"{node} has an order", subject=node, hint="revoke it first")
        note(tx, node, "node-deleted")
        for table, column in (("nodes", "id"), ("identities", "node"), ("boots", "node")):
            tx.execute(f"DELETE FROM provision_{table} WHERE {column} = :node", node=node)
        return
    put_node(tx, {**row, "id": node, "facts": "{}"})
    _own(tx, node, Hardware.of(json.loads(row["hardware"])))
    note(tx, node, "node-registered", by="a person")


def _own(tx: Transaction, node: str, hardware: Hardware) -> None:
    """Give a machine exactly these identities; raises `ProvisionError` when another one has one of them."""
    tx.lock("provision-nodes")
    tx.execute("DELETE FROM provision_identities WHERE node = :node", node=node)
    for key in hardware.keys(("uuid", "serial", "asset", "mac")):
        if not tx.changed(
            "INSERT INTO provision_identities (identity, node) VALUES (:key, :node) ON CONFLICT DO NOTHING",
            key=key, node=node,
        ):  # fmt: skip
            rows = tx.execute("SELECT node FROM provision_identities WHERE identity = :key", key=key)
            raise ProvisionError(f"{key} belongs to {rows[0]['node']}", subject=node, hint="delete that node first")


def kept_of(registry: Registry, node: str) -> dict[str, Any] | None:
    """A machine's row without facts and times, which it says anew when it boots; None when it is not known."""
    rows = registry.store.read("SELECT * FROM provision_nodes WHERE id = :node", node=node)
    left_out = ("number", "id", "facts", "registered", "seen")
    return {name: value for name, value in dict(rows[0]).items() if name not in left_out} if rows else None
