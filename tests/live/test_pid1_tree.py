"""A container's processes as a tree, each with what becomes of it when the container is stopped."""

from __future__ import annotations

import os

import pytest

from sretoolkit.clock import poll
from sretoolkit.errors import HostError
from sretoolkit.pid1.tree import tree
from tests.stack.docker import Docker

pytestmark = [pytest.mark.live, pytest.mark.skipif(os.getuid() != 0, reason="a Docker Engine needs root")]
_APP = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for _ in range(2):
    if not os.fork():
        os._exit(0)
time.sleep(600)
"""


def test_a_tree_says_who_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The init tells its child alone; zombies name their parent; what came in by exec stands apart; bad names are escaped."""
    with Docker() as engine:
        monkeypatch.setenv("DOCKER_HOST", engine.url)
        name = engine.run("python3", "-c", f"{_APP}# \x1b[2J", options=("--init",))
        engine.call("exec", "-d", name, "sleep", "77")
        assert poll(lambda: tree("localhost", name).facts["processes"] == 5, timeout=20)
        report = tree("localhost", name)
        with pytest.raises(HostError, match="no container 'nobody'"):
            tree("localhost", "nobody")
    said = [(row[0].lstrip("└├─│ ").split()[0], row[5]) for row in report.tables[0].rows]
    assert said == [
        ("/sbin/docker-init", "SIGTERM: ignored"),
        ("python3", "told, and ignores SIGTERM"),
        ("[python3]", "zombie: python3 does not wait for it"),
        ("[python3]", "zombie: python3 does not wait for it"),
        ("(from", "not told: killed when the first process ends"),
    ]
    assert "sleep 77" in report.tables[0].rows[4][0]
    assert "\x1b" not in str(report)
    assert {"stop-ignored", "zombies-of-app"} <= {finding.rule for finding in report.findings}
