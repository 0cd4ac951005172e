"""Rollouts: a new version comes in by small shares of the requests, is judged, and is taken back when it does not do.

``Rollout.from_config("shop")`` is a service; its ``preflight``, ``plan`` and ``rollback`` read the world, ``carry_out`` runs a
plan and shows what its gates saw. ``status`` tells how it stands; ``backtest`` and ``placebo`` ask the judge about the past.
``sretoolkit.rollout.local`` opens a shop to try it on.
"""

from sretoolkit.rollout.account import carry_out, evidence
from sretoolkit.rollout.backtest import backtest, placebo
from sretoolkit.rollout.measure import Measure
from sretoolkit.rollout.progress import status
from sretoolkit.rollout.recovered import Recovered, recovered
from sretoolkit.rollout.rollout import Rollout

__all__ = [
    "Measure", "Recovered", "Rollout", "backtest", "carry_out", "evidence", "placebo", "recovered", "status",
]  # fmt: skip
