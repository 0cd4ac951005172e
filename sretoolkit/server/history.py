"""Runs as pages and the API show them: lists page by page, one run in full, and who looked at it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sretoolkit.errors import ConfigError, RunbookError
from sretoolkit.journal import Entry, Journal, Run, find_runs, verify_run
from sretoolkit.plan.history import fold
from sretoolkit.runbook.access import Person
from sretoolkit.runbook.cells import Cell, cells_of
from sretoolkit.runbook.comparison import files_of
from sretoolkit.runbook.progress import is_paused
from sretoolkit.runbook.queue import Asked
from sretoolkit.runbook.record import aftermath, plan_rows
from sretoolkit.server.site import Site

PAGE = 50
_MOST_SCANNED = 2000
FILTERS = ("runbook", "state", "actor", "ticket", "target")
_GOING_ON = ("running", "lost")  # told apart by their processes, not by the store: all of them are looked at
_MOST_GOING_ON = 1000
_MOST_TEXT = 20_000


@dataclass(frozen=True)
class RunPage:
    """Some runs, newest first, and the key of what comes after them; "" at the end."""

    runs: list[Run]
    after: str


def list_runs(site: Site, person: Person, filters: Mapping[str, str], *, after: str = "", limit: int = PAGE) -> RunPage:
    """The runs that somebody may see. However far back they are, a page costs the same; a long search goes on by a key.

    Raises `ConfigError` for a key that is none.
    """
    given = {name: filters.get(name, "") for name in FILTERS}
    few = given["state"] in _GOING_ON
    size = _MOST_GOING_ON if few else limit + 1
    found: list[Run] = []
    before, scanned = _key(after), 0
    while scanned < _MOST_SCANNED:
        rows = find_runs(site.store, before=before, limit=size, **given)  # type: ignore[arg-type]
        for run in rows:
            if site.access.allows(person, run.runbook, "viewer"):
                if len(found) == limit:
                    return RunPage(found, _text(found[-1]))
                found.append(run)
        if len(rows) < size or few:
            return RunPage(found, "")
        before, scanned = (rows[-1].started, rows[-1].id), scanned + len(rows)
    return RunPage(found, f"{before[0]!r}_{before[1]}" if before else "")


def _key(text: str) -> tuple[float, str] | None:
    if not text:
        return None
    started, _, run = text.partition("_")
    try:
        return float(started), run
    except ValueError:
        raise ConfigError(f"{text[:60]!r} is no place in the list", hint="begin at its first page") from None


def _text(run: Run) -> str:
    return f"{run.started!r}_{run.id}"


def run_view(site: Site, run: Run) -> dict[str, Any]:
    """One run in full: what happened, its plans step by step, its cells, its record and the journal's proof."""
    entries = Journal(site.store, run.id, actor=None).entries()  # type: ignore[arg-type]
    histories = fold(entries)
    plans = [plan_rows(plan) for plan in histories]
    proof = verify_run(site.store, site.keys, run.id)
    end = next((entry for entry in reversed(entries) if entry.kind == "run-closed"), None)
    return {
        "run": run,
        "who": run.who,
        "plans": plans,
        "awaits": next((plan for plan in plans if plan["hash"] == run.plan_hash), None),
        "aftermath": aftermath(plans) if run.error else "",
        "undone": list(end.payload.get("undone", [])) if end else [],
        "cells": _cells(site, run, entries),
        "controls": [entry.payload | {"time": entry.time} for entry in entries if entry.kind == "control"],
        "paused": is_paused(entries),
        "skippable": any(plan.content.get("allow_skip") for plan in histories),
        "gate": any(item.is_gate and item.status == "begun" for plan in histories for item in plan.items),
        "entries": entries,
        "proof": proof,
        "break_glass": [entry.payload["reason"] for entry in entries if entry.kind == "break-glass"],
    }


def record_file(site: Site, run: Run, suffix: str = ".html") -> Path:
    """The file of a run's record, only as it was journalled; raises `RunbookError` that says what is wrong with it.

    The path comes from the store. What lies outside the folder of records, or is not what the run wrote, is not shown.
    """
    folder = Path(site.config["records.folder"]).expanduser().resolve()
    files = [file for file in files_of(site.store, run.id, site.config) if file["path"].endswith(suffix)]
    if not files:
        raise RunbookError(f"run {run.id} has no record", hint="a run of a runbook has one when it has ended")
    path = Path(files[0]["path"])
    if path.is_symlink() or path.resolve().parent != folder:
        raise RunbookError(
            f"the record of run {run.id} is not in this server's folder of records",
            hint=f"it is {path}, on {run.process.host}",
        )
    if files[0]["state"] != "unchanged":
        raise RunbookError(f"the record of run {run.id} is {files[0]['state']}", hint=f"`sretoolkit report {run.id}`")
    return path


def _cells(site: Site, run: Run, entries: list[Entry]) -> list[Cell]:
    """Its cells, with as much of what they said as a page takes."""
    cut = "\n… (the record has all of it)"
    return [
        cell._replace(text=cell.text[:_MOST_TEXT] + cut) if len(cell.text) > _MOST_TEXT else cell
        for cell in cells_of(run, entries, site.config)
    ]


def look(site: Site, run: str, person: Person, *, address: str, what: str) -> None:
    """Write down that somebody saw a record; a page that keeps itself up to date is one view a minute."""
    site.store.write(
        "INSERT INTO views (run, who, via, address, what, at) SELECT :run, :who, :via, :address, :what, {now} "
        "WHERE NOT EXISTS (SELECT 1 FROM views WHERE run = :run AND who = :who AND via = :via AND what = :what "
        "AND address = :address AND at > {now} - 60)",
        run=run, who=person.actor.principal, via=person.actor.via, address=address, what=what,
    )  # fmt: skip


def views_of(site: Site, run: str, *, limit: int = 200) -> list[dict[str, Any]]:
    """Who saw a run, newest first."""
    sql = "SELECT who, via, address, what, at FROM views WHERE run = :run ORDER BY id DESC LIMIT :limit"
    return [dict(row) for row in site.store.read(sql, run=run, limit=limit)]


def waiting(site: Site, person: Person) -> list[Asked]:
    """Requests that wait to be begun, or could not be, of runbooks that somebody may see; the newest first."""
    asked = [*site.queue.find(state="waiting"), *site.queue.find(state="taken")]
    return [one for one in asked if site.access.allows(person, Path(one.request.runbook).stem, "viewer")]
