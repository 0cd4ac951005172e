"""The facts of PID 1 on real namespaces: both ways to look agree, and what is odd about a machine is said, not guessed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from sretoolkit.clock import poll
from sretoolkit.config import Config
from sretoolkit.hosts import connect
from sretoolkit.pid1 import Machine, here, report, scan
from sretoolkit.pid1.forecast import HOST, earliest
from sretoolkit.pid1.groups import usage
from sretoolkit.pid1.growth import paths, sample
from sretoolkit.pid1.process import Init, assemble, parse
from tests.stack.namespaces import Namespace
from tests.stack.sshd import Sshd

pytestmark = [pytest.mark.live, pytest.mark.skipif(os.getuid() != 0, reason="a PID namespace needs root")]

NOBODY = 65534
UID = 50_000 + os.getpid() % 10_000  # of this process alone: others may run the same tests beside us
PYTHON = sys.executable
APP = """
import os, resource, signal, sys, threading, time
words = sys.argv[1:]
def leave(count):
    for _ in range(count):
        child = os.fork()
        if child == 0: os._exit(0)
        os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
if "uid" in words: os.setuid(UID)
if "nproc" in words:
    resource.setrlimit(resource.RLIMIT_NPROC, (40, 40))
if "own" in words: leave(3)
if "threads" in words:
    for _ in range(5): threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
if "crew" in words:
    for _ in range(12):
        if os.fork() == 0:
            signal.pause()
if "blocks" in words and os.fork() == 0:
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    threading.Thread(target=signal.sigwait, args=([signal.SIGTERM],), daemon=True).start()
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    time.sleep(600)
if "child" in words and os.fork() == 0:
    leave(12)
    print("ready", flush=True)
    time.sleep(600)
if "child" not in words: print("ready", flush=True)
if "sigwait" in words:
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    signal.sigwait([signal.SIGTERM])
time.sleep(600)
"""


def _app(*words: str, cgroup: Path | None = None) -> Namespace:
    return Namespace(PYTHON, "-c", f"UID = {UID}\n{APP}", *words, ready="ready", cgroup=cgroup)


def _script(*command: str) -> Machine:
    """The look of the script, as whoever the command before it makes us."""
    text = Path(sys.modules["sretoolkit.pid1"].__path__[0], "scan.sh").read_text()
    words = [*command, "/bin/sh", "-c", text, "sh", "1", "/proc", "all"]
    done = subprocess.run(words, check=True, capture_output=True, text=True, timeout=60, cwd="/")
    return parse(done.stdout, "here")


def _fast() -> Machine:
    assert here.usable()
    return assemble(here.look(1, ask="all"), "here")


def _of(machine: Machine, *namespaces: Namespace) -> list[Init]:
    pids = {namespace.pid for namespace in namespaces}
    return [init for init in machine.inits if init.process.pid in pids]


def _only(machine: Machine, namespace: Namespace) -> Init:
    (found,) = _of(machine, namespace)
    return found


def _nested(machine: Machine) -> list[Init]:
    return [init for init in machine.inits if init.arguments == ("sleep", "611")]


@pytest.fixture
def controllers() -> Iterator[Path]:
    """A cgroup of the test's own that counts process ids; v1 or v2, as there is."""
    for mount in (Path("/sys/fs/cgroup/pids"), Path("/sys/fs/cgroup")):
        if (mount / "cgroup.procs").exists():
            break
    else:
        pytest.skip("there is no pids controller here")
    if (mount / "cgroup.controllers").exists():
        (mount / "cgroup.subtree_control").write_text("+pids")
    with _folder(mount) as folder:
        yield folder


class _folder:  # noqa: N801 - reads as a function
    """A cgroup that is removed again, once it is empty."""

    def __init__(self, mount: Path) -> None:
        self.path = mount / f"srt-{os.getpid()}-{os.urandom(3).hex()}"

    def __enter__(self) -> Path:
        self.path.mkdir()
        return self.path

    def __exit__(self, *_: object) -> None:
        assert poll(self._removed, timeout=20)

    def _removed(self) -> bool:
        try:
            self.path.rmdir()
        except OSError:
            return not self.path.exists()
        return True


