"""PID 1 over ssh: bytes and round trips of one look, and many hosts beside fabric's own group with ps."""

from __future__ import annotations

import json
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Self

from benchmarks.pid1_crowd import compiled
from sretoolkit.clock import poll
from sretoolkit.config import Config
from sretoolkit.hosts import connect
from sretoolkit.hosts.connection import Connection
from sretoolkit.hosts.result import Output
from sretoolkit.pid1 import scan
from tests.stack.sshd import Sshd


class Counting(Connection):
    """Passes everything on, and counts commands and what they answer."""

    def __init__(self, inner: Connection) -> None:
        self.inner, self.commands, self.bytes = inner, 0, 0

    def execute(self, command: str, *, timeout: float, data: bytes) -> Output:
        """As the connection does it."""
        output = self.inner.execute(command, timeout=timeout, data=data)
        self.commands += 1
        self.bytes += len(output.stdout) + len(output.stderr)
        return output

    def by_hand(self, command: str) -> str:
        """As the connection says it."""
        return self.inner.by_hand(command)

    def close(self) -> None:
        """As the connection does it."""
        self.inner.close()


def far(folder: Path, count: int) -> None:
    """One look over ssh: round trips, bytes, wall seconds; and the bytes of ps."""
    with Sshd(folder) as server, connect("far", Config.of(hosts={"far": server.options()})) as host:
        host.run("true", timeout=60)
        counting = Counting(host.connection)
        host.connection = counting
        began = time.monotonic()
        machine = scan(host, stay=0, ask="none")
        wall = time.monotonic() - began
        commands, size = counting.commands, counting.bytes
        listed = host.run("ps -eo pid,ppid,stat,cgroup | wc -c", timeout=60).stdout.strip()
    print(
        f"\nover ssh, {count} processes, {len(machine.inits)} inits: {commands} round trip, {size / 1000:.1f} kB "
        f"({wall:.1f} s); ps would return {int(listed) / 1000:.0f} kB"
    )


_PEER = """
import json, sys, time
from collections import Counter
from fabric import Connection, ThreadingGroup
options = json.load(sys.stdin)
began = time.monotonic()
hosts = [
    Connection(
        each["address"], user=each["user"], port=each["port"],
        connect_kwargs={"key_filename": each["key"], "look_for_keys": False, "allow_agent": False},
    )
    for each in options
]
with ThreadingGroup.from_connections(hosts) as group:
    done = group.run("ps -eo pid,ppid,stat,cgroup", hide=True)
found = {}
for connection, result in done.items():
    rows = [line.split(None, 3) for line in result.stdout.splitlines()[1:]]
    found[connection.host] = Counter(row[1] for row in rows if row[2].startswith("Z"))
print(len(found), time.monotonic() - began)
"""
_OURS = """
import json, sys, time
from sretoolkit.config import Config
from sretoolkit.hosts import Fleet
from sretoolkit.pid1.process import scan
options = json.load(sys.stdin)
began = time.monotonic()
hosts = {f"h{number}": each for number, each in enumerate(options)}
with Fleet(list(hosts), config=Config.of(hosts=hosts)) as fleet:
    outcome = fleet.map(lambda host: scan(host, stay=0, ask='none'), batch_size=%d, max_failures="100%%")
assert not outcome.errors, outcome.errors
print(len(outcome.results), time.monotonic() - began)
"""

_NOTHING = """
import json, sys, time
from sretoolkit.config import Config
from sretoolkit.hosts import Fleet
options = json.load(sys.stdin)
began = time.monotonic()
hosts = {f"h{number}": each for number, each in enumerate(options)}
with Fleet(list(hosts), config=Config.of(hosts=hosts)) as fleet:
    outcome = fleet.map(lambda host: host.run("true", timeout=120), batch_size=%d, max_failures="100%%")
assert not outcome.errors, outcome.errors
print(len(outcome.results), time.monotonic() - began)
"""
_FILL = r"""
#include <stdlib.h>
#include <unistd.h>
/* A host's other processes: they do nothing, and a twentieth of them are zombies. */
int main(int count, char **words) {
    int each = count > 1 ? atoi(words[1]) : 0;
    for (int number = 0; number < each; number++)
        if (fork() == 0) {
            if (number % 20 == 0) _exit(0);
            for (;;) pause();
        }
    for (;;) pause();
}
"""
# A home of its own: what this machine's login scripts cost is no host's business.
_HOST = 'echo 0 >"$1/cgroup.procs"; mount --bind "$2" ~; fill=$3 each=$4; shift 4; "$fill" "$each" & exec "$@"'


