"""Retention, rotation, backup and restore: what may go goes on record, and verification keeps its meaning."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from sretoolkit.actor import Actor
from sretoolkit.journal import Journal, Keys, close_run, load_run, verify_run, verify_store
from sretoolkit.journal.retention import accept_restore, prune, rotate
from sretoolkit.journal.runs import reopen_run
from sretoolkit.lease import Leases
from sretoolkit.store import Store

MakeRun = Callable[..., Journal]
ALL = 4_000_000_000.0


def _states(store: Store, keys: Keys) -> list[str]:
    return [proof.state for proof in verify_store(store, keys)]


def _seqs(store: Store, run: str) -> list[int]:
    return [row["seq"] for row in store.read("SELECT seq FROM entries WHERE run = :run ORDER BY seq", run=run)]


def test_pruned_runs_keep_their_signed_ends(store: Store, keys: Keys, actor: Actor, make_run: MakeRun) -> None:
    """DESIGN "The journal": retention: first and last entry and the last signature stay, the rest goes, on record."""
    old = [make_run().run for _ in range(2)]
    assert sorted(old) == sorted(run.id for run in prune(store, keys, actor=actor, older_than=ALL))
    assert [[1, 5], [1, 5]] == [_seqs(store, run) for run in old]
    assert ["whole", "pruned", "pruned", "whole"] == _states(store, keys)
    assert "5 entries until 20" in verify_run(store, keys, old[0]).reason
    said = [
        entry.payload["run"] for entry in Journal(store, load_run(store, "last").id, actor=actor).entries(kind="pruned")
    ]
    assert sorted(old) == sorted(said)


def test_only_what_is_old_closed_and_whole_is_pruned(store: Store, keys: Keys, actor: Actor, make_run: MakeRun) -> None:
    """A young, an open, an unsigned and a broken run are left alone: what is doubtful is evidence."""
    whole, unsigned, broken = (make_run().run for _ in range(3))
    make_run(close=False)
    store.write("DELETE FROM signatures WHERE run = :run", run=unsigned)
    store.write("UPDATE entries SET body = 'x' WHERE run = :run AND seq = 3", run=broken)
    assert [] == prune(store, keys, actor=actor, older_than=store.now() - 3600)
    assert [whole] == [run.id for run in prune(store, keys, actor=actor, older_than=ALL)]


def test_a_run_that_holds_a_target_is_not_pruned(store: Store, keys: Keys, actor: Actor, make_run: MakeRun) -> None:
    """DESIGN "A lease": what is held has yet to be undone, and that needs every step."""
    journal = make_run(close=False)
    Leases(store, journal.run, actor=actor).take(["host:web"]).hold()
    close_run(journal, keys, state="held", exit_code=1)
    assert [] == prune(store, keys, actor=actor, older_than=ALL)


def test_pruning_again_and_again_keeps_its_meaning(store: Store, keys: Keys, actor: Actor, make_run: MakeRun) -> None:
    """DESIGN "The journal": the runs that say what was pruned, rotated and restored are never pruned themselves."""
    first = make_run().run
    prune(store, keys, actor=actor, older_than=ALL)
    rotate(store, keys, actor=actor)
    second = make_run().run
    assert [second] == [run.id for run in prune(store, keys, actor=actor, older_than=ALL)]
    assert [] == prune(store, keys, actor=actor, older_than=ALL)
    assert ["whole", "pruned", "whole", "whole", "pruned", "whole"] == _states(store, keys)
    assert [1, 5] == _seqs(store, first)


def test_a_run_that_went_on_after_its_first_end_can_be_pruned(
    store: Store, keys: Keys, actor: Actor, make_run: MakeRun
) -> None:
    """An end that a later run had seen may be in the middle of what was pruned; the chain is whole all the same."""
    journal = make_run(close=False)
    close_run(journal, keys, state="held", exit_code=1)
    make_run()
    reopen_run(journal, load_run(store, journal.run), why="recover")
    close_run(journal, keys, state="undone", exit_code=0)
    prune(store, keys, actor=actor, older_than=ALL)
    assert {"whole", "pruned"} == set(_states(store, keys))
    assert [1, 7] == _seqs(store, journal.run)


def test_what_comes_after_a_pruning_is_appended_as_ever(
    store: Store, keys: Keys, actor: Actor, make_run: MakeRun
) -> None:
    """A later note in a pruned run is an unsigned tail, no damage."""
    journal = make_run()
    prune(store, keys, actor=actor, older_than=ALL)
    journal.append("lease-released")
    assert "unsigned" == verify_run(store, keys, journal.run).state


@pytest.mark.parametrize(
    "tamper",
    [
        "DELETE FROM entries WHERE run = :run AND seq = 5",
        "DELETE FROM entries WHERE run = :run AND seq = 1",
        "DELETE FROM signatures WHERE run = :run",
        "UPDATE entries SET body = 'x' WHERE run = :run AND seq = 5",
        "UPDATE entries SET hash = 'x' WHERE run = :run AND seq = 5",
        "UPDATE entries SET seq = 4 WHERE run = :run AND seq = 5",
        "UPDATE entries SET body = 'x' WHERE kind = 'pruned' AND :run <> ''",
        "DELETE FROM entries WHERE kind = 'pruned' AND :run <> ''",
        "UPDATE entries SET kind = 'prunes' WHERE kind = 'pruned' AND :run <> ''",
    ],
)
def test_tampering_with_what_was_kept_is_found(
    store: Store, keys: Keys, actor: Actor, make_run: MakeRun, tamper: str
) -> None:
    """DESIGN "The journal": a pruned run is still proved by its ends, and its pruning by the run that did it."""
    run = make_run().run
    prune(store, keys, actor=actor, older_than=ALL)
    store.write(tamper, run=run)
    assert "broken" in _states(store, keys)


def test_entries_that_were_dropped_are_not_called_pruned(store: Store, keys: Keys, make_run: MakeRun) -> None:
    """Without a record of it nothing was pruned: it was dropped."""
    run = make_run().run
    store.write("DELETE FROM entries WHERE run = :run AND seq > 1 AND seq < 5", run=run)
    assert ("broken", 2) == ((proof := verify_run(store, keys, run)).state, proof.seq)


def test_the_records_files_go_with_the_entries_and_no_others(
    store: Store, keys: Keys, actor: Actor, make_run: MakeRun, own_home: Path
) -> None:
    """The files are those that the run's own signed entry names, whatever the list of runs was made to say."""
    folder = own_home / "records"
    folder.mkdir()
    for name in ("run.ipynb", "run.html", "precious"):
        (folder / name).write_text(name)
    journal = make_run(close=False)
    journal.append(
        "record", {"files": {"run.ipynb": "ab", "run.html": "cd", "../records/../outside": "ef"}, "folder": str(folder)}
    )
    (own_home / "outside").write_text("mine")
    close_run(journal, keys, state="completed", exit_code=0)
    store.write("UPDATE runs SET notebook = :path WHERE id = :run", path=str(folder / "precious"), run=journal.run)
    assert [] == prune(store, keys, actor=actor, older_than=ALL)
    store.write("UPDATE runs SET notebook = :path WHERE id = :run", path=str(folder / "run.ipynb"), run=journal.run)
    assert [journal.run] == [run.id for run in prune(store, keys, actor=actor, older_than=ALL)]
    assert (["precious"], True) == ([path.name for path in folder.iterdir()], (own_home / "outside").exists())


