"""Schedules in the words of other programs, which are asked themselves where they are here."""

from __future__ import annotations

import ast
import random
import re
import shlex
import shutil
import subprocess
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from sretoolkit.config import Config
from sretoolkit.errors import ConfigError
from sretoolkit.runbook.export import EXPORTS
from sretoolkit.runbook.schedule import Schedule
from tests.runbook.test_schedules import schedule

CLUSTER = Config.of(executors={"kubernetes": {"image": "registry.example/sre:1", "namespace": "sre"}})
ANALYZE = shutil.which("systemd-analyze")
HOSTILE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40) | st.sampled_from([
    "%n%h", "a\nExecStart=/bin/false", "x\\", '";reboot;"', "$(reboot)", "`reboot`", "'; reboot #", "{{ 1 + 1 }}",
    '"""\nimport os', "a.sh", "%\n", "*/5 * * * * reboot", "---\nkind: Secret",
])  # fmt: skip


def exported(kind: str, made: Schedule, program: str = "/usr/bin/true") -> str:
    """All that is exported, as one text."""
    return "\n".join(EXPORTS[kind](made, CLUSTER, program).files().values())


def hostile(text: str, number: int) -> Schedule:
    """A schedule of which everything that may be any text is this one."""
    return schedule(runbook=text, ticket=text, parameters={"text": text}, actor={"user": text}, id=f"s{number}")


def test_what_systemd_is_given_it_takes(tmp_path: Path) -> None:
    """Both units pass its own check, and say what to run."""
    if ANALYZE is None:
        pytest.skip("systemd-analyze is not here")
    made = schedule(cron="30 2 1,15 * 1-5", zone="Europe/Berlin", jitter=90.0, missed="once")
    files = EXPORTS["systemd"](made, CLUSTER, "/usr/bin/true").files()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    command = [ANALYZE, "verify", "--man=no", *map(str, sorted(tmp_path.glob("sretoolkit*")))]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert [] == [line for line in done.stderr.splitlines() if "sretoolkit-book" in line], done.stderr
    assert {"sretoolkit-book.service", "sretoolkit-book.timer"} == set(files)
    timer = files["sretoolkit-book.timer"]
    assert [True, True, 2] == ["Persistent=yes" in timer, "RandomizedDelaySec=90s" in timer, timer.count("OnCalendar=")]


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/New_York"])
def test_systemd_comes_to_the_same_times(zone: str) -> None:
    """Twenty expressions, the next ten ticks of each, by its own calendar."""
    if ANALYZE is None:
        pytest.skip("systemd-analyze is not here")
    dice = random.Random(zone)
    minutes, hours, days = ("0", "5,35", "*/20"), ("*", "4", "6-9", "*/5"), ("*", "1", "10,20")
    for _ in range(20):
        fields = (minutes, hours, days, ("*", "2", "5-7"), ("*", "1-5", "0", "7"))
        cron = " ".join(dice.choice(choices) for choices in fields)
        made = schedule(cron=cron, zone=zone)
        lines = re.findall(r"OnCalendar=(.*)", exported("systemd", made))
        said = subprocess.run(
            [ANALYZE, "calendar", "--iterations=10", "--base-time=2026-01-10 12:00:00 UTC", *lines],
            capture_output=True, text=True, check=True, timeout=60, env={"TZ": "UTC", "LC_ALL": "C"},
        ).stdout  # fmt: skip
        found = {
            datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
            for text in re.findall(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) UTC", "\n".join(
                line for line in said.splitlines() if "Normalized" not in line and "Original" not in line
            ))
        }  # fmt: skip
        expected = list(islice(made.times.after(datetime(2026, 1, 10, 12, tzinfo=UTC)), 10))
        assert expected == sorted(found)[:10], (cron, lines, said)


def test_a_crontab_line() -> None:
    """The expression as it was, the command quoted for the shell and for cron."""
    text = exported(
        "crontab", schedule(cron="*/10 8-17 * * mon-fri", zone="Europe/Berlin"), "/opt/it's 100%/sretoolkit"
    )
    assert [
        "CRON_TZ=Europe/Berlin",
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "*/10 8-17 * * mon-fri '/opt/it'\"'\"'s 100\\%/sretoolkit' schedule fire book",
    ] == [line for line in text.splitlines() if not line.startswith("#")]


def test_a_cron_job() -> None:
    """Numbers alone, the zone, and the pod of the executor; the store's address by reference."""
    manifest = yaml.safe_load(exported("kubernetes", schedule(cron="0 4 * jan-mar 7", zone="Europe/Berlin")))
    assert ("batch/v1", "CronJob", "book", "sre") == (
        manifest["apiVersion"], manifest["kind"], manifest["metadata"]["name"], manifest["metadata"]["namespace"],
    )  # fmt: skip
    spec = manifest["spec"]
    assert ("0 4 * 1-3 0", "Europe/Berlin", "Forbid") == (spec["schedule"], spec["timeZone"], spec["concurrencyPolicy"])
    pod = spec["jobTemplate"]["spec"]["template"]["spec"]
    assert ["python", "-m", "sretoolkit", "schedule", "fire", "book"] == pod["containers"][0]["command"]
    assert "timeZone" not in exported("kubernetes", schedule())
    with pytest.raises(ConfigError, match="is no image") as caught:
        EXPORTS["kubernetes"](schedule(), Config(), "").files()
    assert "[executors.kubernetes]" in caught.value.hint


