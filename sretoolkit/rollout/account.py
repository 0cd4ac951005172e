"""What a rollout's run tells afterwards: what each gate saw, look by look, drawn from the journal alone."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sretoolkit.actor import Actor
from sretoolkit.config import Config
from sretoolkit.errors import Aborted, GateFailed, StepFailed
from sretoolkit.journal import Journal, load_run
from sretoolkit.plan import Outcome, Plan
from sretoolkit.report import Report
from sretoolkit.rollout.analysis import evidence_report
from sretoolkit.store import open_store

Looks = list[tuple[datetime, Mapping[str, Any]]]


def carry_out(plan: Plan, **options: Any) -> Outcome:
    """``plan.run(**options)``; in a notebook the evidence of its gates is shown, above all when it was taken back.

    Raises what `Plan.run` raises.
    """
    try:
        outcome = plan.run(**options)
    except (GateFailed, StepFailed, Aborted) as error:
        if error.outcome is not None:
            _show(error.outcome)
            _show(*evidence(error.outcome.run, config=options.get("config")))
        raise
    if outcome.state == "completed":
        _show(*evidence(outcome.run, config=options.get("config")))
    return outcome


def evidence(run: str, *, config: Config | None = None) -> list[Report]:
    """A report for each gate at which a judge looked, in the order of the plan; of any run of the store, also an old one."""
    config = config or Config.load()
    with open_store(config) as store:
        entries = Journal(store, load_run(store, run).id, actor=Actor.current(config)).entries()
    titles: dict[tuple[str, int], str] = {}
    looks: dict[tuple[str, int], Looks] = {}
    for entry in entries:
        if entry.kind == "plan":
            items = enumerate(entry.payload["items"])
            titles |= {(entry.payload["hash"], index): f"{index + 1}. {item['text']}" for index, item in items}
        elif entry.kind == "gate-looked" and "metrics" in entry.payload["verdict"]["evidence"]:
            place = (entry.payload["plan"], entry.payload["index"])
            looks.setdefault(place, []).append((datetime.fromisoformat(entry.time), entry.payload["verdict"]))
    return [
        evidence_report(told, title=titles[place]) for place, told in sorted(looks.items(), key=lambda each: each[0][1])
    ]


def _show(*things: Any) -> None:
    """Show something in the notebook that we are in; elsewhere the caller has the outcome."""
    if "IPython" not in sys.modules:
        return
    from IPython import get_ipython
    from IPython.display import display

    if get_ipython() is not None:
        display(*things)  # type: ignore[no-untyped-call]
