"""Switching machines as steps of a plan: what is read before is what is restored, and each is read back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar

from sretoolkit.clock import poll
from sretoolkit.errors import ProvisionError
from sretoolkit.plan import Context, Gate, ManualGate, Step
from sretoolkit.provision.power import Device, Power

_LOOK = 0.5  # seconds


@dataclass(frozen=True, kw_only=True)
class _AtController(Step):
    """What is told to a machine's controller."""

    before: str
    after: str
    power: dict[str, Any]
    node: str

    @property
    def part(self) -> Power:
        """The machine's power again."""
        return Power.of(self.power)

    @property
    def target(self) -> str:
        """The controller's."""
        return self.part.target


@dataclass(frozen=True, kw_only=True)
class SetPower(_AtController):
    """Switch a machine on or off, and wait until its controller says that it is."""

    deadline: ClassVar[timedelta] = timedelta(minutes=3)  # controllers take their time

    def describe(self) -> str:
        """The change in one line."""
        return (
            f"switch {self.node} {self.after}, without asking its system"
            if self.after == "off"
            else f"switch {self.node} on"
        )

    def observe(self, ctx: Context) -> str:
        """What the controller says."""
        return self.part.state(timeout=ctx.remaining())

    def do(self, ctx: Context) -> None:
        """Switch, and wait."""
        self._switch(ctx, self.after)

    def undo(self, ctx: Context) -> None:
        """Switch back, and wait."""
        self._switch(ctx, self.before)

    def take_effect(self, ctx: Context) -> None:
        """Wait until it is so."""
        self._wait(ctx, self.after)

    def by_hand(self) -> str:
        """The command that switches it back."""
        return self.part.by_hand(self.before)

    def _switch(self, ctx: Context, wanted: str) -> None:
        part = self.part
        (part.on if wanted == "on" else part.off)(timeout=ctx.remaining())
        self._wait(ctx, wanted)

    def _wait(self, ctx: Context, wanted: str) -> None:
        part = self.part
        if not poll(lambda: part.state(timeout=ctx.remaining()) == wanted, timeout=ctx.remaining(), interval=_LOOK):
            hint = "look at the machine's controller; is something wrong with its power supply?"
            raise ProvisionError(f"{self.node} was switched {wanted} and is not", subject=self.node, hint=hint)


@dataclass(frozen=True, kw_only=True)
class BootNext(_AtController):
    """Say where a machine boots from the next time; "" is its usual order."""

    def describe(self) -> str:
        """The change in one line."""
        return f"let {self.node} boot from the {self.after} the next time"

    def observe(self, ctx: Context) -> str:
        """What the controller was told."""
        return self.part.next_boot(timeout=ctx.remaining())

    def do(self, ctx: Context) -> None:
        """Tell it."""
        self._tell(ctx, self.after)

    def undo(self, ctx: Context) -> None:
        """Tell it what it was told before."""
        self._tell(ctx, self.before)

    def by_hand(self) -> str:
        """The command for what it was told before."""
        return self.part.by_hand(self.before or "usual")

    def _tell(self, ctx: Context, wanted: str) -> None:
        part = self.part
        if wanted == "":
            part.forget_next(timeout=ctx.remaining())
        else:
            device: Device = "network" if wanted == "network" else "disk"
            part.boot_next(device, timeout=ctx.remaining())


def network_boot(node: str, power: Mapping[str, Any]) -> list[Step | Gate]:
    """What lets a machine boot from the network now: it is switched off if it is on, told, and switched on.

    A person is asked where its power is manual. Raises `ProvisionError` when the controller does not answer, or does not know
    whether the machine is on.
    """
    part = Power.of(power)
    if part.by_person:
        where = getattr(part, "where", "")
        return [ManualGate(question=f"start {node} from the network ({where}); promote when that is done")]
    given = part.to_dict()
    state = part.state()
    if state == "unknown":
        hint = "look at the controller; try again when it says on or off"
        raise ProvisionError(f"the power of {node} is neither on nor off", subject=node, hint=hint)
    off = [SetPower(node=node, power=given, before="on", after="off")] if state == "on" else []
    told = part.next_boot()
    next_ = [BootNext(node=node, power=given, before=told, after="network")] if told != "network" else []
    return [*next_, *off, SetPower(node=node, power=given, before="off", after="on")]
