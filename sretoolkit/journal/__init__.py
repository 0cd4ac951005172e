"""The signed, hash-chained record of every remote action; an entry is on disk before and after each one."""

from sretoolkit.journal.entry import Entry, canonical, digest
from sretoolkit.journal.journal import Journal
from sretoolkit.journal.keys import Keys
from sretoolkit.journal.runs import Run, close_run, load_run, open_run
from sretoolkit.journal.search import find_runs
from sretoolkit.journal.verification import Verification, verify_run, verify_store

__all__ = [
    "Entry",
    "Journal",
    "Keys",
    "Run",
    "Verification",
    "canonical",
    "close_run",
    "digest",
    "find_runs",
    "load_run",
    "open_run",
    "verify_run",
    "verify_store",
]
