"""What a schedule is exported as, run by the programs themselves: a real Airflow, a real cron."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from sretoolkit.clock import poll
from sretoolkit.config import Config
from sretoolkit.runbook.export import EXPORTS
from sretoolkit.runbook.schedules import Schedules
from sretoolkit.store import Store
from tests.runbook.desk import CHANGING, Desk
from tests.runbook.test_schedules import schedule
from tests.stack.airflow import Airflow
from tests.stack.cron import Cron

pytestmark = [pytest.mark.live, pytest.mark.timeout(900)]  # Airflow is installed once

Write = Callable[..., Path]
PROGRAM = str(Path(sys.executable).with_name("sretoolkit"))
HOSTILE = '{{ 1 + 1 }} {% raw %} %h $HOME $(reboot) `reboot` \'; reboot # """\n* * * * * reboot\n\\'
TELLING = (("text: str", ["parameters"]), "print(text)")
GIVEN = ("PATH", "HOME")
ZONE = ZoneInfo("Asia/Kolkata")
# the next ten times of each DAG of a folder, after a moment
TIMES = """
import json, sys
from itertools import islice
import pendulum
from airflow.dag_processing.dagbag import DagBag
from airflow.serialization.serialized_objects import DagSerialization
bag, start = DagBag(sys.argv[1]), pendulum.parse(sys.argv[2])
times = {}
for name, dag in bag.dags.items():
    kept = DagSerialization.from_dict(DagSerialization.to_dict(dag))  # as the scheduler has it
    times[name] = [str(info.run_after) for info in islice(kept.iter_dagrun_infos_between(start, start.add(years=2)), 10)]
print(json.dumps([{path: str(error) for path, error in bag.import_errors.items()}, times]))
"""


@pytest.fixture
def airflow(tmp_path: Path, desk: Desk) -> Airflow:
    """An Airflow whose tasks have the desk's store; skipped where it cannot be installed."""
    try:
        return Airflow(tmp_path / "airflow", desk.environment)
    except RuntimeError as error:
        pytest.skip(str(error))


def export(desk: Desk, name: str, kind: str, folder: Path, *options: str) -> str:
    """Write a schedule for another program; gives the text."""
    done = desk.run("schedule", "export", name, "--as", kind, "--into", str(folder), *options)
    assert 0 == done.returncode, done.stdout
    return Path(done.stdout.strip()).read_text()


def add(desk: Desk, path: Path, *arguments: str, name: str = "book") -> None:
    """Add a schedule of a notebook."""
    done = desk.run("schedule", "add", str(path), "--name", name, *arguments)
    assert 0 == done.returncode, done.stdout


def due_since(desk: Desk, tick: datetime) -> None:
    """Nobody has looked at the schedule since the moment before a tick."""
    with Store(desk.config["store.url"]) as store:
        before = (tick - timedelta(seconds=1)).timestamp()
        store.write("UPDATE schedules SET ticked = :before, due = :due", before=before, due=tick.timestamp())


def daily(tick: datetime) -> list[str]:
    """The options of a schedule that is due once a day, at that time of the day."""
    there = tick.astimezone(ZONE)
    return ["--cron", f"{there.minute} {there.hour} * * *", "--tz", str(ZONE)]


def test_airflow_runs_a_tick_once(airflow: Airflow, desk: Desk, write_notebook: Write) -> None:
    """It loads the file without a word of complaint, has our times, and runs the tick; once more, it runs nothing."""
    tick = datetime.now(UTC).replace(second=0, microsecond=0)
    path = write_notebook(*TELLING, name='it\'s {{ 1 + 1 }} % "a"')
    add(desk, path, *daily(tick), "-p", f"text={HOSTILE}")
    due_since(desk, tick)
    export(desk, "book", "airflow", airflow.dags)
    airflow.migrate()

    first = airflow.run("dags", "test", "sretoolkit-book", tick.isoformat())
    assert [] == [line for line in first.splitlines() if "warning" in line and str(airflow.dags) in line]
    again = airflow.run("dags", "test", "sretoolkit-book", tick.isoformat())

    assert "no tick is due that was not dealt with already" in again
    (run,) = desk.runs()
    assert ("completed", "schedule book", {"text": HOSTILE}) == (run.state, run.origin, run.parameters)
    assert HOSTILE == desk.output(run, 2).removesuffix("\n")
    assert "whole" == desk.journal_state(run.id)
    with Store(desk.config["store.url"]) as store:
        (noted,) = Schedules(store).history("book")
    assert (tick, "completed", run.id) == (datetime.fromtimestamp(noted.tick, UTC), noted.state, noted.run)

    theirs = airflow.run("dags", "next-execution", "sretoolkit-book", "-n", "4", "--field", "run_after")
    ours = json.loads(desk.run("schedule", "next", "book", "-n", "3", "--json").stdout)
    times = [line for line in theirs.splitlines() if line.startswith("20") and len(line) == len(tick.isoformat())]
    assert [tick.isoformat(), *(each["tick"] for each in ours)] == times


