"""Provisioning: a bare machine boots from the network, says what it is, and becomes what the policy says.

The words are Razor's, with Razor's meaning: `Node`, `Tag`, `Repo`, `Task`, `Policy`, `Broker`, `Hook`. What would happen is
`simulate`; what happens is `sretoolkit serve` and the plans made here. A machine is written to only on an order that
names it, and its disk, as they were seen; it checks both itself before the first byte.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sretoolkit.lazy import lazily

if TYPE_CHECKING:
    from sretoolkit.provision.entries import Broker, Hook, Policy, Repo, Tag
    from sretoolkit.provision.host import discover, install, retire
    from sretoolkit.provision.node import Node
    from sretoolkit.provision.overview import board, describe, explain, foresee, try_rule
    from sretoolkit.provision.registry import Registry

_HOMES = {
    "Broker": "sretoolkit.provision.entries",
    "Hook": "sretoolkit.provision.entries",
    "Node": "sretoolkit.provision.node",
    "Policy": "sretoolkit.provision.entries",
    "Registry": "sretoolkit.provision.registry",
    "Repo": "sretoolkit.provision.entries",
    "Tag": "sretoolkit.provision.entries",
    "board": "sretoolkit.provision.overview",
    "describe": "sretoolkit.provision.overview",
    "discover": "sretoolkit.provision.host",
    "explain": "sretoolkit.provision.overview",
    "foresee": "sretoolkit.provision.overview",
    "install": "sretoolkit.provision.host",
    "retire": "sretoolkit.provision.host",
    "try_rule": "sretoolkit.provision.overview",
}
__all__ = [
    "Broker", "Hook", "Node", "Policy", "Registry", "Repo", "Tag", "board", "describe", "discover", "explain", "foresee",
    "install", "retire", "try_rule",
]  # fmt: skip
__getattr__ = lazily(__name__, _HOMES)
