"""catatonit, podman's init."""

from __future__ import annotations

from sretoolkit.pid1.inits._forwarding import Forwarding as _Forwarding


class Catatonit(_Forwarding):
    """Signals its direct child alone unless told ``-g``."""

    names = frozenset({"catatonit", "podman-init"})

    def group(self, options: list[str]) -> bool:
        """With ``-g``."""
        return "-g" in options
