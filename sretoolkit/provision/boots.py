"""What a machine boots next: the microkernel, its own disk, or an installer that was ordered."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from sretoolkit.errors import ProvisionError
from sretoolkit.provision import boot, orders
from sretoolkit.provision.node import Hardware, Node
from sretoolkit.provision.registry import node_in, note
from sretoolkit.store.store import Transaction

if TYPE_CHECKING:
    from sretoolkit.provision.handlers import Desk, Request

Choice = Literal["microkernel", "disk", "installer"]


def choice(node: Node | None, order: orders.Order | None) -> Choice:
    """The microkernel for whoever is unknown, waits, or is about to be written; its disk for whoever has been.

    A machine that is installed or retired never gets anything but its own disk, unless somebody ordered it.
    """
    if node is None:
        return "microkernel"
    if order is not None and order.open:
        if order.kind in ("installer", "boot"):
            return "installer" if order.state == "accepted" else "disk" if order.state == "rebooting" else "microkernel"
        return "disk" if order.state == "rebooting" else "microkernel"
    return "disk" if node.state in ("installed", "retired") else "microkernel"


def next_boot(tx: Transaction, desk: Desk, request: Request) -> str:
    """The iPXE script for the machine that asks."""
    node = known(tx, request, desk.limits.match_on)
    if node is not None and orders.left_rescue(tx, node):
        node = node_in(tx, node.id)
    order = orders.order_in(tx, node.order) if node and node.order else None
    chosen = choice(node, order)
    if node is not None and _news(tx, node.id, chosen):
        note(tx, node.id, "boot-script", chosen=chosen, address=request.address)
    base, arch = desk.base(request), _arch(request.query.get("arch", ""))
    if chosen == "disk":
        return boot.local_script(request.query.get("platform", ""), image=f"{base}/svc/loader/local-{arch}.efi")
    if chosen == "installer" and order is not None:
        script = _installer(tx, desk, order, base)
        if order.kind == "boot":
            orders.advance(tx, order.id, "finished", {})
        return script
    return _microkernel(base, arch, tuple(desk.config["provision.consoles"]))


def _news(tx: Transaction, node: str, chosen: Choice) -> bool:
    """Whether a machine is told something else than the last time: a thousand that ask the same cost the disk nothing."""
    rows = tx.execute(
        "SELECT entry FROM provision_log WHERE node = :node AND event = 'boot-script' ORDER BY id DESC LIMIT 1",
        node=node,
    )
    return not rows or json.loads(rows[0]["entry"]).get("chosen") != chosen


def known(tx: Transaction, request: Request, match_on: tuple[str, ...]) -> Node | None:
    """The machine that asks, by what its firmware says; None for one that is new, and for one that cannot be told."""
    said = {**request.query, "serial": request.query.get("serial") or _text(request.query.get("serial_hex", ""))}
    try:
        hardware = Hardware.of({name: said.get(name) or None for name in ("uuid", "serial", "asset", "mac")})
    except ProvisionError:
        return None
    keys = {f"key{place}": key for place, key in enumerate(hardware.keys(match_on))}
    if not keys:
        return None
    rows = tx.execute(
        f"SELECT DISTINCT node FROM provision_identities WHERE identity IN ({', '.join(f':{name}' for name in keys)})",
        **keys,
    )
    return node_in(tx, rows[0]["node"]) if len(rows) == 1 else None


def _text(digits: str) -> str:
    """A text that came as hexadecimal digits, cut as the microkernel cuts it; "" for what is none."""
    try:
        return bytes.fromhex(digits)[:1024].decode("utf-8", "replace").rstrip()
    except ValueError:
        return ""


def _arch(word: str) -> str:
    return "arm64" if word.lower() in ("arm64", "aarch64") else "x86_64"


def _installer(tx: Transaction, desk: Desk, order: orders.Order, base: str) -> str:
    from sretoolkit.provision.task import task

    repo = orders.repo_in(tx, order.repo)
    how = task(order.task, desk.config["provision.tasks"])
    values = {
        "url": base, "hostname": order.hostname, "disk": dict(order.disk), "order": order.id,
        "consoles": desk.config["provision.consoles"],
    }  # fmt: skip
    files = f"{base}/svc/file/{repo.name}"
    injected = [(f"{base}/svc/inject/{order.id}/{name}", f"/{name}") for name in how.inject if not how.fetched]
    initrds = [(f"{files}/{repo.initrd}", "initrd"), *injected]
    return boot.kernel_script(f"{files}/{repo.kernel}", initrds, how.kernel_arguments(values).split())


@lru_cache(maxsize=64)
def _microkernel(base: str, arch: str, consoles: tuple[str, ...]) -> str:
    return boot.microkernel_script(base, arch, consoles=consoles)


def grub_text(node: Node, order: orders.Order | None, api: str, consoles: Sequence[str]) -> str:
    """What GRUB is told (where it cannot ask by HTTP: Secure Boot, arm64): the same choice as by iPXE."""
    arch = _arch(str(node.facts.get("architecture", "")))
    chosen = choice(node, order)
    return boot.grub_local(arch) if chosen == "disk" else boot.grub_microkernel(api, arch, consoles=consoles)


def pxelinux_text(node: Node, order: orders.Order | None, api: str, consoles: Sequence[str]) -> str:
    """What PXELINUX is told, which asks by TFTP alone: the same choice as by iPXE."""
    return boot.pxelinux_menu(api, local=choice(node, order) == "disk", consoles=consoles)
