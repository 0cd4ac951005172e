"""Nobody takes over: the machine is ready as it is."""

from __future__ import annotations

from dataclasses import dataclass

from sretoolkit.plan import Context
from sretoolkit.provision.broker import Broker
from sretoolkit.provision.node import Node


@dataclass(frozen=True, kw_only=True)
class Noop(Broker):
    """Does nothing."""

    def hand_over(self, ctx: Context, node: Node, host: str) -> str:
        """Nothing to do."""
        return "nothing to do"
