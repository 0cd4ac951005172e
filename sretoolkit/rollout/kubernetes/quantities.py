"""Quantities and shares as Kubernetes writes and rounds them."""

from __future__ import annotations

import math
import re
from typing import Any

_NUMBER = re.compile(r"([0-9.]+(?:[eE][+-]?[0-9]+)?)([a-zA-Z]*)")
_UNITS = {"": 1.0, "n": 1e-9, "u": 1e-6, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18}
_UNITS |= {f"{unit}i": 1024.0**power for power, unit in enumerate("KMGTPE", start=1)}


def quantity(text: Any) -> float:
    """A quantity of Kubernetes as a number: "250m" is 0.25, "1Gi" 1073741824."""
    found = _NUMBER.fullmatch(str(text))
    return float(found[1]) * _UNITS[found[2]] if found and found[2] in _UNITS else math.nan


def share_of(given: Any, whole: int, *, up: bool) -> int:
    """A number, or a percentage of the whole as Kubernetes rounds it."""
    if isinstance(given, int):
        return given
    exact = whole * float(str(given).removesuffix("%")) / 100
    return math.ceil(exact) if up else math.floor(exact)
