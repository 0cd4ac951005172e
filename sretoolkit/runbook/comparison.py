"""Comparing runs by what they mean, and records by what the journal says of them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from sretoolkit.config import Config
from sretoolkit.journal import Journal, Run, load_run
from sretoolkit.plan.history import fold
from sretoolkit.runbook.shared_record import fetch
from sretoolkit.store import Store


def compare(store: Store, one: str, other: str) -> list[dict[str, Any]]:
    """The differences of two runs as rows (what, one, other): inputs, actions, results, then timings.

    Timings count as different when one took more than twice the other and at least a second longer.
    """
    left, right = (_meaning(store, load_run(store, run)) for run in (one, other))
    rows = []
    for what in [*left, *(key for key in right if key not in left)]:
        a, b = left.get(what, "–"), right.get(what, "–")
        if not _same(what, a, b):
            rows.append({"what": what, "one": a, "other": b})
    return rows


def files_of(store: Store, name: str, config: Config) -> list[dict[str, str]]:
    """The files of a run's record: path, SHA-256 as journalled, and whether they are unchanged, changed or missing.

    Of a store that is shared they are those in ``records.folder``, where they are made from the store when they are not there.
    """
    run = load_run(store, name)
    entries = Journal(store, run.id, actor=None).entries(kind="record")  # type: ignore[arg-type]
    if not entries:
        return []
    payload = entries[-1].payload
    found = []
    for file, expected in sorted(payload["files"].items()):
        path = Path(payload["folder"]) / file
        if store.shared:
            path = fetch(store, run.id, file, Path(config["records.folder"]).expanduser()) or path
        try:
            actual = hashlib.sha256(path.read_bytes()).hexdigest()
            state = "unchanged" if actual == expected else "CHANGED since the run"
        except OSError:
            state = "MISSING"
        found.append({"path": str(path), "sha256": expected, "state": state})
    return found


def _meaning(store: Store, run: Run) -> dict[str, Any]:
    entries = Journal(store, run.id, actor=None).entries()  # type: ignore[arg-type]
    meaning: dict[str, Any] = {
        "runbook": run.runbook,
        "runbook hash": (run.runbook_hash or "")[:12],
        "mode": run.mode,
        "actor": run.who,
        "host": run.process.host,
        "state": run.state,
        "error": run.error,
    }
    meaning |= {f"parameter {name}": value for name, value in run.parameters.items()}
    for plan in fold(entries):
        for item in plan.items:
            data = item.content.get("data", {})
            change = "" if item.is_gate else f" ({data.get('before')!r} -> {data.get('after')!r})"
            meaning[f"action {item.text}"] = f"{item.label}{change}"
            if item.elapsed is not None:
                meaning[f"seconds of {item.text}"] = item.elapsed
    for entry in entries:
        if entry.kind == "cell":
            name = entry.payload.get("id") or entry.payload["cell"]
            meaning[f"cell {name}"] = entry.payload["status"]
            meaning[f"seconds of cell {name}"] = entry.payload["seconds"]
        if entry.kind == "control":
            meaning[f"told {entry.payload['verb']}"] = entry.payload["actor"]
    return meaning


def _same(what: str, one: Any, other: Any) -> bool:
    if what.startswith("seconds") and isinstance(one, int | float) and isinstance(other, int | float):
        return max(one, other) < 2 * min(one, other) or abs(one - other) < 1
    return bool(one == other)
