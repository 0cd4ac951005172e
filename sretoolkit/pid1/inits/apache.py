"""The Apache HTTP server."""

from __future__ import annotations

from sretoolkit.pid1.inits.plain import Plain as _Plain


class Apache(_Plain):
    """Asks every second whether any child has ended (ap_wait_or_timeout), which no mask shows."""

    names = frozenset({"apache2", "httpd"})
    reaps = "yes"
