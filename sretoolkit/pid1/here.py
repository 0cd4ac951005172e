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

from sretoolkit.pid1.groups import Groups, mounts, read
from sretoolkit.pid1.records import Records

_ROOT_NAMESPACE = "pid:[4026531836]"
_FEW = 4  # children with the lowest pids, and as many with the highest
_MEMORY = 4000  # bytes of a command line
_CALLS = {"x86_64": ("128", "61", "247"), "aarch64": ("137", "260", "95")}  # rt_sigtimedwait, wait4, waitid
_LISTED = (5, 2)  # Linux since when a cgroup lists no zombies
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


def look(stay: float = 1, *, inside: bool = True, root: str = "/proc") -> Records:
    """The records of one look, see ``scan.sh``; ``stay`` in seconds."""
    made = _Look(root)
    try:
        made.run(stay, inside=inside and root == "/proc" and _release() >= _OWN_PID_MAX)
    finally:
        made.close()
    return made.records


class _Status:
    """The fields of one status file; looked for when asked for."""

    __slots__ = ("text",)

    def __init__(self, text: bytes) -> None:
        self.text = text

    def __getitem__(self, name: bytes) -> bytes:
        """What a line says, b"" when there is none; no name of a process can forge one: newlines in it are escaped."""
        start = self.text.find(b"\n" + name + b":\t")
        if start < 0:
            return b""
        start += len(name) + 3
        return self.text[start : self.text.find(b"\n", start)]

    @property
    def zombie(self) -> bool:
        return self[b"State"].startswith(b"Z")

    @property
    def parent(self) -> str:
        return self[b"PPid"].decode()

    @property
    def first(self) -> bool:
        """Whether it is the first process of its namespace."""
        return self[b"NSpid"].split()[-1:] == [b"1"]

    @property
    def name(self) -> str:
        return self.text[6 : self.text.find(b"\n")].decode("utf-8", "backslashreplace")


