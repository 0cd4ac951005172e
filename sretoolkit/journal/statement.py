"""Export: one run as an in-toto statement in a DSSE envelope, which other tools verify without sretoolkit."""

from __future__ import annotations

import base64
import json
from typing import Any

from sretoolkit.errors import JournalError
from sretoolkit.journal.journal import Journal
from sretoolkit.journal.keys import Keys
from sretoolkit.journal.runs import Run
from sretoolkit.journal.verification import verify_run

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "tag:sretoolkit,2026:run/v1"
PAYLOAD = "application/vnd.in-toto+json"


def envelope(journal: Journal, keys: Keys, run: Run) -> dict[str, Any]:
    """The DSSE envelope (payload and signature in base64); raises `JournalError` for a run that does not verify."""
    proof = verify_run(journal.store, keys, run.id)
    if not proof.ok:
        raise JournalError(f"{proof}: it is not exported", run=run.id, seq=proof.seq)
    payload = json.dumps(statement(journal, run), sort_keys=True).encode()
    message = b"DSSEv1 %d %s %d %s" % (len(PAYLOAD), PAYLOAD.encode(), len(payload), payload)
    key_id, signature = keys.sign(message)
    return {
        "payloadType": PAYLOAD,
        "payload": base64.b64encode(payload).decode(),
        "signatures": [{"keyid": key_id, "sig": signature}],
    }


def statement(journal: Journal, run: Run) -> dict[str, Any]:
    """The in-toto statement: the journal's head and the record's files as subjects, all entries in the predicate."""
    entries = journal.entries()
    files = {}
    for entry in entries:
        if entry.kind == "record":
            files = entry.payload.get("files", {})
    subjects = [{"name": f"journal:{run.id}", "digest": {"sha256": entries[-1].hash}}]
    subjects += [{"name": name, "digest": {"sha256": value}} for name, value in sorted(files.items())]
    return {
        "_type": STATEMENT,
        "subject": subjects,
        "predicateType": PREDICATE,
        "predicate": {"run": run.to_dict(), "entries": [{"hash": entry.hash, "body": entry.body} for entry in entries]},
    }
