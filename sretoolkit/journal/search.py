"""Runs by what is known of them, newest first. However many there are, a page of them reads few rows."""

from __future__ import annotations

import json

from sretoolkit.journal.runs import COLUMNS, Run, run_of
from sretoolkit.store import Store

# So many names are looked up each by itself; runs of more than so many are met soon in the order of time.
_MOST = 100
_BY_ACTOR = "SELECT id FROM runs WHERE actor = {name}{more} ORDER BY started DESC, id DESC LIMIT :limit"
_BY_TARGET = (
    "SELECT touched.run AS id FROM touched{join} WHERE touched.target = {name}{more} "
    "ORDER BY touched.started DESC, touched.run DESC LIMIT :limit"
)


def find_runs(
    store: Store,
    *,
    runbook: str = "",
    target: str = "",
    actor: str = "",
    state: str = "",
    ticket: str = "",
    since: float | None = None,
    before: tuple[float, str] | None = None,
    limit: int = 50,
) -> list[Run]:
    """Runs, newest first, that match every given filter (``since`` in seconds since the epoch).

    ``actor`` is part of a user's or identity's name, ``target`` of the name of something touched, whatever their case.
    ``before``: only those older than the run with this start and id, by which one goes on from a page to the next.
    """
    values: dict[str, object] = {"limit": limit}
    where = []
    stored = "running" if state == "lost" else state
    for column, given in {"runbook": runbook, "ticket": ticket, "state": stored}.items():
        if given:
            where.append(f"runs.{column} = :{column}")
            values[column] = given
    actors = [text for text in _distinct(store, "runs", "actor") if _is(actor, text)] if actor else []
    targets = [name for name in _distinct(store, "touched", "target") if _within(target, name)] if target else []
    if (actor and not actors) or (target and not targets):
        return []
    by_target = 0 < len(targets) <= _MOST
    by_actor = 0 < len(actors) <= _MOST and not by_target
    if actors and not by_actor:
        where.append(f"runs.actor IN ({', '.join(_named('actor', actors, values))})")
    if targets and not by_target:
        names = ", ".join(_named("target", targets, values))
        where.append(f"EXISTS (SELECT 1 FROM touched WHERE run = runs.id AND target IN ({names}))")
    started, id_ = ("touched.started", "touched.run") if by_target else ("runs.started", "runs.id")
    if since is not None:
        where.append(f"{started} >= :since")
        values["since"] = since
    if before is not None:
        where.append(f"({started}, {id_}) < (:started, :id)")
        values |= {"started": before[0], "id": before[1]}
    if by_target or by_actor:
        branch, given_names = (_BY_TARGET, targets) if by_target else (_BY_ACTOR, actors)
        where = [_newest(branch, _named("name", given_names, values), where)]
    sql = (
        f"SELECT {COLUMNS}, {{now}} AS now FROM runs WHERE {' AND '.join(where) or '1 = 1'} "
        "ORDER BY started DESC, id DESC LIMIT :limit"
    )
    found = [run_of(row) for row in store.read(sql, **values)]
    return [run for run in found if not state or run.state == state]


def _distinct(store: Store, table: str, column: str) -> list[str]:
    """Every value of an indexed column, by one look into the index a value."""
    rows = store.read(
        f"WITH RECURSIVE known (name) AS (SELECT min({column}) FROM {table} UNION ALL "
        f"SELECT (SELECT min({column}) FROM {table} WHERE {column} > known.name) FROM known WHERE known.name IS NOT NULL) "
        "SELECT name FROM known WHERE name IS NOT NULL"
    )
    return [row["name"] for row in rows]


def _is(part: str, actor: str) -> bool:
    known = json.loads(actor)
    return _within(part, known["user"]) or _within(part, known["identity"])


def _within(part: str, name: str) -> bool:
    return part.casefold() in name.casefold()


def _named(prefix: str, given: list[str], values: dict[str, object]) -> list[str]:
    """A parameter for each of these, added to the values of the statement."""
    names = {f":{prefix}{number}": value for number, value in enumerate(given)}
    values |= {name[1:]: value for name, value in names.items()}
    return list(names)


def _newest(branch: str, names: list[str], where: list[str]) -> str:
    """The newest of each name by itself, which an index gives in order."""
    more = "".join(f" AND {each}" for each in where)
    join = " JOIN runs ON runs.id = touched.run" if "runs." in more else ""
    parts = [
        f"SELECT id FROM ({branch.format(name=name, more=more, join=join)}) AS part{number}"
        for number, name in enumerate(names)
    ]
    return f"runs.id IN ({' UNION '.join(parts)})"
