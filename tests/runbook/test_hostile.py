"""Runbooks, readers and people that do what nobody expects: the run's state stays true and nothing is left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sretoolkit.clock import poll
from sretoolkit.lease import find_leases
from sretoolkit.store import Store
from tests.runbook.desk import CHANGING, Desk

Write = Callable[..., Path]


def test_a_plan_that_was_undone_is_not_completed_by_catching_its_error(desk: Desk, write_notebook: Write) -> None:
    """A cell that swallows what its last plan raised does not make the run completed."""
    desk.world.tell("b.do", "raise")
    swallowing = "try:\n    plan.run()\nexcept Exception as error:\n    print('swallowed', error)"
    done = desk.apply(write_notebook(*CHANGING[:3], swallowing, "1"))

    assert (1, "failed", ["old"] * 3) == (done.returncode, desk.last.state, desk.values)
    assert "its plan 'change' is undone" in desk.last.error


def test_a_plan_that_replaces_one_that_was_undone_completes_the_run(desk: Desk, write_notebook: Write) -> None:
    """A runbook may catch a failed plan and carry out another one instead."""
    desk.world.tell("b.do", "raise")
    instead = "try:\n    plan.run()\nexcept Exception:\n    Plan('instead', [world.step('c')]).run()"
    done = desk.apply(write_notebook(*CHANGING[:3], instead))

    assert (0, "completed", ["old", "old", "new"]) == (done.returncode, desk.last.state, desk.values)


def test_a_plan_left_running_in_a_thread_is_undone(desk: Desk, write_notebook: Write) -> None:
    """A notebook that ends while a thread still carries out its plan has not completed, and nothing stays leased."""
    desk.world.tell("b.done", "hang")
    waiting = (
        "import threading, time\nthreading.Thread(target=plan.run, daemon=True).start()\n"
        "while not (Path(folder) / 'b.hanging').exists():\n    time.sleep(0.01)"
    )
    done = desk.apply(write_notebook(*CHANGING[:3], waiting))

    assert (1, "failed", ["old"] * 3) == (done.returncode, desk.last.state, desk.values)
    with Store(desk.config["store.url"]) as store:
        assert [] == find_leases(store)


def test_a_reader_that_goes_away_does_not_end_the_run(desk: Desk, write_notebook: Write) -> None:
    """``sretoolkit run ... | head -1``: nobody reads any more, the run still ends as it should, by its own exit code."""
    process = desk.start_apply(write_notebook(*CHANGING, "print('x' * 200000)", "1 / 0"))
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()

    assert (1, "failed", ["old"] * 3) == (process.wait(60), desk.last.state, desk.values)
    assert "whole" == desk.journal_state(desk.last.id)


def test_a_cell_that_asks_fails_at_once(desk: Desk, write_notebook: Write) -> None:
    """Nobody can answer input() in a run: the cell fails instead of waiting for its timeout."""
    desk.run("run", str(write_notebook("input('sure?')")))

    assert ("failed", True) == (desk.last.state, "StdinNotImplementedError" in desk.last.error)


def test_a_held_run_says_so_whatever_ended_it(desk: Desk, write_notebook: Write) -> None:
    """The policy hold after a signal: the run is held, with the signal's exit code, and recover undoes it."""
    desk.world.tell("b.done", "hang")
    process = desk.start_apply(write_notebook(*CHANGING), "-p", "policy=hold")
    assert desk.hanging("b")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)

    assert (130, "held", ["new", "new", "old"]) == (process.returncode, desk.last.state, desk.values)
    assert "recover" in desk.run("undo", "last", "--apply").stdout
    assert 0 == desk.run("recover", "last").returncode
    assert ["old"] * 3 == desk.values


def _is_page(pid: int) -> bool:
    return b"sretoolkit.runbook.page" in Path(f"/proc/{pid}/cmdline").read_bytes()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_the_kernel_comes_up(desk: Desk, write_notebook: Write, number: signal.Signals) -> None:
    """Nothing was run, nothing stays open: the run is closed as interrupted, not lost."""
    process = desk.start_apply(write_notebook(*CHANGING))
    assert poll(lambda: Path(desk.home / "store.db").exists() and desk.runs(), timeout=30, interval=0.01)
    process.send_signal(number)
    process.communicate(timeout=60)

    assert (128 + number, "interrupted") == (process.returncode, desk.last.state)
    assert ["not_run"] * 7 == desk.statuses(desk.last)
    assert [] == desk.survivors()


