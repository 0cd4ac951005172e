"""PID 1: will the first process of every container stop when told, reap what it inherits, and have room to fork."""

from sretoolkit.pid1.health import health, report
from sretoolkit.pid1.process import Machine, scan

__all__ = ["Machine", "health", "report", "scan"]
