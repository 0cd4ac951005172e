"""Whom SSH trusts, and what it says when it does not."""

from __future__ import annotations

import base64
import hashlib
from functools import lru_cache
from pathlib import Path

import paramiko  # type: ignore[import-untyped]
from paramiko.hostkeys import InvalidHostKey  # type: ignore[import-untyped]

from sretoolkit.errors import ConfigError, HostError

_SYSTEM_FILES = ("/etc/ssh/ssh_known_hosts", "~/.ssh/known_hosts")


class UnknownHostKey(paramiko.SSHException):  # type: ignore[misc]
    """The server's key is in no known_hosts file."""


class RefuseUnknown(paramiko.MissingHostKeyPolicy):  # type: ignore[misc]
    """Never trust a key that nobody has vouched for; say its fingerprint so that somebody can."""

    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:
        """Always raises `UnknownHostKey`."""
        raise UnknownHostKey(f"{hostname} offers the {key.get_name()} key {fingerprint(key)}, in no known_hosts file")


def fingerprint(key: paramiko.PKey) -> str:
    """The fingerprint as ``ssh-keygen -l`` prints it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(key.asbytes()).digest()).decode().rstrip("=")


def load_known_hosts(client: paramiko.SSHClient, path: str | None, name: str) -> None:
    """Trust the keys of one file (`ConfigError` when it is missing), or of the user's and the system's."""
    for each in [path] if path else _SYSTEM_FILES:
        file = Path(each).expanduser()
        if file.exists():
            _load(client, file, name)
        elif path:
            what = f"[hosts.{name}] known_hosts: there is no file {file}"
            raise ConfigError(what, hint="make it with ssh-keyscan, and compare the key with the host's own")


def _load(client: paramiko.SSHClient, file: Path, name: str) -> None:
    try:
        state = file.stat()
        keys = _keys(str(file), state.st_mtime_ns, state.st_size)
    except (OSError, InvalidHostKey) as error:
        what = f"{name}: {file} cannot be read as a known_hosts file: {type(error).__name__}"
        raise ConfigError(what, hint="mend the line that is no host key") from error
    known = (
        client._system_host_keys
    )  # where `load_system_host_keys` puts them, after reading the file for every client anew
    known._entries = [*known._entries, *keys._entries]


@lru_cache(maxsize=16)
def _keys(path: str, changed: int, size: int) -> paramiko.HostKeys:
    """Those of a file as it is now: one that lists a fleet is read once, and not once for each of its hosts."""
    return paramiko.HostKeys(path)


def load_key(path: str, passphrase: str | None, name: str) -> paramiko.PKey:
    """The private key, with its certificate if there is one; `ConfigError` or `HostError` when it cannot be used."""
    file = Path(path).expanduser()
    if not file.is_file():
        raise ConfigError(f"[hosts.{name}] key: there is no file {file}", hint="name the private key's file")
    try:
        return paramiko.PKey.from_path(file, passphrase.encode() if passphrase else None)
    except Exception as error:  # the library raises half a dozen unrelated kinds
        what = f"{name}: the key {file} cannot be used: {error}; nothing ran"
        hint = "it must be a private key that ssh reads too; an encrypted one needs the right passphrase"
        raise HostError(what, host=name, hint=hint) from error


def refusal(error: BaseException, name: str, address: str, port: int | None) -> HostError | None:
    """The error for what trying again cannot mend; None for anything else."""
    scan = f"ssh-keyscan {f'-p {port} ' if port else ''}{address}"
    if isinstance(error, UnknownHostKey):
        hint = f"compare that fingerprint with the host's own, then add the key: {scan} >> ~/.ssh/known_hosts"
        return HostError(f"{name}: unknown host key: {error}; nothing ran", host=name, hint=hint)
    if isinstance(error, paramiko.BadHostKeyException):
        keys = f"it is {fingerprint(error.key)}, known is {fingerprint(error.expected_key)}"
        hint = "somebody may be in between; find out why before you replace the known_hosts line"
        return HostError(f"{name}: the host key has CHANGED: {keys}; nothing ran", host=name, hint=hint)
    if isinstance(error, paramiko.AuthenticationException):
        hint = "check user, key, passphrase and password of its table, and the host's authorized_keys"
        return HostError(f"{name}: the host does not let us in: {error}; nothing ran", host=name, hint=hint)
    return None
