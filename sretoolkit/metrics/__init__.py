"""Metrics: many monitoring systems, one question, one shape of answer.

``query("prod", 'up{job="node"}', window=timedelta(hours=1))`` answers with a report; ``connect("prod")`` gives the
source itself, whose ``range`` and ``instant`` answer with a `SeriesFrame`, ``checks`` with `CheckState`, ``events``
with `Event`. `SLI` and `SLO` are said once and asked of any of them. A source is a name from the configuration or a URL
such as ``prometheus+http://127.0.0.1:9090``. Importing this package imports neither numpy nor a client library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sretoolkit.lazy import lazily

if TYPE_CHECKING:
    from sretoolkit.metrics.answers import explore, health, indicator, query, survey
    from sretoolkit.metrics.asking import everywhere
    from sretoolkit.metrics.budgets import slo_report
    from sretoolkit.metrics.endpoint import Endpoint
    from sretoolkit.metrics.entity import Entity
    from sretoolkit.metrics.events import Event, Window
    from sretoolkit.metrics.grid import Grid
    from sretoolkit.metrics.marks import acknowledge, annotate, silence
    from sretoolkit.metrics.matcher import Selector
    from sretoolkit.metrics.series import SeriesFrame
    from sretoolkit.metrics.sli import SLI
    from sretoolkit.metrics.slo import SLO
    from sretoolkit.metrics.source import Capabilities, MetricSource, connect
    from sretoolkit.metrics.states import CheckState, Perfdata
    from sretoolkit.metrics.troubles import alerts, triage

_HOMES = {
    "SLI": "sli",
    "SLO": "slo",
    "Capabilities": "source",
    "CheckState": "states",
    "Endpoint": "endpoint",
    "Entity": "entity",
    "Event": "events",
    "Grid": "grid",
    "MetricSource": "source",
    "Perfdata": "states",
    "Selector": "matcher",
    "SeriesFrame": "series",
    "Window": "events",
    "acknowledge": "marks",
    "alerts": "troubles",
    "annotate": "marks",
    "connect": "source",
    "everywhere": "asking",
    "explore": "answers",
    "health": "answers",
    "indicator": "answers",
    "query": "answers",
    "silence": "marks",
    "slo_report": "budgets",
    "survey": "answers",
    "triage": "troubles",
}

__all__ = [
    "SLI",
    "SLO",
    "Capabilities",
    "CheckState",
    "Endpoint",
    "Entity",
    "Event",
    "Grid",
    "MetricSource",
    "Perfdata",
    "Selector",
    "SeriesFrame",
    "Window",
    "acknowledge",
    "alerts",
    "annotate",
    "connect",
    "everywhere",
    "explore",
    "health",
    "indicator",
    "query",
    "silence",
    "slo_report",
    "survey",
    "triage",
]

__getattr__ = lazily(__name__, {name: f"{__name__}.{module}" for name, module in _HOMES.items()})