@pytest.mark.parametrize("kind", list(EXPORTS))
def test_what_another_program_does_not_know_is_refused(kind: str) -> None:
    """The last day of the month, the second Tuesday, and (but for systemd and cron) both kinds of days at once."""
    for cron in ("0 0 L * *", "0 0 * * 2#2", "0 0 * * 5L"):
        with pytest.raises(ConfigError, match="no other program knows"):
            exported(kind, schedule(cron=cron))
    if kind in ("kubernetes", "airflow"):
        with pytest.raises(ConfigError, match="both a day of the month and a weekday"):
            exported(kind, schedule(cron="0 0 */2 * 1"))


@given(HOSTILE, HOSTILE, st.integers(0, 9))
@settings(max_examples=150)
def test_nothing_breaks_out_of_a_unit(text: str, program: str, number: int) -> None:
    """Each unit has the lines that it should have, and the command's words come back as they were."""
    try:
        files = EXPORTS["systemd"](hostile(text, number), CLUSTER, f"/{program}").files()
    except ConfigError:
        assert not program.isprintable()
        return
    for unit in files.values():
        names = [line.partition("=")[0] for line in unit.split("\n") if line and not line.startswith(("[", "#"))]
        assert len(set(names)) == len(names)
        assert set(names) <= {
            "Description", "Wants", "After", "Type", "ExecStart", "KillMode", "TimeoutStopSec", "OnCalendar", "AccuracySec",
            "RandomizedDelaySec", "Persistent", "WantedBy",
        }  # fmt: skip
        (described,) = [line for line in unit.split("\n") if line.startswith("Description=")]
        assert not re.search(r"(?<!%)(%%)*%(?!%)", described)
        assert (len(described) - len(described.rstrip("\\"))) % 2 == 0
    (line,) = re.findall(r"^ExecStart=(.*)$", files["sretoolkit-book.service"], re.MULTILINE)
    assert [f"/{program}", "schedule", "fire", "book"] == _unit_words(line)


def _unit_words(line: str) -> list[str]:
    """The words of ExecStart as systemd reads them: C escapes in quotes, %% and $$ for one."""
    words = re.findall(r'"((?:[^"\\]|\\.)*)"', line)
    assert line == " ".join(f'"{word}"' for word in words)
    plain = [re.sub(r"\\(.)", r"\1", word) for word in words]
    return [word.replace("%%", "%").replace("$$", "$") for word in plain]


@given(HOSTILE, HOSTILE, st.integers(0, 9))
@settings(max_examples=150)
def test_nothing_breaks_out_of_a_crontab(text: str, program: str, number: int) -> None:
    """One line is no comment and no variable; what cron hands to the shell are our words. Or it is refused."""
    try:
        written = exported("crontab", hostile(text, number), f"/{program}")
    except ConfigError:
        assert not f"/{program}".isprintable()
        return
    lines = [line for line in written.split("\n") if line and not line.startswith("#")]
    assert ["CRON_TZ", "PATH"] == [line.partition("=")[0] for line in lines[:-1]]
    command = lines[-1].split(" ", 5)[5]
    assert not re.search(r"(?<!\\)%", command)
    assert [f"/{program}", "schedule", "fire", "book"] == shlex.split(command.replace("\\%", "%"))


@given(HOSTILE, HOSTILE, st.integers(0, 9))
@settings(max_examples=100)
def test_nothing_breaks_out_of_a_manifest(text: str, program: str, number: int) -> None:
    """It is one document, the same whatever the runbook, its parameters and who made it are called."""
    program = program if program.isprintable() else ""
    (manifest,) = yaml.safe_load_all(exported("kubernetes", hostile(text, number), program))
    assert yaml.safe_load(exported("kubernetes", schedule())) == manifest


@given(HOSTILE, HOSTILE, st.integers(0, 9))
@settings(max_examples=150)
def test_nothing_breaks_out_of_a_dag(text: str, program: str, number: int) -> None:
    """The file's statements are always the same; what differs are literals."""
    program = program if program.isprintable() else ""
    source = exported("airflow", hostile(text, number), program)
    assert _skeleton(exported("airflow", schedule())) == _skeleton(source)
    command = next(node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Assign))
    assert [program, "schedule", "fire", "book"] == ast.literal_eval(command)


def _skeleton(source: str) -> str:
    tree = ast.parse(source)

    class Blank(ast.NodeTransformer):
        def visit_Constant(self, node: ast.Constant) -> Any:
            return ast.copy_location(ast.Constant(type(node.value).__name__), node)

    return ast.dump(Blank().visit(tree))
