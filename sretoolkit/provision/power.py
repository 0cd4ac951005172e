"""A machine's power: is it on, switch it, and what it boots next; plug-ins chosen by name that hold plain options."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

from sretoolkit.plan.part import Part
from sretoolkit.plugins import Plugins

State = Literal["on", "off", "unknown"]
Device = Literal["network", "disk"]


@dataclass(frozen=True, kw_only=True)
class Power(Part):
    """One machine's power. Options are names and plain values, passwords are references.

    ``{"kind": "ipmi", "address": "10.0.9.17", "user": "admin", "password": "env:BMC_PASSWORD"}`` is what stands in a node's
    metadata (``power``), is held by a step, and read again by `of`. Every method but `target` raises `ProvisionError` when
    the machine's controller does not answer or refuses, within ``timeout`` seconds.
    """

    by_person: ClassVar[bool] = False  # True: nothing is switched; a person is asked

    @property
    @abstractmethod
    def target(self) -> str:
        """What is leased: ``power:KIND/where``."""

    @abstractmethod
    def state(self, *, timeout: float = 30) -> State:
        """Whether it is on; "unknown" when the controller cannot tell at this moment."""

    @abstractmethod
    def on(self, *, timeout: float = 30) -> None:
        """Switch it on; one that is on stays as it is."""

    @abstractmethod
    def off(self, *, timeout: float = 30) -> None:
        """Cut its power at once; nobody is asked to save anything."""

    @abstractmethod
    def reset(self, *, timeout: float = 30) -> None:
        """Start it again without asking anybody."""

    @abstractmethod
    def boot_next(self, device: Device, *, timeout: float = 30) -> None:
        """Where it boots from the next time."""

    @abstractmethod
    def next_boot(self, *, timeout: float = 30) -> str:
        """Where it was told to boot from the next time: "network", "disk", or "" for its usual order."""

    @abstractmethod
    def forget_next(self, *, timeout: float = 30) -> None:
        """Let it boot by its usual order again."""

    def by_hand(self, what: str) -> str:
        """The command by which a person does the same (``on``, ``off``, ``network``, ``disk``, ``usual``); "" for none."""
        return ""


POWERS: Plugins[Power] = Plugins("sretoolkit.provision.powers", Power)  # type: ignore[type-abstract]
Power.plugins = POWERS
