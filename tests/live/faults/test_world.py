"""Faults of the world around a run: the store, the disk, the network, the clock, other people, hostile input."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from sretoolkit.clock import poll
from sretoolkit.config import Config
from sretoolkit.errors import StoreUnavailable
from sretoolkit.journal import Keys, verify_store
from sretoolkit.store import Store
from tests.live.faults.desk_faults import assert_left_clean, end
from tests.runbook.desk import CHANGING, Desk
from tests.stack.sshd import Sshd
from tests.stack.wall_clock import WallClock

pytestmark = pytest.mark.live
Write = Callable[..., Path]


@pytest.fixture
def small_disk(own_home: Path) -> Iterator[Path]:
    """A file system of 8 MB."""
    folder = own_home / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)], check=False, capture_output=True
    )
    if mounted.returncode != 0:
        assert "CI" not in os.environ, "mounting a tmpfs needs root"
        pytest.skip("mounting a tmpfs needs root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Fill the file system to its last byte; gives the file to delete."""
    filler = folder / f"filler-{len(list(folder.iterdir()))}"
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        while file.write(b"\0" * 4096):
            pass
    return filler


def fill_log(folder: Path) -> None:
    """Use up the room that the store's log has on the full disk; the run's reserve stays."""
    with Store(f"sqlite:///{folder}/store.db", timeout=5) as store:
        for size in (4000, 1):
            with suppress(StoreUnavailable):
                for number in range(10_000):
                    store.write(
                        "INSERT INTO touched (run, target) VALUES (:run, :target)",
                        run=f"{size}-{number}",
                        target="x" * size,
                    )


def on_small_disk(own_home: Path, config: Config, folder: Path) -> Desk:
    """A desk whose store is on the small disk."""
    return Desk(own_home, Config({**config.values, **Config.of(store={"url": f"sqlite:///{folder}/store.db"}).values}))


def test_the_disk_is_full_in_the_middle_of_a_plan(
    own_home: Path, config: Config, small_disk: Path, write_notebook: Write
) -> None:
    """The room that was reserved for the run's end takes the undo and the closing entries; nothing more is begun."""
    desk = on_small_disk(own_home, config, small_disk)
    desk.world.tell("a.done", "hang")
    process = desk.start_apply(write_notebook(*CHANGING))
    assert desk.hanging("a")
    fill(small_disk)
    fill_log(small_disk)
    (desk.world.path / "a.done").unlink()
    output, _ = process.communicate(timeout=60)

    assert 1 == process.returncode
    assert "disk is full" in output
    assert ("failed", ["do a", "undo a"]) == (desk.last.state, desk.world.log)
    assert_left_clean(desk)


def test_even_the_reserve_is_gone(own_home: Path, config: Config, small_disk: Path, write_notebook: Write) -> None:
    """With no room for one more entry nothing more is changed, and the exact commands for a person are printed."""
    desk = on_small_disk(own_home, config, small_disk)
    desk.world.tell("a.done", "hang")
    process = desk.start_apply(write_notebook(*CHANGING))
    assert desk.hanging("a")
    fill(small_disk)
    reserve = next(small_disk.glob("*.reserve-*"))
    reserve.unlink()
    fillers = [fill(small_disk)]
    fill_log(small_disk)
    (desk.world.path / "a.done").unlink()
    output, _ = process.communicate(timeout=60)

    assert 1 == process.returncode
    assert f"echo -n old > {desk.world.path}/a" in output
    assert ["new", "old", "old"] == desk.values
    assert [] == desk.survivors()
    for filler in (*fillers, *small_disk.glob("filler-*")):
        filler.unlink(missing_ok=True)
    assert 0 == desk.run("recover").returncode
    assert_left_clean(desk)


def test_the_disk_of_the_records_is_full(
    own_home: Path, config: Config, small_disk: Path, write_notebook: Write
) -> None:
    """A record that cannot be written is an error that says so; what was done is in the journal all the same."""
    desk = Desk(own_home, Config({**config.values, **Config.of(records={"folder": str(small_disk)}).values}))
    desk.world.tell("c.done", "hang")
    process = desk.start_apply(write_notebook(*CHANGING))
    assert desk.hanging("c")
    fill(small_disk)
    (desk.world.path / "c.done").unlink()
    output, _ = process.communicate(timeout=60)

    assert 1 == process.returncode
    assert "the record could not be written" in output
    assert ("completed", ["done"] * 3) == (desk.last.state, desk.steps(desk.last.id))
    assert_left_clean(desk, values=["new"] * 3)


