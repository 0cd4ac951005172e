"""Runbooks: notebooks with typed parameters, run by papermill under a supervisor, on record.

Only this package imports papermill, and only when something is run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sretoolkit.lazy import lazily

if TYPE_CHECKING:
    from sretoolkit.runbook.kinds import HostName, Range, Regex, SourceName
    from sretoolkit.runbook.notebook import Runbook
    from sretoolkit.runbook.run import Order, Result, run_runbook
    from sretoolkit.secrets import Secret

__all__ = ["HostName", "Order", "Range", "Regex", "Result", "Runbook", "Secret", "SourceName", "run_runbook"]

__getattr__ = lazily(
    __name__,
    {
        "HostName": "sretoolkit.runbook.kinds",
        "Order": "sretoolkit.runbook.run",
        "Range": "sretoolkit.runbook.kinds",
        "Regex": "sretoolkit.runbook.kinds",
        "Result": "sretoolkit.runbook.run",
        "Runbook": "sretoolkit.runbook.notebook",
        "Secret": "sretoolkit.secrets",
        "SourceName": "sretoolkit.runbook.kinds",
        "run_runbook": "sretoolkit.runbook.run",
    },
)
