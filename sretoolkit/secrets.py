"""Secrets travel as references; a value is read at the last moment, in the process that needs it, and never shown.

``Secret("env:PROM_TOKEN")``, ``Secret("file:/run/secrets/db")``, ``Secret("keyring:service/user")``,
``Secret("vault:kv/path#key")``. Whatever was revealed in a process is known to `redact`, which every record passes.
"""

from __future__ import annotations

import base64
import os
import threading
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sretoolkit.errors import SecretError

MASK = "«secret»"
_SHORTEST = 4  # a shorter value would redact half of every record; such a secret is refused


@dataclass(frozen=True)
class Secret:
    """A reference to a secret value; equal, printed and stored by its reference alone."""

    reference: str

    def __post_init__(self) -> None:
        if not self.is_reference(self.reference):
            raise SecretError(
                f"not a secret reference (it begins with {self.reference.partition(':')[0][:12]!r})",
                hint=f'write "scheme:where" with one of the schemes {", ".join(_READERS)}; never the value itself',
            )

    @staticmethod
    def is_reference(text: str) -> bool:
        """Whether the text has the form of a reference."""
        scheme, colon, where = text.partition(":")
        return scheme in _READERS and bool(colon) and bool(where)

    def reveal(self) -> str:
        """The value. Raises `SecretError` when it is missing, too short to be redacted, or not granted to this run."""
        granted = _granted
        if granted is not None:
            if self.reference not in granted:
                raise SecretError(
                    f"this run was not given the secret {self.reference}",
                    hint="name it in a parameter of type Secret, or in the endpoint that a HostName or SourceName names",
                )
            return granted[self.reference]
        scheme, _, where = self.reference.partition(":")
        value = _READERS[scheme](where)
        if len(value) < _SHORTEST:
            raise SecretError(f"the secret {self.reference} is shorter than {_SHORTEST} characters", hint="use a longer one")
        redaction.add(value)
        return value

    def __repr__(self) -> str:
        return f"Secret({self.reference!r})"

    __str__ = __repr__


class Redaction:
    """The values that must not be seen, in every form in which they are likely to appear."""

    def __init__(self) -> None:
        self._forms: frozenset[str] = frozenset()
        self._lock = threading.Lock()

    def add(self, value: str) -> None:
        """Remember a value: raw, URL-encoded, JSON- and repr-escaped, hexadecimal, and base64 at every offset."""
        with self._lock:
            self._forms |= frozenset(form for form in _forms(value) if len(form) >= _SHORTEST)

    def __call__(self, text: str) -> str:
        """The text with every known form of every known value masked."""
        for form in sorted(self._forms, key=len, reverse=True):
            if form in text:
                text = text.replace(form, MASK)
        return text

    def data(self, value: Any) -> Any:
        """The same for nested lists and mappings of text (keys too); returns a new value only where something changed."""
        if not self._forms:
            return value
        if isinstance(value, str):
            return self(value)
        if isinstance(value, Mapping):
            return {self.data(key): self.data(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.data(item) for item in value]
        return value


redaction = Redaction()
_granted: dict[str, str] | None = None


def grant(values: Mapping[str, str]) -> None:
    """Limit this process to these secrets (reference -> value): a kernel under a supervisor gets only what it was named."""
    global _granted
    _granted = dict(values)
    for value in values.values():
        redaction.add(value)


def _forms(value: str) -> set[str]:
    raw = value.encode()
    forms = {value, urllib.parse.quote(value, safe=""), urllib.parse.quote(value), urllib.parse.quote_plus(value)}
    forms |= {repr(value)[1:-1], value.encode("unicode_escape").decode(), value.replace('"', '\\"'), raw.hex()}
    for offset in range(3):
        padded = base64.b64encode(b"\0" * offset + raw).decode().rstrip("=")
        inner = padded[(0, 2, 3)[offset] :]
        inner = inner[: len(inner) - (1 if (offset + len(raw)) % 3 else 0)]
        forms |= {inner, inner.replace("+", "-").replace("/", "_")}
    return forms


def _from_environment(name: str) -> str:
    if name not in os.environ:
        raise SecretError(f"the environment variable {name} is not set", hint=f"export {name} before you start the run")
    return os.environ[name]


def _from_file(path: str) -> str:
    try:
        return Path(path).expanduser().read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise SecretError(f"the secret file {path} cannot be read: {error}", hint="check path and permissions") from error


def _from_keyring(where: str) -> str:
    try:
        import keyring
    except ImportError as error:
        raise SecretError("keyring references need the extra: pip install 'sretoolkit[keyring]'") from error
    service, _, user = where.partition("/")
    value = keyring.get_password(service, user)
    if value is None:
        raise SecretError(f"the keyring has no entry {where}", hint=f"keyring set {service} {user}")
    return value


def _from_vault(where: str) -> str:
    """``mount/path#key`` of a version 2 key/value engine; address and token as the vault command takes them."""
    try:
        import hvac
    except ImportError as error:
        raise SecretError("vault references need the extra: pip install 'sretoolkit[vault]'") from error
    path, _, key = where.partition("#")
    mount, _, path = path.partition("/")
    try:
        client = hvac.Client(timeout=10)
        reply = client.secrets.kv.v2.read_secret_version(path=path, mount_point=mount, raise_on_deleted_version=True)
        value = reply["data"]["data"][key]
    except KeyError as error:
        raise SecretError(f"the vault entry {path} has no key {key!r}", hint="write vault:mount/path#key") from error
    except Exception as error:
        raise SecretError(f"the vault did not give {where}: {error}", hint="check VAULT_ADDR and VAULT_TOKEN") from error
    return str(value)


_READERS: dict[str, Callable[[str], str]] = {
    "env": _from_environment,
    "file": _from_file,
    "keyring": _from_keyring,
    "vault": _from_vault,
}
