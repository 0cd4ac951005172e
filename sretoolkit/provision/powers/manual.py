"""A person switches: machines without a controller, or whose controller nobody gave us."""

from __future__ import annotations

from dataclasses import dataclass

from sretoolkit.errors import ProvisionError
from sretoolkit.provision.power import Device, Power, State


@dataclass(frozen=True, kw_only=True)
class Manual(Power):
    """``where``: how a person finds the machine ("rack 3, unit 12, the lower power button")."""

    by_person = True
    where: str

    @property
    def target(self) -> str:
        """By its place."""
        return f"power:manual/{self.where}"

    def state(self, *, timeout: float = 30) -> State:
        """Nobody knows."""
        return "unknown"

    def on(self, *, timeout: float = 30) -> None:
        """Cannot be done from here."""
        raise self._asked("switch it on")

    def off(self, *, timeout: float = 30) -> None:
        """Cannot be done from here."""
        raise self._asked("switch it off")

    def reset(self, *, timeout: float = 30) -> None:
        """Cannot be done from here."""
        raise self._asked("press its reset button")

    def boot_next(self, device: Device, *, timeout: float = 30) -> None:
        """Cannot be done from here."""
        raise self._asked(f"let it boot from the {device}, in its boot menu")

    def next_boot(self, *, timeout: float = 30) -> str:
        """Nobody knows."""
        return ""

    def forget_next(self, *, timeout: float = 30) -> None:
        """There is nothing to forget."""

    def _asked(self, what: str) -> ProvisionError:
        hint = "a plan asks a person instead: use the runbook"
        return ProvisionError(f"a person has to: {self.where}: {what}", subject=self.where, hint=hint)
