"""sretoolkit: an SRE runs a notebook, and what it read, decided and changed is typed, planned, gated, undoable and on record.

Nothing heavy is imported here; a name's home is imported when the name is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sretoolkit.lazy import lazily

if TYPE_CHECKING:
    from sretoolkit.chart import Chart
    from sretoolkit.config import Config
    from sretoolkit.errors import SREToolkitError
    from sretoolkit.plan import Gate, Plan, Step, Verdict
    from sretoolkit.report import Finding, Report, Table
    from sretoolkit.secrets import Secret

__all__ = [
    "Chart",
    "Config",
    "Finding",
    "Gate",
    "Plan",
    "Report",
    "SREToolkitError",
    "Secret",
    "Step",
    "Table",
    "Verdict",
]

__getattr__ = lazily(
    __name__,
    {
        "Chart": "sretoolkit.chart",
        "Config": "sretoolkit.config",
        "Finding": "sretoolkit.report",
        "Gate": "sretoolkit.plan",
        "Plan": "sretoolkit.plan",
        "Report": "sretoolkit.report",
        "SREToolkitError": "sretoolkit.errors",
        "Secret": "sretoolkit.secrets",
        "Step": "sretoolkit.plan",
        "Table": "sretoolkit.report",
        "Verdict": "sretoolkit.plan",
    },
)
