"""What a card of the launcher opens: a notebook with a runbook's form, or a copy of it, so that the original stays clean."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from sretoolkit.config import Config
from sretoolkit.errors import SREToolkitError
from sretoolkit.runbook.notebook import Runbook, runbook_paths

FOLDER = "desk"  # below the server's root; made when first needed
_KERNEL = {"kernelspec": {"name": "python3", "language": "python", "display_name": "Python 3"}}


def cards(config: Config) -> list[dict[str, Any]]:
    """Every runbook by what it says of itself; one that cannot be read says why."""
    found = []
    for name, path in runbook_paths(config).items():
        try:
            runbook = Runbook.read(path)
        except SREToolkitError as error:
            found.append({"name": name, "title": name, "purpose": f"cannot be read: {error.message}", "broken": True})
            continue
        about = {key: str(runbook.metadata.get(key, "")) for key in ("purpose", "risk", "owner")}
        found.append(
            {"name": name, "title": runbook.title, **about, "changes": runbook.metadata.get("changes") is not False}
        )
    return found


def form(name: str, config: Config) -> tuple[str, dict[str, Any]]:
    """The path and content of the notebook that holds a runbook's form; raises `RunbookError` when there is no such one.

    Its kernel works in another folder than the server: a runbook of the server's own folder is named by its path.
    """
    found = Runbook.find(name, config)
    named = found.name if found.path.parent.absolute() != Path.cwd() / "runbooks" else str(found.path.absolute())
    return f"{FOLDER}/{found.name}.ipynb", _panel(f"RunbookForm({named!r})", "RunbookForm")


def browser() -> tuple[str, dict[str, Any]]:
    """The path and content of the notebook that lists the runs."""
    return f"{FOLDER}/runs.ipynb", _panel("RunsBrowser()", "RunsBrowser")


def copy(name: str, config: Config, *, now: datetime) -> tuple[str, dict[str, Any]]:
    """The path and content of a copy of a runbook, without outputs, to be changed at will."""
    found = Runbook.find(name, config)
    return f"{FOLDER}/{found.name}-{now:%Y%m%d-%H%M%S}.ipynb", json.loads(json.dumps(found.content))


def emptied(content: dict[str, Any]) -> dict[str, Any]:
    """The same notebook without outputs."""
    cells = [
        {**cell, "outputs": [], "execution_count": None} if cell["cell_type"] == "code" else cell
        for cell in content["cells"]
    ]
    return {**content, "cells": cells}


def _panel(call: str, name: str) -> dict[str, Any]:
    """A notebook of one cell, whose source is folded away: one comes for what it shows."""
    cell: dict[str, Any] = {
        "cell_type": "code", "id": "panel", "metadata": {"jupyter": {"source_hidden": True}}, "outputs": [],
        "execution_count": None, "source": f"from sretoolkit.widgets import {name}\n\n{call}",
    }  # fmt: skip
    return {"nbformat": 4, "nbformat_minor": 5, "metadata": _KERNEL, "cells": [cell]}
