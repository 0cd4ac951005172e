"""A runbook that is to be run at certain times, as data."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import PurePath
from typing import Any, Literal, Self, get_args

from sretoolkit.config import Config
from sretoolkit.errors import ConfigError
from sretoolkit.journal.runs import new_run_id
from sretoolkit.plan.checks import frozen
from sretoolkit.runbook.cron import Cron
from sretoolkit.runbook.notebook import Runbook
from sretoolkit.runbook.request import Request, named

Missed = Literal["skip", "once", "all"]
Overlap = Literal["skip", "queue", "abort"]
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,50}[a-z0-9])?")
_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """What is run, when, for whom, and what is done about ticks that cannot be as they should.

    ``runbook_hash``: what changes something runs only as it was when the schedule was made; "" follows the file.
    ``parameters`` are those that were given, as JSON data; the others keep the runbook's defaults. ``missed``: ticks that
    nobody was there for. ``overlap``: a tick whose earlier run goes on. ``jitter``: seconds by which a tick may be later.
    ``excluded``: dates and weekdays of its zone. ``failures``: after so many in a row it pauses; 0 = never.
    """

    id: str
    name: str
    runbook: str
    cron: str
    actor: dict[str, Any]
    zone: str = "UTC"
    runbook_hash: str = ""
    parameters: dict[str, Any] = field(default_factory=dict)
    mode: Literal["plan", "apply"] = "plan"
    executor: str = "local"
    ticket: str = ""
    missed: Missed = "skip"
    overlap: Overlap = "skip"
    jitter: float = 0.0
    excluded: tuple[str, ...] = ()
    failures: int = 3

    @classmethod
    def of(
        cls,
        runbook: Runbook,
        parameters: Mapping[str, Any],
        config: Config,
        *,
        apply: bool,
        name: str = "",
        **others: Any,
    ) -> Self:
        """A new one of a runbook, called as that is if it has no ``name``; ``others`` are fields as they are.

        Raises `ConfigError` for what it cannot be.
        """
        return cls(
            id=secrets.token_hex(6), name=name or runbook.name.replace("_", "-").lower(), runbook=named(runbook, config),
            runbook_hash=runbook.hash if apply else "", parameters=dict(parameters), mode="apply" if apply else "plan", **others,
        ).checked()  # fmt: skip

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """From `to_dict`'s data."""
        return cls(**{**data, "excluded": tuple(data.get("excluded", ()))})

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)

    def checked(self) -> Self:
        """Itself; raises `ConfigError` for what it cannot be."""
        if not _NAME.fullmatch(self.name):
            raise ConfigError(
                f"{self.name!r} is no name for a schedule", hint="lower-case letters, digits and dashes, at most 52"
            )
        if self.missed not in get_args(Missed) or self.overlap not in get_args(Overlap):
            raise ConfigError(
                f"{self.missed!r} or {self.overlap!r} is no policy", hint="skip, once, all; skip, queue, abort"
            )
        if self.jitter < 0 or self.failures < 0:
            raise ConfigError("jitter and failures are not less than 0", hint='--jitter "5m" --pause-after 3')
        for item in self.excluded:
            if item not in _WEEKDAYS and not _is_date(item):
                raise ConfigError(f"{item!r} is neither a date nor a weekday", hint='write "2026-12-25" or "sun"')
        if next(self.times.after(datetime.now(UTC)), None) is None:
            raise ConfigError(f"{self.cron!r} never comes", hint="there is no such day")
        return self

    @property
    def runbook_name(self) -> str:
        """Its runbook's name, also where that is given by its path."""
        return PurePath(self.runbook).name.removesuffix(".ipynb")

    @property
    def times(self) -> Cron:
        """When it is due, but for its jitter."""
        return Cron(self.cron, self.zone)

    def due(self, tick: datetime) -> datetime:
        """When a tick is dealt with: later by a part of the jitter that this schedule and this tick always have."""
        seed = hashlib.sha256(f"{self.id} {tick.isoformat()}".encode()).digest()
        return tick + timedelta(seconds=self.jitter * int.from_bytes(seed[:6]) / 2**48)

    def exclusion(self, tick: datetime, config: Config) -> str:
        """Why nothing is run at a tick: a date, a weekday, a freeze of changes; "" when something is."""
        day = tick.astimezone(self.times.zone).date()
        for item in (day.isoformat(), _WEEKDAYS[day.weekday()]):
            if item in self.excluded:
                return f"{item} is excluded"
        why = frozen(config, [f"schedule:{self.name}"], tick) if self.mode == "apply" else ""
        return f"change freeze: {why}" if why else ""

    def once(self, tick: datetime) -> str:
        """By this a tick is asked for once, whoever asks."""
        return f"schedule:{self.id}:{tick.astimezone(UTC).isoformat()}"

    def request(self) -> Request:
        """A run of it, in the name of who made it."""
        return Request(
            id=new_run_id(), runbook=self.runbook, runbook_hash=self.runbook_hash, parameters=self.parameters,
            actor=self.actor, mode=self.mode, origin=f"schedule {self.name}", ticket=self.ticket,
        )  # fmt: skip


def _is_date(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False
