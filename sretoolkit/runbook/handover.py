"""A runbook as a broker: an installed machine is handed over by a run of its own, on its own record."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sretoolkit.errors import RunFailed
from sretoolkit.plan import Context
from sretoolkit.provision.broker import Broker
from sretoolkit.provision.node import Node


@dataclass(frozen=True, kw_only=True)
class RunbookBroker(Broker):
    """Runs ``runbook`` with ``parameters``, and the machine as the parameter ``host`` where it has one."""

    runbook: str
    parameters: dict[str, Any] = field(default_factory=dict)

    def hand_over(self, ctx: Context, node: Node, host: str) -> str:
        """The run's id; raises `RunFailed`, and what is wrong with the parameters."""
        from sretoolkit.runbook.notebook import Runbook
        from sretoolkit.runbook.run import Order, run_runbook

        found = Runbook.find(self.runbook, ctx.config)
        names = {item.name for item in found.parameters.items}
        given = {**self.parameters, **({"host": host} if "host" in names else {})}
        order = Order(found, found.parameters.check(given), mode="apply", origin="broker")
        result = run_runbook(order, ctx.config)
        if result.exit_code:
            raise RunFailed(
                f"{self.runbook} ended as {result.state} for {node.id}", run=result.run, state=result.state,
                hint=f"sretoolkit show {result.run}",
            )  # fmt: skip
        return f"run {result.run}"
