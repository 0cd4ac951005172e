"""timeout, of coreutils."""

from __future__ import annotations

from sretoolkit.pid1.inits._forwarding import Forwarding as _Forwarding


class Timeout(_Forwarding):
    """Passes the signal on to its child and, but with ``--foreground``, to its whole group."""

    names = frozenset({"timeout"})
    reaps = "no"

    def group(self, options: list[str]) -> bool:
        """Without ``--foreground``."""
        return "--foreground" not in options
