"""What can be picked for a parameter: names from the configuration, machines that monitoring knows, secret references."""

from __future__ import annotations

import os
from collections.abc import Callable

from sretoolkit.config import SECRET_NAMES, Config
from sretoolkit.errors import SREToolkitError
from sretoolkit.hosts.inventory import INVENTORIES
from sretoolkit.runbook.kinds import Kind


def choices(kind: Kind, config: Config) -> list[str]:
    """The values that are known without asking anybody, the likeliest first; none where a value is the user's own."""
    found = _KNOWN.get(_word(kind))
    return found(config) if found else []


def discovered(kind: Kind, config: Config) -> list[str]:
    """Further hosts, from the monitoring systems that can discover; none when they cannot be asked."""
    if _word(kind) != "HostName":
        return []
    try:
        return sorted(INVENTORIES["discovered"](config).hosts())
    except SREToolkitError:
        return []  # it is a help to pick by; who types a name needs no source


def _word(kind: Kind) -> str:
    """The type that decides what can be picked: that of a list's items, and of the part of a union that is not None."""
    for part in kind.parts:
        if kind.name in ("list", "union") and part.name != "None":
            return _word(part)
    return kind.name


def _hosts(config: Config) -> list[str]:
    return list(dict.fromkeys(["localhost", *config.names("hosts")]))


def _secrets(config: Config) -> list[str]:
    """References that the configuration uses, and variables that are named like a secret: names, never values."""
    used = [
        each
        for kind in ("hosts", "sources")
        for name in config.names(kind)
        for each in config.secret_references(kind, name)
    ]
    return list(dict.fromkeys([*used, *(f"env:{name}" for name in sorted(os.environ) if SECRET_NAMES.search(name))]))


_KNOWN: dict[str, Callable[[Config], list[str]]] = {
    "HostName": _hosts,
    "SourceName": lambda config: config.names("sources"),
    "Secret": _secrets,
}
