"""``sretoolkit demo canary``: a good version promoted, a bad one taken back, no request lost, nobody left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sretoolkit.clock import poll

COMMAND = [sys.executable, "-m", "sretoolkit", "demo", "canary"]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A home and a folder for temporary files of its own."""
    own = {"HOME": str(tmp_path), "TMPDIR": str(tmp_path), "XDG_STATE_HOME": str(tmp_path / "state")}
    return {**{key: value for key, value in os.environ.items() if not key.startswith("SRETOOLKIT_")}, **own}


def processes(folder: Path) -> list[int]:
    """Who still works for a shop in that folder: all of them have its path as a word or among their open files."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                words = (entry / "cmdline").read_bytes().decode(errors="replace")
                files = [str(each.readlink()) for each in (entry / "fd").iterdir()] if "rollout.local" in words else []
            except OSError:
                continue
            if any(str(folder) in word for word in [words, *files]):
                found.append(int(entry.name))
    return found


def test_the_demo_promotes_the_good_one_and_takes_the_bad_one_back(environment: dict[str, str], tmp_path: Path) -> None:
    """The whole second act; its exit code says whether all went as told."""
    done = subprocess.run(
        COMMAND, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=180, check=False
    )

    assert 0 == done.returncode, done.stdout + done.stderr
    assert "2.0 was promoted" in done.stdout
    assert "2.1 was taken back" in done.stdout
    assert " 0 of them lost" in done.stdout
    assert [] == processes(tmp_path)


def test_an_interrupt_ends_all_of_it(environment: dict[str, str], tmp_path: Path) -> None:
    """Ctrl-C in the middle of a rollout: it is taken back, and every process is gone."""
    demo = subprocess.Popen(COMMAND, env=environment, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert demo.stdout is not None
    lines = iter(demo.stdout.readline, b"")
    assert any(b"give the candidate 10 %" in line for line in lines)
    demo.send_signal(signal.SIGINT)
    demo.communicate(timeout=60)

    assert demo.returncode != 0
    assert poll(lambda: not processes(tmp_path), timeout=20)
