"""PID 1 health on real, misbehaving processes in PID namespaces; what is foretold is then tried out on them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from sretoolkit.clock import poll
from sretoolkit.config import Config
from sretoolkit.hosts import connect
from sretoolkit.pid1 import Machine, health, report, scan
from sretoolkit.pid1.init import Stop, kind_of, reaps
from sretoolkit.pid1.process import Init, parse
from sretoolkit.report import Finding
from tests.stack.namespaces import Namespace
from tests.stack.sshd import Sshd

pytestmark = [pytest.mark.live, pytest.mark.skipif(os.getuid() != 0, reason="a PID namespace needs root")]

NOBODY = 65534
PYTHON = sys.executable
APP = """
import os, signal, sys, time
def handle(number, frame): sys.exit(0)
def leave(count):  # each is a zombie, or gone where the kernel reaps, before the next
    for _ in range(count):
        child = os.fork()
        if child == 0: os._exit(0)
        try: os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
        except ChildProcessError: pass
if "term" in sys.argv: signal.signal(signal.SIGTERM, handle)
if "ignore" in sys.argv: signal.signal(signal.SIGTERM, signal.SIG_IGN)
if "block" in sys.argv: signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
if "nochld" in sys.argv: signal.signal(signal.SIGCHLD, signal.SIG_IGN)
if "own" in sys.argv:
    leave(3)
if "child" in sys.argv and os.fork() == 0:
    leave(12)
    print("ready", flush=True)
    time.sleep(600)
elif "sigwait" in sys.argv:
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    print("ready", flush=True)
    signal.sigwait([signal.SIGTERM])
    sys.exit(0)
