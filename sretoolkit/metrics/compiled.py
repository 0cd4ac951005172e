"""An indicator in one system's own terms: what would be asked, why so, and the asking."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sretoolkit.metrics.series import SeriesFrame


@dataclass(frozen=True)
class Compiled:
    """``native`` is the question as the system reads it (several: one a line), ``reason`` why it is put so.

    ``estimated`` says that the answer need not equal what the raw samples give, and in what way ("" = it does).
    ``ask()`` asks; it raises as `MetricSource.range` does.
    """

    native: str
    reason: str
    ask: Callable[[], SeriesFrame]
    estimated: str = ""