def test_the_key_is_changed_on_record(store: Store, keys: Keys, actor: Actor, make_run: MakeRun) -> None:
    """DESIGN "The journal": key rotation is an entry; the hand-over is signed by the old key, and then by the new one."""
    make_run()
    old, new = rotate(store, keys, actor=actor)
    make_run()
    journal = Journal(store, store.read("SELECT run FROM chain WHERE number = 2")[0]["run"], actor=actor)
    rotated = journal.entries(kind="key-rotated")[0].payload
    assert (old, new, keys.public(new)) == (rotated["from"], rotated["to"], rotated["public"])
    signed = store.read("SELECT seq, key_id FROM signatures WHERE run = :run ORDER BY seq", run=journal.run)
    assert [(2, old), (4, new)] == [(row["seq"], row["key_id"]) for row in signed]
    assert ["whole"] * 4 == _states(store, keys)


@pytest.fixture
def restored(store: Store, keys: Keys, make_run: MakeRun, own_home: Path) -> list[str]:
    """A store that was put back from a backup: of four runs it has the first two."""
    runs = [make_run().run for _ in range(2)]
    store.backup(own_home / "copy.db")
    runs += [make_run().run for _ in range(2)]
    store.close()
    for path in own_home.glob("store.db*"):
        path.unlink()
    (own_home / "copy.db").rename(own_home / "store.db")
    return runs


