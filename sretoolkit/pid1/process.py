"""The facts: one script, one round trip, nothing installed and no container entered (see ``scan.sh``).

Root sees all of it. Anybody else sees names, signal masks and zombies, and gets None for the rest: it is not guessed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import PurePosixPath

from sretoolkit.errors import HostError
from sretoolkit.hosts import Host
from sretoolkit.pid1 import here
from sretoolkit.pid1.here import Ask
from sretoolkit.pid1.records import LINUX, Records, records

_ROOT_NAMESPACE = "pid:[4026531836]"  # PROC_PID_INIT_INO, the same on every Linux
_TICKS = 100  # USER_HZ
_WAITS = {"x86_64": (61, 247), "aarch64": (260, 95)}  # wait4, waitid
_SIGWAIT = {"x86_64": 128, "aarch64": 137}  # rt_sigtimedwait
_ANY_CHILD = {0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF}
_64_BIT = "2"
_EXEMPT = 0  # the kernel never holds root's processes against RLIMIT_NPROC


@dataclass(frozen=True)
class Waits:
    """What a process waits for: signals its threads take by sigwait or signalfd, what all threads block, any child."""

    sigwait: int
    signalfd: int
    all_block: int
    any_child: bool


@dataclass(frozen=True)
class Process:
    """One process as the host sees it; the masks are those of its first thread.

    ``age`` is in seconds, ``started`` in ticks since the machine started: with the pid it is a process's identity.
    ``uid`` is the real one, which the kernel counts by. ``state`` is the kernel's letter, D = in the kernel until its wait
    """

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
    age: float | None = field(default=None, compare=False)
    started: int | None = None
    state: str = field(default="S", compare=False)
    waits: Waits | None = None
    arguments: tuple[str, ...] = field(default=(), repr=False)
    script: str = field(default="", repr=False)

    @property
    def stuck(self) -> bool:
        """Whether it waits in the kernel and cannot take even SIGKILL now."""
        return self.state == "D"


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
    """The first process of one PID namespace. What may be None is not to be seen by us, or not here.

    ``children`` are four at most, the two lowest pids and the two highest; ``process.children`` counts all; ``below`` are
    those of children that are shells, as many of each. ``cgroup`` is its
    path in the hierarchy that counts process ids, or else in the first one that it has a place in; ``frozen``: by its cgroup.
    ``pid_max`` is its namespace's own; ``nproc`` is RLIMIT_NPROC (None = unlimited, or unknown) and ``users`` the
    tasks of each user that it holds for here: their uid, and all their threads and zombies on the machine. ``first`` is
    false for the first process of a container that shares the namespace of another one.
    """

    process: Process
    root: bool
    namespace: str | None
    exe: str | None
    children: tuple[Process, ...]
    levels: tuple[Level, ...]
    zombies: tuple[Zombies, ...]
    cgroup: str | None = None
    frozen: bool | None = None
    pid_max: int | None = None
    nproc: int | None = None
    users: tuple[tuple[int, int], ...] = ()
    first: bool = True
    below: tuple[Process, ...] = ()

    @property
    def arguments(self) -> tuple[str, ...]:
        """Its command line, program and all."""
        return self.process.arguments

    @property
    def waits(self) -> Waits | None:
        """What it waits for; None where we may not look."""
        return self.process.waits

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
    """What one look at a host found. ``root_view``: we are in the host's own PID namespace and so see all of them.

    ``hidepid``: /proc is mounted with that option ("" = without), so that only root sees others' processes.
    ``controller``: the cgroup version that counts process ids, "v1" or "v2", "" = none that we see; ``mount``: where.
    """

    uid: int
    release: str
    root_view: bool
    pid_max: int | None
    threads_max: int | None
    tasks: int | None
    inits: tuple[Init, ...]
    zombies: tuple[Zombies, ...]
    hidepid: str = ""
    controller: str = ""
    mount: str = ""


def scan(host: Host, *, stay: int = 1, ask: Ask = "short", timeout: float = 120) -> Machine:
    """Look at every process of a host once, and at its zombies again ``stay`` seconds later.

    ``ask``: which namespaces to ask for their own pid_max (Linux 6.14, root), for which a process is in each for a moment:
    "short" = those with so many ids that the least value could make them run short now, "all", "none".
    Raises `HostError` when the host is no Linux or the script did not get to its end.
    """
    if host.endpoint.connection == "local" and not host.endpoint.netns and here.usable():
        return assemble(here.look(stay, ask=ask), host.name)
    script = files("sretoolkit.pid1").joinpath("scan.sh").read_text(encoding="utf-8")
    words = ["sh", "-c", script, "sh", str(stay), "/proc", ask]
    result = host.run(words, timeout=timeout, check=False)
    if not result.ok:
        said = result.stderr.strip()[:200] or f"sh ended with exit code {result.exit_code}"
        raise HostError(f"{host.name}: its processes cannot be read: {said}", host=host.name, hint=LINUX)
    return parse(result.stdout, host.name)


def parse(text: str, host_name: str = "") -> Machine:
    """The facts in what ``scan.sh`` printed; raises `HostError` when it is not whole."""
    return assemble(records(text, host_name), host_name)


def assemble(found: Records, host_name: str = "") -> Machine:
    """The facts in the records of a scan; raises `HostError` when they are no Linux machine's or not to be understood."""
    try:
        return _machine(found)
    except (ValueError, IndexError) as error:
        raise HostError(
            f"{host_name or 'the host'}: its processes cannot be read: a record is not as it should be: {error}",
            host=host_name,
            hint="is something else printing into the scan?",
        ) from None


