"""Secrets travel as references; a value is read at the last moment, in the process that needs it, and never shown.

``Secret("env:PROM_TOKEN")``, ``Secret("file:/run/secrets/db")``, ``Secret("keyring:service/user")``,
``Secret("vault:kv/path#key")``. Whatever was revealed in a process is known to `redact`, which every record passes.
"""

from __future__ import annotations

import base64
import html
import json
import os
import re
import shlex
import threading
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sretoolkit.errors import SecretError

MASK = "«secret»"
_SHORTEST = 4  # a shorter value would redact half of every record; such a secret is refused
_SHORTEST_LINE = 8  # of a value of several lines; a shorter line of it is no secret of its own


@dataclass(frozen=True)
class Secret:
    """A reference to a secret value; equal, printed and stored by its reference alone."""

    reference: str

    def __post_init__(self) -> None:
        if not self.is_reference(self.reference):
            raise SecretError(
                "not a secret reference",  # what it is instead is not shown: it may be the value
                hint=f'write "scheme:where" with one of the schemes {", ".join(_READERS)}; never the value itself',
            )

    @staticmethod
    def is_reference(text: object) -> bool:
        """Whether it is a text of the form of a reference."""
        scheme, _, where = text.partition(":") if isinstance(text, str) else ("", "", "")
        return scheme in _READERS and bool(where)

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
        _refuse_short(self.reference, value)
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
        """Remember a value: raw, URL-encoded, escaped for JSON, Python, HTML and a shell, hexadecimal, base64 at any offset.

        Of a value of several lines each long line is remembered too: a record may keep them apart.
        """
        with self._lock:
            lines = [line for line in value.splitlines() if len(line.strip()) >= _SHORTEST_LINE]
            forms = {form for text in {value, *lines} for form in _forms(text)}
            self._forms |= frozenset(form for form in forms if len(form) >= _SHORTEST)

    @property
    def knows_any(self) -> bool:
        """Whether there is anything to mask."""
        return bool(self._forms)

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
        if isinstance(value, int | float) and str(value) in self._forms:
            return MASK
        return value


redaction = Redaction()
_granted: dict[str, str] | None = None


def grant(values: Mapping[str, str]) -> None:
    """Limit this process to these secrets (reference -> value): a kernel under a supervisor gets only what it was named."""
    global _granted
    for reference, value in values.items():
        _refuse_short(reference, value)
    _granted = dict(values)
    for value in values.values():
        redaction.add(value)


def _refuse_short(reference: str, value: str) -> None:
    if len(value.strip()) < _SHORTEST:
        raise SecretError(f"the secret {reference} is shorter than {_SHORTEST} characters", hint="use a longer one")


def _forms(value: str) -> set[str]:
    raw = value.encode(errors="surrogateescape")
    forms = {value, raw.hex(), raw.hex().upper(), shlex.quote(value)[1:-1] if "'" in value else value}
    for safe in ("", "/", "!'()*", "!#$&'()*+,/:;=?@[]~"):  # RFC 3986, paths, JavaScript, what requests leaves alone
        quoted = urllib.parse.quote(raw, safe=safe)
        forms |= {form for text in (quoted, quoted.replace("%20", "+")) for form in (text, _lower_escapes(text))}
    forms |= {repr(value)[1:-1], value.encode("unicode_escape").decode(), value.replace("'", "\\'")}
    forms |= {json.dumps(value, ensure_ascii=ascii_only)[1:-1] for ascii_only in (True, False)}
    named = html.escape(value, quote=False)
    forms |= {named, html.escape(value), named.replace('"', "&#34;").replace("'", "&#39;")}
    for offset in range(3):
        padded = base64.b64encode(b"\0" * offset + raw).decode().rstrip("=")
        inner = padded[(0, 2, 3)[offset] :]
        inner = inner[: len(inner) - (1 if (offset + len(raw)) % 3 else 0)]
        forms |= {inner, inner.replace("+", "-").replace("/", "_")}
    return forms


def _lower_escapes(quoted: str) -> str:
    return re.sub("%[0-9A-F]{2}", lambda escape: escape[0].lower(), quoted)


def _from_environment(name: str) -> str:
    if name not in os.environ:
        raise SecretError(f"the environment variable {name} is not set", hint=f"export {name} before you start the run")
    return os.environ[name]


def _from_file(path: str) -> str:
    try:
        return Path(path).expanduser().read_bytes().decode().rstrip("\r\n")
    except (OSError, UnicodeDecodeError, RuntimeError) as error:
        raise SecretError(
            f"the secret file {path} cannot be read: {error}", hint="check path and permissions"
        ) from error


def _from_keyring(where: str) -> str:
    try:
        import keyring
    except ImportError as error:
        raise SecretError("keyring references need the extra: pip install 'sretoolkit[keyring]'") from error
    service, _, user = where.partition("/")
    try:
        value = keyring.get_password(service, user)
    except keyring.errors.KeyringError as error:
        raise SecretError(
            f"the keyring did not give {where}: {error}", hint="unlock it, or use another scheme"
        ) from error
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
        raise SecretError(
            f"the vault did not give {where}: {error}", hint="check VAULT_ADDR and VAULT_TOKEN"
        ) from error
    if value is None:
        raise SecretError(f"the vault entry {path} has nothing under {key!r}", hint="write vault:mount/path#key")
    return str(value)


_READERS: dict[str, Callable[[str], str]] = {
    "env": _from_environment,
    "file": _from_file,
    "keyring": _from_keyring,
    "vault": _from_vault,
}
