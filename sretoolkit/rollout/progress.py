"""Where a rollout stands: its tracks and shares as they are, the run that is at it, what its gate last said."""

from __future__ import annotations

from typing import Any

from sretoolkit.actor import Actor
from sretoolkit.config import Config
from sretoolkit.errors import HostError, PlanError
from sretoolkit.journal import Journal, Run, load_run
from sretoolkit.lease import find_leases
from sretoolkit.plan import Context
from sretoolkit.plan.history import Item, PlanHistory, fold
from sretoolkit.report import Finding, Report, Table
from sretoolkit.rollout.rollout import Rollout
from sretoolkit.rollout.workload import BASELINE, CANDIDATE, STABLE
from sretoolkit.store import Store, open_store


def at_work(store: Store, rollout: Rollout) -> Run | None:
    """The run that has the rollout's targets leased now, None when nobody has."""
    targets = set(rollout.targets)
    held = [lease["run"] for lease in find_leases(store) if lease["target"] in targets]
    return load_run(store, held[0]) if held else None


def listener(store: Store, rollout: Rollout) -> Run:
    """The run that is at this rollout, and can be told something.

    Raises `PlanError` when none is, or when its process is gone, with what to do then.
    """
    run = at_work(store, rollout)
    if run is None:
        hint = f"`sretoolkit rollout status {rollout.name}` tells how it stands; rollback takes an older version back"
        raise PlanError(f"nobody is rolling {rollout.name} out now", hint=hint)
    if run.state != "running":
        hint = f"`sretoolkit recover {run.id}` takes it back"
        raise PlanError(f"run {run.id} of {rollout.name} does not listen: it is {run.state}", hint=hint)
    return run


def status(rollout: Rollout, *, config: Config | None = None) -> Report:
    """Tracks, shares, the run, and its steps; what cannot be read is a finding, never left out."""
    config = config or Config.load()
    findings: list[Finding] = []
    tables = [_tracks(rollout, config, findings)]
    with open_store(config) as store:
        run = at_work(store, rollout)
        facts = {"run": run.id, "state": run.state} if run else {"run": "nobody is at it"}
        if run is not None:
            plans = fold(Journal(store, run.id, actor=Actor.current(config)).entries())
            mine = [plan for plan in plans if {item.target for item in plan.items} & set(rollout.targets)]
            if mine:
                tables.append(_steps(mine[-1]))
                findings += _findings(run, mine[-1], rollout)
    return Report(f"Rollout of {rollout.name}", findings, tables, facts=facts)


def _tracks(rollout: Rollout, config: Config, findings: list[Finding]) -> Table:
    rows: list[tuple[str, str, str, Any]] = []
    ctx = Context(config=config)
    ctx.start(30)
    try:
        weight = rollout.router.weight(ctx) if rollout.router else None
        for track in (STABLE, CANDIDATE, BASELINE):
            state = rollout.workload.track(ctx, track)
            if state is not None:
                share = {STABLE: None if weight is None else 100 - weight, CANDIDATE: weight}.get(track)
                said = ", ".join(f"{key} {value}" for key, value in state.items())
                rows.append((track, rollout.workload.label(track), said, "" if share is None else f"{share} %"))
                trouble = rollout.workload.trouble(ctx, track)
                if trouble:
                    findings.append(Finding(severity="high", subject=rollout.workload.label(track), summary=trouble))
    except HostError as error:
        findings.append(Finding(severity="high", subject=rollout.name, summary=error.message, remedy=error.hint))
    finally:
        ctx.close()
    return Table("now", ("track", "what", "state", "requests"), rows)


def _steps(plan: PlanHistory) -> Table:
    return Table(plan.title, ("#", "what", "status", "last said"), [
        (item.index + 1, item.text, item.label, _last(item)) for item in plan.items
    ])  # fmt: skip


def _last(item: Item) -> str:
    """What a gate last answered, or why a step failed."""
    return item.error or (str(item.evidence[-1].get("reason", "")) if item.evidence else "")


def _findings(run: Run, plan: PlanHistory, rollout: Rollout) -> list[Finding]:
    if run.state == "running":
        return []
    remedy = f"sretoolkit recover {run.id}"
    what = f"run {run.id} is {run.state}: {plan.error or 'its process is gone'}"
    return [Finding(severity="critical", subject=rollout.name, summary=what, proof="certain", remedy=remedy)]
