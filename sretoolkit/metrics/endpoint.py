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
from sretoolkit.secrets import Secret

TIMEOUT = timedelta(seconds=30)
_TYPES: dict[str, type] = {
    "kind": str,
    "url": str,
    "token": str,
    "username": str,
    "password": str,
    "verify": bool,
    "ca": str,
    "timeout": str,
}


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """One monitoring system: its kind (the plug-in's name), address and credentials (references, never values).

    ``verify`` and ``ca`` (a file of certificates) say whom to trust with https, ``timeout`` bounds every request, and
    ``options`` holds what only this kind of system knows.
    """

    name: str
    kind: str
    url: str
    token: Secret | None = None
    username: str = ""
    password: Secret | None = None
    verify: bool = True
    ca: str = ""
    timeout: timedelta = TIMEOUT
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f"the source {self.name} has no usable URL", hint='write url = "https://host:port"')
        if parts.username is not None or parts.password is not None:
            hint = 'configure the source, with username = "..." and password = "env:NAME" (a reference)'
            raise ConfigError(f"the URL of a source at {parts.hostname} holds a user name or a password", hint=hint)
        if bool(self.username) != bool(self.password) or (self.token and self.username):
            hint = "give either token, or username and password together"
            raise ConfigError(f"the source {self.name} has half a login, or two", hint=hint)

    @property
    def in_clear(self) -> bool:
        """Whether a credential would cross a network unencrypted."""
        local = urlsplit(self.url).hostname in ("127.0.0.1", "::1", "localhost")
        return self.url.startswith("http://") and not local and bool(self.token or self.password)

    @classmethod
    def from_url(cls, text: str) -> Self:
        """Read ``kind+http://host:port/path``; raises `ConfigError` without the kind."""
        kind, plus, rest = text.partition("+")
        if not plus or "://" in kind:
            hint = f"write the kind of system in front: prometheus+{mask(text)}"
            raise ConfigError("the URL of a source does not say which system it is", hint=hint)
        return cls(name=text, kind=kind, url=rest.rstrip("/"))

    @classmethod
    def from_config(cls, name: str, config: Config) -> Self:
        """Read ``[sources.NAME]``; raises `ConfigError` for a missing, wrong or half-given option."""
        given = config.endpoint("sources", name)
        where = f"[sources.{name}]"
        for key, expected in _TYPES.items():
            if key in given and not isinstance(given[key], expected):
                raise ConfigError(f"{where}: {key} must be a {expected.__name__}, not {type(given[key]).__name__}")
        for key in ("kind", "url"):
            if not given.get(key):
                raise ConfigError(f"{where} has no {key}", hint='for example kind = "prometheus", url = "https://host"')
        return cls(
            name=name,
            kind=given["kind"],
            url=given["url"].rstrip("/"),
            token=_secret(given.get("token")),
            username=given.get("username", ""),
            password=_secret(given.get("password")),
            verify=given.get("verify", True),
            ca=given.get("ca", ""),
            timeout=parse_duration(given["timeout"]) if "timeout" in given else TIMEOUT,
            options={key: value for key, value in given.items() if key not in _TYPES},
        )

    def check_options(self, known: AbstractSet[str]) -> None:
        """Refuse options that this kind of system does not know; raises `ConfigError` with the nearest name."""
        for key in sorted(self.options.keys() - known):
            near = get_close_matches(key, [*_TYPES, *known], n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(sorted({*_TYPES, *known}))}"
            raise ConfigError(f"the source {self.name}: {self.kind} has no option {key!r}", hint=hint)


def _secret(reference: str | None) -> Secret | None:
    return Secret(reference) if reference else None
