"""The cells of a run, wherever it goes on, and what they said: from the record's file, which grows with it, and the journal."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from sretoolkit.config import Config
from sretoolkit.journal import Entry, Run
from sretoolkit.runbook.notebook import source_of
from sretoolkit.secrets import redaction

_IDLE = ("pending", "not_run", "completed", "skipped")
_MOST = 20 * 1024 * 1024  # bytes of a notebook that is looked into; the record has all of it
_MOST_TEXT = 200_000


class Cell(NamedTuple):
    """One code cell: its place, how it stands, the seconds it took, and what it said as text."""

    number: int
    source: str
    status: str
    seconds: float | None
    text: str

    @property
    def first(self) -> str:
        """The first line of its source."""
        return self.source.strip().partition("\n")[0]

    @property
    def tells(self) -> bool:
        """Whether it said something, went wrong, or is at work."""
        return bool(self.text) or self.status not in _IDLE


def cells_of(run: Run, entries: Sequence[Entry], config: Config) -> list[Cell]:
    """All code cells; where the record's file is not on this machine, those that have ended, as the journal has them."""
    again = max((number for number, entry in enumerate(entries) if entry.kind == "run-reopened"), default=0)
    ended = {entry.payload["cell"]: entry.payload for entry in entries[again:] if entry.kind == "cell"}
    cells = _notebook(run, config, since=entries[again].time if again else "")
    if cells is None:
        return [Cell(at + 1, "", said["status"], said["seconds"], "") for at, said in sorted(ended.items())]
    return [_cell(at, cell, ended.get(at, {})) for at, cell in enumerate(cells) if cell.get("cell_type") == "code"]


def _notebook(run: Run, config: Config, *, since: str) -> list[dict[str, Any]] | None:
    """The cells as the record has them now; None where it is not, or is of an attempt before ``since``.

    A run's name is from the store: nothing outside the folder of records is read.
    """
    folder = Path(config["records.folder"]).expanduser().resolve()
    path = folder / f"{run.id}-{run.runbook}.ipynb"
    try:
        about = path.stat()
        if path.resolve().parent != folder or about.st_size > _MOST:
            return None
        if since and about.st_mtime < datetime.fromisoformat(since).timestamp():
            return None
        return _parsed(path, about.st_mtime_ns, about.st_size)
    except (OSError, ValueError, RecursionError):
        return None


@lru_cache(maxsize=4)
def _parsed(path: Path, changed: int, size: int) -> list[dict[str, Any]]:
    """The file as it was at that moment: it is looked at twice a second, and may be large."""
    content = json.loads(path.read_bytes())
    cells = content.get("cells", []) if isinstance(content, dict) else []
    return [cell for cell in cells if isinstance(cell, dict) and "source" in cell]


def _cell(at: int, cell: dict[str, Any], ended: Mapping[str, Any]) -> Cell:
    status = ended.get("status") or cell.get("metadata", {}).get("papermill", {}).get("status", "pending")
    said = "\n".join(filter(None, (_said(output).rstrip("\n") for output in cell.get("outputs", []))))
    return Cell(at + 1, source_of(cell), status, ended.get("seconds"), redaction(said)[:_MOST_TEXT])


def _said(output: Mapping[str, Any]) -> str:
    """An output as plain text."""
    if output.get("output_type") == "error":
        return f"{output.get('ename')}: {output.get('evalue')}".rstrip(": ")
    return "".join(output.get("text") or output.get("data", {}).get("text/plain", ""))