if "child" not in sys.argv: print("ready", flush=True)
while True: time.sleep(600)
"""


def _app(*words: str) -> Namespace:
    return Namespace(PYTHON, "-c", APP, *words, ready="ready")


def _look() -> Machine:
    with connect("localhost", Config()) as host:
        return scan(host)


def _init(pid: int, machine: Machine | None = None) -> Init:
    return next(init for init in (machine or _look()).inits if init.process.pid == pid)


def _stop(pid: int) -> Stop:
    init = _init(pid)
    return kind_of(init)[1].stop(init, signal.SIGTERM, assumed=True)


def _findings(namespace: Namespace) -> list[Finding]:
    """Those that name this namespace alone: others may run beside us."""
    machine = _look()
    init = _init(namespace.pid, machine)
    mine = Machine(
        machine.uid,
        machine.release,
        True,
        machine.pid_max,
        machine.threads_max,
        machine.tasks,
        (init,),
        machine.zombies,
    )
    return list(report(mine, "here").sorted)


def _needs(program: str) -> str:
    found = next((path for folder in ("/usr/bin", "/sbin", "/bin") if (path := Path(folder, program)).exists()), None)
    if found is None:
        pytest.skip(f"{program} is not installed (apt install {program})")
    return str(found)


CASES = {
    "sleep": (("/bin/sleep", "600"), "dropped", False),
    "sh": (("/bin/sh", "-c", "sleep 600; true"), "dropped", False),
    "trap-background": (("/bin/bash", "-c", "trap 'exit 0' TERM; echo ready; sleep 600 & wait"), "handled", True),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_foretold_of_a_program_happens(case: str) -> None:
    """A dropped SIGTERM leaves the namespace running; a trap over a background child ends it."""
    command, word, ends = CASES[case]
    with Namespace(*command, ready="ready" if "ready" in command[-1] else "") as namespace:
        assert poll(lambda: _stop(namespace.pid).word == word, timeout=20)
        namespace.send(signal.SIGTERM)
        assert namespace.ends(10 if ends else 0.5) is ends


@pytest.mark.parametrize(
    ("how", "word", "ends"),
    [
        ("default", "dropped", False),
        ("ignore", "ignored", False),
        ("block", "blocked", False),
        ("term", "handled", True),
        ("sigwait", "handled", True),
    ],
)
def test_what_is_foretold_by_the_signals_happens(how: str, word: str, ends: bool) -> None:
    """Default, ignored, blocked, caught and waited for: the verdict, and then the signal itself."""
    with _app(how) as namespace:
        assert _stop(namespace.pid).word == word
        namespace.send(signal.SIGTERM)
        assert namespace.ends(10 if ends else 0.5) is ends


@pytest.mark.parametrize("program", ["tini", "dumb-init", "catatonit"])
def test_a_real_init_passes_the_signal_on(program: str) -> None:
    """Each is known by its file, is found to wait for the signal, reaps, and ends with its child."""
    path = _needs(program)
    with Namespace(path, "--", "/bin/sleep", "600") as namespace:
        assert poll(lambda: _stop(namespace.pid).word == "handled" and _init(namespace.pid).children, timeout=20)
        init = _init(namespace.pid)
        assert (kind_of(init)[0], reaps(init, kind_of(init)[1])[0]) == (program, "yes")
        namespace.send(signal.SIGTERM)
        assert namespace.ends(10)


def test_an_init_before_a_shell_does_not_tell_the_program(tmp_path: Path) -> None:
    """The clean-looking end: the namespace stops at once, and the program never got the signal."""
    told = tmp_path / "told"
    program = f"trap 'touch {told}; exit 0' TERM; echo ready; sleep 600 & wait"
    inner = f'bash -c "{program}"; true'
    with Namespace(_needs("tini"), "--", "/bin/sh", "-c", inner, ready="ready") as namespace:
        assert _stop(namespace.pid).word == "not passed on"
        namespace.send(signal.SIGTERM)
        assert namespace.ends(10)
    assert not told.exists()


def test_a_trap_over_a_foreground_child_is_not_called_handled() -> None:
    """It is uncertain while the child is young, and deferred once it is old: a slow look may find either."""
    with Namespace("/bin/bash", "-c", "trap 'exit 0' TERM; echo ready; sleep 600; true", ready="ready") as namespace:
        assert poll(lambda: _stop(namespace.pid).word in ("uncertain", "deferred"), timeout=20)
        namespace.send(signal.SIGTERM)
        assert not namespace.ends(0.5)


def test_zombies_of_pid_1_and_of_an_app_are_told_apart() -> None:
    """For the first an init is the cure, for the second it is not."""
    with _app("term", "own") as first, _app("term", "child") as second:
        own = next(each for each in _findings(first) if "zombies" in each.summary and each.severity != "low")
        app = next(each for each in _findings(second) if "zombies" in each.summary and each.severity != "low")
    assert (own.severity, own.summary) == ("medium", "3 zombies: the first process does not reap its children")
    assert (app.severity, app.summary[:10]) == ("high", "12 zombies")
    assert app.remedy.startswith("an init will not help")


def test_a_kernel_that_reaps_leaves_no_zombies() -> None:
    """With SIGCHLD ignored nothing stays, and the table says that orphans are taken care of."""
    with _app("term", "nochld", "own") as namespace:
        init = _init(namespace.pid)
        assert (reaps(init, kind_of(init)[1])[0], sum(group.stayed for group in init.zombies)) == ("yes", 0)


def test_hostile_names_are_only_names(tmp_path: Path) -> None:
    """A program named with newlines, tabs, brackets and escapes is one row, and forges no record."""
    evil = tmp_path / "x) Z 1\n\ti\t1\x1b[31m"
    evil.symlink_to("/bin/sleep")
    copy = tmp_path / "a\nend\ni\t1"
    copy.write_bytes(Path("/bin/sleep").read_bytes())
    copy.chmod(0o755)
    with Namespace(str(evil), "600") as first, Namespace(str(copy), "600") as second:
        machine = _look()
        assert [init.process.pid for init in machine.inits if init.process.pid in (first.pid, second.pid)] == sorted(
            [first.pid, second.pid]
        )
        assert _init(first.pid, machine).arguments == (str(evil), "600")
        assert _init(second.pid, machine).exe == str(copy)
        assert "\x1b" not in str(report(machine, "here"))


def test_processes_that_vanish_do_not_spoil_the_look() -> None:
    """With hundreds of processes a second coming and going every scan still gets to its end."""
    stop = threading.Event()

    def churn() -> None:
        while not stop.is_set():
            subprocess.run(["/bin/sh", "-c", "for i in 1 2 3 4 5 6 7 8 9; do /bin/true & done; wait"], check=True)

    threads = [threading.Thread(target=churn) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        with _app("term") as namespace:
            for _ in range(5):
                assert _init(namespace.pid).waits is not None
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)


@pytest.fixture
def cgroup() -> Iterator[Path]:
    """A cgroup of the test's own with a ceiling of 12 process ids, below one with none; v1 or v2, as there is."""
    for mount, two in (("/sys/fs/cgroup/pids", False), ("/sys/fs/cgroup", True)):
        controllers = Path(mount, "cgroup.controllers")
        if (two and controllers.exists() and "pids" in controllers.read_text()) or (not two and Path(mount).is_dir()):
            break
    else:
        pytest.skip("there is no pids controller here")
    outer = Path(mount, f"srt-{os.getpid()}-{os.urandom(3).hex()}")
    inner = outer / "inner"
    with ExitStack() as made:
        for folder in (outer, inner):
            folder.mkdir()
            made.callback(_remove, folder)
            if two and folder is outer:
                Path(outer, "cgroup.subtree_control").write_text("+pids")
        (inner / "pids.max").write_text("12")
        yield inner


