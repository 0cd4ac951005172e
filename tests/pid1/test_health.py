"""The report: zombies, process ids, what is unknown, and how it reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from sretoolkit.config import Config
from sretoolkit.errors import ConfigError, HostError
from sretoolkit.hosts.result import Output
from sretoolkit.pid1 import health, report, scan
from sretoolkit.pid1.process import parse
from sretoolkit.pid1.workload import Workload
from sretoolkit.report import Finding
from tests.hosts.scripted import scripted
from tests.pid1.facts import TERM, Scan, only


def _findings(look: Scan) -> list[Finding]:
    return list(report(look.done(), "box").sorted)


def _of(look: Scan, word: str) -> Finding:
    return next(finding for finding in _findings(look) if word in finding.summary)


def test_zombies_of_the_first_process_call_for_an_init() -> None:
    """It does not reap its children; ten and more are high."""
    look = Scan()
    look.init(500, caught=TERM)
    look.zombies(500, seen=12, stayed=11, init=500)
    finding = _of(look, "zombies")
    assert (finding.severity, finding.subject, finding.proof) == ("high", "app (pid 500)", "observed")
    assert finding.summary == "11 zombies: the first process does not reap its children"
    assert "put an init before it" in finding.remedy
    assert finding.evidence == "11 of 12 were still there at the second look"


def test_zombies_of_another_process_do_not() -> None:
    """No init can reap them, and the finding says whose they are."""
    look = Scan()
    look.init(500, name="tini", sigwait=TERM)
    look.process(510, name="worker", parent=500)
    look.zombies(510, seen=3, stayed=3, init=500)
    finding = _of(look, "zombies")
    assert finding.severity == "medium"
    assert finding.summary.startswith("3 zombies of worker (pid 510)")
    assert finding.remedy.startswith("an init will not help")


def test_zombies_that_went_are_no_finding() -> None:
    """Every process is a zombie for a moment."""
    look = Scan()
    look.init(500, caught=TERM)
    look.zombies(500, seen=40, stayed=0, init=500)
    assert not any("zombies:" in finding.summary for finding in _findings(look))


def test_zombies_of_the_runtime_are_the_runtimes() -> None:
    """A parent that entered from outside, such as a shim, stands under its own name."""
    look = Scan()
    look.init(500, caught=TERM)
    look.process(700, name="containerd-shim", parent=1, depth=1)
    look.process(710, name="sh", parent=700, depth=2)
    look.zombies(710, seen=2, stayed=2, init=1)
    finding = _of(look, "entered from outside")
    assert (finding.subject, finding.remedy) == (
        "sh (pid 710)",
        "an init will not help: mend sh (pid 710) (wait for children, SIGCHLD); restarting it clears them",
    )


@pytest.mark.parametrize(
    ("level", "severity", "summary"),
    [
        ((100, "100", 0), "high", "0 process ids are left"),
        ((80, "100", 0), "medium", "20 process ids are left"),
        ((95, "100", 3), "critical", "3 forks have failed at this cgroup's limit since it was made"),
        ((5, "100", 3), "high", "3 forks have failed at this cgroup's limit since it was made"),
        ((5, "max", 0), "medium", "no cgroup above it limits its process ids: one leak can take the node"),
    ],
)
def test_room_for_process_ids(level: tuple[int, str, int], severity: str, summary: str) -> None:
    """Little room, failed forks, and no limit at all are findings."""
    look = Scan()
    look.init(500, caught=TERM, levels=[level])
    finding = _of(look, summary)
    assert (finding.severity, finding.summary) == (severity, summary)


def test_the_lowest_ceiling_may_be_above() -> None:
    """The cgroup with the least room left counts, wherever it is."""
    look = Scan()
    look.init(500, caught=TERM, levels=[(10, "1000", 0), (190, "200", 0)])
    finding = _of(look, "are left")
    assert (finding.summary, finding.evidence) == ("10 process ids are left", "pids.current 190, pids.max 200 in /")


def test_the_whole_host_may_run_out() -> None:
    """All threads count against the lower of pid_max and threads-max."""
    assert _of(Scan(tasks=30000), "whole host").severity == "critical"
    assert not any("whole host" in finding.summary for finding in _findings(Scan(tasks=20000)))


def test_the_hosts_own_init_is_not_stopped() -> None:
    """Nobody sends it a stop signal: no verdict on that, but it is in the table."""
    made = report(Scan().done(), "box")
    assert (made.ok, list(made.findings)) == (True, [])
    assert made.tables[0].rows[0][2:5] == ("systemd (the host's init)", "systemd", "not asked")


def test_inside_a_container_pid_1_is_judged_as_any_other() -> None:
    """A look from inside a namespace sees only that, and says so."""
    made = report(Scan(own="pid:[4026532000]").done(), "box")
    assert made.facts["namespaces"] == 1
    assert any("only the processes in it are seen" in finding.summary for finding in made.findings)


def test_hidden_processes_are_said() -> None:
    """When /proc shows not even the first process, nothing is called healthy."""
    machine = parse(
        "begin plain\nhost\t1000\tx86_64\t6.1\tpid:[4026531836]\t32768\t65536\t100\t5.0\nend\nend of scan\n"
    )
    made = report(machine, "box")
    assert (made.ok, made.findings[0].remedy) == (False, "look as root")


def test_what_is_unknown_is_called_so() -> None:
    """Without root the report says what it could not see."""
    look = Scan(uid=1000)
    look.init(500, name="sleep")
    made = report(look.done(), "box")
    assert made.tables[0].rows[1][4:6] == ("SIGTERM (assumed): unknown", "unknown")
    assert [finding.remedy for finding in made.findings] == ["look as root"]


def test_the_same_thing_of_many_is_one_finding() -> None:
    """Forty containers with the same fault are one finding that names four and counts the rest."""
    look = Scan()
    for pid in range(500, 540):
        look.init(pid, name="sleep")
    dropped = [finding for finding in _findings(look) if "dropped" in finding.summary]
    assert [finding.subject.endswith("and 36 more") for finding in dropped] == [True]
    assert dropped[0].subject.startswith("sleep (pid 500), sleep (pid 501)")


def test_the_assumed_signal_is_shown_as_assumed() -> None:
    """Only a given stop signal, or one that the container's runtime knows, is not called assumed."""
    look = Scan()
    look.init(500, caught=TERM)
    assert report(look.done(), "box").tables[0].rows[1][4] == "SIGTERM (assumed): handled"
    asked = report(look.done(), "box", stop_signal="SIGQUIT")
    assert asked.tables[0].rows[1][4] == "SIGQUIT: dropped"
    assert any("SIGQUIT will be dropped" in finding.summary for finding in asked.findings)
    known = Workload(runtime="docker", name="web", pid=500, stop_signal="SIGQUIT")
    told = report(look.done(), "box", containers=[known])
    assert told.tables[0].rows[1][1:5:3] == ("web", "SIGQUIT: dropped")
    assert any(finding.subject == "web" and "docker run --init" in finding.remedy for finding in told.findings)


