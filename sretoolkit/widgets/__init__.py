"""Live panels for JupyterLab. A widget holds no decision: it shows what the rooms below hand it, and is never the record.

Importing this package loads no widget library; a name's home is imported when the name is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sretoolkit.lazy import lazily

if TYPE_CHECKING:
    from sretoolkit.widgets.chart import ChartView
    from sretoolkit.widgets.explorer import MetricExplorer
    from sretoolkit.widgets.fleet_picker import FleetPicker
    from sretoolkit.widgets.pid1_tree import Pid1Tree
    from sretoolkit.widgets.plan_view import PlanView
    from sretoolkit.widgets.provision_board import ProvisionBoard
    from sretoolkit.widgets.report_view import ReportView
    from sretoolkit.widgets.rollout_panel import RolloutPanel
    from sretoolkit.widgets.run_view import RunView
    from sretoolkit.widgets.runbook_form import RunbookForm
    from sretoolkit.widgets.runs_browser import RunsBrowser

__all__ = [
    "ChartView",
    "FleetPicker",
    "MetricExplorer",
    "Pid1Tree",
    "PlanView",
    "ProvisionBoard",
    "ReportView",
    "RolloutPanel",
    "RunView",
    "RunbookForm",
    "RunsBrowser",
]

__getattr__ = lazily(
    __name__,
    {
        "ChartView": "sretoolkit.widgets.chart",
        "FleetPicker": "sretoolkit.widgets.fleet_picker",
        "MetricExplorer": "sretoolkit.widgets.explorer",
        "Pid1Tree": "sretoolkit.widgets.pid1_tree",
        "PlanView": "sretoolkit.widgets.plan_view",
        "ProvisionBoard": "sretoolkit.widgets.provision_board",
        "ReportView": "sretoolkit.widgets.report_view",
        "RolloutPanel": "sretoolkit.widgets.rollout_panel",
        "RunView": "sretoolkit.widgets.run_view",
        "RunbookForm": "sretoolkit.widgets.runbook_form",
        "RunsBrowser": "sretoolkit.widgets.runs_browser",
    },
)