def test_both_ways_to_look_find_the_same(controllers: Path) -> None:
    """The fast local look and the script agree on every fact of the same namespaces: one semantics, two readers."""
    cases = (["own"], ["child"], ["sigwait"], ["threads"], ["crew"], ["blocks"], ["uid", "nproc", "crew"])
    with ExitStack() as started:
        (controllers / "pids.max").write_text("500")
        made = [started.enter_context(_app(*case, cgroup=controllers)) for case in cases]
        made.append(started.enter_context(Namespace("/bin/sh", "-c", "sleep 600; true")))
        made.append(started.enter_context(Namespace("/bin/sh", "-c", "unshare -Urpf sleep 611; true")))
        assert poll(lambda: len(_nested(_fast())) == 1, timeout=20)
        first, second = _fast(), _script()
    assert len(made) == len(_of(first, *made))
    for one, other in zip(_of(first, *made), _of(second, *made), strict=True):
        assert one == other
    assert replace(first, tasks=0, inits=(), zombies=()) == replace(second, tasks=0, inits=(), zombies=())
    assert _nested(first) == _nested(second)


def test_a_cgroup_knows_its_zombies_without_a_look_at_processes(controllers: Path) -> None:
    """What is charged less what runs, exactly, threads and sub-cgroups counted."""
    inner = controllers / "inner"
    with ExitStack() as started:
        inner.mkdir()
        started.callback(lambda: poll(lambda: _gone(inner), timeout=20))
        for case, place in ((["own"], controllers), (["child", "threads"], inner)):
            started.enter_context(_app(*case, cgroup=place))
        path = next(each.path for each in usage() if each.path.endswith(controllers.name))

        def zombies() -> tuple[int, int]:
            found = {each.path: each.zombies for each in usage()}
            return found[path], found[path + "/inner"]

        assert poll(lambda: zombies() == (15, 12), timeout=20)


def test_the_cgroup_and_its_ceilings_are_read(controllers: Path) -> None:
    """The path always; the limit of the cgroup; the user's tasks across namespaces where RLIMIT_NPROC holds."""
    with _app("uid", "nproc", "crew", cgroup=controllers) as one, _app("uid", "nproc", "crew") as two:
        machine = _fast()
        init, other = _only(machine, one), _only(machine, two)
    assert init.cgroup is not None
    assert init.cgroup.endswith(controllers.name)
    assert (init.nproc, init.users, other.users) == (40, ((UID, 26),), ((UID, 26),))


def test_a_child_that_blocks_and_waits_is_seen_to() -> None:
    """The waits of an init's child are read where it blocks signals: a thread of it takes SIGTERM by sigwait."""
    with _app("blocks") as namespace:
        assert poll(lambda: any(child.waits for child in _only(_fast(), namespace).children), timeout=20)

        def taken() -> bool:
            (child,) = _only(_fast(), namespace).children
            return bool(child.waits and child.waits.sigwait >> signal.SIGTERM - 1 & 1)

        assert poll(taken, timeout=20)


@pytest.mark.skipif(not here._release() >= (6, 14), reason="a namespace has its own pid_max since Linux 6.14")
def test_the_pid_max_of_a_namespace_is_read() -> None:
    """It is lower than the machine's where somebody in the namespace made it so, and nothing of the look stays in it."""
    line = "echo 400 > /proc/sys/kernel/pid_max && echo ready && sleep 600; true"
    with Namespace("/bin/sh", "-c", line, ready="ready") as namespace:
        before = _only(_fast(), namespace)
        assert (before.pid_max, _only(_script(), namespace).pid_max) == (400, 400)
        assert _only(_fast(), namespace).process.children == before.process.children


@pytest.mark.parametrize("way", ["fast", "script"])
def test_a_frozen_cgroup_is_said(way: str) -> None:
    """Nothing in it can take a signal now; the look itself is not held up by it."""
    old, new = Path("/sys/fs/cgroup/freezer"), Path("/sys/fs/cgroup/unified")
    mount = old if old.is_dir() else new if new.is_dir() else Path("/sys/fs/cgroup")
    word, frozen, thawed = ("freezer.state", "FROZEN", "THAWED") if mount == old else ("cgroup.freeze", "1", "0")
    look = _fast if way == "fast" else _script
    with _folder(mount) as cgroup, _app("own", cgroup=cgroup) as namespace:
        assert _only(look(), namespace).frozen is False
        (cgroup / word).write_text(frozen)
        try:
            assert poll(lambda: _only(look(), namespace).frozen is True, timeout=20)
            assert sum(group.stayed for group in _only(look(), namespace).zombies) == 3
        finally:
            (cgroup / word).write_text(thawed)


