"""What every fault must leave: a true record, nothing half changed, nobody alive."""

from __future__ import annotations

import signal
import subprocess

from tests.runbook.desk import Desk


def assert_left_clean(desk: Desk, *, values: list[str] | None = None) -> None:
    """The old values are back, the journal verifies, no process is left, no lease is taken."""
    assert (values or ["old"] * 3) == desk.values
    assert "whole" == desk.journal_state(desk.last.id)
    assert [] == desk.survivors()
    assert "nobody holds anything" in desk.run("lease").stdout


def end(process: subprocess.Popen[str], number: signal.Signals) -> tuple[int, str]:
    """Send a signal and wait for the end; gives exit code and output."""
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    return process.returncode, output