def many(count: int, each: int) -> None:
    """So many hosts: our fleet beside fabric's own group with ps, wall and CPU seconds; in a network namespace of its own."""
    alone = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
    subprocess.run([*alone, sys.executable, "-m", "benchmarks.pid1_fleet", str(count), str(each)], check=True)


class Hosts:
    """So many sshd, each at an address of its own and PID 1 of a namespace with so many processes and its own /proc."""

    def __init__(self, folder: Path, count: int, each: int) -> None:
        self._fill = compiled(folder, "fill", _FILL)
        self._server = Sshd(folder / "sshd")
        self._home = folder / "home"
        self._home.mkdir()
        self._each = str(each)
        self._places = [f"127.0.{number // 250 + 1}.{number % 250 + 1}" for number in range(count)]
        self._running: list[subprocess.Popen[bytes]] = []
        mount = next(path for path in (Path("/sys/fs/cgroup/cpuacct"), Path("/sys/fs/cgroup")) if path.is_dir())
        self._cgroup = mount / f"hosts-{os.getpid()}"

    def spent(self) -> float:
        """CPU seconds of all the hosts since they started."""
        if (used := self._cgroup / "cpuacct.usage").exists():
            return int(used.read_text()) / 1e9
        return int((self._cgroup / "cpu.stat").read_text().split()[1]) / 1e6

    def __enter__(self) -> Self:
        self._server.start()  # makes the keys and the configuration that all of them share
        self._server.stop()
        server, port = self._server, self._server.port
        keys = server.known_hosts.read_text().split(maxsplit=1)[1]
        server.known_hosts.write_text("".join(f"[{place}]:{port} {keys}" for place in self._places))
        config = server.folder / "sshd_config"
        lines = [line for line in config.read_text().splitlines() if not line.startswith("ListenAddress")]
        config.write_text("\n".join(lines) + "\n")
        alone = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", "sh", "-c", _HOST, "sh"]
        self._cgroup.mkdir()
        for place in self._places:
            sshd = ["/usr/sbin/sshd", "-D", "-e", "-f", str(config), "-o", f"ListenAddress={place}"]
            command = [*alone, str(self._cgroup), str(self._home), str(self._fill), self._each, *sshd]
            self._running.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        for place in self._places:
            if not poll(partial(_answers, place, port), timeout=60):
                raise RuntimeError(f"the sshd at {place} does not answer")
        self.options = [server.options(address=place) for place in self._places]
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._running:
            process.kill()
        for process in self._running:
            process.wait()
        poll(self._removed, timeout=30)

    def _removed(self) -> bool:
        try:
            self._cgroup.rmdir()
        except OSError:
            return not self._cgroup.exists()
        return True


def _answers(place: str, port: int) -> bool:
    try:
        with socket.create_connection((place, port), timeout=5) as probe:
            return probe.recv(4) == b"SSH-"
    except OSError:
        return False


def _many(folder: Path, count: int, each: int) -> None:
    with Hosts(folder, count, each) as hosts:
        options = json.dumps(hosts.options)
        cases = {"fabric's ThreadingGroup, ps": _PEER, "Fleet, scan": _OURS % count, "Fleet, `true`": _NOTHING % count}
        print(
            f"\n{count} hosts of {each} processes\n\n| way | wall s | client's CPU s | hosts' CPU s |\n|---|---|---|---|"
        )
        for name, program in cases.items():
            before, spent = resource.getrusage(resource.RUSAGE_CHILDREN), hosts.spent()
            done = subprocess.run(
                [sys.executable, "-c", program], input=options, check=True, capture_output=True, text=True
            )
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            found, wall = done.stdout.split()[-2:]
            cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            far = hosts.spent() - spent
            print(f"| {name} ({found} answered) | {float(wall):.1f} | {cpu:.1f} | {far:.1f} |", flush=True)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        _many(Path(made), int(sys.argv[1]), int(sys.argv[2]))
