"""Plug-ins that are chosen by name and hold plain options, so that a step can hold them: routers, powers, brokers."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, ClassVar, Self, get_type_hints

from sretoolkit.errors import ConfigError, PlanError
from sretoolkit.plan.step import decode, encode
from sretoolkit.plugins import Plugins


@dataclass(frozen=True, kw_only=True)
class Part(ABC):
    """One plug-in with its options: names and plain values, so that a step of any process can make it again.

    ``{"kind": "haproxy", "host": "lb1", "backend": "shop"}`` is what is written in the configuration, held by a step and
    read again by `of`. ``kind`` is the name of the module, as the user types it.
    """

    plugins: ClassVar[Plugins[Any]]

    @property
    def kind(self) -> str:
        """As the user types it."""
        return type(self).__module__.rpartition(".")[2].replace("_", "-")

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
        known = {item.name: item.default is MISSING and item.default_factory is MISSING for item in fields(found)}
        what = f"the {cls.plugins.kind} {name!r}"
        hint = f"its options are: {', '.join(known)}"
        for wrong in sorted(options.keys() - known.keys()):
            raise ConfigError(f"{what} has no option {wrong!r}", hint=hint)
        for missing in (option for option, needed in known.items() if needed and option not in options):
            raise ConfigError(f"{what} needs the option {missing!r}", hint=hint)
        hints = get_type_hints(found)
        try:
            return found(**{key: decode(hints[key], value) for key, value in options.items()})
        except (TypeError, ValueError, KeyError, PlanError) as error:
            raise ConfigError(f"the options of {what} do not fit: {error}", hint=hint) from error
