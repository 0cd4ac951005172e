"""dumb-init."""

from __future__ import annotations

from sretoolkit.pid1.inits._forwarding import Forwarding as _Forwarding
from sretoolkit.pid1.process import Init


class DumbInit(_Forwarding):
    """Signals its child's whole session unless told ``-c``; ``--rewrite`` makes another signal of one, 0 = none."""

    names = frozenset({"dumb-init"})

    def group(self, options: list[str]) -> bool:
        """Without ``-c`` or ``--single-child``."""
        return not {"-c", "--single-child"} & set(options)

    def passes(self, init: Init, which: int) -> int:
        """By its ``--rewrite``, in each of the three ways in which that is written."""
        words = init.arguments[1:]
        for place, word in enumerate(words):
            if word == "--":
                break
            told = word.removeprefix("--rewrite=").removeprefix("-r") if word[:1] == "-" else ""
            pair = words[place + 1] if word in ("-r", "--rewrite") and place + 1 < len(words) else told
            old, colon, new = pair.partition(":")
            if colon and old.isdecimal() and int(old) == which and new.isdecimal():
                return int(new)
        return which
