"""Verification: somebody with the database in his hands wants the journal to lie."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from sretoolkit.actor import Actor
from sretoolkit.errors import JournalError, StoreError
from sretoolkit.journal import Journal, Keys, Verification, canonical, close_run, open_run, verify_run, verify_store
from sretoolkit.journal.runs import sign_head
from sretoolkit.store import Store

MakeRun = Callable[..., Journal]
Row = dict[str, object]


@pytest.fixture
def runs(make_run: MakeRun) -> list[str]:
    """Three runs of five entries each: opened, three notes, closed and signed."""
    return [make_run().run for _ in range(3)]


def _found(store: Store, keys: Keys) -> list[Verification]:
    """What is not whole."""
    return [proof for proof in verify_store(store, keys) if proof.state != "whole" or proof.reason]


def _rows(store: Store, table: str) -> list[Row]:
    return [dict(row) for row in store.read(f"SELECT rowid AS rowid, * FROM {table} ORDER BY rowid")]


def _put(store: Store, table: str, row: Row, **values: object) -> None:
    sets = ", ".join(f"{name} = :{name}" for name in values)
    store.write(f"UPDATE {table} SET {sets} WHERE rowid = :rowid", **{"rowid": row["rowid"], **values})


def _flipped(text: str, place: int) -> str:
    return text[:place] + chr(ord(text[place]) ^ 1) + text[place + 1 :]


def _drop(store: Store, run: str, *tables: str) -> None:
    for table in tables or ("entries", "signatures", "chain", "runs"):
        store.write(f"DELETE FROM {table} WHERE {'id' if table == 'runs' else 'run'} = :run", run=run)


def _rewrite(store: Store, run: str, seq: int, **payload: object) -> None:
    """Change an entry's payload, and forge every hash and link after it, as somebody does who knows the format."""
    previous = None
    for row in _rows(store, "entries"):
        if row["run"] != run or int(str(row["seq"])) < seq:
            continue
        content = json.loads(str(row["body"]))
        if row["seq"] == seq:
            content["payload"] |= payload
        if previous:
            content["previous"] = previous
        body = canonical(content)
        previous = hashlib.sha256(body.encode()).hexdigest()
        _put(store, "entries", row, body=body, hash=previous)


def test_untouched_runs_are_whole(store: Store, keys: Keys, runs: list[str]) -> None:
    """The chain of runs and every run: all entries there, unchanged, signed to the end."""
    expected = [("", "whole", 3), *((run, "whole", 5) for run in runs)]
    assert expected == [(proof.run, proof.state, proof.entries) for proof in verify_store(store, keys)]
    assert f"run {runs[0]}: whole (5 entries)" == str(verify_run(store, keys, runs[0]))


@pytest.mark.parametrize("seq", [1, 2, 3, 4, 5])
def test_every_edited_byte_of_an_entry_is_found_and_the_entry_named(
    store: Store, keys: Keys, runs: list[str], seq: int
) -> None:
    """DESIGN "Journal": an edited byte anywhere, in the body, the hash or the kind, names that entry as the first bad one."""
    row = next(row for row in _rows(store, "entries") if (row["run"], row["seq"]) == (runs[1], seq))
    for column, every in {"body": 1 if seq == 3 else 9, "hash": 7, "kind": 1}.items():
        text = str(row[column])
        for place in range(0, len(text), every):
            _put(store, "entries", row, **{column: _flipped(text, place)})
            assert ("broken", seq) == ((proof := verify_run(store, keys, runs[1])).state, proof.seq), (column, place)
        _put(store, "entries", row, **{column: text})
    assert [] == _found(store, keys)


@pytest.mark.parametrize("value", ["", "[]", "{}", "null", "{", "\0", "5", b"\xff\xfe", 7, 1.5])
@pytest.mark.parametrize("seq", [1, 3, 5])
def test_whatever_stands_in_place_of_a_body_is_named(
    store: Store, keys: Keys, runs: list[str], seq: int, value: object
) -> None:
    """No content crashes the verification; also one whose hash was forged to fit, which is no entry."""
    row = next(row for row in _rows(store, "entries") if (row["run"], row["seq"]) == (runs[1], seq))
    for forged in (row["hash"], hashlib.sha256(value.encode() if isinstance(value, str) else b"").hexdigest()):
        _put(store, "entries", row, body=value, hash=forged)
        proof = verify_run(store, keys, runs[1])
        assert ("broken", seq) == (proof.state, proof.seq)
        assert "broken" in {proof.state for proof in verify_store(store, keys)}


