"""The same look as ``scan.sh`` at this machine, by root, without a shell: the same records from far fewer files.

Who is a zombie: whoever no cgroup lists (Linux 5.2), so the files of the living stay unread. Which namespaces there are:
by the link ``ns/pid`` of each. Only inits, some of their children and parents of zombies are read whole.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from contextlib import suppress
from typing import Literal

from sretoolkit.pid1.groups import Groups, blocks, mounts, read
from sretoolkit.pid1.records import Records
from sretoolkit.pid1.scripts import MANY, SHELLS, script

_ROOT_NAMESPACE = "pid:[4026531836]"
_FEW = 2  # children with the lowest pids, and as many with the highest
_LINE = 500  # bytes of a stat line up to when the process was started, and more
_MEMORY = 4000  # bytes of a command line
_CALLS = {"x86_64": ("128", "61", "247"), "aarch64": ("137", "260", "95")}  # rt_sigtimedwait, wait4, waitid
_KTHREADD = "2"
_LISTED = (5, 2)  # Linux since when a cgroup lists no zombies
Ask = Literal["all", "short", "none"]
_MAY_BE_SHORT = 226  # three quarters of 301, the least pid_max that the kernel takes
_OWN_PID_MAX = (6, 14)  # Linux since when each namespace has its own
_INSIDE = 'for pid; do printf "%s %s\\n" "$pid" "$(nsenter -t "$pid" -p cat /proc/sys/kernel/pid_max)"; done'
_NUMBER = re.compile(rb"\d+")


def usable() -> bool:
    """Whether this machine can be looked at so: Linux 5.2 with lists of children, and we are root."""
    return (
        sys.platform == "linux"
        and os.geteuid() == 0
        and _release() >= _LISTED
        and os.path.exists("/proc/thread-self/children")  # noqa: PTH110
    )


def look(stay: float = 1, *, ask: Ask = "short", root: str = "/proc") -> Records:
    """The records of one look, see ``scan.sh``; ``stay`` in seconds."""
    made = _Look(root)
    try:
        made.run(stay, ask=ask if root == "/proc" and _release() >= _OWN_PID_MAX else "none")
    finally:
        made.close()
    return made.records


def _field(status: bytes, name: bytes) -> bytes:
    """What a line of a status file says, b"" when there is none; newlines in a process's name are escaped there."""
    start = status.find(b"\n" + name + b":\t")
    if start < 0:
        return b""
    start += len(name) + 3
    return status[start : status.find(b"\n", start)]


def _zombie(status: bytes) -> bool:
    return _field(status, b"State").startswith(b"Z")


def _first(status: bytes) -> bool:
    """Whether it is the first process of its namespace, and still runs."""
    return _field(status, b"NSpid").split()[-1:] == [b"1"] and not _zombie(status)


