"""How a container's process ids grow: an interval for one that leaks evenly, and no alarm for one that does not."""

from __future__ import annotations

import os
from datetime import timedelta

import pytest

from sretoolkit.errors import HostError
from sretoolkit.pid1 import examine, outlook
from tests.stack.docker import Docker

pytestmark = [pytest.mark.live, pytest.mark.skipif(os.getuid() != 0, reason="a Docker Engine needs root")]


def test_a_leak_is_foretold_and_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """The leaking container's chart holds the three paces and its limit; a quiet one is not called urgent.

    An examination foretells only where it is asked to watch.
    """
    with Docker() as engine:
        monkeypatch.setenv("DOCKER_HOST", engine.url)
        leak = engine.run(
            "bash", "-c", "while :; do sleep 600 & sleep 0.3; done", options=("--init", "--pids-limit", "400")
        )
        quiet = engine.run("sleep", "600", options=("--init", "--pids-limit", "400"))
        found = outlook("localhost", leak, every=timedelta(seconds=0.5), count=20)
        other = outlook("localhost", quiet, every=timedelta(seconds=0.2), count=10)
        both = outlook("localhost", every=timedelta(seconds=0.5), count=16)
        watched = examine([f"container:{leak}"], watch=timedelta(seconds=8))
        unwatched = examine([f"container:{leak}"])
        with pytest.raises(HostError, match="no container 'nobody'"):
            outlook("localhost", "nobody")
    rules = [{finding.rule for finding in report.findings} for report in (watched, unwatched)]
    assert [True, False] == ["ids-exhausted-soon" in each for each in rules]
    assert ("critical", "ids-exhausted-soon") == (found.findings[0].severity, found.findings[0].rule)
    assert "pids.max 400" in found.facts["lowest ceiling"]
    chart = str(found.charts[0])
    assert all(word in chart for word in ("soonest", "likely", "latest", "limit pids.max: 400"))
    assert other.worst in (None, "info")
    assert leak in [finding.subject for finding in both.findings if finding.rule == "ids-exhausted-soon"]
    assert {leak, quiet} <= {row[0] for row in both.tables[0].rows}
