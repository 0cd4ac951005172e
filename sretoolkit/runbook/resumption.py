"""The order of an earlier run again: the same notebook with the same parameters, into the same journal."""

from __future__ import annotations

from pathlib import Path

from sretoolkit.actor import Actor
from sretoolkit.config import Config
from sretoolkit.journal import Journal, Run
from sretoolkit.runbook.notebook import Runbook
from sretoolkit.runbook.run import Order
from sretoolkit.store import Store


def resumed(
    store: Store,
    run: Run,
    config: Config,
    *,
    origin: str,
    actor: Actor | None = None,
    break_glass: str = "",
    irreversible: bool = False,
) -> Order | None:
    """The order; None for a run that was never a notebook (an undo, a program's plan)."""
    if run.runbook_hash is None:
        return None
    opened = Journal(store, run.id, actor=Actor(**run.actor)).entries()[0].payload
    path = Path(opened["path"])
    found = Runbook.read(path) if path.is_file() else Runbook.find(run.runbook, config)
    return Order(
        found, found.parameters.check(run.parameters), mode="apply" if run.mode == "apply" else "plan", origin=origin,
        ticket=run.ticket, break_glass=break_glass, irreversible=irreversible, resume=run.id, actor=actor,
    )  # fmt: skip
