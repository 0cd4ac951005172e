"""From what a host prints to facts: whole or refused; and both ways to look, on a machine made of files."""

from __future__ import annotations

import base64
import gzip
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sretoolkit.errors import HostError
from sretoolkit.pid1 import here, scan
from sretoolkit.pid1.groups import usage
from sretoolkit.pid1.process import Machine, Waits, assemble, parse
from tests.hosts.scripted import commands, scripted
from tests.pid1.facts import TERM, Scan, only


def _look() -> Scan:
    look = Scan()
    look.init(500, caught=TERM)
    return look


def _packed(text: str) -> str:
    body = text.partition("begin plain\n")[2].rpartition("end of scan")[0]
    return "\nbegin packed\n" + base64.encodebytes(gzip.compress(body.encode())).decode() + "end of scan\n"


def test_a_packed_scan_is_the_same() -> None:
    """Where gzip and base64 are there the records come so, at a tenth of the size."""
    text = _look().text
    assert parse(_packed(text)) == parse(text)


@pytest.mark.parametrize("pack", [str, _packed])
def test_noise_around_it_is_passed_over(pack: type[str]) -> None:
    """Banners, prompts, a message of the day, and the line ends of a terminal."""
    text = pack(_look().text)
    noisy = f"Welcome!\nLast login: today\nbegin nothing\n$ {text}logout\nend\n"
    assert parse(noisy) == parse(text) == parse(noisy.replace("\n", "\r\n"))


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("", "''"),
        ("This account is not available\n", "not available"),
        ("<html>502</html>" * 40, "more characters"),
        ("\x1b[2Jbegin plain\n", r"\\x1b"),
        ("begin plain\nhost\t0\n", "did not get to its end"),
        ("begin plain\nend of scan\n", "not whole"),
        ("begin plain\nhost\t0\nend\nend of scan\n", "not whole"),
        ("begin packed\n!!!!\nend of scan\n", "printed into the scan"),
        ("begin packed\nSGVsbG8=\nend of scan\n", "printed into the scan"),
        ("begin plain\nhost" + "\tx" * 8 + "\nend\nend of scan\n", "not as it should be"),
    ],
)
def test_a_host_that_answers_garbage_is_an_error(text: str, seen: str) -> None:
    """With the host's name and a harmless piece of what it printed."""
    with pytest.raises(HostError, match=seen) as caught:
        parse(text, "web1")
    assert "web1" in caught.value.message
    assert "\x1b" not in caught.value.message


def test_half_a_packed_scan_is_an_error() -> None:
    """A scan that was cut off is no scan."""
    lines = _packed(_look().text).split("\n")
    with pytest.raises(HostError, match="cut off"):
        parse("\n".join([*lines[:3], "end of scan", ""]))


@given(st.text(), st.integers(0, 400))
def test_damage_is_an_error_or_a_machine(noise: str, at: int) -> None:
    """Whatever is printed into the records: another exception never comes out."""
    text = _look().text
    with suppress(HostError):
        assert isinstance(parse(text[:at] + noise + text[at:], "web1"), Machine)


def test_one_command_is_all_that_is_asked() -> None:
    """One round trip a look, whatever there is to find."""
    host = scripted({"sh -c": _packed(_look().text)})
    assert only(scan(host)).process.pid == 500
    assert len(commands(host)) == 1


def test_when_a_process_started_is_its_identity() -> None:
    """Pid and start: the same pid with another start is another process; the age between two looks changes nothing."""
    first, second, third = Scan(), Scan(), Scan()
    for look, age in ((first, 500), (second, 500), (third, 20)):
        look.init(500, caught=TERM, age=age)
    one, two, three = (only(look.done()).process for look in (first, second, third))
    assert (one == two, one == three, one.started, one.age) == (True, False, 50_000, 500.0)


def test_what_is_not_seen_is_none() -> None:
    """No record of a cgroup, a freezer, limits or a namespace: None, never a guess."""
    init = only(_look().done())
    assert (init.cgroup, init.frozen, init.pid_max, init.nproc, init.users) == (None, None, None, None, ())


