"""What this machine remembers of a store outside of it: the newest run it saw there.

A store that lacks it has lost whole runs, or is an older copy.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from sretoolkit.journal.keys import Keys

if TYPE_CHECKING:
    from sretoolkit.store import Store


def remember(keys: Keys, store: Store, number: int, first: str) -> None:
    """Note the newest run's number and first hash, unless a newer one is noted."""
    path = _path(keys, store)
    known = recall(keys, store)
    if known is not None and known[0] >= number:
        return
    write(keys, store, number, first)
    path.chmod(0o600)


def write(keys: Keys, store: Store, number: int, first: str) -> None:
    """Note this run, whatever was noted before (after a restore that a person accepted)."""
    path = _path(keys, store)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_suffix(f".{os.getpid()}.draft")
    draft.write_text(json.dumps({"number": number, "hash": first}))
    draft.replace(path)


def recall(keys: Keys, store: Store) -> tuple[int, str] | None:
    """The number and first hash of the newest run that this machine saw in the store; None for a store it never saw."""
    try:
        content = json.loads(_path(keys, store).read_text())
        return int(content["number"]), str(content["hash"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _path(keys: Keys, store: Store) -> Path:
    return keys.folder / f"head-{hashlib.sha256(store.url.encode()).hexdigest()[:12]}.json"
