"""dumb-init."""

from __future__ import annotations

from sretoolkit.pid1.inits._forwarding import Forwarding as _Forwarding


class DumbInit(_Forwarding):
    """Signals its child's whole session unless told ``-c``."""

    names = frozenset({"dumb-init"})

    def group(self, options: list[str]) -> bool:
        """Without ``-c`` or ``--single-child``."""
        return not {"-c", "--single-child"} & set(options)
