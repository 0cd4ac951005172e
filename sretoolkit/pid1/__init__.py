"""PID 1: will the first process of every container stop when told, reap what it inherits, and have room to fork.

``health`` looks at a host, ``tree`` at one container, ``examine`` at any targets (hosts by tag, images, Dockerfiles,
manifests, a namespace); what is tried out or put right is a plan: ``probe_reaping`` and ``rehearse_stop``, ``recreate``,
``limit_ids``, ``raise_pid_max`` and ``restart``, and in Kubernetes ``share_processes`` and ``insert_tini``.
"""

from sretoolkit.pid1.examination import examine
from sretoolkit.pid1.health import health, report
from sretoolkit.pid1.ledger import ledger
from sretoolkit.pid1.look import Look, look
from sretoolkit.pid1.outlook import outlook
from sretoolkit.pid1.patch import insert_tini, share_processes
from sretoolkit.pid1.probe import probe_reaping, reaping
from sretoolkit.pid1.process import Machine, scan
from sretoolkit.pid1.rehearsal import rehearse_stop, rehearsed
from sretoolkit.pid1.remedies import cure, limit_ids, raise_pid_max, recreate, restart
from sretoolkit.pid1.tree import tree

__all__ = [
    "Look",
    "Machine",
    "cure",
    "examine",
    "health",
    "insert_tini",
    "ledger",
    "limit_ids",
    "look",
    "outlook",
    "probe_reaping",
    "raise_pid_max",
    "reaping",
    "recreate",
    "rehearse_stop",
    "rehearsed",
    "report",
    "restart",
    "scan",
    "share_processes",
    "tree",
]
