"""PID 1: what one look costs, beside a C loop over every stat, psutil and ps; over ssh; and over many hosts.

``python -m benchmarks.pid1 [--namespaces 100] [--each 200] [--rounds 5] [--hosts 200] [--processes 100]``, as root with gcc,
makes so many
PID namespaces with so many processes each, a tenth of them zombies, and prints CPU milliseconds for 10,000 processes (the
least of all rounds, in turn; the start of the interpreter apart) and ratios.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.pid1_crowd import Crowd, compiled
from benchmarks.pid1_fleet import far, many

_PYTHON = """
import resource, sys
def spent():
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in both)
%s
begin = spent()
%s
print(spent() - begin)
"""
_WALK = ("from sretoolkit.pid1.groups import usage", "usage()")
_LOOK = (
    "from sretoolkit.pid1 import here; from sretoolkit.pid1.process import assemble",
    "assemble(here.look(0, ask='%s'))",
)
_PSUTIL = (
    "import psutil",
    "for each in psutil.process_iter(['pid', 'ppid', 'status', 'uids', 'num_threads']): each.info",
)
_SCRIPT = (
    "import subprocess; from importlib.resources import files; from sretoolkit.pid1.process import parse; "
    "command = ['sh', '-c', files('sretoolkit.pid1').joinpath('scan.sh').read_text(), 'sh', '0', '/proc', 'none']",
    "parse(subprocess.run(command, capture_output=True, text=True).stdout)",
)
_LOOP = """
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
int main(void) {
    DIR *folder = opendir("/proc");
    struct dirent *entry;
    struct rusage used;
    char path[300], text[4096];
    long seen = 0, zombies = 0;
    while ((entry = readdir(folder))) {
        if (entry->d_name[0] < '0' || entry->d_name[0] > '9') continue;
        snprintf(path, sizeof path, "/proc/%s/stat", entry->d_name);
        int file = open(path, O_RDONLY);
        if (file < 0) continue;
        ssize_t length = read(file, text, sizeof text - 1);
        close(file);
        if (length <= 0) continue;
        text[length] = 0;
        char *end = strrchr(text, ')');
        char state;
        int parent;
        if (end && sscanf(end + 1, " %c %d", &state, &parent) == 2) { seen++; zombies += state == 'Z'; }
    }
    fprintf(stderr, "%ld processes, %ld zombies\\n", seen, zombies);
    getrusage(RUSAGE_SELF, &used);
    printf("%f\\n", used.ru_utime.tv_sec + used.ru_stime.tv_sec + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6);
    return 0;
}
"""
_PS = "subprocess.run(['ps', '-eo', 'pid,ppid,stat,cgroup'], stdout=subprocess.DEVNULL)"


def seconds(command: list[str]) -> float:
    """CPU seconds, which the command measures and prints itself."""
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1])


def python(setup: str, work: str) -> list[str]:
    """A Python of its own that prints the CPU seconds of the work, children's too, without those of the set-up."""
    return [sys.executable, "-c", _PYTHON % (setup, work)]


def local(crowd: Crowd, folder: Path, rounds: int) -> None:
    """The table of this machine's ways to look."""
    loop = [str(compiled(folder, "loop", _LOOP))]
    cases = {
        "C, every stat": loop,
        "cgroup walk: zombies of every container": python(*_WALK),
        "full look: zombies by parent, every init": python(_LOOK[0], _LOOK[1] % "short"),
        "the same, with every namespace asked for its own pid_max": python(_LOOK[0], _LOOK[1] % "all"),
        "the script (sh, awk)": python(*_SCRIPT),
        "ps -eo pid,ppid,stat,cgroup": python("import subprocess", _PS),
        "psutil, pid ppid status uids num_threads": python(*_PSUTIL),
    }
    times: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(rounds):
        for name, command in cases.items():
            times[name].append(seconds(command))
    least = {name: min(each) * 1e7 / crowd.count for name, each in times.items()}
    print(f"\n{crowd.count} processes on the machine\n\n| way | CPU ms for 10,000 | beside the C loop |\n|---|---|---|")
    for name, value in least.items():
        print(f"| {name} | {value:.1f} | {value / least['C, every stat']:.2f} |")
    full = least["full look: zombies by parent, every init"]
    for name in ("ps -eo pid,ppid,stat,cgroup", "psutil, pid ppid status uids num_threads"):
        print(f"{name} / full look: {least[name] / full:.1f}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    for name, default in (("namespaces", 100), ("each", 200), ("rounds", 5), ("hosts", 200), ("processes", 100)):
        parser.add_argument(f"--{name}", type=int, default=default)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        with Crowd(Path(folder), chosen.namespaces, chosen.each) as crowd:
            local(crowd, Path(folder), chosen.rounds)
            far(Path(folder) / "far", crowd.count)
        many(chosen.hosts, chosen.processes)


if __name__ == "__main__":
    main()
