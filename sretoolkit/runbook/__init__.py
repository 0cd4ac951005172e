"""Runbooks: notebooks with typed parameters, run by papermill under a supervisor, on record.

Only this package imports papermill, and only when something is run.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sretoolkit.runbook.kinds import HostName, Range, Regex, SourceName
    from sretoolkit.runbook.notebook import Runbook
    from sretoolkit.runbook.run import Order, Result, run_runbook
    from sretoolkit.secrets import Secret

__all__ = ["HostName", "Order", "Range", "Regex", "Result", "Runbook", "Secret", "SourceName", "run_runbook"]

_HOME = {
    "HostName": "sretoolkit.runbook.kinds",
    "Order": "sretoolkit.runbook.run",
    "Range": "sretoolkit.runbook.kinds",
    "Regex": "sretoolkit.runbook.kinds",
    "Result": "sretoolkit.runbook.run",
    "Runbook": "sretoolkit.runbook.notebook",
    "Secret": "sretoolkit.secrets",
    "SourceName": "sretoolkit.runbook.kinds",
    "run_runbook": "sretoolkit.runbook.run",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return __all__
