"""The hosts that the configuration names: its tables [hosts.NAME], grouped by ``tags = [...]``."""

from __future__ import annotations

from collections.abc import Mapping

from sretoolkit.hosts.endpoint import resolve
from sretoolkit.hosts.inventory import Inventory


class Static(Inventory):
    """Hosts from the configuration alone."""

    def hosts(self) -> Mapping[str, frozenset[str]]:
        """Every configured host with its tags."""
        return {name: resolve(name, self.config).tags for name in self.config.names("hosts")}