@pytest.mark.parametrize("seq", [1, 2, 3, 4, 5])
def test_a_dropped_entry_is_named(store: Store, keys: Keys, runs: list[str], seq: int) -> None:
    """DESIGN "Journal": the first, one in the middle, or the last: its place is the first bad one."""
    store.write("DELETE FROM entries WHERE run = :run AND seq = :seq", run=runs[1], seq=seq)
    proof = verify_run(store, keys, runs[1])
    assert ("broken", seq) == (proof.state, proof.seq)


@pytest.mark.parametrize(("one", "other"), [(1, 2), (2, 3), (2, 4), (4, 5)])
def test_entries_in_another_order_are_named(store: Store, keys: Keys, runs: list[str], one: int, other: int) -> None:
    """DESIGN "Journal": two entries that change places are found at the first of them."""
    for old, new in ((one, -1), (other, one), (-1, other)):
        store.write("UPDATE entries SET seq = :new WHERE run = :run AND seq = :old", run=runs[1], old=old, new=new)
    assert one == verify_run(store, keys, runs[1]).seq


def test_a_gap_that_was_closed_up_is_named(store: Store, keys: Keys, runs: list[str]) -> None:
    """Dropping an entry and renumbering the rest is found where it was."""
    store.write("DELETE FROM entries WHERE run = :run AND seq = 3", run=runs[1])
    for seq in (4, 5):
        store.write("UPDATE entries SET seq = :new WHERE run = :run AND seq = :seq", run=runs[1], seq=seq, new=seq - 1)
    assert 3 == verify_run(store, keys, runs[1]).seq


def test_an_entry_of_another_run_is_named(store: Store, keys: Keys, runs: list[str]) -> None:
    """An entry that was moved to another run is missing in one and strange in the other."""
    store.write("DELETE FROM entries WHERE run = :run AND seq = 3", run=runs[1])
    store.write("UPDATE entries SET run = :to WHERE run = :run AND seq = 3", run=runs[0], to=runs[1])
    assert [(runs[0], 3), (runs[1], 3)] == [(proof.run, proof.seq) for proof in _found(store, keys)]


def test_an_added_entry_is_found(store: Store, keys: Keys, runs: list[str]) -> None:
    """One that does not chain is bad; a well-chained one after the end is an unsigned tail, and said to be one."""
    store.write("INSERT INTO entries (run, seq, kind, body, hash) VALUES (:run, 6, 'note', '{}', 'x')", run=runs[0])
    assert 6 == verify_run(store, keys, runs[0]).seq
    Journal(store, runs[1], actor=Actor("mallory")).append("note", {"who": "me"})
    proof = verify_run(store, keys, runs[1])
    assert ("unsigned", 5, "entries 6 to 6 are not signed") == (proof.state, proof.signed_to, proof.reason)


@pytest.mark.parametrize("seq", [1, 2, 4, 5])
def test_forged_hashes_do_not_help_against_the_signature(store: Store, keys: Keys, runs: list[str], seq: int) -> None:
    """DESIGN "The journal": with all links forged anew the signed head is not the one that was signed."""
    _rewrite(store, runs[2], seq, what="something else")
    proof = verify_run(store, keys, runs[2])
    assert ("broken", 1 if seq == 1 else 5) == (proof.state, proof.seq)


def test_a_signature_in_between_narrows_the_place_down(store: Store, keys: Keys, make_run: MakeRun) -> None:
    """The first signature that does not fit any more is named, so the edit is before it and after the one before."""
    journal = make_run(2, close=False)
    sign_head(journal, keys)
    journal.append("note")
    sign_head(journal, keys)
    close_run(journal, keys, state="completed", exit_code=0)
    _rewrite(store, journal.run, 4, what="else")
    assert 4 == verify_run(store, keys, journal.run).seq


def test_a_later_run_binds_the_end_of_an_earlier_one(store: Store, keys: Keys, runs: list[str]) -> None:
    """DESIGN "The journal": without its signature a forged run is still not the one that the next run saw."""
    _rewrite(store, runs[0], 3, what="something else")
    _drop(store, runs[0], "signatures")
    found = {proof.run: proof for proof in _found(store, keys)}
    assert ("unsigned", "broken") == (found[runs[0]].state, found[""].state)
    assert f"the end of run {runs[0]} (entry 5) is not what it was when run {runs[1]} began" == found[""].reason


def test_an_unsigned_tail_is_called_unsigned(store: Store, keys: Keys, make_run: MakeRun) -> None:
    """DESIGN "The journal": an unsigned tail is reported as unsigned: no proof, and no accusation."""
    journal = make_run(close=False)
    assert ("unsigned", 0) == ((proof := verify_run(store, keys, journal.run)).state, proof.signed_to)
    assert proof.ok
    sign_head(journal, keys)
    journal.append("note")
    proof = verify_run(store, keys, journal.run)
    assert ("unsigned", 4, "entries 5 to 5 are not signed") == (proof.state, proof.signed_to, proof.reason)