def test_the_lowest_ceiling_of_process_ids_is_found(cgroup: Path) -> None:
    """The limit of its cgroup, how much is used, and forks that failed there."""
    line = "echo ready; for i in $(seq 30); do sleep 600 & done 2>/dev/null; wait"
    with Namespace("/bin/bash", "-c", f"trap 'exit 0' TERM; {line}", ready="ready", cgroup=cgroup) as namespace:

        def failed() -> bool:
            return any(level.failures for level in _init(namespace.pid).levels)

        assert poll(failed, timeout=40)
        level = _init(namespace.pid).levels[0]
        assert (level.limit, level.path.endswith("/inner")) == (12, True)
        findings = [each for each in _findings(namespace) if "forks have failed" in each.summary]
    assert [each.severity for each in findings] == ["critical"]


def test_without_root_what_cannot_be_known_is_unknown() -> None:
    """The same look as nobody: handlers and zombies are seen, waits are not, and no verdict is invented."""
    script = Path(sys.modules["sretoolkit.pid1"].__path__[0], "scan.sh").read_text()
    command = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "/bin/sh", "-c", script]
    with Namespace("/bin/sleep", "600") as namespace, _app("term", "own") as leaky:
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60, cwd="/")
        machine = parse(done.stdout)
        init = _init(namespace.pid, machine)
        assert (machine.uid, init.exe, init.waits) == (NOBODY, None, None)
        assert kind_of(init)[1].stop(init, signal.SIGTERM, assumed=True).word == "unknown"
        assert sum(group.stayed for group in _init(leaky.pid, machine).zombies) == 3


def test_the_same_look_over_ssh(tmp_path: Path) -> None:
    """One round trip over a real ssh connection gives the same namespaces."""
    with Sshd(tmp_path / "sshd") as server, Namespace("/bin/sleep", "600") as namespace:
        config = Config.of(hosts={"far": server.options()})
        rows = {row[0]: row for row in health("far", config).tables[0].rows}
    assert rows[namespace.pid][2:5] == ("/bin/sleep 600", "plain", "SIGTERM (assumed): dropped")


def _remove(folder: Path) -> None:
    assert poll(lambda: _removed(folder), timeout=20)


def _removed(folder: Path) -> bool:
    try:
        folder.rmdir()
    except OSError:
        return False
    return True
