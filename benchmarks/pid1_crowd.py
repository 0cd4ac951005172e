"""Many PID namespaces with many processes that do nothing, in cgroups of their own; gone when the context ends."""

from __future__ import annotations

import os
import subprocess
from functools import partial
from pathlib import Path
from typing import Self

from sretoolkit.clock import poll

_SPARE = 4000  # process ids that are left to the rest of the machine
_SPAWN = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>
static pid_t child(void) {
    pid_t pid = fork();
    if (pid < 0) { perror("fork"); _exit(1); }
    return pid;
}
static void leave(int count) { while (count-- > 0) if (child() == 0) _exit(0); }
static void enter(const char *folder, int number) {
    char path[512];
    snprintf(path, sizeof path, "%s/%d/cgroup.procs", folder, number);
    int file = open(path, O_WRONLY);
    if (file < 0 || write(file, "0", 1) != 1) { perror(path); _exit(1); }
    close(file);
}
/* An init that never waits: half of the zombies are its own, half those of one child, which does not wait either. */
static void fill(int each, int told) {
    int own = each / 20, others = each / 10 - own;
    leave(own);
    for (int number = 1 + own + others; number < each; number++)
        if (child() == 0) {
            if (number == each - 1) { leave(others); if (write(told, "x", 1) != 1) _exit(1); }
            for (;;) pause();
        }
    for (;;) pause();
}
int main(int count, char **words) {
    int namespaces = atoi(words[2]), each = atoi(words[3]), own = open("/proc/self/ns/pid", O_RDONLY);
    char byte;
    if (count != 4) return 2;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (int number = 0; number < namespaces; number++) {
        int told[2];
        if (pipe(told) || unshare(CLONE_NEWPID)) { perror("unshare"); return 1; }
        if (child() == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            enter(words[1], number);
            fill(each, told[1]);
        }
        close(told[1]);
        if (read(told[0], &byte, 1) != 1) return 1;
        close(told[0]);
        setns(own, CLONE_NEWPID);
    }
    puts("ready");
    fflush(stdout);
    while (read(0, &byte, 1) > 0) {}
    return 0; /* and with it each namespace's init, hence the namespace */
}
"""


def compiled(folder: Path, name: str, source: str) -> Path:
    """A program made of C source, by gcc."""
    (folder / f"{name}.c").write_text(source)
    subprocess.run(["gcc", "-O2", "-static", "-o", str(folder / name), str(folder / f"{name}.c")], check=True)
    return folder / name


class Crowd:
    """So many namespaces with so many processes each; ``count``: the processes of the whole machine."""

    def __init__(self, folder: Path, namespaces: int, each: int) -> None:
        room = int(Path("/proc/sys/kernel/pid_max").read_text()) - len(_pids())
        if namespaces * each > room - _SPARE:
            raise RuntimeError(f"{namespaces * each} processes would leave too few of {room} process ids")
        self._program = compiled(folder, "spawn", _SPAWN)
        self._sizes = (str(namespaces), str(each))
        mount = next(path for path in (Path("/sys/fs/cgroup/pids"), Path("/sys/fs/cgroup")) if path.is_dir())
        self.cgroup = mount / f"crowd-{os.getpid()}"
        self.count = 0
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.cgroup.mkdir()
        if (self.cgroup / "cgroup.subtree_control").exists():
            (self.cgroup / "cgroup.subtree_control").write_text("+pids")
        for number in range(int(self._sizes[0])):
            (self.cgroup / str(number)).mkdir()
        command = [str(self._program), str(self.cgroup), *self._sizes]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout
        if self._process.stdout.readline() != b"ready\n":
            self.__exit__()
            raise RuntimeError("the crowd did not start")
        self.count = len(_pids())
        return self

    def __exit__(self, *_: object) -> None:
        if self._process:
            self._process.communicate(timeout=60)
        for folder in [*self.cgroup.iterdir(), self.cgroup]:
            if folder.is_dir() and not poll(partial(_gone, folder), timeout=60):
                raise RuntimeError(f"{folder} cannot be removed")


def _pids() -> list[str]:
    return [path.name for path in Path("/proc").iterdir() if path.name.isdigit()]


def _gone(folder: Path) -> bool:
    try:
        folder.rmdir()
    except OSError:
        return not folder.exists()
    return True
