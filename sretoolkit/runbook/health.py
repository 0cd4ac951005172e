"""``doctor``: is this installation fit to run something at three in the morning?"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sretoolkit.config import Config, mask
from sretoolkit.errors import SREToolkitError
from sretoolkit.journal import Keys, find_runs
from sretoolkit.journal.runs import moment
from sretoolkit.lease import find_leases
from sretoolkit.plan.control import kill_switch
from sretoolkit.report import Finding, Report
from sretoolkit.runbook.notebook import Runbook, runbook_paths
from sretoolkit.runbook.process import KernelProcess
from sretoolkit.runbook.schedules import Schedules
from sretoolkit.store import Store, open_store

ROOM = 256 * 1024 * 1024


def examine(config: Config) -> Report:
    """Look at every part once; a part that raises becomes a finding with its own words."""
    findings: list[Finding] = []
    facts = {"python": sys.version.split()[0], "store": mask(config["store.url"])}
    for subject, look in _LOOKS.items():
        try:
            findings += look(config)
        except (SREToolkitError, OSError) as error:
            hint = error.hint if isinstance(error, SREToolkitError) else ""
            text = error.message if isinstance(error, SREToolkitError) else str(error)
            findings.append(Finding(severity="high", subject=subject, summary=text, remedy=hint))
    return Report("sretoolkit doctor", findings=findings, facts=facts)


def _store(config: Config) -> list[Finding]:
    with open_store(config) as store:
        began = time.perf_counter()
        store.now()
        spent = f"answers in {1000 * (time.perf_counter() - began):.1f} ms"
        found = [_good("store", spent)]
        if not store.shared:
            found.append(
                Finding(
                    severity="info", subject="store", summary="SQLite: only this machine can recover and undo its runs",
                    remedy="for a team set store.url to postgresql+psycopg://...",
                )
            )  # fmt: skip
        return found + _runs(store) + _leases(store) + _schedules(store)


def _runs(store: Store) -> list[Finding]:
    return [
        Finding(
            severity="high",
            subject=f"run {run.id}",
            summary=f"lost: {run.runbook} by {run.who}",
            remedy=f"sretoolkit recover {run.id}",
        )
        for run in find_runs(store, state="lost", limit=100)
    ]


def _schedules(store: Store) -> list[Finding]:
    found = []
    for each in Schedules(store).find():
        name = each.schedule.name
        if each.overdue:
            text, remedy = (
                f"overdue since {moment(each.due)}: nobody keeps the times",
                "sretoolkit serve, or schedule run",
            )
            found.append(Finding(severity="high", subject=f"schedule {name}", summary=text, remedy=remedy))
        elif each.state == "paused":
            text, remedy = f"paused: {each.why}", f"sretoolkit schedule resume {name}"
            found.append(Finding(severity="medium", subject=f"schedule {name}", summary=text, remedy=remedy))
    return found


def _leases(store: Store) -> list[Finding]:
    found = [
        Finding(
            severity="medium", subject=row["target"], summary=f"{row['state']} by run {row['run']} since {row['since']}",
            remedy=f"sretoolkit show {row['run']}",
        )
        for row in find_leases(store)
        if row["state"] != "active"
    ]  # fmt: skip
    if stop := kill_switch(store):
        text = f"on, by {stop['actor']}: {stop['reason']}"
        found.append(
            Finding(severity="high", subject="kill switch", summary=text, remedy="sretoolkit control --all resume")
        )
    return found


def _keys(config: Config) -> list[Finding]:
    keys = Keys.of(config)
    return [_good("signing key", f"{keys.key_id()} in {keys.folder}; trusted: {len(keys.trusted())}")]


def _records(config: Config) -> list[Finding]:
    folder = Path(config["records.folder"]).expanduser()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    free = shutil.disk_usage(folder).free
    if not os.access(folder, os.W_OK):
        return [
            Finding(
                severity="high", subject="records", summary=f"{folder} cannot be written", remedy="set records.folder"
            )
        ]
    if free < ROOM:
        return [
            Finding(
                severity="high",
                subject="records",
                summary=f"{free >> 20} MiB left on {folder}",
                remedy="free space there",
            )
        ]
    return [_good("records", f"{folder}, {free >> 30} GiB free")]


def _runbooks(config: Config) -> list[Finding]:
    paths = runbook_paths(config)
    if not paths:
        return [Finding(severity="medium", subject="runbooks", summary="none found", remedy="set runbooks.folders")]
    for path in paths.values():
        _ = Runbook.read(path).parameters
    return [_good("runbooks", f"{len(paths)}: {', '.join(paths)}")]


def _kernel(config: Config) -> list[Finding]:
    grant: dict[str, Any] = {
        "config": [],
        "store_password": None,
        "run": "doctor",
        "actor": {"user": "doctor"},
        "secrets": {},
        "mode": "plan",
    }
    values = [[value.key, value.value, value.origin] for value in config]
    began = time.perf_counter()
    kernel = KernelProcess({**grant, "config": values, "session": {}})
    try:

        async def come_up() -> None:
            client = kernel.client()
            try:
                await kernel.ready(client, timeout=30.0)
            finally:
                client.stop_channels()

        asyncio.run(come_up())
    finally:
        kernel.kill()
    return [_good("kernel", f"comes up in {time.perf_counter() - began:.1f} s")]


def _good(subject: str, text: str) -> Finding:
    return Finding(severity="info", subject=subject, summary=text)


_LOOKS: dict[str, Callable[[Config], list[Finding]]] = {
    "store": _store,
    "signing key": _keys,
    "records": _records,
    "runbooks": _runbooks,
    "kernel": _kernel,
}
