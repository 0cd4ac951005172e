"""Faults: whoever is killed or interrupted, statuses are true, changes are undone, nobody is left alive."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from sretoolkit.clock import poll
from tests.live.faults.desk_faults import assert_left_clean, end
from tests.runbook.desk import CHANGING, Desk

pytestmark = pytest.mark.live
Write = Callable[..., Path]
ORPHANS = (
    "import subprocess, sys\n"
    "subprocess.Popen(['sleep', '300'], start_new_session=True)\n"
    "subprocess.Popen(['sh', '-c', 'setsid sleep 300 & setsid sh -c \"sleep 300 & sleep 300\" &'])"
)


def boundaries() -> list[str]:
    """Every place where a process can be killed: before and after each do, and in each verify. CI takes a sample."""
    every = [f"{name}.{where}" for name in "abc" for where in ("do", "done", "verify")]
    if os.environ.get("EVERY_FAULT"):
        return every
    return sorted(random.Random(int(os.environ["FAULT_SEED"])).sample(every, 3))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_to_the_runner(desk: Desk, write_notebook: Write, number: signal.Signals, code: int) -> None:
    """The cell is interrupted, its output is in the record, what was changed is undone, setsid children are gone."""
    desk.world.tell("b.done", "hang")
    process = desk.start_apply(write_notebook(CHANGING[0], ORPHANS, *CHANGING[1:]))
    assert desk.hanging("b")
    desk.world.tell("b.undo", "")

    assert code == end(process, number)[0]
    assert "interrupted" == desk.last.state
    assert ["completed"] * 5 + ["interrupted", "not_run", "not_run"] == desk.statuses(desk.last)
    assert "before the plan\n" in desk.output(desk.last, 5)
    assert_left_clean(desk)


def test_a_cell_that_ignores_its_interrupt_is_killed(desk: Desk, write_notebook: Write) -> None:
    """After the grace time the kernel's whole tree is killed, and the supervisor undoes from the journal."""
    stubborn = (
        "import time\nfrom pathlib import Path\nPath('stubborn').touch()\n"
        "while True:\n    try:\n        time.sleep(60)\n    except KeyboardInterrupt:\n        pass"
    )
    process = desk.start_apply(write_notebook(*CHANGING[:4], ORPHANS, stubborn), SRETOOLKIT_RUN_GRACE="1s")
    assert poll((desk.home / "stubborn").exists, timeout=30)

    assert 143 == end(process, signal.SIGTERM)[0]
    assert "interrupted" == desk.last.state
    assert_left_clean(desk)


def test_the_kernel_is_killed(desk: Desk, write_notebook: Write) -> None:
    """A kernel that dies in a step: cell killed, later cells not run, step in doubt is looked at and undone."""
    desk.world.tell("b.done", "kill")
    done = desk.apply(write_notebook(CHANGING[0], ORPHANS, *CHANGING[1:]))

    assert (1, "killed") == (done.returncode, desk.last.state)
    assert ["completed"] * 5 + ["killed", "not_run", "not_run"] == desk.statuses(desk.last)
    assert_left_clean(desk)


def test_the_kernel_runs_out_of_memory(desk: Desk, write_notebook: Write) -> None:
    """An allocation beyond the limit that ends the kernel is reported as a killed cell, and undone."""
    greedy = (
        "import resource, ctypes\nresource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30))\n"
        "libc = ctypes.CDLL(None)\nlibc.malloc.restype = ctypes.c_void_p\n"
        "blocks = []\nprint('eating', flush=True)\n"
        "while (block := libc.malloc(2**24)):\n    blocks.append(block)\nlibc.abort()"
    )
    done = desk.apply(write_notebook(*CHANGING[:4], greedy, "1"))

    assert (1, "killed") == (done.returncode, desk.last.state)
    assert ["completed"] * 5 + ["killed", "not_run"] == desk.statuses(desk.last)
    assert_left_clean(desk)


@pytest.mark.parametrize(
    ("setting", "word"), [("SRETOOLKIT_RUN_CELL_TIMEOUT", "cell"), ("SRETOOLKIT_RUN_TIMEOUT", "run")]
)
def test_a_time_limit(desk: Desk, write_notebook: Write, setting: str, word: str) -> None:
    """A cell or a run that takes too long is timed out, not completed, and undone."""
    done = desk.apply(
        write_notebook(*CHANGING[:4], "print('waiting', flush=True)\nimport time\ntime.sleep(90)", "1"),
        **{setting: "4s"},
    )

    assert (1, "timed_out") == (done.returncode, desk.last.state)
    assert ["completed"] * 5 + ["timed_out", "not_run"] == desk.statuses(desk.last)
    assert f"the {word} took more than" in desk.last.error
    assert_left_clean(desk)


@pytest.mark.parametrize("trap", boundaries())
def test_the_runner_is_killed(desk: Desk, write_notebook: Write, trap: str) -> None:
    """SIGKILL to the runner: its kernel and all descendants end, the run is lost, recover undoes it."""
    desk.world.tell(trap, "hang")
    process = desk.start_apply(write_notebook(CHANGING[0], ORPHANS, *CHANGING[1:]))
    assert desk.hanging(trap[0])
    process.kill()
    process.communicate(timeout=30)

    assert [] == desk.survivors()
    assert "lost" in desk.run("runs").stdout
    assert 0 == desk.run("recover").returncode
    assert "undone" == desk.last.state
    assert_left_clean(desk)


@pytest.mark.parametrize("trap", boundaries())
def test_the_runner_is_killed_and_the_run_resumed(desk: Desk, write_notebook: Write, trap: str) -> None:
    """SIGKILL to the runner: recover --resume ends the plan from the journal, doing each step exactly once."""
    desk.world.tell(trap, "hang")
    process = desk.start_apply(write_notebook(*CHANGING))
    assert desk.hanging(trap[0])
    process.kill()
    process.communicate(timeout=30)
    (desk.world.path / trap).unlink()

    assert [] == desk.survivors()
    done = desk.run("recover", desk.last.id, "--resume")
    assert 0 == done.returncode, done.stdout
    assert ["do a", "do b", "do c"] == desk.world.log
    assert_left_clean(desk, values=["new"] * 3)


@pytest.mark.parametrize("where", ["do", "verify", "done"])
def test_a_step_raises(desk: Desk, write_notebook: Write, where: str) -> None:
    """An exception in a step's do or verify: exit code 1, undone, the reason in the record."""
    desk.world.tell(f"b.{where}", "once")
    done = desk.apply(write_notebook(*CHANGING))

    assert (1, "failed") == (done.returncode, desk.last.state)
    assert f"told to fail once in {where}" in desk.last.error
    assert_left_clean(desk)


def test_an_undo_raises(desk: Desk, write_notebook: Write) -> None:
    """An exception in an undo: the run is held with its leases, and the exact commands are printed."""
    desk.world.tell("b.undo", "raise")
    desk.world.tell("c.do", "raise")
    done = desk.apply(write_notebook(*CHANGING))

    assert (1, "held", ["new", "new", "old"]) == (done.returncode, desk.last.state, desk.values)
    assert f"echo -n old > {desk.world.path}/b" in done.stdout
    assert "held" in desk.run("lease").stdout
    (desk.world.path / "b.undo").unlink()
    assert 0 == desk.run("recover", desk.last.id).returncode
    assert_left_clean(desk)
