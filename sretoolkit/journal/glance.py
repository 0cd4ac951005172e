"""The row that shows a run at a glance, held against the entries that it stands for: a lie in it is found too."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sretoolkit.errors import JournalError
from sretoolkit.journal.entry import Entry
from sretoolkit.store.store import storable

ENDS = ("run-closed", "run-suspended", "run-reopened")


def bad_row(entries: Sequence[Entry], rows: Sequence[Mapping[str, Any]]) -> tuple[int, str] | None:
    """The entry that the row of runs contradicts, and how; None when it says the same."""
    last = entries[-1].seq
    if not rows:
        return last, "the run was dropped from the list of runs"
    try:
        return _bad_opening(entries[0], rows[0]) or _bad_end(entries, rows[0]) or _bad_files(entries, rows[0])
    except (JournalError, KeyError, TypeError, ValueError) as error:
        return last, f"the list of runs cannot be read: {error!r}"


def _bad_opening(first: Entry, row: Mapping[str, Any]) -> tuple[int, str] | None:
    said = first.payload
    shown = {name: row[name] for name in ("runbook", "runbook_hash", "mode", "origin", "ticket", "undoes")}
    if not isinstance(row["parameters"], str) or not isinstance(row["actor"], str):
        return first.seq, "the list of runs was edited"
    shown |= {name: json.loads(row[name]) for name in ("parameters", "actor")}
    for name, value in shown.items():
        written = first.content["actor"] if name == "actor" else said[name]
        if _stored(written) != _stored(value):
            return first.seq, f"the list of runs shows {name} {value!r}, the run was opened with {written!r}"
    return None


def _bad_end(entries: Sequence[Entry], row: Mapping[str, Any]) -> tuple[int, str] | None:
    end = next((entry for entry in reversed(entries) if entry.kind in ENDS), None)
    if row["ended"] is not None and (end is None or end.kind != "run-closed"):
        return entries[-1].seq + 1, "the run is listed as ended, but its closing entry was cut off"
    said = {"state": "running", "exit_code": None} if end is None or end.kind == "run-reopened" else end.payload
    names = ("state", "exit_code", "error") if "error" in said else ("state", "exit_code")
    seq = end.seq if end else entries[0].seq
    for name in names:
        if _stored(said[name]) != row[name]:
            return seq, f"the list of runs shows {name} {row[name]!r}, the entry says {said[name]!r}"
    if row["ended"] is None and end is not None and end.kind == "run-closed":
        return seq, "the list of runs shows it as open, the entry says that it ended"
    return None


def _bad_files(entries: Sequence[Entry], row: Mapping[str, Any]) -> tuple[int, str] | None:
    records = [entry for entry in entries if entry.kind == "record"]
    written = {str(Path(entry.payload["folder"], name)) for entry in records for name in entry.payload["files"]}
    shown = [row[name] for name in ("notebook", "html") if row[name]]
    if wrong := [path for path in shown if path not in {storable(path) for path in written}]:
        return entries[-1].seq, f"the list of runs shows the record {wrong[0]}, which no entry says was written"
    return None


def _stored(value: Any) -> Any:
    """Any text in a value as the store gives it back."""
    if isinstance(value, Mapping):
        return {str(key): _stored(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_stored(item) for item in value]
    return storable(value) if isinstance(value, str) else value
