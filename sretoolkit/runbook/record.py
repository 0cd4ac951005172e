"""The record: the executed notebook and one self-contained page, both made from what the journal says."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sretoolkit.journal import load_run
from sretoolkit.journal.runs import moment
from sretoolkit.plan.history import fold
from sretoolkit.plan.session import Session
from sretoolkit.runbook.page import write_atomically
from sretoolkit.secrets import redaction

if TYPE_CHECKING:
    from nbformat import NotebookNode

    from sretoolkit.runbook.page import Renderer
    from sretoolkit.runbook.supervisor import Ending


class Saver:
    """Saves the notebook while it runs: atomically, at most every few seconds, and never for long."""

    def __init__(self, path: Path, *, every: float = 2.0) -> None:
        self.path = path
        self._every = every
        self._next = time.monotonic() + every

    def __call__(self, notebook: NotebookNode) -> None:
        """Save when it is time; a save that takes long makes the next one come later."""
        began = time.monotonic()
        if began < self._next:
            return
        try:
            write_atomically(self.path, encoded(notebook))
        except OSError:
            return  # said at the end, when it must be possible; the journal has every action
        self._next = time.monotonic() + max(self._every, 20 * (time.monotonic() - began))


def write_record(
    notebook: NotebookNode, path: Path, session: Session, ending: Ending, renderer: Renderer, files: dict[str, str]
) -> None:
    """Write notebook and page; what is on disk is named in ``files`` with its SHA-256, also when the rest fails."""
    about = summary(session, ending)
    notebook.metadata["sretoolkit_run"] = {name: about[name] for name in ("run", "state", "error", "mode", "head")}
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    files[path.name] = write_atomically(path, encoded(notebook))
    page = path.with_suffix(".html")
    files[page.name] = renderer.render(about, path, page)


def summary(session: Session, ending: Ending) -> dict[str, Any]:
    """What the page's head says: the run, how it ended, its plans step by step, its undoing, its journal."""
    run = load_run(session.store, session.run)
    entries = session.journal.entries()
    head = entries[-1]
    plans = [plan_rows(plan) for plan in fold(entries)]
    about = {
        "run": run.id,
        "runbook": run.runbook,
        "runbook_hash": run.runbook_hash or "",
        "state": ending.state,
        "error": ending.error,
        "exit_code": ending.exit_code,
        "mode": session.mode,
        "who": run.who,
        "host": run.process.host,
        "origin": run.origin,
        "ticket": run.ticket,
        "break_glass": session.break_glass,
        "started": f"{moment(run.started)[:19].replace('T', ' ')} UTC",
        "seconds": round(
            (datetime.fromisoformat(head.time) - datetime.fromisoformat(entries[0].time)).total_seconds(), 1
        ),
        "parameters": run.parameters,
        "plans": plans,
        "aftermath": aftermath(plans) if ending.error else "",
        "undone": ending.undone or [],
        "head": f"{head.seq}:{head.hash}",
        "key": session.keys.key_id(),
    }
    clean: dict[str, Any] = redaction.data(about)
    return clean


def aftermath(plans: Sequence[Mapping[str, Any]]) -> str:
    """How the changes of a run that ended badly stand, in one line; "" when it had made none."""
    states = {plan["state"] for plan in plans}
    if "held" in states:
        return "Not all that was changed could be taken back: what is left to do by hand is said below."
    made = {row["status"] for plan in plans for row in plan["rows"] if "target" in row} - {"planned"}
    return "All that was changed was taken back." if made == {"undone"} else ""


def plan_rows(plan: Any) -> dict[str, Any]:
    """A plan as the page shows it."""
    rows = []
    for item in plan.items:
        data = item.content.get("data", {})
        change = (
            {} if item.is_gate else {"before": data.get("before"), "after": data.get("after"), "target": item.target}
        )
        rows.append({"text": item.text, "status": item.label, "error": item.error, "seconds": item.elapsed, **change})
    return {"title": plan.title, "hash": plan.hash, "state": plan.state, "rows": rows}


def encoded(notebook: NotebookNode) -> Iterator[bytes]:
    """The notebook as its file's bytes, piece by piece, without any known secret in any cell, output or metadata."""
    clean = redaction.data(_joined(notebook)) if redaction.knows_any else notebook
    for piece in json.JSONEncoder(indent=1, ensure_ascii=False, sort_keys=True).iterencode(clean):
        yield piece.encode("utf-8", "replace")
    yield b"\n"


def _joined(notebook: Any) -> Any:
    """Text that is kept as a list of lines, as one text: a secret must not hide across two lines."""
    if isinstance(notebook, Mapping):
        return {key: _text(item) if key in ("source", "text") else _joined(item) for key, item in notebook.items()}
    if isinstance(notebook, list):
        return [_joined(item) for item in notebook]
    return notebook


def _text(value: Any) -> Any:
    lines = isinstance(value, list) and all(isinstance(line, str) for line in value)
    return "".join(value) if lines else _joined(value)