def test_user_namespaces_are_looked_into() -> None:
    """An init that is root in its own user namespace has its real user on the machine, and is seen whole."""
    line = "setpriv --reuid=64124 --regid=64124 --clear-groups unshare -Urpf /bin/sleep 600; true"
    with Namespace("/bin/sh", "-c", line) as namespace:

        def found() -> list[Init]:
            return [each for each in _fast().inits if each.process.uid == 64124 and each.program == "sleep"]

        assert poll(lambda: bool(found()), timeout=20)
        (init,) = found()
        assert init.process.depth == 3
        assert init.waits is not None
        assert namespace.pid != init.process.pid


def test_a_hidden_proc_is_said_and_hides_nothing_from_root(tmp_path: Path) -> None:
    """With hidepid=2 an ordinary user sees his own processes alone: the report says why, and calls nothing healthy."""
    inner = (
        f'mount -t proc -o hidepid=2 proc /proc && exec setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups "$@"'
    )
    with _app("own") as namespace:
        hidden = _script("unshare", "-m", "/bin/sh", "-c", inner, "sh")
        mount = ["unshare", "-m", "/bin/sh", "-c", 'mount -t proc -o hidepid=2 proc /proc && exec "$@"', "sh"]
        seen = _script(*mount)
        assert (hidden.hidepid, _of(hidden, namespace)) in (("2", []), ("invisible", []))
        assert len(_of(seen, namespace)) == 1
    said = str(report(hidden, "here"))
    assert "hidepid" in said
    assert not report(hidden, "here").ok


def test_no_cgroup_access_is_unknown(tmp_path: Path) -> None:
    """Where no cgroup is mounted process ids cannot be counted: unknown, not unlimited."""
    mount = ["unshare", "-m", "/bin/sh", "-c", 'umount -R /sys/fs/cgroup && exec "$@"', "sh"]
    with _app("own") as namespace:
        machine = _script(*mount)
        init = _only(machine, namespace)
    assert (machine.controller, init.levels, init.cgroup is not None) == ("", (), True)
    assert "cannot be counted" in str(report(machine, "here"))
    assert "limits its process ids" not in str(report(machine, "here"))


_LOOP = "#!/bin/bash\ntrap 'echo\tstopping' TERM\nsleep 601 &\nwhile :; do sleep 602; done\n"


def test_the_scripts_of_shells_are_read_both_ways(tmp_path: Path) -> None:
    """A shell's own file, one that is started by its name, one behind an init, with what it has started; text and all."""
    path = tmp_path / "loop"
    path.write_text(_LOOP)
    path.chmod(0o755)
    commands = (
        ["/bin/bash", str(path)],
        ["/bin/dash", str(path)],
        ["tini", "--", str(path)],
        ["/bin/bash", "-c", _LOOP],
    )
    with ExitStack() as started:
        made = [started.enter_context(Namespace(*command)) for command in commands]

        def sleeps(init: Init) -> bool:
            return 2 == sum(each.name == "sleep" for each in (*init.children, *init.below))

        assert poll(lambda: all(map(sleeps, _of(_fast(), *made))), timeout=20)
        first, second = _of(_fast(), *made), _of(_script(), *made)
    for one, other in zip(first, second, strict=True):
        assert one == other
    bash, dash, tini, inline = (next(init for init in first if init.process.pid == each.pid) for each in made)
    assert [_LOOP, _LOOP, ""] == [init.process.script for init in (bash, dash, inline)]
    (shell,) = tini.children
    assert (_LOOP, ("/bin/bash", str(path))) == (shell.script, shell.arguments)
    assert {("sleep", "601"), ("sleep", "602")} == {each.arguments for each in tini.below}


def test_no_script_leads_out_of_a_container_or_keeps_a_look_waiting(tmp_path: Path) -> None:
    """A pipe and a link in the place of a script are not read; a file is."""
    node = tmp_path / "node"
    node.write_bytes(Path("/usr/bin/tail").read_bytes())
    node.chmod(0o755)
    file, link, pipe = tmp_path / "file.js", tmp_path / "link.js", tmp_path / "pipe.js"
    file.write_text("process.on('SIGTERM', stop)\n")
    link.symlink_to("/etc/hostname")
    os.mkfifo(pipe)
    with ExitStack() as started:
        made = [started.enter_context(Namespace(str(node), "-f", str(each))) for each in (file, link, pipe)]
        for look in (_fast, _script):
            found = look()
            assert [file.read_text(), "", ""] == [_only(found, each).process.script for each in made]


