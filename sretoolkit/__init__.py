"""sretoolkit: an SRE runs a notebook, and what it read, decided and changed is typed, planned, gated, undoable and on record.

Nothing heavy is imported here; a name's home is imported when the name is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sretoolkit.chart import Chart
    from sretoolkit.config import Config
    from sretoolkit.errors import SREToolkitError
    from sretoolkit.plan import Gate, Plan, Step, Verdict
    from sretoolkit.report import Finding, Report, Table
    from sretoolkit.secrets import Secret

__all__ = ["Chart", "Config", "Finding", "Gate", "Plan", "Report", "SREToolkitError", "Secret", "Step", "Table", "Verdict"]

_HOME = {
    "Chart": "chart",
    "Config": "config",
    "Finding": "report",
    "Gate": "plan",
    "Plan": "plan",
    "Report": "report",
    "SREToolkitError": "errors",
    "Secret": "secrets",
    "Step": "plan",
    "Table": "report",
    "Verdict": "plan",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
