"""A run that somebody asks for, as data: any process, on any machine, can begin it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Self

from sretoolkit.actor import Actor
from sretoolkit.config import Config
from sretoolkit.errors import RunbookError
from sretoolkit.journal.runs import new_run_id
from sretoolkit.runbook.notebook import Runbook
from sretoolkit.runbook.run import Order


@dataclass(frozen=True, kw_only=True)
class Request:
    """What `Order` says, by names and JSON values; ``id`` is the run's, given before the run is begun.

    ``runbook`` is a name in the configured folders or an absolute path. ``runbook_hash`` is that of what was looked at when
    the run was asked for; "" runs whatever stands there then.
    """

    id: str
    runbook: str
    parameters: dict[str, Any]
    actor: dict[str, Any]
    runbook_hash: str = ""
    mode: Literal["plan", "apply"] = "plan"
    origin: str = "library"
    ticket: str = ""
    break_glass: str = ""
    irreversible: bool = False
    wait: float = 0.0
    resume: str = ""
    planned: str = ""

    @classmethod
    def of(cls, order: Order, config: Config) -> Self:
        """The request for an order, whose parameters are checked already."""
        runbook = order.runbook
        return cls(
            id=order.resume or order.run or new_run_id(), runbook=named(runbook, config), runbook_hash=runbook.hash,
            parameters=runbook.parameters.encode(order.parameters),
            actor=(order.actor or Actor.current(config)).to_dict(), mode=order.mode, origin=order.origin,
            ticket=order.ticket, break_glass=order.break_glass, irreversible=order.irreversible, wait=order.wait,
            resume=order.resume, planned=order.planned,
        )  # fmt: skip

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """From `to_dict`'s data."""
        return cls(**data)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)

    def order(self, config: Config) -> Order:
        """The order, checked anew here; raises `RunbookError` when the runbook is another one than was asked for."""
        found = Runbook.find(self.runbook, config)
        if self.runbook_hash and found.hash != self.runbook_hash:
            raise RunbookError(
                f"{found.path} was changed since run {self.id} was asked for", hint="look at it, and ask again"
            )
        return Order(
            found, found.parameters.check(self.parameters), mode=self.mode, origin=self.origin, ticket=self.ticket,
            break_glass=self.break_glass, irreversible=self.irreversible, wait=self.wait, resume=self.resume,
            run=self.id, planned=self.planned, actor=Actor(**self.actor),
        )  # fmt: skip


def named(runbook: Runbook, config: Config) -> str:
    """Its name where that finds the same file, else its path."""
    path = runbook.path.absolute()
    for folder in config["runbooks.folders"]:
        if (found := Path(folder).expanduser() / path.name).is_file():
            return runbook.name if found.absolute() == path else str(path)
    return str(path)