@pytest.mark.parametrize("victim", ["guard", "kernel", "both"])
def test_whoever_is_killed_nobody_is_left(desk: Desk, write_notebook: Write, victim: str) -> None:
    """SIGKILL to the guard, the kernel, or both at once: also children in sessions of their own end."""
    orphan = "import subprocess\nsubprocess.Popen(['setsid', 'sleep', '300'])"
    desk.world.tell("b.done", "hang")
    process = desk.start_apply(write_notebook(CHANGING[0], orphan, *CHANGING[1:]))
    assert desk.hanging("b")
    guard = desk.entries(desk.last.id, "kernel-started")[0].payload["process"]["pid"]
    kernel = desk.entries(desk.last.id, "step-before")[0].content["pid"]
    for pid in {"guard": [guard], "kernel": [kernel], "both": [guard, kernel]}[victim]:
        os.kill(pid, signal.SIGKILL)
    process.communicate(timeout=60)

    assert (1, "killed", ["old"] * 3) == (process.returncode, desk.last.state, desk.values)
    assert [] == desk.survivors()


def test_the_guard_and_the_runner_are_killed(desk: Desk, write_notebook: Write) -> None:
    """Nobody is there to end what the kernel started: recover does, before it undoes."""
    orphan = "import subprocess\nsubprocess.Popen(['setsid', 'sleep', '300'])"
    desk.world.tell("b.done", "hang")
    process = desk.start_apply(write_notebook(CHANGING[0], orphan, *CHANGING[1:]))
    assert desk.hanging("b")
    process.kill()
    os.kill(desk.entries(desk.last.id, "kernel-started")[0].payload["process"]["pid"], signal.SIGKILL)
    process.communicate(timeout=60)
    desk.run("recover")

    assert ("undone", ["old"] * 3, []) == (desk.last.state, desk.values, desk.survivors())


def test_a_signal_to_every_process_of_the_service(desk: Desk, write_notebook: Write) -> None:
    """As systemd does it: the kernel and the page's process leave the answer to the supervisor, and the record is made."""
    desk.world.tell("b.done", "hang")
    process = desk.start_apply(write_notebook(*CHANGING))
    assert desk.hanging("b")
    for pid in desk.marked():
        os.kill(pid, signal.SIGTERM)
    process.communicate(timeout=60)

    assert (143, "interrupted", ["old"] * 3) == (process.returncode, desk.last.state, desk.values)
    assert ["unchanged"] * 2 == [file["state"] for file in json.loads(desk.run("report", "--json").stdout)]