def test_what_airflow_ends_takes_back_what_it_did(airflow: Airflow, desk: Desk, write_notebook: Write) -> None:
    """Its task is interrupted in the middle of a plan: the run is told, undoes, and ends before the task does."""
    tick = datetime.now(UTC).replace(second=0, microsecond=0)
    add(desk, write_notebook(*CHANGING), *daily(tick), "-p", f"folder={desk.world.path}", "--apply")
    due_since(desk, tick)
    export(desk, "book", "airflow", airflow.dags)
    airflow.migrate()
    desk.world.tell("b.done", "hang")

    task = airflow.start("dags", "test", "sretoolkit-book")
    try:
        hanging = desk.world.path / "b.hanging"
        assert poll(lambda: hanging.exists() or task.poll() is not None, timeout=120)
        os.kill(task.pid, signal.SIGINT)
        said, _ = task.communicate(timeout=60)
    finally:
        airflow.end(task)
    assert hanging.exists(), said

    assert ("interrupted", ["old"] * 3) == (desk.last.state, desk.values)
    assert [] == desk.survivors()


def test_airflow_comes_to_the_same_times(airflow: Airflow) -> None:
    """Ten expressions in four zones, the next ten ticks of each, by its own timetables."""
    start = datetime(2026, 1, 10, 12, tzinfo=UTC)
    crons = ("*/20 * * * *", "@hourly", "5 4 * * *", "30 2 * * 1-5", "0 */5 1,10 * *", "15 6-9 * 2,5-7 1-5", "0 0 * * 7",
             "0 12 1 * 5", "@monthly", "59 23 31 12 *")  # fmt: skip
    ours: dict[str, list[str]] = {}
    for zone in ("UTC", "Europe/Berlin", "Asia/Kolkata", "America/New_York"):
        for cron in crons:
            made = schedule(name=f"book-{len(ours)}", cron=cron, zone=zone)
            for name, text in EXPORTS["airflow"](made, Config(), PROGRAM).files().items():
                (airflow.dags / name).write_text(text)
            ours[f"sretoolkit-{made.name}"] = [
                str(tick) for tick in islice(made.times.after(start), 10) if tick < start + timedelta(days=730)
            ]
    said = airflow.python(TIMES, str(airflow.dags), (start + timedelta(seconds=1)).isoformat())
    errors, theirs = json.loads(said.splitlines()[-1])
    assert {} == errors
    assert ours == theirs


@pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root")
def test_cron_runs_a_tick(tmp_path: Path, desk: Desk, write_notebook: Write) -> None:
    """With nothing but what cron gives it and the home's configuration; of a schedule that is gone, cron mails why."""
    path = write_notebook(TELLING[0], f"import json, os\nprint(json.dumps([text, *map(os.getenv, {GIVEN})]))")
    program = tmp_path / "it's 100%" / "sretoolkit"
    program.parent.mkdir()
    program.symlink_to(PROGRAM)
    lines = []
    for name in ("book", "gone"):
        add(desk, path, "--cron", "* * * * *", "--tz", str(ZONE), "-p", f"text={HOSTILE}", name=name)
        lines.append(export(desk, name, "crontab", tmp_path / "exported", "--program", str(program)))
    assert 0 == desk.run("schedule", "remove", "gone").returncode
    home = tmp_path / "root"
    configure(home, desk.config)

    try:
        made = Cron(tmp_path / "cron", "".join(lines), home=home)
    except RuntimeError as error:
        pytest.skip(str(error))
    with made as cron:
        assert poll(lambda: [run for run in desk.runs() if run.state == "completed"], timeout=150), cron.mails
        assert poll(lambda: len(cron.mails) >= 2, timeout=30)
        mails = cron.mails

    run = desk.runs()[-1]
    assert ("completed", "schedule book", {"text": HOSTILE}) == (run.state, run.origin, run.parameters)
    assert [HOSTILE, "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", str(home)] == json.loads(
        desk.output(run, 2)
    )
    assert "whole" == desk.journal_state(run.id)
    assert 2 == desk.run("schedule", "fire", "gone").returncode
    assert any("schedule fire gone" in mail and "no schedule 'gone'" in mail for mail in mails)
    assert any("schedule fire book" in mail and f"run {run.id}: completed" in mail for mail in mails)


def configure(home: Path, config: Config) -> None:
    """The user's configuration in a home: where the store, the keys and the records are."""
    file = home / ".config" / "sretoolkit" / "sretoolkit.toml"
    file.parent.mkdir(parents=True)
    values = [("store", "url"), ("journal", "keys"), ("records", "folder")]
    file.write_text("".join(f"[{table}]\n{key} = {json.dumps(config[f'{table}.{key}'])}\n" for table, key in values))