@pytest.mark.parametrize("awk", ["mawk", "busybox awk", "gawk"])
def test_every_awk_finds_the_same(awk: str, tmp_path: Path) -> None:
    """Debian's, a small image's and GNU's read files in ways of their own; the facts are one."""
    if not shutil.which(awk.split()[0]):
        pytest.skip(f"{awk} is not installed")
    (tmp_path / "awk").write_text(f'#!/bin/sh\nexec {awk} "$@"\n')
    (tmp_path / "awk").chmod(0o755)
    with _app("own") as own, _app("blocks") as blocks, _app("sigwait") as waits:
        assert poll(lambda: all(child.waits for child in _only(_fast(), blocks).children), timeout=20)
        first = _of(_fast(), own, blocks, waits)
        second = _of(_script("env", f"PATH={tmp_path}:{os.environ['PATH']}"), own, blocks, waits)
    assert 3 == len(second)
    for one, other in zip(first, second, strict=True):
        assert one == other


def test_a_command_line_that_holds_the_mark_between_them_spoils_no_other(tmp_path: Path) -> None:
    """The script reads many command lines at once; one that looks like the end of one is still its owner's alone."""
    mark = "x\n" + Path("/proc/sys/kernel/random/uuid").read_text()
    with (
        Namespace("/bin/sh", "-c", "sleep 603; true", mark, "tini", "-g") as odd,
        Namespace("/bin/sleep", "604") as plain,
    ):
        machine = _script()
        assert ("/bin/sh", "-c", "sleep 603; true", mark, "tini", "-g") == _only(machine, odd).arguments
        assert ("/bin/sleep", "604") == _only(machine, plain).arguments


def test_only_a_namespace_that_may_run_short_is_asked(controllers: Path) -> None:
    """Its own pid_max costs a process in it: with few ids in use it is left out, unless all are asked."""
    with Namespace("/bin/sh", "-c", "sleep 605; true", cgroup=controllers) as namespace:
        asked = [_only(assemble(here.look(0, ask=ask)), namespace).pid_max for ask in ("short", "none")]
        assert [None, None] == asked
        if here._release() >= (6, 14):
            assert _only(_fast(), namespace).pid_max


def test_what_vanishes_amid_a_look_spoils_nothing(controllers: Path) -> None:
    """With processes, namespaces and cgroups coming and going, each look ends and keeps what stays."""
    stop = threading.Event()
    line = f"mkdir {controllers}/$$ && echo 0 > {controllers}/$$/cgroup.procs && exec unshare -pf sh -c 'sleep 0.02 & wait'"

    def churn() -> None:
        while not stop.is_set():
            subprocess.run(["/bin/sh", "-c", line], check=False, stderr=subprocess.DEVNULL)
            for folder in controllers.glob("[0-9]*"):
                _gone(folder)

    threads = [threading.Thread(target=churn) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        with _app("own") as namespace:
            for _ in range(4):
                for machine in (_fast(), _script()):
                    (group,) = _only(machine, namespace).zombies
                    assert (group.seen, group.stayed) == (3, 3)
                assert usage()
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)
        assert poll(lambda: not [folder for folder in controllers.glob("[0-9]*") if not _gone(folder)], timeout=20)


def test_another_process_with_the_pid_of_a_zombie_is_not_that_zombie() -> None:
    """A zombie that started after the look began took the pid of another: it has not stayed."""
    with _app("own") as namespace:
        made = here.look(0)
        (record,) = (each for each in made["z"] if each.startswith(f"{namespace.pid}\t"))
        assert record == f"{namespace.pid}\t3\t3"
        early = here._Look("/proc")
        try:
            early._dead = {str(pid): str(namespace.pid) for pid in _zombies_of(namespace.pid)}
            early._zombies(0, began=0)
        finally:
            early.close()
        assert early.records["z"] == [f"{namespace.pid}\t3\t0"]


