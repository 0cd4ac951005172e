"""The facts: one script, one round trip, nothing installed and no container entered (see ``scan.sh``).

Root sees all of it. Anybody else sees names, signal masks and zombies, and gets None for the rest: it is not guessed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import PurePosixPath

from sretoolkit.errors import HostError
from sretoolkit.hosts import Host

_ROOT_NAMESPACE = "pid:[4026531836]"  # PROC_PID_INIT_INO, the same on every Linux
_TICKS = 100  # USER_HZ
_WAITS = {"x86_64": (61, 247), "aarch64": (260, 95)}  # wait4, waitid
_SIGWAIT = {"x86_64": 128, "aarch64": 137}  # rt_sigtimedwait
_ANY_CHILD = {0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF}
_64_BIT = "2"
_LINUX = "it must be Linux with /proc, sh, grep, xargs, awk, dd, od and tr"


@dataclass(frozen=True)
class Process:
    """One process as the host sees it; the masks are those of its first thread. ``age`` is in seconds."""

    pid: int
    parent: int
    depth: int
    children: int
    threads: int
    uid: int
    blocked: int
    ignored: int
    caught: int
    name: str
    age: float | None = None


@dataclass(frozen=True)
class Waits:
    """What a process waits for: signals its threads take by sigwait or signalfd, what all threads block, any child."""

    sigwait: int
    signalfd: int
    all_block: int
    any_child: bool


@dataclass(frozen=True)
class Level:
    """One cgroup on the way up: processes and threads in it, its ceiling (None = none), forks that failed at it."""

    path: str
    current: int
    limit: int | None
    failures: int


@dataclass(frozen=True)
class Zombies:
    """The zombies of one parent: ``seen`` at the first look, ``stayed`` at the second. ``init`` is above the parent."""

    parent: Process | None
    init: int
    seen: int
    stayed: int


@dataclass(frozen=True)
class Init:
    """The first process of one PID namespace. ``waits``, ``exe`` and ``namespace`` are None where we may not look."""

    process: Process
    root: bool
    namespace: str | None
    exe: str | None
    arguments: tuple[str, ...]
    waits: Waits | None
    children: tuple[Process, ...]
    levels: tuple[Level, ...]
    zombies: tuple[Zombies, ...]

    @property
    def program(self) -> str:
        """The program's file name; the name that it goes by where its file is hidden from us."""
        return PurePosixPath(self.exe.removesuffix(" (deleted)")).name if self.exe else self.process.name

    @property
    def label(self) -> str:
        """How it is called in findings."""
        return f"{self.process.name} (pid {self.process.pid})"


@dataclass(frozen=True)
class Machine:
    """What one look at a host found. ``root_view``: we are in the host's own PID namespace and so see all of them."""

    uid: int
    release: str
    root_view: bool
    pid_max: int | None
    threads_max: int | None
    tasks: int | None
    inits: tuple[Init, ...]
    zombies: tuple[Zombies, ...]


def scan(host: Host, *, stay: int = 1, timeout: float = 120) -> Machine:
    """Look at every process of a host once, and at its zombies again ``stay`` seconds later.

    Raises `HostError` when the host is no Linux or the script did not get to its end.
    """
    script = files("sretoolkit.pid1").joinpath("scan.sh").read_text(encoding="utf-8")
    result = host.run(["sh", "-c", script, "sh", str(stay)], timeout=timeout, check=False)
    if not result.ok or not result.stdout.endswith("\nend\n"):
        raise HostError(
            f"{host.name}: its processes cannot be read: {result.stderr.strip()[:200] or 'the script did not end'}",
            host=host.name,
            hint=_LINUX,
        )
    return parse(result.stdout)


def parse(text: str) -> Machine:
    """The facts in what ``scan.sh`` printed."""
    records: dict[str, list[str]] = defaultdict(list)
    for line in text.split("\n"):
        kind, _, rest = line.partition("\t")
        records[kind].append(rest)
    if not records["host"]:
        raise HostError("what the scan printed has no host record", host="", hint="is something else printing into it?")
    uid, machine, release, own, pid_max, threads_max, tasks, uptime = records["host"][0].split("\t")
    if not own:
        raise HostError(
            "there is no /proc/self/ns/pid: this is no Linux, or /proc is not mounted", host="", hint=_LINUX
        )
    ages = _ages(records["a"], float(uptime or 0))
    processes = {process.pid: process for process in (_process(record, ages) for record in records["p"])}
    zombies = _zombies(records, processes)
    facts = _Facts(records, machine)
    inits = tuple(
        facts.init(processes[pid], own == _ROOT_NAMESPACE, processes, zombies)
        for pid in sorted(int(record) for record in records["i"])
        if pid in processes
    )
    known = {init.process.pid for init in inits}
    strays = tuple(group for group in zombies if group.init not in known)
    ceilings = (_number(pid_max), _number(threads_max), _number(tasks))
    return Machine(int(uid), release, own == _ROOT_NAMESPACE, *ceilings, inits, strays)