def test_a_childs_waits_are_its_own() -> None:
    """A child whose threads block SIGTERM, one of them in sigwait for it."""
    look = _look()
    look.process(510, name="worker", parent=500, blocked=TERM)
    look.waits(510, [TERM, 0], sigwait=TERM)
    (child,) = only(look.done()).children
    assert child.waits == Waits(sigwait=TERM, signalfd=0, all_block=0, any_child=False)


class Files:
    """A /proc and cgroups made of files: what both ways to look are run on."""

    def __init__(self, folder: Path) -> None:
        self.proc, self.groups = folder / "proc", folder / "cgroup"
        for path, text in {
            "sys/kernel/pid_max": "32768\n",
            "sys/kernel/threads-max": "65536\n",
            "loadavg": "0.10 0.20 0.30 1/123 999\n",
            "uptime": "1000.50 1900.00\n",
            "self/mounts": f"proc /proc proc rw 0 0\ncgroup2 {self.groups} cgroup2 rw,nsdelegate 0 0\n",
        }.items():
            self.write(self.proc / path, text)
        (self.proc / "self/ns").mkdir()
        (self.proc / "self/ns/pid").symlink_to("pid:[4026531836]")
        self.cgroup("/", procs=[1], **{"cgroup.controllers": "cpu memory pids\n"})
        self.process(1, "systemd", 0, "1", namespace="4026531836", cgroup="/")

    @staticmethod
    def write(path: Path, text: str) -> None:
        """A file, with the folders above it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def cgroup(self, path: str, procs: list[int], **files: str) -> None:
        """A cgroup with its members and other files."""
        for name, text in {**files, "cgroup.procs": "".join(f"{pid}\n" for pid in procs)}.items():
            self.write(self.groups / path.strip("/") / name, text)

    def process(
        self,
        pid: int,
        name: str,
        parent: int,
        inside: str,
        *,
        namespace: str,
        cgroup: str,
        state: str = "S",
        uid: int = 0,
    ) -> None:
        """A process of one thread in a namespace; ``inside`` is its NSpid."""
        folder = self.proc / str(pid)
        threads = 1
        self.write(
            folder / "status",
            f"Name:\t{name}\nState:\t{state} (x)\nTgid:\t{pid}\nPid:\t{pid}\nPPid:\t{parent}\n"
            f"Uid:\t{uid}\t{uid}\t{uid}\t{uid}\nNSpid:\t{inside}\nThreads:\t{threads}\n"
            f"SigBlk:\t{0:016x}\nSigIgn:\t{0:016x}\nSigCgt:\t{TERM:016x}\n",
        )
        rest = [state, str(parent), *["0"] * 15, str(threads), "0", "4200", "0"]
        self.write(folder / "stat", f"{pid} ({name}) {' '.join(rest)}\n")
        self.write(folder / "cgroup", f"0::{cgroup}\n")
        self.write(
            folder / "limits", "Max processes             50                   50                   processes \n"
        )
        self.write(folder / "cmdline", f"/bin/{name}\0--now\0")
        self.write(folder / "syscall", "61 0xffffffff 0x0 0x0 0x0 0x0 0x0 0x7ffc 0x7f00\n")
        self.write(folder / f"task/{pid}/status", (folder / "status").read_text())
        self.write(folder / f"task/{pid}/syscall", (folder / "syscall").read_text())
        (folder / "fdinfo").mkdir()
        self.write(folder / "fdinfo/3", "pos:\t0\nsigmask:\t0000000000010000\n")
        (folder / "ns").mkdir()
        (folder / "ns/pid").symlink_to(f"pid:[{namespace}]")
        self.write(folder / f"task/{pid}/children", "")
        if (up := self.proc / f"{parent}/task/{parent}/children").exists():
            self.write(up, up.read_text() + f"{pid} ")
        program = self.proc.parent / f"bin/{name}"
        self.write(program, "\x7fELF\x02rest")
        (folder / "exe").symlink_to(program)

    def both(self) -> tuple[Machine, Machine]:
        """The machine as the fast look finds it, and as the script does."""
        script = Path(sys.modules["sretoolkit.pid1"].__path__[0], "scan.sh")
        command = ["/bin/sh", str(script), "0", str(self.proc)]
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
        return assemble(here.look(0, root=str(self.proc))), parse(done.stdout)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """A machine with cgroup v2 that counts process ids: a container of four processes, one of them a zombie."""
    made = Files(tmp_path)
    limits: Mapping[str, str] = {"pids.current": "7\n", "pids.max": "9\n", "pids.events": "max 3\n"}
    events = {"cgroup.events": "populated 1\nfrozen 1\n", "cgroup.threads": "500\n510\n511\n"}
    made.cgroup("/pods", procs=[], **{"pids.current": "7\n", "pids.max": "max\n", "pids.events": "max 0\n"})
    made.cgroup("/pods/web", procs=[500, 510, 511], **{**limits, "pids.current": "4\n", **events})
    where = {"namespace": "4026539999", "cgroup": "/pods/web"}
    made.process(500, "app", 1, "500\t1", uid=1000, **where)
    made.process(510, "worker", 500, "510\t2", uid=1000, **where)
    made.process(511, "other", 500, "511\t3", uid=1001, **where)
    made.process(512, "gone", 510, "512\t4", state="Z", uid=1000, **where)
    return made


def test_cgroup_v2_is_read_both_ways(files: Files) -> None:
    """Path, current, limit and failed forks of each level; frozen; users' tasks; whose the zombie is: the same facts."""
    fast, script = files.both()
    init = only(fast)
    assert init == only(script)
    assert (fast.controller, script.mount) == ("v2", str(files.groups))
    assert [(level.path, level.current, level.limit, level.failures) for level in init.levels] == [
        ("/pods/web", 4, 9, 3),
        ("/pods", 7, None, 0),
    ]
    assert (init.cgroup, init.frozen, init.nproc) == ("/pods/web", True, 50)
    assert init.users == ((1000, 3), (1001, 1))
    assert [(group.parent and group.parent.pid, group.seen, group.stayed) for group in init.zombies] == [(510, 1, 1)]
    assert init.arguments == ("/bin/app", "--now")
    assert init.waits == Waits(sigwait=0, signalfd=0x10000, all_block=0, any_child=True)