def _machine(found: Records) -> Machine:
    head = [*found["host"][0].split("\t"), "", "", ""]
    uid, machine, release, own, pid_max, threads_max, tasks, uptime, hidepid, controller, mount = head[:11]
    if not own:
        raise HostError("there is no /proc/self/ns/pid: this is no Linux, or /proc is not mounted", host="", hint=LINUX)
    facts = _Facts(found, machine, float(uptime or 0))
    processes = {each.pid: each for each in sorted(map(facts.process, found["p"]), key=lambda each: each.pid)}
    children: dict[int, list[Process]] = defaultdict(list)
    for each in processes.values():
        children[each.parent].append(each)
    zombies = _zombies(found, processes)
    inits = tuple(
        facts.init(processes[pid], own == _ROOT_NAMESPACE, children, zombies)
        for pid in sorted(int(record) for record in found["i"])
        if pid in processes
    )
    known = {init.process.pid for init in inits}
    strays = tuple(group for group in zombies if group.init not in known)
    ceilings = (_number(pid_max), _number(threads_max), _number(tasks))
    view = own == _ROOT_NAMESPACE
    return Machine(int(uid), release, view, *ceilings, inits, strays, hidepid, controller, mount)


class _Facts:
    """The records that are about one process, by pid."""

    def __init__(self, found: Records, machine: str, uptime: float) -> None:
        self._machine = machine
        self._uptime = uptime
        self._tasks = {int(uid): int(tasks) for uid, tasks in (each.split("\t") for each in found.get("u", ()))}
        self._by_pid: dict[tuple[str, int], list[str]] = defaultdict(list)
        for kind in "anxecbswflgrhmt":
            for record in found.get(kind, ()):
                pid, _, rest = record.partition("\t")
                self._by_pid[kind, int(pid)].append(rest)

    def process(self, record: str) -> Process:
        pid, parent, state, depth, children, threads, uid, blocked, ignored, caught, name = record.split("\t", 10)
        started = _number(self._one("a", int(pid)))
        return Process(
            int(pid),
            int(parent),
            int(depth),
            int(children),
            int(threads),
            int(uid),
            int(blocked, 16),
            int(ignored, 16),
            int(caught, 16),
            name,
            age=None if started is None else max(0.0, self._uptime - started / _TICKS),
            started=started,
            state=state,
            waits=self._waits(int(pid)),
            arguments=self._arguments(int(pid)),
            script=self._one("t", int(pid)).replace("\036", "\n"),
        )

    def init(
        self,
        process: Process,
        root_view: bool,
        born: Mapping[int, Sequence[Process]],
        zombies: Sequence[Zombies],
    ) -> Init:
        pid = process.pid
        children = tuple(born.get(pid, ()))
        nproc = _number(self._one("r", pid).partition("\t")[0])
        users = {each.uid for each in (process, *children)} - {_EXEMPT} if nproc is not None else set()
        return Init(
            process=process,
            root=root_view and pid == 1,
            namespace=self._one("n", pid) or None,
            exe=self._one("x", pid).removesuffix("\036").replace("\036", "\n") or None,
            children=children,
            levels=tuple(_level(record) for record in self._by_pid["l", pid]),
            zombies=tuple(group for group in zombies if group.init == pid),
            cgroup=self._one("g", pid) or None,
            frozen={"0": False, "1": True}.get(self._one("h", pid)),
            pid_max=_number(self._one("m", pid)),
            nproc=nproc,
            users=tuple((uid, self._tasks[uid]) for uid in sorted(users) if uid in self._tasks),
            below=tuple(each for child in children for each in born.get(child.pid, ())),
        )

    def _arguments(self, pid: int) -> tuple[str, ...]:
        line = self._one("c", pid).removesuffix("\037")
        return tuple(line.replace("\036", "\n").split("\037")) if line else ()

    def _one(self, kind: str, pid: int) -> str:
        return next(iter(self._by_pid.get((kind, pid), ())), "")

    def _waits(self, pid: int) -> Waits | None:
        """None unless every thread could be looked at, in a way that we can read."""
        if self._machine not in _WAITS or self._one("e", pid) != _64_BIT:
            return None
        blocked = [int(record, 16) for record in self._by_pid["b", pid]]
        calls = [record.split("\t") for record in self._by_pid["s", pid]]
        if not calls or len(calls) != len(blocked):
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


def _number(text: str) -> int | None:
    return int(text) if text.isdigit() else None


def _level(record: str) -> Level:
    current, limit, failures, path = record.split("\t", 3)
    return Level(path, int(current), _number(limit), int(failures))


def _zombies(found: Records, processes: Mapping[int, Process]) -> list[Zombies]:
    """Those of a parent that entered its namespace from outside (``docker exec``) have no init above: 0."""
    above = dict(record.split("\t") for record in found.get("o", ()))
    groups = []
    for record in found.get("z", ()):
        pid, seen, stayed = record.split("\t")
        parent, init = processes.get(int(pid)), int(above.get(pid, "0"))
        top = processes.get(init)
        if parent is None or top is None or parent.depth != top.depth:
            init = 0
        groups.append(Zombies(parent, init, int(seen), int(stayed)))
    return sorted(groups, key=lambda group: (-group.stayed, group.parent.pid if group.parent else 0, group.seen))
