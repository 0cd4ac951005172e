"""What a system says of a check or an alert: one state, since when, how sure, and whether somebody is on it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Literal, NamedTuple, get_args

State = Literal["critical", "warning", "unknown", "pending", "ok"]
STATES: tuple[State, ...] = get_args(State)  # worst first

_PERFDATA = re.compile(
    r"\s*(?:'(?P<quoted>(?:[^']|'')+)'|(?P<label>[^'=\s][^'=]*?))="
    r"(?P<value>[-+]?(?:\d+[.,]?\d*|[.,]\d+)(?:[eE][-+]?\d+)?|U)(?P<uom>[^;\s\d]*)"
    r"(?:;(?P<warn>[^;\s]*))?(?:;(?P<crit>[^;\s]*))?(?:;(?P<min>[^;\s]*))?(?:;(?P<max>[^;\s]*))?;*(?=\s|$)"
)


class Perfdata(NamedTuple):
    """One number of a plug-in's performance data; ``value`` NaN = undetermined (``U``), ``uom`` "c" = a counter.

    ``warn`` and ``crit`` are ranges as the plug-in wrote them. Source: Monitoring Plugins Development Guidelines.
    """

    label: str
    value: float
    uom: str = ""
    warn: str = ""
    crit: str = ""
    min: float = math.nan
    max: float = math.nan


@dataclass(frozen=True, kw_only=True)
class CheckState:
    """One check of one entity (host, device, job), or one alert.

    ``hard``: confirmed, not a first failure that is being checked again. ``since``: when it came to be in this state.
    ``checked_at``: when the system last looked; ``stale``: longer ago than it should be. ``labels``: the system's own
    tags. ``id``: the system's own, by which it is acknowledged. Times are UTC; None = the system does not tell.
    """

    entity: str
    check: str
    state: State
    hard: bool = True
    since: datetime | None = None
    checked_at: datetime | None = None
    output: str = ""
    perfdata: Sequence[Perfdata] = ()
    acknowledged: bool = False
    in_downtime: bool = False
    stale: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    id: str = ""
    source: str = ""

    @property
    def bad(self) -> bool:
        """Neither ok nor waiting for its first result: unknown is bad."""
        return self.state in ("critical", "warning", "unknown")

    @property
    def actionable(self) -> bool:
        """Bad, and nobody has said that it is known or planned."""
        return self.bad and not self.acknowledged and not self.in_downtime

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


def perfdata(text: str) -> list[Perfdata]:
    """Read a plug-in's performance data; what is no number with a label is left out."""
    found = []
    for match in _PERFDATA.finditer(text):
        label = match["quoted"].replace("''", "'") if match["quoted"] else match["label"].strip()
        value = _number(match["value"])
        low, high = _number(match["min"]), _number(match["max"])
        found.append(Perfdata(label, value, match["uom"], match["warn"] or "", match["crit"] or "", low, high))
    return found


def worst_first(states: Sequence[CheckState]) -> list[CheckState]:
    """Actionable ones first, then by state, the newest first within one."""

    def key(state: CheckState) -> tuple[bool, int, float, str, str]:
        since = -state.since.timestamp() if state.since else 0.0
        return not state.actionable, STATES.index(state.state), since, state.entity, state.check

    return sorted(states, key=key)


def _number(text: str | None) -> float:
    try:
        return float((text or "").replace(",", "."))
    except ValueError:
        return math.nan
