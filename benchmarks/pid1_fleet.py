"""PID 1 over ssh: bytes and round trips of one look, and many hosts beside fabric's own group with ps."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

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


def many(count: int) -> None:
    """So many hosts: our fleet beside fabric's own group with ps, wall and CPU seconds; in a network namespace of its own."""
    alone = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
    subprocess.run([*alone, sys.executable, "-m", "benchmarks.pid1_fleet", str(count)], check=True)


def _many(folder: Path, count: int) -> None:
    """One sshd at every address of a loopback interface that nobody else can reach."""
    with Sshd(folder, listen="0.0.0.0") as server:
        keys = server.known_hosts.read_text().split(maxsplit=1)[1]
        places = [f"127.0.{number // 250}.{number % 250 + 1}" for number in range(count)]
        server.known_hosts.write_text("".join(f"[{place}]:{server.port} {keys}" for place in places))
        options = json.dumps([server.options(address=place) for place in places])
        cases = {"fabric's ThreadingGroup, ps": _PEER, "Fleet, scan": _OURS % count}
        print(f"\n{count} hosts\n\n| way | wall s | client's CPU s |\n|---|---|---|")
        for name, program in cases.items():
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            done = subprocess.run(
                [sys.executable, "-c", program], input=options, check=True, capture_output=True, text=True
            )
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            found, wall = done.stdout.split()[-2:]
            cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            print(f"| {name} ({found} answered) | {float(wall):.1f} | {cpu:.1f} |", flush=True)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        _many(Path(made), int(sys.argv[1]))
