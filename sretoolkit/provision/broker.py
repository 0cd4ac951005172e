"""Brokers: who takes a machine over once it is installed. Each way is a module in ``brokers/``."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar

from sretoolkit.errors import ProvisionError
from sretoolkit.plan import Context, Step
from sretoolkit.plan.part import Part
from sretoolkit.plugins import Plugins
from sretoolkit.provision.inventory import SCHEME
from sretoolkit.provision.node import Node
from sretoolkit.provision.registry import note
from sretoolkit.provision.steps import registry_of


@dataclass(frozen=True, kw_only=True)
class Broker(Part):
    """One way to hand over, with plain options."""

    def hand_over(self, ctx: Context, node: Node, host: str) -> str:
        """Hand the machine (reached as ``host``) over within ``ctx.remaining()``; returns what there is to say of it.

        Raises `SREToolkitError` when it was not taken.
        """
        raise NotImplementedError


BROKERS: Plugins[Broker] = Plugins("sretoolkit.provision.brokers", Broker)
Broker.plugins = BROKERS


@dataclass(frozen=True, kw_only=True)
class HandOver(Step):
    """Hand an installed machine over to its broker. What the broker did is its own to take back."""

    irreversible: ClassVar[bool] = True
    deadline: ClassVar[timedelta] = timedelta(minutes=60)

    broker: str
    node: str
    before: dict[str, Any]
    after: dict[str, Any]

    @classmethod
    def to(cls, broker: str, node: str) -> HandOver:
        """The step that hands a machine to a broker."""
        return cls(broker=broker, node=node, before={"handed_over": ""}, after={"handed_over": broker})

    @property
    def target(self) -> str:
        """``provision:broker/NAME/NODE``."""
        return f"provision:broker/{self.broker}/{self.node}"

    def describe(self) -> str:
        """Which machine, to whom."""
        return f"hand {self.node} over to the broker {self.broker}"

    def observe(self, ctx: Context) -> dict[str, Any]:
        """Whom it was handed to since it was last installed."""
        registry = registry_of(ctx)
        log = registry.log(registry.node(self.node).id, limit=1000)
        handed = ""
        for entry in log:
            if entry["event"] == "handed-over":
                handed = entry["entry"]["broker"]
            elif entry["event"] == "ordered":
                handed = ""
        return {"handed_over": handed}

    def do(self, ctx: Context) -> None:
        """Let the broker do what it does, and write it down."""
        registry = registry_of(ctx)
        node = registry.node(self.node)
        document = registry.document("broker", self.broker).to_dict()
        said = Broker.of({"kind": document["uses"], **document.get("options", {})}).hand_over(
            ctx, node, SCHEME + self.node
        )
        with registry.store.transaction() as tx:
            note(tx, node.id, "handed-over", broker=self.broker, said=said[:1000])

    def undo(self, ctx: Context) -> None:
        """What the broker did cannot be undone from here."""
        raise ProvisionError(f"{self.node} was handed over to {self.broker}", hint="take it back there")