def test_cgroup_v2_knows_its_zombies(files: Files) -> None:
    """Charged less running, sub-cgroups counted, with no process looked at."""
    found = {each.path: (each.current, each.live, each.zombies, each.limit) for each in usage(str(files.proc))}
    assert found == {"/pods": (7, 3, 4, None), "/pods/web": (4, 3, 1, 9)}


def test_a_cgroup_outside_of_ours_is_not_guessed(files: Files) -> None:
    """Seen from inside a cgroup namespace another's path begins with /..: it is shown, and nothing is read by it."""
    (files.proc / "500/cgroup").write_text("0::/../../pods/web\n")
    fast, script = files.both()
    assert only(fast) == only(script)
    assert (only(fast).cgroup, only(fast).levels, only(fast).frozen) == ("/../../pods/web", (), None)


def test_nothing_mounted_is_nothing_counted(files: Files) -> None:
    """Without cgroups the zombies are found all the same, by the processes themselves."""
    (files.proc / "self/mounts").write_text("proc /proc proc rw 0 0\n")
    fast, script = files.both()
    assert only(fast) == only(script)
    assert (fast.controller, only(fast).levels) == ("", ())
    assert [group.stayed for group in only(fast).zombies] == [1]


def test_what_vanished_meanwhile_is_left_out(files: Files) -> None:
    """A process without files, or with some of them: neither look trips over it."""
    (files.proc / "700").mkdir()
    (files.proc / "511/status").unlink()
    (files.proc / "512/stat").unlink()
    fast, script = files.both()
    assert [child.pid for child in only(fast).children] == [510] == [child.pid for child in only(script).children]
    assert [group.stayed for group in only(script).zombies] == [0] == [group.stayed for group in only(fast).zombies]


def test_a_later_process_with_a_zombies_pid_has_not_stayed(files: Files) -> None:
    """Started after the look began, so it is another one."""
    stat = files.proc / "512/stat"
    stat.write_text(stat.read_text().replace("4200", "100051"))
    fast, script = files.both()
    for machine in (fast, script):
        assert [(group.seen, group.stayed) for group in only(machine).zombies] == [(1, 0)]
