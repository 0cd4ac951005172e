"""What would happen: which machine gets which policy, now and after a change, and whose disk would be written.

The same `Matcher` decides here and when machines check in, in the order in which they came.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sretoolkit.errors import ProvisionError
from sretoolkit.provision import orders
from sretoolkit.provision.entries import Document, Policy
from sretoolkit.provision.matching import Decision, Matcher
from sretoolkit.provision.node import Node
from sretoolkit.provision.registry import Registry, matcher_of
from sretoolkit.report import Finding, Report, Table

Documents = Mapping[str, Mapping[str, Document]]


@dataclass(frozen=True)
class Outlook:
    """What would become of one machine at its next check-in; ``writes`` says to what end its disk would be written."""

    node: Node
    decision: Decision
    policy: str
    writes: str

    @property
    def changes(self) -> bool:
        """Whether it would have another policy than now."""
        return self.policy != self.node.policy


def outlooks(nodes: Iterable[Node], matcher: Matcher) -> list[Outlook]:
    """What each machine would be told if all checked in now, one after the other, with these rules."""
    fleet = list(nodes)
    taken = Counter(
        node.policy for node in fleet if node.policy and node.state in ("matched", "installing", "installed")
    )
    by_name = {policy.name: policy for policy in matcher.policies}
    found = []
    for node in fleet:
        decision = matcher.decide(node)
        name = node.policy
        if node.state in ("registered", "matched") and not node.order and not node.held:
            name = next((n for n in decision.policies if n == node.policy or _room(by_name[n], taken)), "")
            if node.policy and node.state == "matched":
                taken[node.policy] -= 1
            if name:
                taken[name] += 1
        found.append(Outlook(node, decision, name, _writes(replace(node, policy=name), by_name.get(name))))
    return found


def simulate(
    registry: Registry, proposed: Documents | None = None, *, nodes: Sequence[Node] | None = None
) -> tuple[Report, list[Outlook]]:
    """What would change from now if ``proposed`` (all tags and policies) were in force; of these machines or all known.

    A finding of severity high for each machine whose disk would be written without an order, medium for one that gets
    another policy, low for one of which it cannot be told.
    """
    fleet = registry.nodes() if nodes is None else list(nodes)
    documents = proposed or {kind: registry.documents(kind) for kind in ("tag", "policy")}
    found = outlooks(fleet, matcher_of(documents.get("tag", {}), documents.get("policy", {})))
    rows = [
        (
            outlook.node.hostname or outlook.node.id, outlook.node.state, ", ".join(sorted(outlook.decision.tags)),
            outlook.node.policy or "none", outlook.policy or "none", "CHANGES" if outlook.changes else "",
            outlook.writes,
        )
        for outlook in sorted(found, key=lambda outlook: not outlook.changes)
    ]  # fmt: skip
    changes = sum(outlook.changes for outlook in found)
    writes = sum(outlook.writes.startswith("at once") for outlook in found)
    facts = {"machines": len(found), "would change": changes, "would be written without an order": writes}
    table = Table("", ("node", "state", "tags", "policy now", "policy then", "", "its disk"), rows)
    return Report("Simulation of the policies", [f for o in found for f in _findings(o)], [table], facts=facts), found


def explain(registry: Registry, word: str) -> Report:
    """Why a machine has the tags and the policy that it has: each rule with the value of every part."""
    node = registry.node(word)
    matcher = registry.matcher()
    decision, verdicts = matcher.decide(node), matcher.verdicts(node)
    says = {name: "yes" if name in decision.tags else "no" for name in matcher.rules} | dict.fromkeys(
        decision.unknown, "unknown"
    )
    tags = [(name, says[name], matcher.explain(node, name).brief) for name in matcher.rules]
    policies = [
        (
            policy.order, policy.name, "" if policy.enabled else "disabled",
            ", ".join(policy.tags) or "(every machine)", verdicts[policy.name],
        )
        for policy in matcher.policies
    ]  # fmt: skip
    tables = [
        Table("Policies, in their order", ("order", "policy", "", "wants the tags", "matches"), policies),
        Table("Tags", ("tag", "has it", "why"), tags),
    ]
    facts = {"state": node.state, "policy": node.policy or "none", "held": node.held or "no"}
    return Report(
        f"Why {node.hostname or node.id} is what it is",
        _undecided(Outlook(node, decision, "", "")),
        tables,
        facts=facts,
    )


def _room(policy: Policy, taken: Counter[str]) -> bool:
    return not policy.max_count or taken[policy.name] < policy.max_count


def _writes(node: Node, policy: Policy | None) -> str:
    if node.order:
        return "an order is open"
    if policy is None:
        return "nothing"
    try:
        order = orders.decided(node, policy)
    except ProvisionError as error:
        return f"not without more: {error.message}"
    disk = order.disk.get("serial") or order.disk.get("name")
    return f"at once: {disk}" if policy.automatic else f"on an order: {disk}"


def _findings(outlook: Outlook) -> list[Finding]:
    name, found = outlook.node.hostname or outlook.node.id, _undecided(outlook)
    if outlook.writes.startswith("at once"):
        summary = f"its disk would be written without an order, by the automatic policy {outlook.policy}"
        remedy = "set automatic = false to be asked"
        found.append(
            Finding(
                severity="high", subject=name, summary=summary, evidence=outlook.writes, remedy=remedy, rule="written"
            )
        )
    if outlook.changes:
        summary = f"would have the policy {outlook.policy or 'none'} instead of {outlook.node.policy or 'none'}"
        found.append(Finding(severity="medium", subject=name, summary=summary, proof="certain", rule="other-policy"))
    return found


def _undecided(outlook: Outlook) -> list[Finding]:
    if not outlook.decision.undecided:
        return []
    reasons = "; ".join(f"{tag}: {why}" for tag, why in sorted(outlook.decision.unknown.items()))
    summary = f"it cannot be told whether {outlook.decision.undecided} is its policy, so none behind it is"
    remedy = 'give the rule a default, as in ["fact", "site", ""], or let the machine say that fact'
    subject = outlook.node.hostname or outlook.node.id
    return [
        Finding(severity="low", subject=subject, summary=summary, evidence=reasons, remedy=remedy, rule="undecided")
    ]


def recorded(facts: Mapping[str, Any], *, name: str = "recorded", metadata: Mapping[str, Any] | None = None) -> Node:
    """A machine from recorded facts (what it said at a check-in), to be simulated with."""
    from sretoolkit.provision.facts import cleaned
    from sretoolkit.provision.node import Hardware

    macs = [nic["mac"] for nic in facts.get("nics", []) if isinstance(nic, Mapping) and nic.get("mac")]
    hardware = Hardware.of(
        {"uuid": facts.get("uuid"), "serial": facts.get("serial"), "asset": facts.get("asset"), "mac": macs}
    )
    return Node(id=name, hardware=hardware, facts=cleaned(facts), metadata=metadata or {})