class _Look:
    """One look; what was read of a process is kept, so that it is read once."""

    def __init__(self, root: str) -> None:
        self.records: Records = defaultdict(list)
        self._root = root
        self._proc = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._known: dict[str, bytes] = {}  # bytes: nothing for the garbage collector to go through
        self._kids: dict[str, list[str]] = {}
        self._dead: dict[str, str] = {}  # zombie -> parent
        self._groups = Groups(self._proc, mounts(self._proc))

    def close(self) -> None:
        os.close(self._proc)

    def run(self, stay: float, *, ask: Ask) -> None:
        """All records, in the order in which their files may still be believed."""
        began = self._machine()
        pids = [name for name in os.listdir(self._proc) if "0" <= name[0] <= "9"]  # noqa: PTH208 - an open folder
        alive = self._alive(pids)
        inits = self._inits(alive)
        children = {pid: self._children(pid) for pid in inits if pid != self._spared}
        shells = [pid for each in children for pid in (each, *children[each]) if self._program(pid) in SHELLS]
        below = {pid: self._children(pid) for pid in shells}
        lines = {*shells, *(child for few in below.values() for child in few)}
        wanted = dict.fromkeys([*inits, *(child for few in [*children.values(), *below.values()] for child in few)])
        self._above(inits)
        for pid in dict.fromkeys([*wanted, *self._dead.values()]):
            self._process(pid)
        for pid in inits:
            self._identity(pid)
        for pid in dict.fromkeys([*inits, *lines]):
            self._line(pid)
        self._users(inits, wanted, pids)
        blocking = (child for few in children.values() for child in few if child not in inits and self._blocks(child))
        for pid in [*inits, *blocking]:
            self._waiting(pid)
        if ask != "none":
            self._inside([pid for pid in inits if pid != "1" and (ask == "all" or self._may_be_short(pid))])
        self._zombies(stay, began)

    def _put(self, kind: str, *fields: object) -> None:
        record = "\t".join(map(str, fields))
        self.records[kind].append(record if record.isascii() else _plain(record))

    def _status(self, pid: str) -> bytes:
        """Read once; b"" when it is gone."""
        if (known := self._known.get(pid)) is None:
            known = self._known[pid] = read(self._proc, pid + "/status")
        return known

    def _link(self, path: str) -> str:
        try:
            return os.readlink(path, dir_fd=self._proc)
        except OSError:
            return ""

    def _machine(self) -> int:
        """The host's record; answers the ticks since the machine started."""
        own, uptime = self._link("self/ns/pid"), read(self._proc, "uptime").split()[0].decode()
        limits = [read(self._proc, f"sys/kernel/{name}").decode().strip() for name in ("pid_max", "threads-max")]
        tasks = read(self._proc, "loadavg").split()[3].partition(b"/")[2].decode()
        self._spared = "1" if own == _ROOT_NAMESPACE else ""
        self._own = own
        hidden, controller, mount = self._groups.mounts.hidepid, self._groups.controller, self._groups.mount
        kernel = os.uname()
        self._put(
            "host", os.getuid(), kernel.machine, kernel.release, own, *limits, tasks, uptime, hidden, controller, mount
        )
        return int(uptime.replace(".", ""))

    def _alive(self, pids: list[str]) -> list[str]:
        """Those that run; the zombies among the others are noted."""
        listed = self._groups.members()
        # kthreadd never leaves the root cgroup: where it is listed, everybody who runs is
        whole = self._spared and _KTHREADD in listed
        unlisted = set(pids) - listed
        alive = [pid for pid in pids if pid not in unlisted]  # in the kernel's order: neighbours are read faster
        for pid in sorted(unlisted, key=int):
            if pid in self._dead or not (status := self._status(pid)):
                continue
            if not _zombie(status):
                alive.append(pid)
            elif _field(status, b"Threads") == b"1":
                parent = _field(status, b"PPid").decode()
                self._dead[pid] = parent
                if whole:  # so its siblings that are not listed are zombies too, and the second look reads each of them
                    self._dead.update((child, parent) for child in self._offspring(parent) if child in unlisted)
        return alive

    def _inits(self, alive: list[str]) -> list[str]:
        """The first process of each namespace; one whose namespace is hidden from us is asked itself."""
        members: dict[str, list[str]] = defaultdict(list)
        link, proc = os.readlink, self._proc
        for pid in alive:
            try:
                members[link(pid + "/ns/pid", dir_fd=proc)].append(pid)
            except OSError:
                members[""].append(pid)
        hidden, own = members.pop("", []), members.pop(self._own, [])
        found = [pid for pid in hidden if _first(self._status(pid))]
        found += ["1"] if "1" in own else []
        for pids in members.values():
            found += next(([pid] for pid in sorted(pids, key=int) if _first(self._status(pid))), [])
        self.records["i"] += found
        return found

    def _offspring(self, pid: str) -> list[str]:
        """All its children, zombies too."""
        if pid not in self._kids:
            single = _field(self._status(pid), b"Threads") == b"1"
            threads = [pid] if single else self._list(f"{pid}/task")
            found = (b"".join(blocks(self._proc, f"{pid}/task/{thread}/children")) for thread in threads)
            self._kids[pid] = b" ".join(found).decode().split()
        return self._kids[pid]

    def _living(self, pid: str) -> list[str]:
        dead = self._dead
        return [child for child in self._offspring(pid) if child not in dead]

    def _children(self, pid: str) -> list[str]:
        """A few of them."""
        found = sorted(self._living(pid), key=int)
        return found if len(found) <= 2 * _FEW else [*found[:_FEW], *found[-_FEW:]]

    def _list(self, path: str) -> list[str]:
        try:
            folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self._proc)
        except OSError:
            return []
        try:
            return os.listdir(folder)  # noqa: PTH208 - an open folder
        except OSError:
            return []
        finally:
            os.close(folder)

    def _above(self, inits: list[str]) -> None:
        """The init above each parent of zombies."""
        known = set(inits)
        for parent in dict.fromkeys(self._dead.values()):
            up = parent
            while up not in known and (status := self._status(up)):
                up = _field(status, b"PPid").decode()
            self._put("o", parent, up)

    def _process(self, pid: str) -> None:
        status = self._status(pid)
        if not status:
            return
        stat = read(self._proc, pid + "/stat").rpartition(b")")[2].split()
        if len(stat) > 19:
            self._put("a", pid, stat[19].decode())
        depth, children = len(_field(status, b"NSpid").split()), len(self._living(pid))
        words = (
            _field(status, b"PPid"),
            _field(status, b"State")[:1],
            b"%d\t%d" % (depth, children),
            _field(status, b"Threads"),
            _field(status, b"Uid").split()[0],
            *(_field(status, name) for name in (b"SigBlk", b"SigIgn", b"SigCgt")),
            status[6 : status.find(b"\n")],
        )
        self._put("p", pid, b"\t".join(words).decode("utf-8", "backslashreplace"))

    def _identity(self, pid: str) -> None:
        self._put("n", pid, self._link(pid + "/ns/pid"))
        self._put("x", pid, self._link(pid + "/exe").replace("\n", "\036"))
        if most := re.search(rb"^Max processes +(\w+)", read(self._proc, pid + "/limits"), re.MULTILINE):
            self._put("r", pid, most[1].decode())
        for kind, *fields in self._groups.of(pid):
            self._put(str(kind), pid, *fields)

    def _program(self, pid: str) -> str:
        """By its file; one of many names (busybox) is what it is called as."""
        if (name := self._link(pid + "/exe").rpartition("/")[2]) not in MANY:
            return name
        status = self._status(pid)
        words = [status[6 : status.find(b"\n")], *read(self._proc, pid + "/cmdline", _LINE).split(b"\0")[:2]]
        called = (os.fsdecode(word).rpartition("/")[2] for word in words)
        return next((word for word in called if word and word not in MANY), name)

    def _line(self, pid: str) -> None:
        """Its command line, and the script that a shell or node runs."""
        line = read(self._proc, pid + "/cmdline", _MEMORY)
        shown = line.replace(b"\n", b"\036").replace(b"\0", b"\037")
        self._put("c", pid, shown.decode("utf-8", "backslashreplace"))
        if text := script(self._proc, pid, self._program(pid), line.split(b"\0")):
            self._put("t", pid, text.replace(b"\n", b"\036").replace(b"\0", b"").decode("utf-8", "backslashreplace"))

    def _users(self, inits: list[str], wanted: Iterable[str], pids: list[str]) -> None:
        """Tasks by user: every process must be read for it, so only where somebody but root is limited."""
        limited = {record.split("\t")[0] for record in self.records["r"] if not record.endswith("unlimited")}
        users = {_field(status, b"Uid").split()[0] for pid in wanted if (status := self._status(pid))}
        if not limited or users <= {b"0"}:
            return
        tasks: Counter[bytes] = Counter()
        for pid in pids:
            if status := self._status(pid):
                tasks[_field(status, b"Uid").split()[0]] += int(_field(status, b"Threads") or 0)
        for user in users:
            self._put("u", user.decode(), tasks[user])

    def _blocks(self, pid: str) -> bool:
        return bool(_field(self._status(pid), b"SigBlk").strip(b"0"))

    def _waiting(self, pid: str) -> None:
        with suppress(OSError):
            program = os.open(pid + "/exe", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._proc)
            with open(program, "rb", buffering=0) as file:
                self._put("e", pid, "".join(str(byte) for byte in os.pread(file.fileno(), 1, 4)))
        sigwait, *kept = _CALLS.get(os.uname().machine, ("", "", ""))
        single = _field(self._status(pid), b"Threads") == b"1"
        for thread in [pid] if single else self._list(f"{pid}/task"):
            if single:
                self._put("b", pid, _field(self._status(pid), b"SigBlk").decode())
            elif status := read(self._proc, f"{pid}/task/{thread}/status"):
                self._put("b", pid, _field(status, b"SigBlk").decode())
            if not (words := read(self._proc, f"{pid}/task/{thread}/syscall").decode().split()):
                continue
            kept_ones = words[:2] if words[0] in (sigwait, *kept) else ["-", "-"]
            self._put("s", pid, *kept_ones)
            if words[0] == sigwait:
                self._put("w", pid, self._memory(pid, int(words[1], 16)).hex())
        for number in self._list(f"{pid}/fdinfo"):
            for mask in re.findall(rb"^sigmask:\t(\w+)", read(self._proc, f"{pid}/fdinfo/{number}"), re.MULTILINE):
                self._put("f", pid, mask.decode())

    def _memory(self, pid: str, at: int) -> bytes:
        with suppress(OSError, OverflowError):
            memory = os.open(pid + "/mem", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._proc)
            with open(memory, "rb", buffering=0) as file:
                return os.pread(file.fileno(), 8, at)
        return b""

    def _may_be_short(self, pid: str) -> bool:
        """Whether the least pid_max that can be written would be nearly used up by what its cgroup counts, if that is known."""
        own = next((record.split("\t")[1] for record in self.records["l"] if record.startswith(pid + "\t")), "")
        return not own or int(own) >= _MAY_BE_SHORT

    def _inside(self, inits: list[str]) -> None:
        """The pid_max of each namespace: /proc/sys shows a process that of its own, so one is started in each."""
        if not inits or not shutil.which("nsenter"):
            return
        done = subprocess.run(["/bin/sh", "-c", _INSIDE, "sh", *inits], capture_output=True, text=True, check=False)
        for line in done.stdout.splitlines():
            self._put("m", *line.split(" ", 1))

    def _zombies(self, stay: float, began: int) -> None:
        """Those that are still the same at the second look: of the same parent, started before the first one."""
        seen, stayed = Counter(self._dead.values()), Counter[str]()
        if self._dead:
            time.sleep(stay)
        for pid, parent in self._dead.items():
            stat = read(self._proc, pid + "/stat", _LINE).rpartition(b")")[2].split(None, 20)
            if len(stat) < 20 or stat[1].decode() != parent or int(stat[19]) > began:
                continue
            if stat[0] == b"Z":
                stayed[parent] += stat[17] == b"1"
            else:  # on its way from one cgroup to another at the first look
                seen[parent] -= 1
        for parent, count in seen.items():
            if count:
                self._put("z", parent, count, stayed[parent])


def _plain(record: str) -> str:
    """With bytes that are no text shown as what comes over a connection shows them."""
    return record.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _release() -> tuple[int, int]:
    numbers = [int(each) for each in _NUMBER.findall(platform.release().encode())[:2]]
    return (numbers[0], numbers[1]) if len(numbers) == 2 else (0, 0)