def test_hostile_names_are_the_same_both_ways(tmp_path: Path) -> None:
    """Newlines, tabs, escapes, brackets, quotes and HTML in names and arguments: equal, and harmless when shown."""
    names = ["x) Z 1\n\ti\t1\x1b[31m", "<b>&\"'`$(id)", "a\nend\nend of scan", "\udcff\udcfe"]
    with ExitStack() as started:
        made = []
        for number, name in enumerate(names):
            folder = tmp_path / str(number)
            folder.mkdir()
            program = folder / name
            program.write_bytes(Path("/bin/sleep").read_bytes())
            program.chmod(0o755)
            made.append(started.enter_context(Namespace(str(program), "600")))
        first, second = _of(_fast(), *made), _of(_script(), *made)
        assert len(first) == len(names)
        for one, other in zip(first, second, strict=True):
            assert one == other
        shown = report(replace(_fast(), inits=tuple(first)), "here")
    assert "\x1b" not in str(shown)
    assert "<b>&" not in shown._repr_html_()


LEAK = """
import os, sys, time
burst, pause = int(sys.argv[1]), float(sys.argv[2])
print("ready", flush=True)
due = time.monotonic()
while True:
    try:
        for _ in range(burst):
            if os.fork() == 0: time.sleep(600)
    except OSError:
        time.sleep(600)
    due += pause
    time.sleep(max(0, due - time.monotonic()))
"""


def test_an_even_leak_runs_out_when_it_is_foretold(controllers: Path) -> None:
    """Ten a second under a small pids.max: the forecast of five seconds, and the moment of the first failed fork."""
    (controllers / "pids.max").write_text("170")
    command = (PYTHON, "-c", LEAK, "1", "0.1")
    with Namespace(*command, ready="ready", cgroup=controllers) as namespace, connect("localhost", Config()) as host:
        machine = scan(host, stay=0)
        series = sample(host, machine, paths(machine), every=timedelta(seconds=0.25), count=21)
        found = earliest(_only(machine, namespace), machine, series)
        assert found is not None
        ceiling, seen = found
        assert (ceiling.limit, seen.word, seen.severity) == (170, "steady", "critical")
        assert ceiling.path.endswith(controllers.name)
        assert seen.likely is not None
        counted = series[ceiling.path][-1].at

        def failed() -> bool:
            return (controllers / "pids.events").read_text().split()[1] != "0"

        assert poll(failed, timeout=60)
        truth = float(Path("/proc/uptime").read_text().split()[0]) - counted
    print(f"foretold {seen.soonest} to {seen.latest}, likely {seen.likely}; it was {truth:.2f} s")
    assert truth == pytest.approx(seen.likely.total_seconds(), rel=0.1)


def test_a_leak_in_bursts_is_not_steady(controllers: Path) -> None:
    """Twenty at once every 1.6 s: no time is told, and a cgroup that goes meanwhile spoils nothing."""
    with Namespace(PYTHON, "-c", LEAK, "20", "1.6", ready="ready", cgroup=controllers) as namespace:
        (controllers / "pids.max").write_text("900")
        with connect("localhost", Config()) as host:
            machine = scan(host, stay=0)
            asked = [*paths(machine), "/no-such-cgroup"]
            series = sample(host, machine, asked, every=timedelta(seconds=0.25), count=24)
        found = earliest(_only(machine, namespace), machine, {**series, HOST: ()})
    assert series["/no-such-cgroup"] == ()
    assert found is not None
    assert (found[0].limit, found[1].word, found[1].soonest) == (900, "not steady", None)


def test_over_ssh_noise_around_the_look_is_no_matter(tmp_path: Path) -> None:
    """A login that prints before and after is read through; one that prints nothing else is an error that shows it."""
    noisy = "\nForceCommand sh -c 'echo welcome; echo begin nothing; eval \"$SSH_ORIGINAL_COMMAND\"; echo bye'\n"
    with Sshd(tmp_path / "sshd", extra=noisy) as server, _app("own") as namespace:
        config = Config.of(hosts={"far": server.options()})
        with connect("far", config) as host:
            assert len(_of(scan(host), namespace)) == 1


def _zombies_of(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children if "State:\tZ" in Path(f"/proc/{child}/status").read_text()]


def _gone(folder: Path) -> bool:
    try:
        folder.rmdir()
    except OSError:
        return not folder.exists()
    return True
