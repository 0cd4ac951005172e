"""A host's name, and what the configuration (or the name itself) says about how to get there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from sretoolkit.config import FILE_NAME, Config
from sretoolkit.errors import ConfigError

LOCAL_NAMES = ("local", "localhost")


@dataclass(frozen=True)
class Endpoint:
    """One host: its name, the connection plug-in's name and options, its network namespace and tags."""

    name: str
    connection: str = "local"
    options: Mapping[str, Any] = field(default_factory=dict)
    netns: str = ""
    tags: frozenset[str] = frozenset()


def resolve(name: str, config: Config) -> Endpoint:
    """The endpoint of a configured name, "local", "localhost" or an "ssh://", "docker://" or "kubernetes://" address.

    ``INVENTORY://NAME`` is a machine that an inventory knows how to reach. ``docker://CONTAINER`` is on this machine;
    ``kubernetes://CONTEXT/NAMESPACE/POD[/CONTAINER]`` has a slash in a context's name written as %2F. Raises
    `ConfigError` for anything else.
    """
    if name in config.names("hosts"):
        return _configured(name, config.endpoint("hosts", name))
    if name in LOCAL_NAMES:
        return Endpoint(name)
    if name.startswith("ssh://"):
        return _from_url(name)
    if name.startswith(("kubernetes://", "docker://")):
        return _container(name)
    if found := _from_inventory(name, config):
        return found
    try:
        return _configured(name, config.endpoint("hosts", name))
    except ConfigError as error:
        hint = f'{error.hint}; or write "localhost" or "ssh://user@address:port"'
        raise ConfigError(error.message, hint=hint) from None


def _from_inventory(name: str, config: Config) -> Endpoint | None:
    """The endpoint of ``INVENTORY://NAME``; None when no inventory is called so."""
    from sretoolkit.hosts.inventory import INVENTORIES

    scheme, separator, _ = name.partition("://")
    return INVENTORIES[scheme](config).endpoint(name) if separator and scheme in INVENTORIES else None


def _configured(name: str, options: Mapping[str, Any]) -> Endpoint:
    given = dict(options)
    connection = given.pop("connection", "ssh")
    netns, tags = given.pop("netns", ""), given.pop("tags", [])
    where = f"[hosts.{name}]"
    if not isinstance(connection, str) or not isinstance(netns, str):
        raise ConfigError(f"{where} connection and netns must be text", hint=f"mend the table {where} in {FILE_NAME}")
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise ConfigError(f"{where} tags must be a list of text, not {tags!r}", hint='write tags = ["web", "eu"]')
    return Endpoint(name, connection, given, netns, frozenset(tags))


def _from_url(url: str) -> Endpoint:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ConfigError(f"{url!r} is no address: {error}", hint='write "ssh://user@address:port"') from None
    if parts.password is not None:
        raise ConfigError(
            f"ssh://{parts.hostname}: a password in the address would end up in records",
            hint=f'add a table [hosts.NAME] to {FILE_NAME} with password = "env:NAME"',
        )
    if not parts.hostname or parts.path.strip("/") or parts.query or parts.fragment:
        raise ConfigError(f"{url!r} is no address", hint='write "ssh://user@address:port"')
    options: dict[str, Any] = {"address": parts.hostname}
    if port:
        options["port"] = port
    if parts.username:
        options["user"] = unquote(parts.username)
    return Endpoint(url, "ssh", options)


def _container(url: str) -> Endpoint:
    kind, _, rest = url.partition("://")
    parts = [unquote(part) for part in rest.split("/")]
    names = ("container",) if kind == "docker" else ("context", "namespace", "pod", "container")
    if not all(parts) or not min(3, len(names)) <= len(parts) <= len(names):
        hint = 'write "docker://CONTAINER" or "kubernetes://CONTEXT/NAMESPACE/POD/CONTAINER"'
        raise ConfigError(f"{url!r} is no address", hint=hint)
    return Endpoint(url, kind, dict(zip(names, parts, strict=False)))