@pytest.mark.parametrize("cut", [1, 2, 4])
def test_a_cut_off_tail_is_found_by_its_signature(store: Store, keys: Keys, runs: list[str], cut: int) -> None:
    """DESIGN "Journal": truncated: what was signed and is not there names the first entry that is missing."""
    store.write("DELETE FROM entries WHERE run = :run AND seq > :left", run=runs[2], left=5 - cut)
    proof = verify_run(store, keys, runs[2])
    assert ("broken", 6 - cut) == (proof.state, proof.seq)
    assert "were cut off" in proof.reason


def test_a_cut_off_closing_entry_is_found_without_its_signature(store: Store, keys: Keys, runs: list[str]) -> None:
    """DESIGN "Journal": the list of runs says that it ended, and there is no entry that says so."""
    store.write("DELETE FROM entries WHERE run = :run AND seq = 5", run=runs[2])
    _drop(store, runs[2], "signatures")
    proof = verify_run(store, keys, runs[2])
    assert (5, "the run is listed as ended, but its closing entry was cut off") == (proof.seq, proof.reason)


def test_an_end_that_was_taken_back_everywhere_is_found_by_the_next_run(
    store: Store, keys: Keys, runs: list[str]
) -> None:
    """With the row made to say "running" the run looks open; the run after it knows better."""
    store.write("DELETE FROM entries WHERE run = :run AND seq = 5", run=runs[1])
    _drop(store, runs[1], "signatures")
    store.write("UPDATE runs SET ended = NULL, state = 'running', exit_code = NULL WHERE id = :run", run=runs[1])
    assert {"": "broken", runs[1]: "unsigned"} == {proof.run: proof.state for proof in _found(store, keys)}


def test_what_is_noted_after_the_end_is_no_cut_off_end(store: Store, keys: Keys, runs: list[str]) -> None:
    """A lease released by hand is noted in a run that ended; that is an unsigned tail and no damage."""
    Journal(store, runs[2], actor=Actor("bob")).append("lease-released", target="host:web")
    assert ["unsigned"] == [proof.state for proof in _found(store, keys)]


@pytest.mark.parametrize("which", [0, 1])
def test_a_dropped_run_is_found(store: Store, keys: Keys, runs: list[str], which: int) -> None:
    """DESIGN "The journal": a whole run that is gone from every table leaves a gap in the chain of runs."""
    _drop(store, runs[which])
    assert [("", f"run number {which + 1} was dropped")] == [(proof.run, proof.reason) for proof in _found(store, keys)]


def test_a_dropped_run_is_found_when_the_others_are_renumbered(store: Store, keys: Keys, runs: list[str]) -> None:
    """DESIGN "The journal": the number and the run before stand in each run's first entry."""
    _drop(store, runs[1])
    store.write("UPDATE chain SET number = 2 WHERE run = :run", run=runs[2])
    assert f"run {runs[2]} (number 2) does not follow the run before it" == _found(store, keys)[0].reason


def test_a_dropped_last_run_is_found_by_what_this_machine_remembers(store: Store, keys: Keys, runs: list[str]) -> None:
    """DESIGN "The journal": nothing in the store follows it, so what was seen is kept outside of the store."""
    _drop(store, runs[2])
    reason = _found(store, keys)[0].reason
    assert "runs 3 to 3, which this machine has seen, are missing: dropped, or an older copy was restored" == reason
    _drop(store, runs[0])
    _drop(store, runs[1])
    assert "runs 1 to 3, which this machine has seen, are missing" in _found(store, keys)[0].reason


def test_a_last_run_that_was_put_in_anothers_place_is_found(store: Store, keys: Keys, runs: list[str]) -> None:
    """A forged history of the same length is not the one that this machine has seen."""
    _drop(store, runs[2])
    memory = next(keys.folder.glob("head-*.json"))
    seen = memory.read_text()
    open_run(store, keys, runbook="forged", actor=Actor("mallory"), mode="apply")
    memory.write_text(seen)
    assert "run number 3 is not the one that this machine has seen" == _found(store, keys)[0].reason


