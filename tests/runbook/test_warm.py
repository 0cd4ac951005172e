"""Runs forked from a warm process: the same as others, in a fraction of the time, and never from what is not like them."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sretoolkit.clock import poll
from sretoolkit.runbook import forked
from tests.runbook.desk import CHANGING, Desk

Write = Callable[..., Path]


@pytest.fixture
def warm(desk: Desk) -> Iterator[Desk]:
    """A desk whose runs are forked."""
    desk.environment["SOME_TOKEN"] = "s3cr3t"
    assert 0 == (done := desk.run("warm")).returncode, done.stdout
    yield desk
    desk.run("warm", "--stop")
    assert [] == desk.survivors()


def pid_of(desk: Desk) -> int:
    """The warm process."""
    words = desk.run("warm").stdout.split()
    return int(words[1])


def parent_of(desk: Desk, run: str) -> int:
    """The parent of the process that ran it, as that process wrote it down."""
    return int(desk.output(next(each for each in desk.runs() if each.id == run), 0))


ANCESTORS = (
    "import os\nkernel, guard = os.getpid(), os.getppid()\n"
    "print(open(f'/proc/{guard}/stat').read().rpartition(')')[2].split()[1])"
)


def test_a_run_is_forked_and_its_record_is_whole(warm: Desk, write_notebook: Write) -> None:
    """Every part of it descends from the warm process; journal, notebook and page are as always."""
    done = warm.run("run", str(write_notebook(ANCESTORS)))

    assert 0 == done.returncode, done.stdout
    assert pid_of(warm) == parent_of(warm, warm.last.id)
    assert ("completed", "whole") == (warm.last.state, warm.journal_state(warm.last.id))
    files = json.loads(warm.run("report", "last", "--json").stdout)
    assert ["unchanged", "unchanged"] == [file["state"] for file in files]


def test_plans_are_carried_out_and_undone_as_ever(warm: Desk, write_notebook: Write) -> None:
    """Apply, then undo."""
    assert 0 == warm.apply(write_notebook(*CHANGING)).returncode
    assert ["new"] * 3 == warm.values
    assert 0 == warm.run("undo", warm.last.id, "--apply").returncode
    assert ["old"] * 3 == warm.values


def test_a_fork_has_what_who_asked_has(warm: Desk, write_notebook: Write) -> None:
    """Folder, environment (without what is named like a secret), umask, and modules beside its folder."""
    (warm.home / "neighbour.py").write_text("NAME = 'next door'")
    path = write_notebook(
        "import os, neighbour\nmask = os.umask(0)\nos.umask(mask)\n"
        "print(os.getcwd(), os.environ['MINE'], 'SOME_TOKEN' in os.environ, oct(mask), neighbour.NAME)"
    )
    previous = os.umask(0o027)
    try:
        done = warm.run("run", str(path), MINE="yes")
    finally:
        os.umask(previous)

    assert 0 == done.returncode, done.stdout
    assert f"{warm.home} yes False 0o27 next door\n" == warm.output(warm.last, 0)


def test_the_warm_process_knows_no_secret(warm: Desk) -> None:
    """Its environment holds what is harmless, also when it is started from one with secrets."""
    assert b"SOME_TOKEN" not in Path(f"/proc/{pid_of(warm)}/environ").read_bytes()


def test_forks_differ_where_chance_is_wanted(warm: Desk, write_notebook: Write) -> None:
    """Two forks of one process do not throw the same dice."""
    path = write_notebook("import random, uuid\nprint(random.random(), uuid.uuid4())")
    for _ in range(2):
        warm.run("run", str(path))
    assert 2 == len({warm.output(run, 0) for run in warm.runs()})


def test_exit_codes_and_refusals_are_passed_on(warm: Desk, write_notebook: Write) -> None:
    """Bad input is 2, a failed cell 1; what is said comes out where it is expected."""
    bad = warm.run("run", str(write_notebook(("share: int", ["parameters"]))), "-p", "share=x")
    assert (2, True) == (bad.returncode, "share" in bad.stdout)
    assert 1 == warm.run("run", str(write_notebook("1 / 0"))).returncode


@pytest.mark.parametrize(
    ("number", "expected"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)],
)
def test_a_signal_to_the_command_ends_the_fork_and_undoes(
    warm: Desk, write_notebook: Write, number: int, expected: int
) -> None:
    """It is passed on; and when the command is killed outright, its fork is hung up on and takes back what it did."""
    (warm.world.path / "b.do").write_text("hang")
    process = warm.start_apply(write_notebook(*CHANGING))
    assert warm.hanging("b")
    process.send_signal(number)

    process.communicate(timeout=60)
    assert expected == process.returncode
    assert poll(lambda: warm.last.state == "interrupted", timeout=60)
    assert ["old"] * 3 == warm.values


def test_a_run_outlives_the_warm_process(warm: Desk, write_notebook: Write) -> None:
    """Killed while a run goes on, it is missed by nobody: another one begins beside its fork, and the run completes."""
    go = warm.home / "go"
    waiting = "from pathlib import Path\nfrom sretoolkit.clock import poll\n"
    waiting += "Path('begun').touch()\npoll(Path('go').exists, timeout=60)"
    process = warm.start("run", str(write_notebook(waiting)))
    assert poll((warm.home / "begun").exists, timeout=60)
    killed = pid_of(warm)
    os.kill(killed, signal.SIGKILL)
    assert poll(lambda: not Path(f"/proc/{killed}").exists(), timeout=20)
    assert pid_of(warm) not in (killed, 0)
    go.touch()

    process.communicate(timeout=60)
    assert poll(lambda: warm.last.state == "completed", timeout=30)
    assert 0 == warm.run("run", str(write_notebook("1"))).returncode


def test_changed_code_is_never_run_from_an_old_fork(warm: Desk, write_notebook: Write) -> None:
    """Something was installed beside it: the next run starts an interpreter, and the warm process is gone."""
    packages = warm.home / "packages"
    packages.mkdir()
    warm.run("warm", "--stop")
    warm.environment["PYTHONPATH"] += f":{packages}"
    pid = pid_of(warm)
    assert poll(lambda: (packages / "new").write_text("") == 0 and pid_of_ended(warm, write_notebook, pid), timeout=60)
    assert pid != parent_of(warm, warm.last.id)


def pid_of_ended(desk: Desk, write_notebook: Write, pid: int) -> bool:
    """Whether the warm process has ended after one more run."""
    assert 0 == desk.run("run", str(write_notebook(ANCESTORS))).returncode
    return not Path(f"/proc/{pid}").exists()


def test_ten_at_once_do_not_disturb_each_other(warm: Desk, write_notebook: Write) -> None:
    """Each has its own kernel, output and record."""
    path = write_notebook(("number: int", ["parameters"]), "print(number)")
    with ThreadPoolExecutor(10) as pool:
        done = list(pool.map(lambda number: warm.run("run", str(path), "-p", f"number={number}"), range(10)))

    assert [0] * 10 == [each.returncode for each in done], [each.stdout for each in done]
    assert {f"{number}\n" for number in range(10)} == {warm.output(run, 2) for run in warm.runs()}


def test_stock_papermill_forks_its_kernel_by_a_kernel_specification(warm: Desk, write_notebook: Write) -> None:
    """Any front end of Jupyter can have it; without a warm process it starts as ever."""
    specification = Path(os.environ["JUPYTER_DATA_DIR"]) / "kernels" / "warm" / "kernel.json"
    specification.parent.mkdir(parents=True)
    launcher = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    chosen = {"kernel_provisioner": {"provisioner_name": "sretoolkit-warm"}}
    specification.write_text(
        json.dumps({"argv": launcher, "display_name": "warm", "language": "python", "metadata": chosen})
    )
    path = write_notebook("import os\nprint(os.getppid(), os.getcwd())")
    command = [sys.executable, "-m", "papermill", "-k", "warm", "--no-progress-bar", str(path), "out.ipynb"]

    def printed() -> list[str]:
        """What the cell printed."""
        subprocess.run(command, cwd=warm.home, env=warm.environment, check=True, capture_output=True)
        text: str = json.loads((warm.home / "out.ipynb").read_text())["cells"][0]["outputs"][0]["text"][0]
        return text.split()

    pid = pid_of(warm)
    assert [str(pid), str(warm.home)] == printed()
    warm.run("warm", "--stop")
    assert str(pid) != printed()[0]


def test_what_a_fork_would_inherit_names_the_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another limit, another locale or another interpreter: another warm process, or none."""
    first = forked.place()
    assert first == forked.place()
    monkeypatch.setenv("LC_ALL", "xx_XX")
    second = forked.place()
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0 if soft else 1 if hard else 0, hard))
    third = forked.place()
    resource.setrlimit(resource.RLIMIT_CORE, (soft, hard))
    monkeypatch.setattr(sys, "executable", "/elsewhere/python")
    assert (4 if hard else 3) == len({first, second, third, forked.place()})