class _Facts:
    """The records about inits, by pid."""

    def __init__(self, records: Mapping[str, Sequence[str]], machine: str) -> None:
        self._machine = machine
        self._by_pid: dict[tuple[str, int], list[str]] = defaultdict(list)
        for kind in "nxecbswfl":
            for record in records.get(kind, ()):
                pid, _, rest = record.partition("\t")
                self._by_pid[kind, int(pid)].append(rest)

    def init(
        self, process: Process, root_view: bool, processes: Mapping[int, Process], zombies: Sequence[Zombies]
    ) -> Init:
        pid = process.pid
        arguments = self._one("c", pid).removesuffix("\037")
        return Init(
            process=process,
            root=root_view and pid == 1,
            namespace=self._one("n", pid) or None,
            exe=self._one("x", pid).removesuffix("\036").replace("\036", "\n") or None,
            arguments=tuple(arguments.replace("\036", "\n").split("\037")) if arguments else (),
            waits=self._waits(process),
            children=tuple(each for each in processes.values() if each.parent == pid and each.pid != pid),
            levels=tuple(_level(record) for record in self._by_pid["l", pid]),
            zombies=tuple(group for group in zombies if group.init == pid),
        )

    def _one(self, kind: str, pid: int) -> str:
        return next(iter(self._by_pid[kind, pid]), "")

    def _waits(self, process: Process) -> Waits | None:
        """None unless every thread could be looked at, in a way that we can read."""
        pid = process.pid
        blocked = [int(record, 16) for record in self._by_pid["b", pid]]
        calls = [record.split("\t") for record in self._by_pid["s", pid]]
        if self._machine not in _WAITS or self._one("e", pid) != _64_BIT or not calls or len(calls) != len(blocked):
            return None
        wait4, waitid = _WAITS[self._machine]
        any_child, sigwaits = False, 0
        for number, argument in calls:
            sigwaits += number == str(_SIGWAIT[self._machine])
            any_child |= number == str(wait4) and int(argument, 16) in _ANY_CHILD
            any_child |= number == str(waitid) and int(argument, 16) == 0
        sets = [
            int.from_bytes(bytes.fromhex(record), "little") for record in self._by_pid["w", pid] if len(record) == 16
        ]
        if len(sets) != sigwaits:
            return None
        taken, noticed, all_block = 0, 0, ~0
        for each in sets:
            taken |= each
        for record in self._by_pid["f", pid]:
            noticed |= int(record, 16)
        for each in blocked:
            all_block &= each
        return Waits(taken, noticed, all_block, any_child)


def _process(record: str, ages: Mapping[int, float]) -> Process:
    pid, parent, depth, children, threads, uid, blocked, ignored, caught, name = record.split("\t", 9)
    masks = (int(blocked, 16), int(ignored, 16), int(caught, 16))
    return Process(
        int(pid), int(parent), int(depth), int(children), int(threads), int(uid), *masks, name, ages.get(int(pid))
    )


def _ages(records: Sequence[str], uptime: float) -> dict[int, float]:
    """Seconds since each process started, from field 22 of its stat line."""
    ages = {}
    for record in records:
        pid, _, stat = record.partition("\t")
        fields = stat.rpartition(")")[2].split()
        if len(fields) > 19:
            ages[int(pid)] = max(0.0, uptime - int(fields[19]) / _TICKS)
    return ages


def _number(text: str) -> int | None:
    return int(text) if text.isdigit() else None


def _level(record: str) -> Level:
    current, limit, failures, path = record.split("\t", 3)
    return Level(path, int(current), _number(limit), int(failures))


def _zombies(records: Mapping[str, Sequence[str]], processes: Mapping[int, Process]) -> list[Zombies]:
    """Those of a parent that entered its namespace from outside (``docker exec``) have no init above: 0."""
    above = dict(record.split("\t") for record in records.get("o", ()))
    found = []
    for record in records.get("z", ()):
        pid, seen, stayed = record.split("\t")
        parent, init = processes.get(int(pid)), int(above.get(pid, "0"))
        top = processes.get(init)
        if parent is None or top is None or parent.depth != top.depth:
            init = 0
        found.append(Zombies(parent, init, int(seen), int(stayed)))
    return sorted(found, key=lambda group: -group.stayed)
