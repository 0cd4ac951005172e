"""One way to speak HTTP: deadlines, retries, logins, TLS, proxies, bounds and redacted logs.

``Client(Remote(url="https://host", token=Secret("env:TOKEN"))).send("GET", "/health")`` returns an `Answer` whatever its
status; only an exchange that did not come to an end raises (`HTTPError`). Every kind of remote service (monitoring,
vaults, forges, machines' controllers) is spoken to through it. Importing this package imports no HTTP library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sretoolkit.lazy import lazily

if TYPE_CHECKING:
    from sretoolkit.http.client import Answer, Client
    from sretoolkit.http.remote import Remote

__all__ = ["Answer", "Client", "Remote"]

__getattr__ = lazily(
    __name__,
    {
        "Client": "sretoolkit.http.client",
        "Answer": "sretoolkit.http.client",
        "Remote": "sretoolkit.http.remote",
    },
)
