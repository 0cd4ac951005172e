"""Export: what others verify without sretoolkit."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey  # type: ignore[attr-defined]

from sretoolkit.errors import JournalError
from sretoolkit.journal import Journal, Keys, close_run, load_run
from sretoolkit.journal.statement import envelope
from sretoolkit.store import Store

MakeRun = Callable[..., Journal]


@pytest.fixture
def exported(store: Store, keys: Keys, make_run: MakeRun) -> dict[str, Any]:
    """One run's envelope, as JSON would carry it."""
    journal = make_run(close=False)
    journal.append("record", {"files": {"run.ipynb": "ab" * 32, "run.html": "cd" * 32}, "folder": "/records"})
    close_run(journal, keys, state="completed", exit_code=0)
    wrapped: dict[str, Any] = json.loads(json.dumps(envelope(journal, keys, load_run(store, journal.run))))
    return wrapped


def _key(keys: Keys) -> SSlibKey:
    """Our public key as the other implementation has it."""
    key_id = keys.key_id()
    public = load_pem_public_key((keys.public(key_id) or "").encode())
    assert isinstance(public, Ed25519PublicKey)
    return SSlibKey.from_crypto(public, keyid=key_id)


def test_another_implementation_verifies_it(exported: dict[str, Any], keys: Keys) -> None:
    """DESIGN "Journal": a DSSE-wrapped in-toto statement that securesystemslib, which knows nothing of us, accepts."""
    read = Envelope.from_dict(exported)
    assert {keys.key_id()} == set(read.verify([_key(keys)], 1))
    assert "application/vnd.in-toto+json" == read.payload_type
    assert exported["payload"] == base64.b64encode(read.payload).decode()


def test_it_holds_head_files_and_every_entry(exported: dict[str, Any], store: Store) -> None:
    """DESIGN "How a run works": subjects are the journal's head and the record's files; the entries hash and chain."""
    statement = json.loads(base64.b64decode(exported["payload"]))
    run = load_run(store, "last")
    head = Journal(store, run.id, actor=None).head()  # type: ignore[arg-type]
    expected = {f"journal:{run.id}": head.hash, "run.ipynb": "ab" * 32, "run.html": "cd" * 32}
    assert expected == {subject["name"]: subject["digest"]["sha256"] for subject in statement["subject"]}
    assert "https://in-toto.io/Statement/v1" == statement["_type"]
    entries = statement["predicate"]["entries"]
    assert [entry["hash"] for entry in entries] == [hashlib.sha256(e["body"].encode()).hexdigest() for e in entries]
    assert [entry["hash"] for entry in entries[:-1]] == [json.loads(e["body"])["previous"] for e in entries[1:]]


@pytest.mark.parametrize("part", ["payload", "payloadType", "sig"])
def test_another_implementation_refuses_what_was_edited(exported: dict[str, Any], keys: Keys, part: str) -> None:
    """One changed byte in the payload, its type or the signature, and nobody accepts it."""
    if part == "sig":
        raw = bytearray(base64.b64decode(exported["signatures"][0]["sig"]))
        raw[5] ^= 1
        exported["signatures"][0]["sig"] = base64.b64encode(raw).decode()
    elif part == "payload":
        exported["payload"] = base64.b64encode(base64.b64decode(exported["payload"]).replace(b"demo", b"demp")).decode()
    else:
        exported["payloadType"] += "x"
    with pytest.raises(VerificationError):
        Envelope.from_dict(exported).verify([_key(keys)], 1)


def test_a_broken_run_is_not_exported(store: Store, keys: Keys, make_run: MakeRun) -> None:
    """Our signature is not put under what does not verify; the error names the entry."""
    journal = make_run()
    store.write("UPDATE entries SET body = 'x' WHERE run = :run AND seq = 3", run=journal.run)
    with pytest.raises(JournalError, match=r"broken at entry 3: the entry was edited .* it is not exported") as caught:
        envelope(journal, keys, load_run(store, journal.run))
    assert (journal.run, 3) == (caught.value.run, caught.value.seq)