class _Look:
    """One look; what was read of a process is kept, so that it is read once."""

    def __init__(self, root: str) -> None:
        self.records: Records = defaultdict(list)
        self._root = root
        self._proc = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._known: dict[str, _Status | None] = {}
        self._dead: dict[str, str] = {}  # zombie -> parent
        self._groups = Groups(self._proc, mounts(self._proc))

    def close(self) -> None:
        os.close(self._proc)

    def run(self, stay: float, *, inside: bool) -> None:
        """All records, in the order in which their files may still be believed."""
        began = self._machine()
        pids = [name for name in os.listdir(self._proc) if "0" <= name[0] <= "9"]  # noqa: PTH208 - an open folder
        alive = self._alive(pids)
        inits = self._inits(alive)
        children = {pid: self._children(pid) for pid in inits if pid != self._spared}
        wanted = dict.fromkeys([*inits, *(child for few in children.values() for child in few)])
        self._above(inits)
        for pid in dict.fromkeys([*wanted, *self._dead.values()]):
            self._process(pid)
        for pid in inits:
            self._identity(pid)
        self._users(inits, wanted, pids)
        blocking = (child for few in children.values() for child in few if child not in inits and self._blocks(child))
        for pid in [*inits, *blocking]:
            self._waiting(pid)
        if inside:
            self._inside([pid for pid in inits if pid != "1"])
        self._zombies(stay, began)

    def _put(self, kind: str, *fields: object) -> None:
        record = "\t".join(map(str, fields))
        self.records[kind].append(record if record.isascii() else _plain(record))

    def _status(self, pid: str) -> _Status | None:
        """None when it is gone."""
        if pid not in self._known:
            text = read(self._proc, pid + "/status")
            self._known[pid] = _Status(text) if text else None
        return self._known[pid]

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
        alive = []
        for pid in pids:
            if pid not in listed:
                status = self._status(pid)
                if status is None:
                    continue
                if status.zombie:
                    if status[b"Threads"] == b"1":
                        self._dead[pid] = status.parent
                    continue
            alive.append(pid)
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
        found = [pid for pid in hidden if self._is_first(pid)]
        found += ["1"] if "1" in own else []
        for pids in members.values():
            found += next(([pid] for pid in sorted(pids, key=int) if self._is_first(pid)), [])
        self.records["i"] += found
        return found

    def _is_first(self, pid: str) -> bool:
        status = self._status(pid)
        return status is not None and status.first and not status.zombie

    def _all_children(self, pid: str) -> list[str]:
        """The living ones."""
        status = self._status(pid)
        single = status is not None and status[b"Threads"] == b"1"
        threads = [pid] if single else self._list(f"{pid}/task")
        found = (
            child for each in threads for child in read(self._proc, f"{pid}/task/{each}/children").decode().split()
        )
        return [child for child in found if child not in self._dead]

    def _children(self, pid: str) -> list[str]:
        """A few of them."""
        found = sorted(self._all_children(pid), key=int)
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
            while up not in known and (status := self._status(up)) is not None:
                up = status.parent
            self._put("o", parent, up)

    def _process(self, pid: str) -> None:
        status = self._status(pid)
        if status is None:
            return
        stat = read(self._proc, pid + "/stat").rpartition(b")")[2].split()
        if len(stat) > 19:
            self._put("a", pid, stat[19].decode())
        uid = status[b"Uid"].split()[0]
        masks = (status[b"SigBlk"], status[b"SigIgn"], status[b"SigCgt"])
        children = len(self._all_children(pid))
        numbers = (status[b"State"][:1], b"%d" % len(status[b"NSpid"].split()), b"%d" % children, status[b"Threads"])
        words = (status[b"PPid"], *numbers, uid, *masks)
        self._put("p", pid, b"\t".join(words).decode(), status.name)

    def _identity(self, pid: str) -> None:
        self._put("n", pid, self._link(pid + "/ns/pid"))
        self._put("x", pid, self._link(pid + "/exe").replace("\n", "\036"))
        line = read(self._proc, pid + "/cmdline", _MEMORY).replace(b"\n", b"\036").replace(b"\0", b"\037")
        self._put("c", pid, line.decode("utf-8", "backslashreplace"))
        if most := re.search(rb"^Max processes +(\w+)", read(self._proc, pid + "/limits"), re.MULTILINE):
            self._put("r", pid, most[1].decode())
        for kind, *fields in self._groups.of(pid):
            self._put(str(kind), pid, *fields)

    def _users(self, inits: list[str], wanted: Iterable[str], pids: list[str]) -> None:
        """Tasks by user: every process must be read for it, so only where somebody but root is limited."""
        limited = {record.split("\t")[0] for record in self.records["r"] if not record.endswith("unlimited")}
        users = {status[b"Uid"].split()[0] for pid in wanted if (status := self._status(pid))}
        if not limited or users <= {b"0"}:
            return
        tasks: Counter[bytes] = Counter()
        for pid in pids:
            if status := self._status(pid):
                tasks[status[b"Uid"].split()[0]] += int(status[b"Threads"] or 0)
        for user in users:
            self._put("u", user.decode(), tasks[user])

    def _blocks(self, pid: str) -> bool:
        status = self._status(pid)
        return status is not None and bool(status[b"SigBlk"].strip(b"0"))

    def _waiting(self, pid: str) -> None:
        with suppress(OSError):
            program = os.open(pid + "/exe", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._proc)
            with open(program, "rb", buffering=0) as file:
                self._put("e", pid, "".join(str(byte) for byte in os.pread(file.fileno(), 1, 4)))
        sigwait, *kept = _CALLS.get(os.uname().machine, ("", "", ""))
        for thread in self._list(f"{pid}/task"):
            if status := read(self._proc, f"{pid}/task/{thread}/status"):
                self._put("b", pid, _Status(status)[b"SigBlk"].decode())
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
            stat = read(self._proc, pid + "/stat").rpartition(b")")[2].split(None, 20)
            if len(stat) > 19 and stat[0] == b"Z" and stat[1].decode() == parent and int(stat[19]) <= began:
                stayed[parent] += stat[17] == b"1"
        for parent, count in seen.items():
            self._put("z", parent, count, stayed[parent])


def _plain(record: str) -> str:
    """With bytes that are no text shown as what comes over a connection shows them."""
    return record.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _release() -> tuple[int, int]:
    numbers = [int(each) for each in _NUMBER.findall(platform.release().encode())[:2]]
    return (numbers[0], numbers[1]) if len(numbers) == 2 else (0, 0)