def test_hostile_names_cannot_forge_a_record_or_an_escape() -> None:
    """Tabs, newlines and escapes in names and arguments stay data, and are shown harmless."""
    look = Scan()
    look.init(500, name="a\tb) Z 1 \x1b[31m", program="x\036i\t7", arguments=["run", "line\036i\t999", "\x1b[2J"])
    init = only(look.done())
    assert init.process.name == "a\tb) Z 1 \x1b[31m"
    assert init.exe == "/usr/bin/x\ni\t7"
    assert init.arguments == ("run", "line\ni\t999", "\x1b[2J")
    assert "\x1b" not in str(report(look.done(), "box"))


def test_a_script_that_did_not_end_is_an_error() -> None:
    """Half a look is no look."""
    with pytest.raises(HostError, match="cannot be read"):
        scan(scripted({"sh -c": "host\t0\nno end"}))
    with pytest.raises(HostError, match="no awk here"):
        scan(scripted({"sh -c": Output(1, b"", b"no awk here")}))


def test_a_system_without_namespaces_is_no_healthy_one() -> None:
    """Where the script ends but finds no Linux, nothing is reported."""
    with pytest.raises(HostError, match="this is no Linux"):
        scan(scripted({"sh -c": "begin plain\nhost\t0\tamd64\t14.1\t\t\t\t\t\nend\nend of scan\n"}))


def test_a_wrong_signal_is_refused_before_anything_is_done() -> None:
    """Not even a connection is opened."""
    with pytest.raises(ConfigError, match="is no signal"):
        health("no-such-host", Config(), stop_signal="SIGNOPE")


def test_the_script_runs_here_as_whoever_we_are() -> None:
    """On this machine the scan gets to its end, and nothing that it prints is left unread."""
    made = health("localhost", Config())
    assert made.tables[0].columns[:3] == ("pid", "container", "first process")
    assert Path("/proc/1").exists()
