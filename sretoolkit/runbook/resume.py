"""Going on with a run that waited, was stopped or is held: its order again, from its journal."""

from __future__ import annotations

from pathlib import Path

from sretoolkit.config import Config
from sretoolkit.journal import Journal, load_run
from sretoolkit.runbook.notebook import Runbook
from sretoolkit.runbook.run import Order
from sretoolkit.store import Store


def resumed(
    store: Store, run: str, *, config: Config, origin: str, break_glass: str = "", irreversible: bool = False
) -> Order | None:
    """The order of an earlier run again; None for a run that was never a notebook (an undo, a program's plan)."""
    past = load_run(store, run)
    if past.runbook_hash is None:
        return None
    path = Path(Journal(store, past.id, actor=None).entries(kind="run-opened")[0].payload["path"])  # type: ignore[arg-type]
    found = Runbook.read(path) if path.is_file() else Runbook.find(past.runbook, config)
    return Order(
        found, found.parameters.check(past.parameters), mode="apply" if past.mode == "apply" else "plan", origin=origin,
        ticket=past.ticket, break_glass=break_glass, irreversible=irreversible, resume=past.id,
    )  # fmt: skip
