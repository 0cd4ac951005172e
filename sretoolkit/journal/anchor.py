"""What this machine remembers of a store outside of it: the newest run it saw there.

A store that lacks it has lost whole runs, or is an older copy.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sretoolkit.errors import JournalError
from sretoolkit.journal.keys import Keys

if TYPE_CHECKING:
    from sretoolkit.store import Store


def remember(keys: Keys, store: Store, number: int, first: str) -> None:
    """Note the newest run's number and first hash, unless a newer one is noted. Raises `JournalError` when it cannot."""
    with _locked(keys):
        known = recall(keys, store)
        if known is None or known[0] < number:
            write(keys, store, number, first)


def write(keys: Keys, store: Store, number: int, first: str) -> None:
    """Note this run, whatever was noted before (after a restore that a person accepted)."""
    keys.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor, draft = tempfile.mkstemp(dir=keys.folder, prefix="head.", suffix=".draft")
    with os.fdopen(descriptor, "w") as file:
        file.write(json.dumps({"number": number, "hash": first}))
    Path(draft).replace(_path(keys, store))


def recall(keys: Keys, store: Store) -> tuple[int, str] | None:
    """The number and first hash of the newest run that this machine saw in the store; None for a store it never saw."""
    try:
        content = json.loads(_path(keys, store).read_text())
        return int(content["number"]), str(content["hash"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


@contextmanager
def _locked(keys: Keys) -> Iterator[None]:
    """One at a time, so that of two that open runs at once the newer one is remembered."""
    try:
        keys.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (keys.folder / "head.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
    except OSError as error:
        raise JournalError(
            f"the newest run cannot be remembered in {keys.folder}: {error.strerror}",
            hint="mend the folder, or set journal.keys",
        ) from error


def _path(keys: Keys, store: Store) -> Path:
    return keys.folder / f"head-{hashlib.sha256(store.url.encode()).hexdigest()[:12]}.json"
