"""The machines that were installed, as an inventory: the other runbooks reach them at once, with the key made for each.

``Fleet.of("web", inventory="provisioned")`` are those of the policy (or with the metadata, or the tag) "web".
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from sretoolkit.errors import ProvisionError
from sretoolkit.hosts.endpoint import Endpoint
from sretoolkit.hosts.inventory import Inventory
from sretoolkit.provision.node import Node
from sretoolkit.provision.registry import Registry
from sretoolkit.store import open_store

SCHEME = "provisioned://"


class Provisioned(Inventory):
    """Hosts that are installed and have called home."""

    def hosts(self) -> Mapping[str, frozenset[str]]:
        """``provisioned://NAME`` for each, with its policy, tags and metadata values."""
        with open_store(self.config) as store:
            registry = Registry(store)
            matcher = registry.matcher()
            return {
                SCHEME + (node.hostname or node.id): frozenset(
                    {
                        node.installed,
                        *matcher.decide(node).tags,
                        *(v for v in node.metadata.values() if isinstance(v, str)),
                    }
                )
                for node in registry.nodes(state="installed")
            }

    def endpoint(self, name: str) -> Endpoint:
        """How a machine is reached: its last address, as root, trusting the key that was made for it and no other."""
        with open_store(self.config) as store:
            node = Registry(store).node(name.removeprefix(SCHEME))
        if not node.address:
            raise ProvisionError(f"nobody knows an address of {name}", subject=name, hint="it has not called home yet")
        options = {"address": node.address, "user": "root", "known_hosts": str(self._trust(node))}
        if key := str(self.config["provision.ssh_key"]):
            options["key"] = key
        return Endpoint(name, "ssh", options)

    def _trust(self, node: Node) -> Path:
        """A known_hosts file with this machine's key alone; one without a key lets nobody be trusted."""
        folder = Path(self.config["provision.folder"]) / "host_keys"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = folder / node.id
        line = f"{node.address} {node.host_key}\n" if node.host_key else ""
        with tempfile.NamedTemporaryFile("w", dir=folder, delete=False) as file:
            file.write(line)
        os.replace(file.name, path)
        return path
