"""Metrics: many monitoring systems, one shape of answer.

``query("prod", 'up{job="node"}', window=timedelta(hours=1))`` answers with a report; ``connect("prod")`` gives the
source itself, whose ``range`` and ``instant`` answer with a `SeriesFrame`. A source is a name from the configuration or
a URL such as ``prometheus+http://127.0.0.1:9090``. Importing this package imports neither numpy nor a client library.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sretoolkit.metrics.answers import explore, health, query
    from sretoolkit.metrics.endpoint import Endpoint
    from sretoolkit.metrics.grid import Grid
    from sretoolkit.metrics.series import SeriesFrame
    from sretoolkit.metrics.source import MetricSource, connect

__all__ = ["Endpoint", "Grid", "MetricSource", "SeriesFrame", "connect", "explore", "health", "query"]

_HOME = {
    "Endpoint": "endpoint",
    "Grid": "grid",
    "MetricSource": "source",
    "SeriesFrame": "series",
    "connect": "source",
    "explore": "answers",
    "health": "answers",
    "query": "answers",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
