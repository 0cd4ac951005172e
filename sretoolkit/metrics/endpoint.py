"""Where a monitoring system is and how to speak to it: from the configuration, or from a URL alone."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import timedelta
from difflib import get_close_matches
from typing import Any, Self
from urllib.parse import urlsplit

from sretoolkit.clock import parse_duration
from sretoolkit.config import Config, mask
from sretoolkit.errors import ConfigError
from sretoolkit.http import Remote
from sretoolkit.http.remote import MOST_BYTES, TIMEOUT
from sretoolkit.secrets import Secret

MOST_SAMPLES = 50_000_000
_TYPES: dict[str, type] = {
    "kind": str,
    "url": str,
    "token": str,
    "username": str,
    "password": str,
    "tenant": str,
    "verify": bool,
    "ca": str,
    "cert": str,
    "key": str,
    "proxy": str,
    "proxy_username": str,
    "proxy_password": str,
    "timeout": str,
    "compress": bool,
    "most_bytes": int,
    "most_samples": int,
    "cluster": str,
}


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """One monitoring system: its kind (the plug-in's name), address, credentials (references, never values) and bounds.

    ``remote`` says how it is spoken to. ``most_samples`` (series times moments) is the cost limit: a question that
    would bring more is not asked (`TooCostly`). ``cluster`` ("context/namespace/service:port") reaches a service through
    a Kubernetes API server's proxy. ``options`` holds what only this kind of system knows.
    """

    name: str
    kind: str
    remote: Remote
    most_samples: int = MOST_SAMPLES
    cluster: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """The address."""
        return self.remote.url

    @property
    def timeout(self) -> timedelta:
        """How long an exchange may take."""
        return self.remote.timeout

    @classmethod
    def from_url(cls, text: str) -> Self:
        """Read ``kind+http://host:port/path``; raises `ConfigError` without the kind."""
        kind, plus, rest = text.partition("+")
        if not plus or "://" in kind:
            hint = f"write the kind of system in front: prometheus+{mask(text)}"
            raise ConfigError("the URL of a source does not say which system it is", hint=hint)
        return cls(name=text, kind=kind, remote=Remote(url=rest.rstrip("/")))

    @classmethod
    def from_config(cls, name: str, config: Config) -> Self:
        """Read ``[sources.NAME]``; raises `ConfigError` for a missing, wrong or half-given option."""
        given = config.endpoint("sources", name)
        where = f"[sources.{name}]"
        for key, expected in _TYPES.items():
            if key in given and (
                not isinstance(given[key], expected) or isinstance(given[key], bool) is not (expected is bool)
            ):
                raise ConfigError(f"{where}: {key} must be a {expected.__name__}, not {type(given[key]).__name__}")
        for key in ("kind",) if given.get("cluster") else ("kind", "url"):
            if not given.get(key):
                raise ConfigError(f"{where} has no {key}", hint='for example kind = "prometheus", url = "https://host"')
        return cls(
            name=name,
            kind=given["kind"],
            remote=_remote(where, given),
            most_samples=given.get("most_samples", MOST_SAMPLES),
            cluster=given.get("cluster", ""),
            options={key: value for key, value in given.items() if key not in _TYPES},
        )

    def check(self, schemes: tuple[str, ...], known: AbstractSet[str]) -> None:
        """Refuse an address or an option that this kind of system does not know; raises `ConfigError`."""
        parts = urlsplit(self.url)
        if not self.cluster and (parts.scheme not in schemes or not (parts.hostname or parts.path)):
            hint = f'write url = "{schemes[0]}://host:port"'
            raise ConfigError(f"the source {mask(self.name)} has no usable URL ({' or '.join(schemes)})", hint=hint)
        for key in sorted(self.options.keys() - known):
            near = get_close_matches(key, [*_TYPES, *known], n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(sorted({*_TYPES, *known}))}"
            raise ConfigError(f"the source {self.name}: {self.kind} has no option {key!r}", hint=hint)


def _remote(where: str, given: Mapping[str, Any]) -> Remote:
    try:
        return Remote(
            url=given.get("url", "").rstrip("/"),
            token=_secret(given.get("token")),
            username=given.get("username", ""),
            password=_secret(given.get("password")),
            headers={"X-Scope-OrgID": given["tenant"]} if given.get("tenant") else {},
            proxy_password=_secret(given.get("proxy_password")),
            timeout=parse_duration(given["timeout"]) if "timeout" in given else TIMEOUT,
            most_bytes=given.get("most_bytes", MOST_BYTES),
            compress=given.get("compress"),
            verify=given.get("verify", True),
            **{key: given.get(key, "") for key in ("ca", "cert", "key", "proxy", "proxy_username")},
        )
    except ConfigError as error:
        raise ConfigError(f"{where}: {error.message}", hint=error.hint) from error


def _secret(reference: str | None) -> Secret | None:
    return Secret(reference) if reference else None
