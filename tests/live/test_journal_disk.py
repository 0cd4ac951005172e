"""The journal on a disk of its own that is really full."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sretoolkit.actor import Actor
from sretoolkit.errors import StoreUnavailable
from sretoolkit.journal import Keys, close_run, load_run, open_run, verify_store
from sretoolkit.store import Store

pytestmark = pytest.mark.live


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of eight megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def _fill(disk: Path) -> None:
    with (disk / "junk").open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
        while True:
            file.write(bytes(4096))


def test_a_run_on_a_full_disk_is_closed_with_the_room_that_was_kept(disk: Path, keys: Keys) -> None:
    """DESIGN "The journal": the reserve takes the closing entries; what was written before and after verifies."""
    with Store(f"sqlite:///{disk}/store.db") as store:
        journal = open_run(store, keys, runbook="test", actor=Actor("alice"), mode="apply")
        _fill(disk)
        while not journal.tight:
            journal.append("note", {"text": "x" * 4000})
        journal.append("undo-before", {"text": "y" * 4000})
        close_run(journal, keys, state="failed", exit_code=1, error="no space")
        assert "failed" == load_run(store, journal.run).state
        assert ["whole", "whole"] == [proof.state for proof in verify_store(store, keys)]
        with pytest.raises(StoreUnavailable) as caught:
            for _ in range(1000):
                journal.append("note", {"text": "x" * 4000})
        assert (True, f"free space on {disk}") == (caught.value.full, caught.value.hint)


def test_no_run_is_opened_on_a_full_disk(disk: Path, keys: Keys) -> None:
    """DESIGN "The journal": there must be room for the end before there is a beginning; afterwards all is as it was."""
    with Store(f"sqlite:///{disk}/store.db") as store:
        store.now()
        _fill(disk)
        with pytest.raises(StoreUnavailable) as caught:
            open_run(store, keys, runbook="test", actor=Actor("alice"), mode="apply")
        assert (True, []) == (caught.value.full, list(disk.glob("*reserve*")))
        (disk / "junk").unlink()
        open_run(store, keys, runbook="test", actor=Actor("alice"), mode="apply")
        assert ["whole", "unsigned"] == [proof.state for proof in verify_store(store, keys)]
