"""What there is to see: all machines by state, one of them with its log, and what the policies would do."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sretoolkit.config import Config
from sretoolkit.errors import ProvisionError
from sretoolkit.journal.runs import moment
from sretoolkit.provision import simulate
from sretoolkit.provision.facts import size_of
from sretoolkit.provision.folder import check_cases, read_folder
from sretoolkit.provision.node import STATES, Node, shown
from sretoolkit.provision.orders import BAD
from sretoolkit.provision.registry import Registry
from sretoolkit.provision.rule import answer, compiled
from sretoolkit.report import Finding, Report, Table
from sretoolkit.store import open_store


def board(config: Config | None = None) -> Report:
    """All machines and the newest orders; who is held, and what was refused or failed, are findings."""
    with open_store(config) as store:
        nodes = Registry(store).nodes()
        rows = store.read(
            "SELECT o.id, o.node, o.kind, o.policy, o.state, o.why, {now} - o.changed AS since FROM provision_orders o "
            "ORDER BY o.number DESC LIMIT 50"
        )
    counts = Counter(node.state for node in nodes)
    machines = [
        (node.hostname or node.id, node.state, node.policy, node.order, node.hardware.serial, node.address, node.held)
        for node in sorted(nodes, key=lambda node: (not node.held, STATES.index(node.state)))
    ]
    orders = [(row["id"], row["node"], row["kind"], row["state"], _ago(row["since"]), row["why"]) for row in rows]
    findings = [_held(node) for node in nodes if node.held]
    findings += [
        Finding(
            severity="medium", subject=row["node"], rule=f"order-{row['state']}",
            summary=f"its order {row['id']} was {row['state']}: {row['why'] or 'no reason given'}",
            remedy=f"sretoolkit provision node {row['node']} shows what happened",
        )
        for row in rows
        if row["state"] in BAD and row["since"] < 86400
    ]  # fmt: skip
    tables = [
        Table("Machines", ("node", "state", "policy", "order", "serial", "address", "held"), machines),
        Table("Orders", ("order", "node", "kind", "stage", "since", "why"), orders),
    ]
    facts: dict[str, int] = {state: counts[state] for state in STATES if counts[state]}
    return Report("Machines", findings, tables, facts=facts or {"machines": 0})


def describe(node: str, config: Config | None = None) -> Report:
    """One machine (by id, host name, serial number, UUID or MAC address): what it is, has, and what happened to it."""
    with open_store(config) as store:
        registry = Registry(store)
        found = registry.node(node)
        log = registry.log(found.id, limit=60)
    disks = [
        (
            disk.get("name"),
            disk.get("serial") or "none",
            size_of(disk),
            "empty" if disk.get("empty") else _content(disk),
        )
        for disk in found.disks
    ]
    facts = {
        "state": found.state, "policy": found.policy or "none", "order": found.order or "none",
        "identity": shown(found.hardware), "address": found.address or "unknown",
    }  # fmt: skip
    tables = [
        Table("Disks", ("name", "serial", "size", "content"), disks),
        Table("What happened", ("when (UTC)", "what", ""), log_rows(log)),
    ]
    return Report(found.hostname or found.id, [_held(found)] if found.held else [], tables, facts=facts)


def explain(node: str, config: Config | None = None) -> Report:
    """Why a machine has the tags and the policy that it has: each rule, and the value of every part of it."""
    with open_store(config) as store:
        return simulate.explain(Registry(store), node)


def foresee(folder: str = "", *, nodes: Sequence[str] = (), config: Config | None = None) -> Report:
    """What the policies (those of a folder, when one is named) would do to all machines, or to these. Nothing is changed."""
    documents = read_folder(Path(folder)) if folder else None
    with open_store(config) as store:
        registry = Registry(store)
        chosen = [registry.node(word) for word in nodes] or None
        report, _ = simulate.simulate(registry, documents, nodes=chosen)
    failed = check_cases(Path(folder)).findings if folder else []
    return Report(report.title, [*failed, *report.findings], report.tables, facts=report.facts)


def try_rule(text: str, config: Config | None = None) -> Report:
    """Which of the machines that are known a rule (JSON) is true of, and why it is not or unknown of the others."""
    try:
        rule = compiled(json.loads(text))
    except ValueError as error:
        raise ProvisionError(
            f"the rule is no JSON: {error}", hint='such as [">=", ["num", ["fact", "cpus"]], 8]'
        ) from error
    with open_store(config) as store:
        registry = Registry(store)
        tags, nodes = registry.matcher().rules, registry.nodes()
    said = [(node, rule(node.as_facts(tags))) for node in nodes]
    rows = [
        (node.hostname or node.id, answer(value), "" if value is True else rule.explain(node.as_facts(tags)).brief)
        for node, value in sorted(said, key=lambda pair: pair[1] is not True)
    ]
    facts = {"true of": sum(value is True for _, value in said), "of": len(said)}
    return Report("The rule", tables=[Table("", ("node", "", "why not"), rows)], facts=facts)


def log_rows(log: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, str]]:
    """The entries of a machine's log as rows: when, what, details."""
    rows: list[tuple[str, str, str]] = []
    for entry in log:
        words = ", ".join(
            f"{name} {value}" for name, value in entry["entry"].items() if value not in ("", None, {}, [])
        )
        rows.append((moment(entry["at"])[:23].replace("T", " "), entry["event"], words))
    return rows


def _held(node: Node) -> Finding:
    remedy = f"see which machine it is, then: sretoolkit provision release-node --node {node.id} --reason ... --apply"
    return Finding(
        severity="high", subject=node.hostname or node.id, summary=f"held: {node.held}", remedy=remedy, rule="held"
    )


def _content(disk: Mapping[str, Any]) -> str:
    return f"NOT EMPTY: {disk.get('content') or 'unknown'}"


def _ago(seconds: float) -> str:
    return (
        f"{seconds:.0f} s"
        if seconds < 120
        else f"{seconds / 60:.0f} min"
        if seconds < 7200
        else f"{seconds / 3600:.0f} h"
    )
