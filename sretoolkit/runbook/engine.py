"""Our papermill engine: papermill loads the notebook and hands it over; the supervisor runs it.

``sretoolkit run`` passes its `Launch`. Stock ``papermill --engine sretoolkit IN OUT -p ...`` works too: its parameters
are checked against the declared types, and it runs in plan mode unless ``run.mode`` (SRETOOLKIT_RUN_MODE) says "apply".
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nbformat import NotebookNode
from papermill.engines import Engine
from papermill.iorw import write_ipynb

from sretoolkit.config import Config
from sretoolkit.errors import RunbookError, RunFailed
from sretoolkit.runbook.kinds import Kind
from sretoolkit.runbook.notebook import Runbook
from sretoolkit.runbook.parameters import Parameters
from sretoolkit.runbook.run import Launch, Order, inject


class RunbookEngine(Engine):  # type: ignore[misc]
    """True statuses, a journal, a plan mode, and an undo that outlives the kernel."""

    @classmethod
    def execute_notebook(
        cls,
        nb: NotebookNode,
        kernel_name: str,
        output_path: str | None = None,
        *,
        launch: Launch | None = None,
        **options: Any,
    ) -> NotebookNode:
        """Run the notebook; papermill's saving, progress bar and timeouts are replaced by ours."""
        if launch is not None:
            launch.execute(nb)
            return nb
        launch = _launch(nb, str(options.get("input_path") or "notebook.ipynb"))
        result = launch.execute(nb)
        if not result.ok and not _shows_error(nb):
            if output_path:
                write_ipynb(nb, output_path)
            raise RunFailed(f"run {result.run} is {result.state}: {result.error}", run=result.run, state=result.state)
        return nb


def _launch(nb: NotebookNode, path: str) -> Launch:
    """Open a run for stock papermill, which has already injected what it was given."""
    config = Config.load()
    mode = config["run.mode"]
    if mode not in ("plan", "apply"):
        raise RunbookError(f"run.mode is {mode!r}", hint='"plan" or "apply"')
    runbook = Runbook(Path(path).stem, Path(path), {**nb, "cells": [dict(cell) for cell in nb.cells]})
    given = nb.metadata.papermill.get("parameters", {})
    values = runbook.parameters.check(
        {name: _as_given(runbook.parameters, name, value) for name, value in given.items()}
    )
    inject(nb, runbook.parameters.code(values), runbook.parameters.encode(values))
    return Launch(Order(runbook, values, mode=mode, origin="papermill"), config)


def _as_given(parameters: Parameters, name: str, value: Any) -> Any:
    """Papermill's command line leaves "true" and durations as text: read a text by its declared type, nothing else."""
    kind = next((item.kind for item in parameters.items if item.name == name), Kind("Any"))
    return kind.parse(value) if isinstance(value, str) and kind.name in ("bool", "list", "dict") else value


def _shows_error(nb: NotebookNode) -> bool:
    """Whether papermill will itself find the error in the outputs and raise."""
    return any(output.output_type == "error" for cell in nb.cells for output in cell.get("outputs", []))
