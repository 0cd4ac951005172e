"""What a user last gave a runbook, and the run that came of it: kept in the state folder, without anything secret."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sretoolkit.config import state_folder
from sretoolkit.runbook.notebook import Runbook
from sretoolkit.runbook.page import write_atomically


@dataclass(frozen=True)
class Remembered:
    """Parameters as JSON data, without those that name a secret, and the id of the run."""

    values: Mapping[str, Any] = field(default_factory=dict)
    run: str = ""


def recall(runbook: Runbook) -> Remembered:
    """What is remembered; nothing when it cannot be read, for it only saves typing."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        content = json.loads(_path(runbook).read_text(encoding="utf-8"))
        return Remembered(dict(content["values"]), str(content["run"]))
    return Remembered()


def remember(runbook: Runbook, values: Mapping[str, Any], run: str) -> None:
    """Keep checked values for the next time; nothing is said when that is not possible."""
    encoded = runbook.parameters.encode(values)
    kept = {item.name: encoded[item.name] for item in runbook.parameters.items if not item.kind.secret}
    with suppress(OSError):
        path = _path(runbook)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_atomically(path, [json.dumps({"values": kept, "run": run}).encode()])


def _path(runbook: Runbook) -> Path:
    return state_folder() / "forms" / f"{runbook.name}.json"
