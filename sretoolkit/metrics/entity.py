"""What a monitoring system knows to exist."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Entity:
    """A machine, device or job as a monitoring system knows it.

    ``address`` is what to reach it by ("" = the system does not tell), ``services`` the checks or metrics there are of it.
    """

    name: str
    address: str = ""
    groups: Sequence[str] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    services: Sequence[str] = ()
    source: str = ""