def test_the_process_of_the_page_is_killed(desk: Desk, write_notebook: Write) -> None:
    """Another one makes the page."""
    process = desk.start("run", str(write_notebook("while not __import__('pathlib').Path('go').exists(): pass")))
    assert poll(lambda: any(_is_page(pid) for pid in desk.marked()), timeout=30)
    for pid in filter(_is_page, desk.marked()):
        os.kill(pid, signal.SIGKILL)
    (desk.home / "go").touch()
    output, _ = process.communicate(timeout=60)

    assert (0, "completed") == (process.returncode, desk.last.state), output
    assert ["unchanged"] * 2 == [file["state"] for file in json.loads(desk.run("report", "--json").stdout)]


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"kernelspec": "x"},
        {"kernelspec": {"name": "conda-env-gone", "language": "python"}},
        {
            "kernelspec": {"name": "x"},
            "papermill": "x",
            "sretoolkit": ["x"],
            "language_info": "x",
            "run": 1,
            "title": "x",
        },
    ],
)
def test_hostile_metadata(desk: Desk, metadata: dict[str, object]) -> None:
    """Whatever a notebook says about itself, it runs, and its record can be made."""
    cells = [
        {"cell_type": "code", "source": ["print(\n", "1)"]},
        {"cell_type": "code", "source": "", "id": 5, "metadata": {"papermill": "x", "tags": "raises-exception"}},
        {"cell_type": "markdown", "source": ["<script>alert(1)</script>"], "attachments": "hostile"},
        {"cell_type": "raw", "source": "<script>alert(1)</script>", "metadata": {"papermill": 7}},
    ]
    path = desk.home / "odd.ipynb"
    path.write_text(json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": metadata, "cells": cells}))
    done = desk.run("run", str(path))

    assert (0, "completed", "1\n") == (done.returncode, desk.last.state, desk.output(desk.last, 0)), done.stdout


def test_a_page_holds_no_markup_from_names(desk: Desk, write_notebook: Write) -> None:
    """A title, a ticket or a value with markup in it is text in the page, also in its head."""
    evil = "</title><meta http-equiv=refresh content=0><script>x</script>"
    path = write_notebook(("value: str = ''", ["parameters"]), title=evil, purpose=evil, owner=evil, risk=evil)
    desk.run("run", str(path), "-p", f"value={evil}", "--ticket", evil)

    assert [] == [
        word for word in ("<script>", "<meta http-equiv=refresh") if word in Path(str(desk.last.html)).read_text()
    ]


def test_the_folder_of_records_vanishes_during_the_run(desk: Desk, write_notebook: Write) -> None:
    """It is made again."""
    done = desk.run(
        "run", str(write_notebook("import os, shutil\nshutil.rmtree(os.environ['SRETOOLKIT_RECORDS_FOLDER'])"))
    )

    assert (0, ["unchanged"] * 2) == (
        done.returncode,
        [file["state"] for file in json.loads(desk.run("report", "--json").stdout)],
    )


def test_a_run_inside_a_running_event_loop(desk: Desk, write_notebook: Write) -> None:
    """A notebook (whose thread has an event loop) runs a runbook as a program does."""
    program = (
        "import asyncio, sys\nfrom pathlib import Path\nfrom sretoolkit.runbook import Order, Runbook, run_runbook\n"
        "async def main():\n    book = Runbook.read(Path(sys.argv[1]))\n"
        "    print(run_runbook(Order(book, book.parameters.check({}))).state)\nasyncio.run(main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(write_notebook("1"))],
        env=desk.environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert "completed\n" == done.stdout, done.stderr


def test_a_running_run_cannot_be_resumed(desk: Desk, write_notebook: Write) -> None:
    """``run --resume`` of a run that is alive is refused, and the run goes on undisturbed."""
    desk.world.tell("b.done", "hang")
    process = desk.start_apply(write_notebook(*CHANGING))
    assert desk.hanging("b")
    refused = desk.run("run", "--resume", "last")
    desk.world.tell("b.done", "")
    (desk.world.path / "b.done").unlink()
    process.communicate(timeout=60)

    assert (True, "completed", ["new"] * 3) == (refused.returncode != 0, desk.last.state, desk.values)


def test_the_working_folder_is_gone(desk: Desk, write_notebook: Write) -> None:
    """It is said before a run is opened."""
    shell = f"mkdir gone && cd gone && rmdir ../gone && exec {sys.executable} -m sretoolkit run {write_notebook('1')}"
    done = subprocess.run(
        ["sh", "-c", shell], cwd=desk.home, env=desk.environment, capture_output=True, text=True, check=False
    )

    assert (True, []) == ("the working folder does not exist" in done.stderr, desk.runs())


def test_a_notebooks_own_exit_handlers_run_and_the_kernel_ends_at_once(desk: Desk, write_notebook: Write) -> None:
    """What a cell registered for the end is done, with its children gone, and nothing waits for ipykernel's threads."""
    path = write_notebook(
        "import atexit, pathlib\nhandler = atexit.register(pathlib.Path('left').write_text, 'tidily')"
    )

    assert 0 == desk.run("run", str(path)).returncode
    assert "tidily" == (desk.home / "left").read_text()
    assert [] == desk.survivors()
