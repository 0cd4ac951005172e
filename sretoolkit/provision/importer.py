"""Coming from another provisioning system: what it knows becomes documents and machines, and what does not fit is said.

Each system is a module in ``importers/``. Nothing is dropped in silence; no password is taken over.
"""

from __future__ import annotations

import json
import secrets
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sretoolkit.errors import ProvisionError
from sretoolkit.plan import Plan, Step
from sretoolkit.plugins import Plugins
from sretoolkit.provision.entries import Document, read
from sretoolkit.provision.node import MATCH_ON, Hardware, Node, the_one
from sretoolkit.provision.registry import Registry
from sretoolkit.provision.steps import PutNodes, SetDocument
from sretoolkit.report import Finding, Report, Table

_TOGETHER = 100  # machines a step
_ORDER = ("tag", "repo", "broker", "hook", "policy")


@dataclass
class Imported:
    """What was found: documents by kind and name, machines as rows, and findings about what did not translate."""

    documents: dict[str, dict[str, Document]] = field(default_factory=lambda: {kind: {} for kind in _ORDER})
    nodes: list[dict[str, Any]] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def add(self, kind: str, given: Mapping[str, Any], where: str) -> None:
        """Take a document; one that makes no sense here is a finding."""
        try:
            document = read(kind, given)
        except ProvisionError as error:
            self.lost(where, f"cannot be a {kind} here: {error.message}", error.hint, severity="high")
            return
        self.documents[kind][document.name] = document

    def machine(
        self,
        where: str,
        hardware: Mapping[str, Any],
        *,
        metadata: Mapping[str, Any],
        installed: str,
        hostname: str = "",
    ) -> None:
        """Take a machine; one without identity, or with junk in it, is a finding."""
        try:
            found = Hardware.of(hardware)
        except ProvisionError as error:
            self.lost(where, f"its identity cannot be used: {error.message}", severity="high")
            return
        if not found.keys():
            self.lost(
                where,
                "it has nothing by which it could be recognised",
                "add its MAC address or serial number",
                severity="high",
            )
            return
        self.nodes.append(
            {
                "hardware": found,
                "metadata": dict(metadata),
                "installed": installed,
                "hostname": hostname,
                "where": where,
            }
        )

    def lost(self, where: str, summary: str, remedy: str = "", *, severity: Any = "medium") -> None:
        """Say what did not translate."""
        self.findings.append(
            Finding(
                severity=severity, subject=where, summary=summary, proof="certain", remedy=remedy, rule="not-translated"
            )
        )

    def report(self) -> Report:
        """What was found, and what did not translate."""
        rows = [
            (kind, name, json.dumps(document.to_dict()))
            for kind in _ORDER
            for name, document in self.documents[kind].items()
        ]
        machines = [
            (n["where"], " ".join(n["hardware"].keys()), n["installed"] or "not installed", n["hostname"])
            for n in self.nodes
        ]
        tables = [
            Table("Documents", ("kind", "name", ""), rows),
            Table("Machines", ("machine", "identity", "", "host name"), machines),
        ]
        return Report("What was read", self.findings, tables, facts={"documents": len(rows), "machines": len(machines)})

    def plan(self, registry: Registry) -> Plan:
        """The plan that writes all of it down; what is there already and the same is left out."""
        steps: list[Step] = []
        for kind in _ORDER:
            there = registry.documents(kind)
            for name, document in self.documents[kind].items():
                before = there[name].to_dict() if name in there else None
                if before != document.to_dict():
                    steps.append(SetDocument(kind=kind, name=name, before=before, after=document.to_dict()))
        steps += self._put_nodes(registry)
        return Plan("write down what was imported", steps)

    def _put_nodes(self, registry: Registry) -> Iterator[Step]:
        """Those that are not known yet, by the hundred."""
        known: dict[str, list[Node]] = {}
        for node in registry.nodes():
            for key in node.hardware.keys(MATCH_ON):
                known.setdefault(key, []).append(node)
        new = []
        for machine in self.nodes:
            same = {node.id: node for key in machine["hardware"].keys(MATCH_ON) for node in known.get(key, ())}
            if the_one(machine["hardware"], list(same.values())) is None:
                new.append(machine)
        for first in range(0, len(new), _TOGETHER):
            some = new[first : first + _TOGETHER]
            after = {f"n{secrets.token_hex(5)}": _row(machine) for machine in some}
            what = ", ".join(str(machine["where"]) for machine in some)
            yield PutNodes(before=dict.fromkeys(after), after=after, what=what)


class Importer(ABC):
    """One system that can be imported from."""

    @abstractmethod
    def read(self, source: str) -> Imported:
        """All that it knows, from a folder or an address; raises `ProvisionError` when there is nothing to read."""


IMPORTERS: Plugins[Importer] = Plugins("sretoolkit.provision.importers", Importer)  # type: ignore[type-abstract]


def json_files(folder: Path) -> list[tuple[Path, Any]]:
    """The JSON files of a folder, by name; raises `ProvisionError` for one that cannot be read."""
    found = []
    for path in sorted(folder.glob("*.json")):
        try:
            found.append((path, json.loads(path.read_text(encoding="utf-8"))))
        except (OSError, ValueError) as error:
            raise ProvisionError(f"{path} cannot be read: {error}", hint="export it again") from error
    return found


def _row(machine: Mapping[str, Any]) -> dict[str, Any]:
    empty = dict.fromkeys(("policy", "host_key", "held", "order_id", "address"), "")
    return {
        **empty, "orders": 0, "hardware": json.dumps(machine["hardware"].to_dict()), "metadata": json.dumps(machine["metadata"]),
        "state": "installed" if machine["installed"] else "registered", "installed": machine["installed"],
        "hostname": machine["hostname"],
    }  # fmt: skip
