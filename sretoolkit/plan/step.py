"""A step: one change, as data that another process can read, do, check and take back."""

from __future__ import annotations

import dataclasses
import importlib
import types
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar, Self, Union, get_args, get_origin, get_type_hints

from sretoolkit.clock import format_duration, parse_duration
from sretoolkit.errors import PlanError
from sretoolkit.journal import digest
from sretoolkit.secrets import Secret

if TYPE_CHECKING:
    from sretoolkit.plan.context import Context


class World(Enum):
    """What a step finds when it looks: the state it assumes, the one it makes, or neither."""

    BEFORE = "before"
    AFTER = "after"
    OTHER = "other"


def shown(**options: Any) -> Any:
    """A dataclass field that is journalled and shown but not hashed: a measurement, a resource version, a pid."""
    return dataclasses.field(metadata={"hashed": False}, **options)


class Data:
    """What steps and gates share: a frozen dataclass that goes to JSON and back by its import path and version."""

    version: ClassVar[int] = 1

    def to_dict(self) -> dict[str, Any]:
        """Import path, version and every field, as JSON data."""
        return {
            "type": f"{type(self).__module__}:{type(self).__qualname__}",
            "version": self.version,
            "data": self._data(),
        }

    def hashed(self) -> dict[str, Any]:
        """The part of `to_dict` that an approval covers: all but the fields made with `shown`."""
        volatile = {item.name for item in fields(self) if not item.metadata.get("hashed", True)}  # type: ignore[arg-type]
        whole = self.to_dict()
        return {**whole, "data": {name: value for name, value in whole["data"].items() if name not in volatile}}

    def _data(self) -> dict[str, Any]:
        return {item.name: encode(getattr(self, item.name)) for item in fields(self)}  # type: ignore[arg-type]

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """The object again; raises `PlanError` when its type is gone, is not of this kind, or has another version."""
        path = str(content.get("type"))
        module, _, name = path.partition(":")
        try:
            found: Any = importlib.import_module(module)
            for part in name.split("."):
                found = getattr(found, part)
        except (ImportError, AttributeError, ValueError) as error:
            raise PlanError(
                f"{path} cannot be loaded here: {error}", hint="use the sretoolkit version that wrote it"
            ) from error
        if not (isinstance(found, type) and issubclass(found, cls)):
            raise PlanError(f"{path} is no {cls.__name__}")
        if content.get("version") != found.version:
            raise PlanError(
                f"{path} was written as version {content.get('version')}, this sretoolkit has {found.version}",
                hint="use the sretoolkit version that wrote it; it is not guessed",
            )
        hints = get_type_hints(found)
        try:
            return found(**{key: decode(hints[key], value) for key, value in content["data"].items()})
        except (KeyError, TypeError, ValueError) as error:
            raise PlanError(f"the data of {path} does not fit: {error}") from error


@dataclass(frozen=True, kw_only=True)
class Step(Data):
    """One change of one target.

    A subclass is a frozen dataclass: names and values, never a live connection. ``before`` and ``after`` hold only
    what the step writes; `observe` reads the same from the world now. The context resolves names in whichever process
    the step runs.
    """

    irreversible: ClassVar[bool] = False
    deadline: ClassVar[timedelta] = timedelta(seconds=60)

    before: Any
    after: Any

    @property
    def target(self) -> str:
        """What is leased while the step's plan runs: ``kind:where/what``."""
        raise NotImplementedError

    def describe(self) -> str:
        """One line that a tired person understands."""
        raise NotImplementedError

    def observe(self, ctx: Context) -> Any:
        """Read from the world what ``before`` and ``after`` describe; None where it cannot be known."""
        raise NotImplementedError

    def do(self, ctx: Context) -> None:
        """Make the world ``after``, within ``ctx.remaining()`` seconds."""
        raise NotImplementedError

    def undo(self, ctx: Context) -> None:
        """Make the world ``before`` again."""
        raise NotImplementedError

    def revocable(self, ctx: Context) -> bool:
        """Whether it can be taken back. What is irreversible may not have begun, where it waits for somebody else to act."""
        return not self.irreversible

    def take_effect(self, ctx: Context) -> None:
        """Wait until ``after`` is in effect. Asked when `do` was broken off after it had written, before it had waited."""

    def by_hand(self) -> str:
        """The exact command by which a person restores ``before`` when nothing else can; "" when there is none."""
        return ""

    def verify(self, ctx: Context) -> tuple[World, Any]:
        """Compare the world with ``before`` and ``after``; also returns what was seen."""
        seen = self.observe(ctx)
        if _same(seen, self.after):
            return World.AFTER, seen
        return (World.BEFORE if _same(seen, self.before) else World.OTHER), seen

    def key(self, plan_hash: str, index: int) -> str:
        """The idempotency key: the same change at the same place of the same plan."""
        return digest({"plan": plan_hash, "index": index, "step": self.hashed()})[:24]


def _same(seen: Any, meant: Any) -> bool:
    """Equal, also for a step that came back from JSON, where a tuple is a list and a number as a key a text."""
    try:
        return bool(seen == meant) or bool(encode(seen) == encode(meant))
    except PlanError:  # what was seen is nothing that a step can hold
        return False


def encode(value: Any) -> Any:
    """A value of a step as JSON data; raises `PlanError` for what is no plain value."""
    if isinstance(value, timedelta):
        return format_duration(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Secret):
        return value.reference
    if isinstance(value, Mapping):
        return {str(key): encode(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [encode(item) for item in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise PlanError(f"{value!r} cannot be journalled", hint="a step holds names and plain values only")


def decode(hint: Any, value: Any) -> Any:
    """The value again, as its field's annotation says."""
    origin = get_origin(hint)
    if value is None or hint is Any:
        return value
    if origin in (Union, types.UnionType):
        return decode(next(part for part in get_args(hint) if part is not type(None)), value)
    if hint is timedelta:
        return parse_duration(value)
    if hint is datetime:
        return datetime.fromisoformat(value)
    if hint is Secret:
        return Secret(value)
    if origin is tuple:
        return tuple(decode(get_args(hint)[0], item) for item in value)
    return value
