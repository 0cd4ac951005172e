"""A server whose runs are forks of a process that has all loaded."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

from sretoolkit.clock import poll
from sretoolkit.config import Config
from tests.server.serving import Served
from tests.server.test_api import call

PARENT = "import os\nprint(open(f'/proc/{os.getppid()}/stat').read().rpartition(')')[2].split()[1])"


def asked(served: Served, runbook: str) -> str:
    """The run that a program asked for."""
    status, told = call(served, "POST", "/api/v1/runs", {"runbook": runbook})
    assert 202 == status, told
    return str(told["run"])


def test_a_server_forks_its_runs_and_its_warm_process_ends_with_it(
    own_home: Path, config: Config, write_notebook: Callable[..., Path]
) -> None:
    """Also when the server alone is killed: nobody answers for it then; a run that goes on is carried to its end."""
    write_notebook(PARENT, name="parent")
    write_notebook(
        "from pathlib import Path\nfrom sretoolkit.clock import poll\n"
        "Path('begun').touch()\nassert poll(Path('go').exists, timeout=60)",
        name="waits",
    )
    with Served(own_home, config, warm=True) as served:
        warm = poll(lambda: forked_from(served), timeout=60)
        assert warm
        last = asked(served, "waits")
        assert poll((own_home / "begun").exists, timeout=60)
        workers = [pid for pid in children_of(served.process.child.pid) if pid != warm]
        os.kill(served.process.child.pid, signal.SIGKILL)
        assert workers
        assert poll(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), timeout=30)
        assert Path(f"/proc/{warm}").exists()  # it waits for its last fork
        (own_home / "go").touch()
        assert "completed" == served.ended(last).state
    assert poll(lambda: not Path(f"/proc/{warm}").exists(), timeout=30)


def forked_from(served: Served) -> int | None:
    """The warm process that a run was forked from; None when it was started anew, while that one is still loading."""
    run = served.ended(asked(served, "parent"))
    (cell,) = json.loads(Path(str(run.notebook)).read_text())["cells"]
    pid = int("".join(cell["outputs"][0]["text"]))
    return pid if b"sretoolkit.runbook.warm" in Path(f"/proc/{pid}/cmdline").read_bytes() else None


def children_of(pid: int) -> list[int]:
    """Its child processes."""
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
