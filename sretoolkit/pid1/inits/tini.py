"""tini, which Docker ships as docker-init."""

from __future__ import annotations

from sretoolkit.pid1.inits._forwarding import Forwarding as _Forwarding


class Tini(_Forwarding):
    """Signals its direct child alone unless told ``-g`` (or by TINI_KILL_PROCESS_GROUP, which is not looked at)."""

    names = frozenset({"tini", "tini-static", "docker-init"})

    def group(self, options: list[str]) -> bool:
        """With ``-g``, also among joined short options."""
        return any(option[1:2] != "-" and "g" in option for option in options)