@pytest.mark.parametrize("table", ["entries", "chain", "runs", "signatures"])
@pytest.mark.parametrize("which", [0, 2])
def test_a_run_that_is_gone_from_one_table_is_found(
    store: Store, keys: Keys, runs: list[str], table: str, which: int
) -> None:
    """Each table knows of the others; without its signature alone a run is unsigned and said to be."""
    _drop(store, runs[which], table)
    assert [runs[which]] == [proof.run for proof in _found(store, keys) if proof.run]
    states = {"unsigned"} if table == "signatures" else {"broken"}
    assert states == {proof.state for proof in _found(store, keys) if proof.run}


def test_signatures_that_are_left_of_a_run_are_found(store: Store, keys: Keys, runs: list[str]) -> None:
    """Elsewhere, where nothing is remembered, a forgotten signature tells of a run that was dropped."""
    _drop(store, runs[2], "entries", "chain", "runs")
    next(keys.folder.glob("head-*.json")).unlink()
    assert [(runs[2], 1, "all entries were dropped")] == [(p.run, p.seq, p.reason) for p in _found(store, keys)]


def test_every_edit_of_the_chain_of_runs_is_found(store: Store, keys: Keys, runs: list[str]) -> None:
    """DESIGN "The journal": number, run and hash of each link."""
    for row in _rows(store, "chain"):
        edits: list[Row] = [
            {"number": int(str(row["number"])) + 10},
            {"run": "x"},
            {"run": runs[0] if row["run"] != runs[0] else runs[1]},
        ]
        edits += [{"hash": _flipped(str(row["hash"]), place)} for place in range(0, 64, 9)]
        for edit in edits:
            _put(store, "chain", row, **edit) if "number" not in edit else store.write(
                "UPDATE chain SET number = :number WHERE run = :run", number=edit["number"], run=row["run"]
            )
            assert "broken" in {proof.state for proof in _found(store, keys)}, edit
            store.write(
                "DELETE FROM chain WHERE number = :old OR number = :new", old=row["number"], new=edit.get("number")
            )
            original = {name: row[name] for name in ("number", "run", "hash")}
            store.write("INSERT INTO chain (number, run, hash) VALUES (:number, :run, :hash)", **original)
    assert [] == _found(store, keys)


def test_every_edit_of_a_signature_is_found(store: Store, keys: Keys, make_run: MakeRun) -> None:
    """DESIGN "The journal": run, entry, hash, key and every character of the signature itself; no edit crashes."""
    run = make_run().run
    row = _rows(store, "signatures")[0]
    edits: list[Row] = [{"signature": _flipped(str(row["signature"]), place)} for place in range(88)]
    edits += [{"hash": _flipped(str(row["hash"]), place)} for place in range(0, 64, 9)]
    edits += [{"key_id": _flipped(str(row["key_id"]), place)} for place in range(16)]
    edits += [{"seq": seq} for seq in (-1, 0, 1, 4, 6, "x", 1.5)]
    edits += [{"run": "x"}, {"signature": b"\xff"}, {"hash": 5}]
    for edit in edits:
        _put(store, "signatures", row, **edit)
        assert _found(store, keys), edit
        _put(store, "signatures", row, **{name: row[name] for name in edit})
    assert [run] == [proof.run for proof in verify_store(store, keys) if proof.run and proof.state == "whole"]


def test_an_edited_signature_in_between_is_found(store: Store, keys: Keys, make_run: MakeRun) -> None:
    """Also one that a later signature makes unnecessary; under an unknown key it is at least counted."""
    journal = make_run(close=False)
    sign_head(journal, keys)
    close_run(journal, keys, state="completed", exit_code=0)
    store.write("UPDATE signatures SET key_id = '0000000000000000' WHERE seq = 4")
    assert ["signatures by keys that are not trusted here: 1"] == [proof.reason for proof in _found(store, keys)]


LIES: dict[str, object] = {
    "runbook": "other", "runbook_hash": "00", "parameters": '{"host": "db"}', "actor": '{"user": "bob"}', "origin": "cron",
    "mode": "plan", "state": "failed", "ticket": "INC-2", "undoes": "x", "error": "oops", "exit_code": 1,
    "notebook": "/tmp/forged.ipynb", "html": "/tmp/forged.html", "ended": None, "id": "x",
}  # fmt: skip


@pytest.mark.parametrize("column", sorted(LIES))
def test_a_lie_in_the_list_of_runs_is_found(store: Store, keys: Keys, runs: list[str], column: str) -> None:
    """DESIGN "The journal": what one sees at a glance is held against the entries: who, what, how it ended."""
    store.write(f"UPDATE runs SET {column} = :value WHERE id = :run", value=LIES[column], run=runs[1])
    assert "broken" in {proof.state for proof in _found(store, keys) if proof.run in (runs[1], "x")}


