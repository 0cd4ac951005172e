"""Cgroups of this machine, read from the files themselves: who is in them, how many ids they use and may use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

_BLOCK = 1 << 17
_OPEN = os.O_RDONLY | os.O_CLOEXEC
_WHOLE = 1 << 12  # more than any file that is read so; lists are read to their end by `blocks`


@dataclass(frozen=True)
class Mounts:
    """Where cgroups are mounted ("" = not): v1's that counts process ids, v1's freezer, v2; and /proc's hidepid."""

    pids: str = ""
    freezer: str = ""
    unified: str = ""
    hidepid: str = ""


@dataclass(frozen=True)
class Usage:
    """One cgroup with all below it: ``current`` ids are taken, ``live`` of them by threads, the others by zombies."""

    path: str
    current: int
    live: int
    limit: int | None

    @property
    def zombies(self) -> int:
        """Ids of processes that ended and were not waited for; a look amid many short-lived ones may count a few of them."""
        return max(0, self.current - self.live)


def read(folder: int, path: str, most: int = _WHOLE) -> bytes:
    """A small file of /proc or a cgroup below an open folder, in one read; b"" when it is gone or not for us."""
    try:
        file = os.open(path, _OPEN, dir_fd=folder)
    except OSError:
        return b""
    try:
        return os.read(file, most)
    except OSError:
        return b""
    finally:
        os.close(file)


def mounts(proc: int) -> Mounts:
    """What is mounted where, by an open /proc."""
    found = {"pids": "", "freezer": "", "unified": "", "hidepid": ""}
    for line in _lines(proc, "self/mounts"):
        _, mounted, kind, options, *_ = os.fsdecode(line).split(" ")
        words = options.split(",")
        name = {"cgroup2": "unified"}.get(kind) or next((word for word in ("pids", "freezer") if word in words), "")
        if kind in ("cgroup", "cgroup2") and name:
            found[name] = found[name] or mounted
        elif kind == "proc" and mounted == "/proc":
            found["hidepid"] = next((word.partition("=")[2] for word in words if word.startswith("hidepid=")), "")
    return Mounts(**found)


class Groups:
    """The hierarchy that counts process ids, and what a process's place in it says."""

    def __init__(self, proc: int, mounted: Mounts) -> None:
        self.mounts = mounted
        self._proc = proc
        counts = b"pids" in read(proc, f"{mounted.unified}/cgroup.controllers").split() if mounted.unified else False
        self.controller = "v1" if mounted.pids else "v2" if counts else ""
        self.mount = {"v1": mounted.pids, "v2": mounted.unified, "": ""}[self.controller]
        self._levels: dict[str, tuple[object, ...] | None] = {}

    def members(self) -> set[str]:
        """The pids of all that run, as far as this hierarchy's lists go: who is not among them must be looked at."""
        found: set[str] = set()
        for folder in _folders(self.mounts.pids or self.mounts.unified):
            found.update(b" ".join(_lines(self._proc, folder + "/cgroup.procs")).decode().split())
        return found

    def of(self, pid: str) -> Iterator[tuple[object, ...]]:
        """The records g, h and l of a process, see ``scan.sh``."""
        text = os.fsdecode(read(self._proc, pid + "/cgroup"))
        if not text:
            return
        places = [line.split(":", 2)[1:] for line in text.splitlines() if line.count(":") > 1]
        own = {word: path for words, path in places for word in words.split(",")}
        counted = own["pids"] if "pids" in own and self.mounts.pids else ""
        some = (
            path
            for path in (own.get("pids", ""), own.get("", ""), *(path for _, path in places))
            if path not in ("", "/")
        )
        yield "g", next(some, "/")
        frozen = self._frozen(own.get("freezer", ""), own.get("", ""))
        if frozen:
            yield "h", frozen
        base, path = (self.mounts.pids, counted) if counted else (self.mounts.unified, own.get("", ""))
        if base and path and "/.." not in path:
            yield from self._up(base, path)

    def _frozen(self, old: str, new: str) -> str:
        if "/.." in old + new:
            return ""
        if self.mounts.freezer and old:
            state = b"THAWED" if old == "/" else read(self._proc, f"{self.mounts.freezer}{old}/freezer.state").strip()
            return str(int(state != b"THAWED")) if state else ""
        if self.mounts.unified and new:
            events = read(self._proc, f"{self.mounts.unified}{new.rstrip('/')}/cgroup.events")
            return str(int(b"\nfrozen 1" in b"\n" + events))
        return ""

    def _up(self, base: str, path: str) -> Iterator[tuple[object, ...]]:
        while True:
            path = path.rstrip("/")
            if base + path not in self._levels:
                self._levels[base + path] = self._level(base, path)
            if level := self._levels[base + path]:
                yield level
            if not path:
                return
            path = path.rpartition("/")[0]

    def _level(self, base: str, path: str) -> tuple[object, ...] | None:
        current = read(self._proc, f"{base}{path}/pids.current").strip().decode()
        if not current:
            return None
        limit = read(self._proc, f"{base}{path}/pids.max").strip().decode() or "?"
        words = read(self._proc, f"{base}{path}/pids.events").split()
        failed = int(words[words.index(b"max") + 1]) if b"max" in words[::2] else 0
        return "l", current, limit, failed, path or "/"


def usage(root: str = "/proc") -> tuple[Usage, ...]:
    """Every cgroup that counts process ids, with its zombies, and no process looked at; () where nothing counts them."""
    proc = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        groups = Groups(proc, mounts(proc))
        tasks = "/tasks" if groups.controller == "v1" else "/cgroup.threads"
        live: dict[str, int] = {}
        found = []
        for folder in sorted(_folders(groups.mount), reverse=True):  # those below before those above
            total = live.pop(folder, 0) + sum(block.count(b"\n") for block in blocks(proc, folder + tasks))
            up = folder.rpartition("/")[0]
            live[up] = live.get(up, 0) + total
            if current := read(proc, folder + "/pids.current").strip():
                limit = read(proc, folder + "/pids.max").strip()
                path = folder.removeprefix(groups.mount) or "/"
                found.append(Usage(path, int(current), total, int(limit) if limit.isdigit() else None))
    finally:
        os.close(proc)
    return tuple(reversed(found))


def _folders(mount: str) -> Iterator[str]:
    """A hierarchy's cgroups; those that go meanwhile are left out."""
    todo = [mount] if mount else []
    while todo:
        folder = todo.pop()
        yield folder
        try:
            with os.scandir(folder) as entries:
                todo += [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
        except OSError:
            continue


def blocks(folder: int, path: str) -> Iterator[bytes]:
    """A file of any size below an open folder, piece by piece; nothing when it is gone or not for us."""
    try:
        file = os.open(path, _OPEN, dir_fd=folder)
    except OSError:
        return
    try:
        while block := os.read(file, _BLOCK):
            yield block
    except OSError:
        return
    finally:
        os.close(file)


def _lines(folder: int, path: str) -> list[bytes]:
    return b"".join(blocks(folder, path)).split(b"\n")[:-1]
