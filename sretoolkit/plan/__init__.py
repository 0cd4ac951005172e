"""Steps, gates and plans: what changes the world is data first, and is carried out, resumed and undone from the record."""

from sretoolkit.plan.context import Context
from sretoolkit.plan.gate import Gate, ManualGate, Verdict
from sretoolkit.plan.plan import Outcome, Plan
from sretoolkit.plan.step import Step, World, shown

__all__ = ["Context", "Gate", "ManualGate", "Outcome", "Plan", "Step", "Verdict", "World", "shown"]
