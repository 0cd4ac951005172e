"""Rollouts: a new version comes in by small shares of the requests, is judged, and is taken back when it does not do.

``Rollout.from_config("shop")`` is a service; its ``preflight``, ``plan`` and ``rollback`` read the world, ``carry_out`` runs a
plan and shows what its gates saw. ``status`` tells how it stands, ``say`` passes on promote, abort, pause and resume.
"""

from sretoolkit.rollout.account import carry_out, evidence
from sretoolkit.rollout.measure import Measure
from sretoolkit.rollout.progress import say, status
from sretoolkit.rollout.recovered import Recovered
from sretoolkit.rollout.rollout import Rollout

__all__ = ["Measure", "Recovered", "Rollout", "carry_out", "evidence", "say", "status"]
