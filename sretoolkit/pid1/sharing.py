"""Containers in a namespace of somebody else (a pod's, another container's, the host's): their programs are PID 1 nowhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sretoolkit.hosts import Host
from sretoolkit.pid1.process import Init, Process
from sretoolkit.pid1.workload import Workload

_SCRIPT = r"""for pid; do
  [ -r "/proc/$pid/status" ] || continue
  printf 'pid\t%s\t%s\t%s\n' "$pid" "$(readlink "/proc/$pid/exe" | tr '\t\n' '  ')" \
    "$(head -c 4000 "/proc/$pid/cmdline" | tr '\000\n\t' '\037  ')"
  printf 'Children:\t%s\n' "$(cat "/proc/$pid"/task/*/children | wc -w)"
  grep -E '^(Name|State|PPid|Uid|NSpid|Threads|SigBlk|SigIgn|SigCgt):' "/proc/$pid/status"
done 2>/dev/null"""
_MASKS = ("SigBlk", "SigIgn", "SigCgt")


def beside(host: Host, containers: Sequence[Workload], known: set[int]) -> tuple[Init, ...]:
    """The first processes of containers that are no namespace's first one; one round trip, none where there are none."""
    pids = [str(each.pid) for each in containers if each.pid and each.shared and each.pid not in known]
    if not pids:
        return ()
    said = host.run(["sh", "-c", _SCRIPT, "sh", *pids], timeout=60, check=False).stdout
    return tuple(_read(said))


def _read(said: str) -> Iterator[Init]:
    for block in ("\n" + said).split("\npid\t")[1:]:
        head, _, rest = block.partition("\n")
        pid, exe, words = [*head.split("\t"), "", ""][:3]
        given = dict(line.split(":\t", 1) for line in rest.split("\n") if ":\t" in line)
        if not given.keys() >= {"Name", "State", "PPid", "Uid", "NSpid", "Threads", *_MASKS}:
            continue  # it ended while it was looked at
        blocked, ignored, caught = (int(given[name], 16) for name in _MASKS)
        process = Process(
            pid=int(pid),
            parent=int(given["PPid"]),
            depth=len(given["NSpid"].split()),
            children=int(given.get("Children", "0")),
            threads=int(given["Threads"]),
            uid=int(given["Uid"].split()[0]),
            blocked=blocked,
            ignored=ignored,
            caught=caught,
            name=given["Name"],
            state=given["State"][:1],
            arguments=tuple(words.removesuffix("\037").split("\037")) if words else (),
        )
        yield Init(process, False, None, exe.removesuffix(" ") or None, (), (), (), first=False)