def test_the_store_stays_locked(desk: Desk, write_notebook: Write, config: Config) -> None:
    """A store that somebody keeps locked holds the run where it is; it is recovered when the lock is gone."""
    desk.world.tell("a.done", "hang")
    process = desk.start_apply(write_notebook(*CHANGING), SRETOOLKIT_STORE_TIMEOUT="300ms", SRETOOLKIT_RUN_GRACE="1s")
    assert desk.hanging("a")
    lock = sqlite3.connect(config["store.url"].removeprefix("sqlite:///"), isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    (desk.world.path / "a.done").unlink()
    output, _ = process.communicate(timeout=90)
    lock.execute("ROLLBACK")
    lock.close()

    assert 1 == process.returncode
    assert "stayed locked" in output
    assert f"echo -n old > {desk.world.path}/a" in output
    assert [] == desk.survivors()
    assert 0 == desk.run("recover").returncode
    assert_left_clean(desk)


def test_a_short_lock_is_waited_for(desk: Desk, write_notebook: Write, config: Config) -> None:
    """A store that is locked for a moment delays a run and does not fail it."""
    desk.world.tell("a.done", "hang")
    process = desk.start_apply(write_notebook(*CHANGING))
    assert desk.hanging("a")
    lock = sqlite3.connect(config["store.url"].removeprefix("sqlite:///"), isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    (desk.world.path / "a.done").unlink()
    with suppress(subprocess.TimeoutExpired):
        process.wait(1.0)
    lock.execute("ROLLBACK")
    lock.close()

    output, _ = process.communicate(timeout=60)
    assert 0 == process.returncode, output
    assert_left_clean(desk, values=["new"] * 3)


def test_the_connection_is_cut_in_the_middle_of_a_command(desk: Desk, write_notebook: Write, tmp_path: Path) -> None:
    """SSH cut mid-command: the step is in doubt; with the host gone the run is held, once it is back it is undone."""
    server = Sshd(tmp_path / "sshd")
    server.start()
    try:
        options = "".join(f"{name} = {json.dumps(value)}\n" for name, value in server.options().items())
        (desk.home / "sretoolkit.toml").write_text(f"[hosts.far]\n{options}")
        desk.world.step("a")
        plan = (
            "from sretoolkit.plan import Plan\nfrom tests.plan.steps import RemoteFile\n"
            f"step = RemoteFile(host='far', path='{desk.world.path}/a', before='old', after='new')\nPlan('far', [step]).run()"
        )
        process = desk.start("run", str(write_notebook(plan)), "--apply")
        assert poll((desk.world.path / "a.written").exists, timeout=30)
        server.stop()
        output, _ = process.communicate(timeout=90)

        assert 1 == process.returncode
        assert ("held", ["in doubt"]) == (desk.last.state, desk.steps(desk.last.id)) or "undo-failed" in desk.steps(
            desk.last.id
        )
        assert f"echo -n old > {desk.world.path}/a" in output
        server.start()
        done = desk.run("recover", desk.last.id)
        assert (0, "old") == (done.returncode, desk.world["a"]), done.stdout
    finally:
        (desk.world.path / "a.go").touch()  # what was cut off goes on over there until it is let go
        server.stop()


def test_the_clock_jumps_backwards(desk: Desk, write_notebook: Write, tmp_path: Path) -> None:
    """A wall clock that is set back by an hour in the middle of a plan changes nothing but the times on record."""
    if shutil.which("gcc") is None:
        assert "CI" not in os.environ, "gcc is not installed"
        pytest.skip("gcc is not installed")
    clock = WallClock(tmp_path)
    desk.world.tell("b.done", "hang")
    process = desk.start_apply(write_notebook(*CHANGING), **clock.environment)
    assert desk.hanging("b")
    clock.set(-3600)
    (desk.world.path / "b.done").unlink()
    output, _ = process.communicate(timeout=60)

    assert 0 == process.returncode, output
    times = [entry.time for entry in desk.entries(desk.last.id)]
    elapsed = [entry.content["elapsed"] for entry in desk.entries(desk.last.id)]
    assert times != sorted(times)
    assert elapsed == sorted(elapsed)
    assert_left_clean(desk, values=["new"] * 3)


def test_two_runs_on_one_target(desk: Desk, write_notebook: Write) -> None:
    """The second run says who has it, since when and for which run; told to wait, it waits."""
    path = write_notebook(*CHANGING)
    desk.world.tell("a.done", "hang")
    first = desk.start_apply(path)
    assert desk.hanging("a")
    run = desk.last.id
    refused = desk.apply(path)
    waiting = desk.start_apply(path, "--wait", "60s")
    assert poll(lambda: len(desk.runs()) == 3, timeout=30)
    (desk.world.path / "a.done").unlink()

    first.communicate(timeout=60)
    assert (1, 0) == (refused.returncode, first.returncode)
    assert f"(run {run}, since 20" in refused.stdout
    output, _ = waiting.communicate(timeout=60)
    assert "file:" in output
    assert ["do a", "do b", "do c"] == desk.world.log


def test_sixteen_runs_at_once(desk: Desk, write_notebook: Write) -> None:
    """Kernels speak over Unix sockets: sixteen runs started at once all end well, and the chain of runs is whole."""
    path = write_notebook("print(6 * 7)")
    processes = [desk.start("run", str(path)) for _ in range(16)]
    outputs = [process.communicate(timeout=110)[0] for process in processes]

    assert [0] * 16 == [process.returncode for process in processes], outputs
    with Store(desk.config["store.url"]) as store:
        proofs = verify_store(store, Keys.of(desk.config))
    assert ["whole"] * 17 == [proof.state for proof in proofs]
    assert ["42\n"] * 16 == [desk.output(run, 0) for run in desk.runs()]
    assert [] == desk.survivors()


def test_the_records_folder_cannot_be_written(desk: Desk, write_notebook: Write) -> None:
    """A folder that cannot hold the record is refused before anything is begun."""
    (desk.home / "file").write_text("")
    done = desk.apply(write_notebook(*CHANGING), SRETOOLKIT_RECORDS_FOLDER=str(desk.home / "file" / "records"))

    assert (2, []) == (done.returncode, desk.runs())
    assert "no record can be written" in done.stdout


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"\xff\xfe", b'{"nbformat": 4, "cells": [7]}', b'{"nbformat": 3, "cells": []}']
)
def test_a_file_that_is_no_notebook(desk: Desk, content: bytes) -> None:
    """What is no notebook is refused with a word on what to do, exit code 2, no traceback."""
    path = desk.home / "bad.ipynb"
    path.write_bytes(content)
    done = desk.run("run", str(path))

    assert (2, []) == (done.returncode, desk.runs())
    assert "next:" in done.stdout
    assert "Traceback" not in done.stdout


@pytest.mark.parametrize(
    "source",
    [
        "x = open('ran', 'w')",
        "x: int = __import__('os').system('touch ran')",
        "import os; os.mkdir('ran')",
        "x = [1 for _ in 'a']",
        "(" * 500,
    ],
)
def test_a_hostile_parameters_cell(desk: Desk, write_notebook: Write, source: str) -> None:
    """A parameters cell with anything but plain values is refused; nothing of it is run."""
    done = desk.run("run", str(write_notebook((source, ["parameters"]))))

    assert (2, False) == (done.returncode, (desk.home / "ran").exists())
    assert "Traceback" not in done.stdout


def test_a_runner_that_is_stopped_and_continued(desk: Desk, write_notebook: Write) -> None:
    """SIGSTOP and SIGCONT: the run goes on, and is ended by SIGTERM as ever."""
    desk.world.tell("a.done", "hang")
    process = desk.start_apply(write_notebook(*CHANGING))
    assert desk.hanging("a")
    process.send_signal(signal.SIGSTOP)
    process.send_signal(signal.SIGCONT)

    assert 143 == end(process, signal.SIGTERM)[0]
    assert_left_clean(desk)
