"""su and runuser, which stay before the session that they have started."""

from __future__ import annotations

from sretoolkit.pid1.inits._forwarding import Forwarding as _Forwarding


class Su(_Forwarding):
    """Ends its child (the shell of the session) when it is told to; source: util-linux, login-utils/su-common.c."""

    names = frozenset({"su", "runuser"})
    reaps = "unknown"

    def group(self, options: list[str]) -> bool:
        """Never: its child alone."""
        return False
