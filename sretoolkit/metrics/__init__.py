"""Metrics: many monitoring systems, one shape of answer.

``query("prod", 'up{job="node"}', window=timedelta(hours=1))`` answers with a report; ``connect("prod")`` gives the
source itself, whose ``range`` and ``instant`` answer with a `SeriesFrame`. A source is a name from the configuration or
a URL such as ``prometheus+http://127.0.0.1:9090``. Importing this package imports neither numpy nor a client library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sretoolkit.lazy import lazily

if TYPE_CHECKING:
    from sretoolkit.metrics.answers import explore, health, query
    from sretoolkit.metrics.endpoint import Endpoint
    from sretoolkit.metrics.grid import Grid
    from sretoolkit.metrics.series import SeriesFrame
    from sretoolkit.metrics.source import MetricSource, connect

__all__ = ["Endpoint", "Grid", "MetricSource", "SeriesFrame", "connect", "explore", "health", "query"]

__getattr__ = lazily(
    __name__,
    {
        "Endpoint": "sretoolkit.metrics.endpoint",
        "Grid": "sretoolkit.metrics.grid",
        "MetricSource": "sretoolkit.metrics.source",
        "SeriesFrame": "sretoolkit.metrics.series",
        "connect": "sretoolkit.metrics.source",
        "explore": "sretoolkit.metrics.answers",
        "health": "sretoolkit.metrics.answers",
        "query": "sretoolkit.metrics.answers",
    },
)
