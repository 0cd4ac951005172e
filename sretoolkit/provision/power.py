"""A machine's power: is it on, switch it, and what it boots next; plug-ins chosen by name that hold plain options."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, ClassVar, Literal, Self, get_type_hints

from sretoolkit.errors import ConfigError, PlanError
from sretoolkit.plan.step import decode, encode
from sretoolkit.plugins import Plugins

State = Literal["on", "off", "unknown"]
Device = Literal["network", "disk"]


@dataclass(frozen=True, kw_only=True)
class Power(ABC):
    """One machine's power. Options are names and plain values, passwords are references.

    ``{"kind": "ipmi", "address": "10.0.9.17", "user": "admin", "password": "env:BMC_PASSWORD"}`` is what stands in a node's
    metadata (``power``), is held by a step, and read again by `of`. Every method but `target` raises `ProvisionError` when
    the machine's controller does not answer or refuses, within ``timeout`` seconds.
    """

    plugins: ClassVar[Plugins[Any]]
    by_person: ClassVar[bool] = False  # True: nothing is switched; a person is asked

    @property
    def kind(self) -> str:
        """As the user types it."""
        return type(self).__module__.rpartition(".")[2].replace("_", "-")

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

    def to_dict(self) -> dict[str, Any]:
        """The kind and every option that is not its default, as plain data."""
        given = {item.name: (getattr(self, item.name), item.default) for item in fields(self)}
        return {"kind": self.kind} | {name: encode(value) for name, (value, usual) in given.items() if value != usual}

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Self:
        """The plug-in again from plain data; raises `UnknownPlugin`, and `ConfigError` for options that do not fit."""
        name = str(given.get("kind", ""))
        found: type[Self] = cls.plugins[name]
        options = {str(key).replace("-", "_"): value for key, value in given.items() if key != "kind"}
        needed = {item.name: item.default is MISSING and item.default_factory is MISSING for item in fields(found)}
        hint = f"its options are: {', '.join(needed) or 'none'}"
        for wrong in sorted(options.keys() - needed.keys()):
            raise ConfigError(f"the power {name!r} has no option {wrong!r}", hint=hint)
        for missing in (option for option, must in needed.items() if must and option not in options):
            raise ConfigError(f"the power {name!r} needs the option {missing!r}", hint=hint)
        hints = get_type_hints(found)
        try:
            return found(**{key: decode(hints[key], value) for key, value in options.items()})
        except (TypeError, ValueError, KeyError, PlanError) as error:
            raise ConfigError(f"the options of the power {name!r} do not fit: {error}", hint=hint) from error


POWERS: Plugins[Power] = Plugins("sretoolkit.provision.powers", Power)  # type: ignore[type-abstract]
Power.plugins = POWERS
