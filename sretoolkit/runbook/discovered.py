"""The machines that the monitoring systems know, as an inventory: ask the system that already discovered them.

``Fleet.of("web", inventory="discovered")`` are the machines that some configured source puts into a group, or under a
label's value, "web" (or that the source of that name knows).
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from sretoolkit.errors import SourceError
from sretoolkit.hosts.inventory import Inventory
from sretoolkit.metrics.asking import everywhere


class Discovered(Inventory):
    """Hosts from every configured source that can discover; a source that does not answer raises `SourceError`.

    A machine that the configuration names already (its name, or its address) keeps that name and how it is reached;
    every other one is reached by ``ssh://`` its address.
    """

    def hosts(self) -> Mapping[str, frozenset[str]]:
        """The names that `connect` takes, each with groups, label values and the sources that know it."""
        answers = everywhere(
            lambda source: list(source.discover()) if "discover" in source.capabilities else [], config=self.config
        )
        for name, error in answers.errors.items():  # a fleet with a part missing would be changed in part
            raise SourceError(f"{name}: {error.args[0]}", source=name, hint=error.hint) from error
        known = self._known()
        found: dict[str, set[str]] = {}
        for source, entities in answers.found.items():
            for entity in entities:
                address = entity.address or entity.name
                name = known.get(entity.name) or known.get(address) or f"ssh://{address}"
                found.setdefault(name, set()).update({source, *entity.groups, *entity.labels.values()})
        return {name: frozenset(tags) for name, tags in found.items()}

    def _known(self) -> dict[str, str]:
        """Configured names by themselves and by the address they stand for."""
        names = {name: name for name in self.config.names("hosts")}
        for name in self.config.names("hosts"):
            address = str(self.config.endpoint("hosts", name).get("address", ""))
            if address:
                names[urlsplit(address).hostname or address if "://" in address else address] = name
        return names
