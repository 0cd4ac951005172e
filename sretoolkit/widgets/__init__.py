"""Live panels for JupyterLab. A widget holds no decision: it shows what the rooms below hand it, and is never the record.

Importing this package loads no widget library; a name's home is imported when the name is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sretoolkit.lazy import lazily

if TYPE_CHECKING:
    from sretoolkit.widgets.chart import ChartView
    from sretoolkit.widgets.explorer import MetricExplorer
    from sretoolkit.widgets.pid1_tree import Pid1Tree
    from sretoolkit.widgets.provision_board import ProvisionBoard
    from sretoolkit.widgets.rollout_panel import RolloutPanel

__all__ = ["ChartView", "MetricExplorer", "Pid1Tree", "ProvisionBoard", "RolloutPanel"]

__getattr__ = lazily(
    __name__,
    {
        "ChartView": "sretoolkit.widgets.chart",
        "MetricExplorer": "sretoolkit.widgets.explorer",
        "Pid1Tree": "sretoolkit.widgets.pid1_tree",
        "ProvisionBoard": "sretoolkit.widgets.provision_board",
        "RolloutPanel": "sretoolkit.widgets.rollout_panel",
    },
)
