"""What every way to a host offers; the ways themselves are the modules in ``connections/``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, ClassVar

from sretoolkit.config import Config
from sretoolkit.errors import ConfigError
from sretoolkit.hosts.endpoint import Endpoint
from sretoolkit.hosts.result import Output
from sretoolkit.plugins import Plugins


class Connection(ABC):
    """Runs shell commands on one host, from any number of threads at once; opens itself at the first command.

    A plug-in names its ``options`` (name -> type); others are refused before anything is tried.
    """

    options: ClassVar[Mapping[str, type]] = {}

    def __init__(self, endpoint: Endpoint, config: Config) -> None:
        self.endpoint = endpoint
        self.config = config
        self.given: dict[str, Any] = _checked(endpoint, self.options)

    @abstractmethod
    def execute(self, command: str, *, timeout: float, data: bytes) -> Output:
        """Run a POSIX shell command with ``data`` as its stdin, and wait at most ``timeout`` seconds for its end.

        At the deadline it is killed with its children.
        Raises `Unreachable` when there is no connection (nothing ran) or when it was cut (the command is in doubt),
        and another `HostError` when trying again cannot help: wrong key, unknown host key.
        """

    @abstractmethod
    def by_hand(self, command: str) -> str:
        """What a person types into a terminal here to run that command there."""

    def close(self) -> None:  # noqa: B027 - a way that holds nothing open has nothing to do
        """Let go of the host; a later command opens the connection again."""


CONNECTIONS: Plugins[Connection] = Plugins("sretoolkit.hosts.connections", Connection)  # type: ignore[type-abstract]


def open_connection(endpoint: Endpoint, config: Config) -> Connection:
    """The connection of an endpoint, not yet opened; raises `UnknownPlugin` or `ConfigError`."""
    return CONNECTIONS[endpoint.connection](endpoint, config)


def _checked(endpoint: Endpoint, known: Mapping[str, type]) -> dict[str, Any]:
    where = f"[hosts.{endpoint.name}]"
    for name, value in endpoint.options.items():
        if name not in known:
            near = get_close_matches(name, [*known, "connection", "netns", "tags"], n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"it has: {', '.join(sorted(known)) or 'no options'}"
            raise ConfigError(f"{where} a connection of kind {endpoint.connection!r} has no option {name!r}", hint=hint)
        if not isinstance(value, known[name]) or isinstance(value, bool) != (known[name] is bool):
            raise ConfigError(f"{where} {name} must be {known[name].__name__}, not {value!r}", hint="mend the table")
    return dict(endpoint.options)
