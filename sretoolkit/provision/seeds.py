"""What belongs to one machine alone and goes onto its disk: name, keys, and the token of its one call home.

Its SSH host key is made here, at install, so that it is known before anybody logs in; only the public half is kept.
"""

from __future__ import annotations

import io
import secrets
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sretoolkit.provision.entries import Policy
from sretoolkit.provision.node import Node
from sretoolkit.provision.orders import Order
from sretoolkit.secrets import Secret


@dataclass(frozen=True)
class Seed:
    """The values that templates are made with; ``token`` and ``private`` are told to the machine and never kept."""

    values: Mapping[str, Any]
    token: str
    host_key: str


def made(order: Order, node: Node, policy: Policy, url: str) -> Seed:
    """A seed for an order: new keys and a new token each time; raises `SecretError` when the password cannot be had."""
    private, public = _host_key()
    token = secrets.token_urlsafe(32)
    password = Secret(policy.root_password).reveal() if policy.root_password else ""
    values = {
        "order": order.id, "url": url, "token": token, "hostname": order.hostname or node.id,
        "host_key_private": private.strip(), "host_key_public": public, "root_password_hash": password,
        "ssh_keys": list(policy.ssh_keys), "disk": dict(order.disk), "metadata": dict(node.metadata),
        "node": node.id, "policy": policy.name, "repo": order.repo, "facts": dict(node.facts),
    }  # fmt: skip
    return Seed(values, token, public)


def tar_of(files: Mapping[str, str]) -> bytes:
    """The files as a tar archive, readable by root alone, without a time of its own."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, text in sorted(files.items()):
            data = text.encode()
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o600
            archive.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def _host_key() -> tuple[str, str]:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return private.decode(), public.decode()
