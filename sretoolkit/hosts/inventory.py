"""Which hosts there are; each way to know is a module in ``inventories/``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

from sretoolkit.config import Config
from sretoolkit.errors import ConfigError
from sretoolkit.hosts.endpoint import Endpoint
from sretoolkit.plugins import Plugins


class Inventory(ABC):
    """One list of hosts, by name, with the tags that group them."""

    def __init__(self, config: Config) -> None:
        self.config = config

    @abstractmethod
    def hosts(self) -> Mapping[str, frozenset[str]]:
        """The names that `connect` takes, and each one's tags."""

    def endpoint(self, name: str) -> Endpoint:
        """How a machine called ``INVENTORY://NAME`` is reached; raises `ConfigError` where names are addresses already."""
        raise ConfigError(f"{name!r} is no address", hint='write "localhost" or "ssh://user@address:port"')


INVENTORIES: Plugins[Inventory] = Plugins("sretoolkit.hosts.inventories", Inventory)  # type: ignore[type-abstract]
