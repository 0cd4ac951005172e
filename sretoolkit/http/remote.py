"""Where an HTTP service is, who we are to it, and whom we trust."""

from __future__ import annotations

import base64
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from urllib.parse import urlsplit

from sretoolkit.errors import ConfigError, SecretError
from sretoolkit.secrets import Secret

TIMEOUT = timedelta(seconds=30)
MOST_BYTES = 1 << 30


@dataclass(frozen=True, kw_only=True)
class Remote:
    """One HTTP service: its address, login, trust, proxy and bounds.

    ``token`` is sent as ``Authorization: SCHEME token``, or ``username`` and ``password`` as Basic; never both.
    ``cert`` and ``key`` are files of a client certificate, ``ca`` is a file of whom to trust instead of the system's
    authorities. ``proxy`` is a URL without a login (that stands in ``proxy_username`` and ``proxy_password``); without
    it the environment's ``HTTPS_PROXY``, ``HTTP_PROXY`` and ``NO_PROXY`` hold. ``timeout`` bounds a whole exchange,
    retries included; ``most_bytes`` the unpacked answer. ``compress`` None means: not on loopback or private networks,
    where packing costs a server more time than the bytes would take. Raises `ConfigError`.
    """

    url: str
    token: Secret | None = None
    scheme: str = "Bearer"
    username: str = ""
    password: Secret | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    verify: bool = True
    ca: str = ""
    cert: str = ""
    key: str = ""
    proxy: str = ""
    proxy_username: str = ""
    proxy_password: Secret | None = None
    timeout: timedelta = TIMEOUT
    attempts: int = 3
    most_bytes: int = MOST_BYTES
    compress: bool | None = None

    def __post_init__(self) -> None:
        for what, url in (("URL", self.url), ("proxy", self.proxy)):
            parts = urlsplit(url)
            if url and (parts.username is not None or parts.password is not None):
                hint = 'give user name and password as options of their own, the password as a reference: "env:NAME"'
                raise ConfigError(f"the {what} of {parts.hostname} holds a user name or a password", hint=hint)
        if bool(self.username) != bool(self.password) or (self.token and self.username):
            hint = "give either token, or username and password together"
            raise ConfigError(f"{self.host} has half a login, or two", hint=hint)
        if self.key and not self.cert:
            raise ConfigError(f"{self.host} has a client key without its certificate", hint="set cert to its file")

    @property
    def host(self) -> str:
        """The machine's name or address, without brackets."""
        return urlsplit(self.url).hostname or ""

    @property
    def is_near(self) -> bool:
        """On this machine or in a private network, by its address alone; a name could be anywhere but localhost."""
        try:
            return ipaddress.ip_address(self.host).is_private
        except ValueError:
            return self.host == "localhost"

    @property
    def in_clear(self) -> bool:
        """Whether a credential would cross a network unencrypted."""
        local = self.host in ("127.0.0.1", "::1", "localhost")
        return self.url.startswith("http://") and not local and bool(self.token or self.password)

    def authorization(self) -> dict[str, str]:
        """The header that says who we are, read from the secret at this moment; empty without a login.

        Raises `SecretError` when the secret cannot be resolved, or holds what no header can carry.
        """
        if self.token:
            return {"Authorization": f"{self.scheme} {_sendable(self.token)}"}
        if self.password:
            return {"Authorization": f"Basic {_basic(self.username, self.password)}"}
        return {}

    def proxy_authorization(self) -> dict[str, str]:
        """The same for the proxy."""
        if self.proxy_username and self.proxy_password:
            return {"Proxy-Authorization": f"Basic {_basic(self.proxy_username, self.proxy_password)}"}
        return {}


def _basic(username: str, password: Secret) -> str:
    return base64.b64encode(f"{username}:{password.reveal()}".encode()).decode()


def _sendable(secret: Secret) -> str:
    text = secret.reveal()
    if not (text.isascii() and text.isprintable()):  # the HTTP library would print it in its complaint
        hint = "is there a line break or a blank in it?"
        raise SecretError(f"{secret} holds characters that no header can carry", hint=hint)
    return text