@pytest.mark.parametrize("column", ["parameters", "actor"])
def test_a_row_that_cannot_be_read_is_found(store: Store, keys: Keys, runs: list[str], column: str) -> None:
    """Damage in the list of runs is damage, not a crash."""
    store.write(f"UPDATE runs SET {column} = '{{' WHERE id = :run", run=runs[1])
    assert [runs[1]] == [proof.run for proof in _found(store, keys)]


def test_an_open_run_cannot_be_shown_as_ended(store: Store, keys: Keys, make_run: MakeRun) -> None:
    """A run that was lost in the middle is not made to look completed by its row."""
    run = make_run(close=False).run
    store.write("UPDATE runs SET state = 'completed', exit_code = 0, ended = {now} WHERE id = :run", run=run)
    assert [run] == [proof.run for proof in _found(store, keys) if proof.state == "broken"]


def test_a_foreign_key_proves_nothing_until_it_is_trusted(
    store: Store, keys: Keys, make_run: MakeRun, own_home: Path
) -> None:
    """DESIGN "The journal": signed by a key that is not trusted here is said; with its public key it is whole."""
    foreign = Keys(own_home / "foreign")
    run = make_run(with_keys=foreign).run
    assert "unknown-key" == verify_run(store, keys, run).state
    key_id = foreign.key_id()
    keys.sign(b"")
    (keys.folder / f"{key_id}.pub").write_text(foreign.public(key_id) or "")
    assert "whole" == verify_run(store, keys, run).state


def test_a_forger_with_a_key_of_his_own_is_not_believed(
    store: Store, keys: Keys, runs: list[str], own_home: Path
) -> None:
    """Rewriting a run and signing it anew gives a run that is signed by nobody we know, and a broken chain."""
    _rewrite(store, runs[0], 3, what="something else")
    _drop(store, runs[0], "signatures")
    sign_head(Journal(store, runs[0], actor=Actor("mallory")), Keys(own_home / "forger"))
    assert {"": "broken", runs[0]: "unknown-key"} == {proof.run: proof.state for proof in _found(store, keys)}


def test_after_the_loss_of_the_key_old_runs_stay_whole(
    store: Store, keys: Keys, runs: list[str], make_run: MakeRun
) -> None:
    """DESIGN "The journal": key loss: a new key is made, the old public one still verifies what it signed."""
    old = keys.key_id()
    keys.path.unlink()
    make_run()
    assert (True, []) == (keys.key_id() != old, _found(store, keys))


def test_with_all_keys_lost_nothing_is_proved_and_nothing_broken(store: Store, keys: Keys, runs: list[str]) -> None:
    """DESIGN "The journal": without public keys every run is signed by somebody unknown."""
    for path in keys.folder.iterdir():
        path.unlink()
    assert ["whole", *["unknown-key"] * 3] == [proof.state for proof in verify_store(store, keys)]


def test_a_run_that_is_not_there_is_no_proof(store: Store, keys: Keys) -> None:
    """Verifying nothing is an error, and an empty store is whole."""
    with pytest.raises(JournalError, match="there is no run nowhere"):
        verify_run(store, keys, "nowhere")
    assert [("", "whole", 0)] == [(proof.run, proof.state, proof.entries) for proof in verify_store(store, keys)]


MATTERS = {
    "entries": "run, seq, kind, body, hash",
    "chain": "number, run, hash",
    "signatures": "run, seq, hash, key_id, signature",
    "runs": ", ".join(LIES).replace("ended", "ended IS NULL AS open"),
}


def _content(store: Store) -> dict[str, list[tuple[object, ...]]]:
    rows = {table: store.read(f"SELECT {columns} FROM {table}") for table, columns in MATTERS.items()}
    return {table: sorted((tuple(row.values()) for row in found), key=repr) for table, found in rows.items()}


def test_a_flipped_bit_anywhere_in_the_file_is_found(
    store: Store, keys: Keys, make_run: MakeRun, own_home: Path
) -> None:
    """DESIGN "Journal": of the database file itself: either what matters reads as before, or it is found; no crash."""
    for _ in range(2):
        make_run(2)
    before = _content(store)
    store.close()
    path = own_home / "store.db"
    whole = path.read_bytes()
    chance = random.Random(20261123)
    used = [place for place, byte in enumerate(whole) if byte]
    found = 0
    for place in chance.sample(used, 250):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ (1 << chance.randrange(8))]) + whole[place + 1 :])
        try:
            with Store(store.url) as damaged:
                seen = _found(damaged, keys)
                assert seen or before == _content(damaged), place
                found += bool(seen)
        except StoreError:
            found += 1
        for log in own_home.glob("store.db-*"):
            log.unlink(missing_ok=True)
    assert found > 50
