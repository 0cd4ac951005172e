"""Orders: what one machine is told to do, decided on its identity and its disk, and what has become of it.

An order goes ``ordered`` -> ``accepted`` (the machine has checked that it is the one that is meant) -> ``writing`` ->
``written`` -> ``verified`` -> ``seeded`` -> ``rebooting`` -> ``done``; or it ends as ``refused``, ``failed`` or ``revoked``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from sretoolkit.errors import ProvisionError
from sretoolkit.journal import digest
from sretoolkit.provision.entries import Policy, Repo, read
from sretoolkit.provision.facts import disk_of, size_of
from sretoolkit.provision.node import Node
from sretoolkit.provision.registry import change, note
from sretoolkit.store.store import Row, Transaction

Kind = Literal["install", "wipe", "installer", "boot", "rescue"]
WRITING: tuple[Kind, ...] = ("install", "wipe", "installer")
STAGES = ("ordered", "accepted", "writing", "written", "verified", "seeded", "rebooting", "done")
BAD = ("refused", "failed", "revoked")
OPEN = STAGES[:-1]
_NEXT: Mapping[str, tuple[str, ...]] = {
    "ordered": ("accepted", "refused", "failed"),
    "accepted": ("writing", "refused", "failed", "accepted"),
    "writing": ("writing", "written", "wiped", "failed", "accepted", "refused"),
    "written": ("verified", "failed", "accepted", "refused"),
    "verified": ("seeded", "rebooting", "failed", "accepted", "refused", "finished"),
    "seeded": (
        "rebooting",
        "failed",
        "accepted",
        "refused",
        "finished",
    ),  # its disk is not bootable yet: power may have gone
    "rebooting": ("rebooting", "finished"),
}
_DONE = {"wipe": ("wiped", "retired", ""), "boot": ("booted-once", "", "")}
RUNNING = STAGES[1:6]


@dataclass(frozen=True, kw_only=True)
class Order:
    """One order: to whom (identity and disk as they were when it was decided), what, and where it stands.

    ``hardware`` and ``disk`` are checked again by the machine itself before its first byte is written.
    """

    id: str
    node: str
    kind: Kind
    policy: str = ""
    task: str = ""
    repo: str = ""
    hardware: Mapping[str, Any] = field(default_factory=dict)
    disk: Mapping[str, Any] = field(default_factory=dict)
    hostname: str = ""
    erase_confirmed: str = ""
    then: str = "reboot"
    state: str = "ordered"
    why: str = ""

    @property
    def open(self) -> bool:
        """Whether there is anything left to do."""
        return self.state in OPEN

    def to_dict(self) -> dict[str, Any]:
        """What was ordered, without where it stands."""
        return {name: value for name, value in asdict(self).items() if name not in ("state", "why")}


def decided(node: Node, policy: Policy, *, disk: str = "", erase_confirmed: str = "", kind: Kind = "install") -> Order:
    """The order that would be given now; raises `ProvisionError` with what keeps it from being given.

    A disk that is not empty, or that was ever mounted, needs its serial number (its name without one) as ``erase_confirmed``.
    """
    _free(node)
    chosen: Mapping[str, Any] = {}
    if kind in WRITING:
        chosen = disk_of(node.disks, disk or policy.disk)
        _erasable(node, chosen, erase_confirmed)
    order = Order(
        id="", node=node.id, kind=kind, policy=policy.name, task=policy.task, repo=policy.repo,
        hardware=node.hardware.to_dict(),
        disk={name: chosen.get(name) for name in ("name", "serial", "bytes", "fingerprint") if chosen},
        hostname=node.hostname, erase_confirmed=erase_confirmed,
    )  # fmt: skip
    # the same decision has the same name, so that a plan that was made, approved and made again is the same plan
    return replace(order, id=f"o{digest({'order': order.to_dict(), 'earlier': node.orders})[:12]}")


def give(tx: Transaction, order: Order) -> None:
    """Write an order down, so that the machine is given it when it asks. Once given, giving it again changes nothing."""
    tx.lock(f"provision-node-{order.node}")
    rows = tx.execute("SELECT order_id FROM provision_nodes WHERE id = :node", node=order.node)
    if not rows:
        raise ProvisionError(f"there is no node {order.node!r}", subject=order.node)
    if rows[0]["order_id"] not in ("", order.id):
        raise ProvisionError(
            f"{order.node} has an order already: {rows[0]['order_id']}", subject=order.node,
            hint="wait for it, or revoke it: `sretoolkit provision revoke`",
        )  # fmt: skip
    made = tx.changed(
        "INSERT INTO provision_orders (id, node, kind, policy, state, document, token, why, made, changed) VALUES "
        "(:id, :node, :kind, :policy, 'ordered', :document, '', '', {now}, {now}) ON CONFLICT DO NOTHING",
        id=order.id, node=order.node, kind=order.kind, policy=order.policy, document=json.dumps(order.to_dict()),
    )  # fmt: skip
    if made:
        change(tx, order.node, order_id=order.id)
        tx.execute("UPDATE provision_nodes SET orders = orders + 1 WHERE id = :node", node=order.node)
        note(tx, order.node, "ordered", order=order.id, kind=order.kind, policy=order.policy, disk=dict(order.disk))


def revoke(tx: Transaction, order_id: str, why: str) -> None:
    """End an order that is not finished; the machine is told so when it asks next, and stops."""
    order = order_in(tx, order_id)
    if order.open:
        _end(tx, order, "revoked", why)


def advance(tx: Transaction, order_id: str, stage: str, report: Mapping[str, Any]) -> Order:
    """A machine says how far it is; raises `ProvisionError` when the order is over or that stage cannot come now."""
    order = order_in(tx, order_id)
    by_itself = order.kind in ("installer", "boot", "rescue") and order.state == "accepted"
    may = _NEXT.get(order.state, ()) + (("finished",) if by_itself else ())
    if stage not in may:
        raise ProvisionError(f"the order {order_id} is {order.state}: {stage} cannot come now", subject=order.node)
    if stage in ("refused", "failed"):
        return _end(tx, order, stage, str(report.get("reason", ""))[:500])
    if stage in ("finished", "wiped"):
        return _end(tx, order, "done", "", proof=report)
    if stage != order.state or stage == "accepted":
        note(tx, order.node, f"stage-{stage}", order=order.id, **_kept(report))
    if stage == "accepted" and order.kind != "rescue":
        change(tx, order.node, state="installing")
    _set(tx, order.id, stage, "")
    return replace(order, state=stage)


def left_rescue(tx: Transaction, node: Node) -> bool:
    """A machine has booted: whether that was out of a rescue shell, whose order is over by it."""
    order = order_in(tx, node.order) if node.order else None
    if order is None or order.kind != "rescue" or order.state != "accepted":
        return False
    advance(tx, order.id, "finished", {})
    return True


def missed_installer(tx: Transaction, node: Node) -> bool:
    """A machine has booted the microkernel: whether an installer should have been booted instead, whose order has failed by it.

    Else a loader that boots no installers (GRUB, PXELINUX) would bring it here, and it would be sent back, for ever.
    """
    order = order_in(tx, node.order) if node.order else None
    if order is None or order.kind not in ("installer", "boot") or order.state != "accepted":
        return False
    advance(tx, order.id, "failed", {"reason": "its boot loader brought the microkernel: installers need iPXE"})
    return True


def was_accepted(tx: Transaction, order_id: str, node: str) -> bool:
    """Whether the machine had accepted an order, so that its disk may have been written."""
    rows = tx.execute("SELECT entry FROM provision_log WHERE node = :node AND event = 'stage-accepted'", node=node)
    return any(json.loads(row["entry"]).get("order") == order_id for row in rows)


def order_in(tx: Transaction, order_id: str) -> Order:
    """An order as this transaction sees it; raises `ProvisionError` when there is none."""
    rows = tx.execute("SELECT document, state, why FROM provision_orders WHERE id = :id", id=order_id)
    if not rows:
        raise ProvisionError(f"there is no order {order_id!r}", subject=order_id)
    return order_of(rows[0])


def order_of(row: Row) -> Order:
    """An order from its row."""
    return Order(**{**json.loads(row["document"]), "state": row["state"], "why": row["why"]})


def make_automatic(tx: Transaction, node: Node, policy: Policy) -> Node:
    """Give the order that an automatic policy gives by itself: only ever for a disk that is empty."""
    try:
        order = decided(node, policy)
    except ProvisionError as error:
        note(tx, node.id, "not-automatic", policy=policy.name, reason=error.message)
        return node
    give(tx, order)
    return replace(node, order=order.id)


def repo_in(tx: Transaction, name: str) -> Repo:
    """The repository that an order is made of; raises `ProvisionError` when it is gone."""
    rows = tx.execute("SELECT document FROM provision_documents WHERE kind = 'repo' AND name = :name", name=name)
    if not rows:
        raise ProvisionError(f"there is no repo {name!r}", subject=name, hint="`sretoolkit provision create-repo`")
    found = read("repo", json.loads(rows[0]["document"]))
    assert isinstance(found, Repo)
    return found


def _free(node: Node) -> None:
    if node.held:
        raise ProvisionError(
            f"{node.id} is held: {node.held}", subject=node.id,
            hint="see which machine it is, then `sretoolkit provision release-node`",
        )  # fmt: skip
    if node.order:
        raise ProvisionError(f"{node.id} has an order already: {node.order}", subject=node.id)
    if node.state == "retired":
        raise ProvisionError(
            f"{node.id} is retired", subject=node.id, hint="`sretoolkit provision reinstall-node` first"
        )
    if node.state == "installed":
        raise ProvisionError(
            f"{node.id} is installed ({node.installed}); it is not installed again without being told to",
            subject=node.id, hint="the runbook reprovision_host does it",
        )  # fmt: skip


def _erasable(node: Node, disk: Mapping[str, Any], confirmed: str) -> None:
    name = disk.get("serial") or disk.get("name")
    if not disk.get("fingerprint"):
        raise ProvisionError(f"{node.id}: the disk {name} has no fingerprint", hint="let the machine check in again")
    if confirmed and confirmed != name:
        raise ProvisionError(f"{node.id}: {confirmed!r} is confirmed, but the disk is {name!r}", subject=node.id)
    if disk.get("empty") is True and not disk.get("last_mount"):
        return
    if not confirmed:
        raise ProvisionError(
            f"{node.id}: the disk {name} ({size_of(disk)}) is not empty: {disk.get('content') or 'unknown content'}",
            subject=node.id, hint=f"when it may be erased: --erase-confirmed={name}",
        )  # fmt: skip


def _end(tx: Transaction, order: Order, state: str, why: str, proof: Mapping[str, Any] | None = None) -> Order:
    _set(tx, order.id, state, why)
    tx.execute("UPDATE provision_orders SET token = '' WHERE id = :id", id=order.id)
    columns: dict[str, Any] = {"order_id": ""}
    if order.kind == "rescue":  # nothing was written: the machine is what it was before
        note(tx, order.node, "rescued" if state == "done" else state, order=order.id, reason=why)
    elif state == "done":
        usual = ("node-install-finished", "installed", order.policy)
        event, columns["state"], columns["installed"] = _DONE.get(order.kind, usual)
        if order.kind == "boot":
            columns["state"] = "matched" if order.policy else "registered"
        note(tx, order.node, event, order=order.id, **_kept(proof or {}))
    else:
        if order.state != "ordered":  # it has accepted, so that its disk may be anything now
            columns["state"] = "matched" if order.policy else "registered"
        note(tx, order.node, state, order=order.id, stage=order.state, reason=why)
    change(tx, order.node, **columns)
    return replace(order, state=state, why=why)


def _set(tx: Transaction, order_id: str, state: str, why: str) -> None:
    tx.execute(
        "UPDATE provision_orders SET state = :state, why = :why, changed = {now} WHERE id = :id",
        state=state, why=why, id=order_id,
    )  # fmt: skip


def _kept(report: Mapping[str, Any]) -> dict[str, Any]:
    """What of a machine's report is kept in its log: plain values, bounded."""
    return {
        str(name)[:40]: value[:300] if isinstance(value, str) else value
        for name, value in list(report.items())[:20]
        if isinstance(value, str | int | float | bool) and name not in ("order", "node", "event", "tx")
    }