def test_a_backup_verifies_as_the_store_did(store: Store, keys: Keys, make_run: MakeRun, own_home: Path) -> None:
    """DESIGN "The journal": backup/restore keep verify meaningful: a copy of today is whole."""
    make_run()
    store.backup(own_home / "copy.db")
    store.close()
    (own_home / "copy.db").replace(own_home / "store.db")
    for log in own_home.glob("store.db-*"):
        log.unlink()
    assert ["whole", "whole"] == _states(store, keys)


def test_an_older_copy_is_noticed_and_stays_noticed(
    store: Store, keys: Keys, actor: Actor, restored: list[str], make_run: MakeRun
) -> None:
    """DESIGN "The journal": what this machine saw is missing, also after one more run in the older copy."""
    assert "runs 3 to 4, which this machine has seen, are missing" in verify_store(store, keys)[0].reason
    make_run()
    assert "run" in verify_store(store, keys)[0].reason
    assert ["broken", "whole", "whole", "whole"] == _states(store, keys)


def test_a_restore_is_accepted_on_record(
    store: Store, keys: Keys, actor: Actor, restored: list[str], make_run: MakeRun
) -> None:
    """DESIGN "The journal": a person accepts it with a reason; what was missing is on record, and verify is whole again."""
    missing = accept_restore(store, keys, actor=actor, reason="the disk died")
    assert "runs 3 to 4" in missing
    entry = Journal(store, load_run(store, "last").id, actor=actor).entries(kind="restore-accepted")[0]
    assert ("the disk died", missing, 4) == tuple(
        entry.payload[name] if name != "seen" else entry.payload[name][0] for name in ("reason", "missing", "seen")
    )
    make_run()
    assert ["whole"] * 5 == _states(store, keys)
    assert "" == accept_restore(store, keys, actor=actor, reason="again")


def test_accepting_a_restore_accepts_no_forgery(store: Store, keys: Keys, actor: Actor, make_run: MakeRun) -> None:
    """A run that was dropped from the middle is no older copy: it stays broken whatever is accepted."""
    first = make_run().run
    make_run()
    for table, column in {"entries": "run", "chain": "run", "signatures": "run", "runs": "id"}.items():
        store.write(f"DELETE FROM {table} WHERE {column} = :run", run=first)
    accept_restore(store, keys, actor=actor, reason="trust me")
    assert "run number 1 was dropped" == verify_store(store, keys)[0].reason


def test_two_machines_that_open_runs_at_once_remember_the_newest(store: Store, keys: Keys, make_run: MakeRun) -> None:
    """What is remembered never goes back: of two that open runs at once the newer one stays."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(lambda _: make_run(1), range(18)))
    memory = json.loads(next(keys.folder.glob("head-*.json")).read_text())
    assert (18, ["whole"] * 19) == (memory["number"], _states(store, keys))
    assert [] == list(keys.folder.glob("*.draft"))
