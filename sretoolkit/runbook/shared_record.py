"""The files of records in a store that other machines share: written where a run is, read wherever somebody looks."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable
from pathlib import Path

from sretoolkit.errors import RunbookError
from sretoolkit.runbook.page import write_atomically
from sretoolkit.store import Store

MOST = 64 * 1024 * 1024  # bytes of one file, packed


def keep(store: Store, run: str, folder: Path, files: Iterable[str]) -> None:
    """Put these files of a run's record into the store; raises `RunbookError` for one that is too large."""
    for name in files:
        content = (folder / name).read_bytes()
        packed = zlib.compress(content, 6)
        if len(packed) > MOST:
            raise RunbookError(
                f"{name} is too large for the store: {len(packed) >> 20} MiB packed, at most {MOST >> 20}",
                hint=f"it is in {folder} where the run was carried out",
            )
        store.write(
            "INSERT INTO record_files (run, name, sha256, body) VALUES (:run, :name, :sha256, :body) "
            "ON CONFLICT (run, name) DO UPDATE SET sha256 = :sha256, body = :body",
            run=run, name=name, sha256=hashlib.sha256(content).hexdigest(), body=packed,
        )  # fmt: skip


def fetch(store: Store, run: str, name: str, folder: Path) -> Path | None:
    """A file of a run's record, in our folder; made there from the store when it is not, None when that has none either."""
    path = folder / Path(name).name
    if path.exists():
        return path
    rows = store.read("SELECT body FROM record_files WHERE run = :run AND name = :name", run=run, name=name)
    if not rows:
        return None
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_atomically(path, [zlib.decompress(rows[0]["body"])])
    return path
