"""Counts of process ids, again and again over one command: what a forecast is made of."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from datetime import timedelta

from sretoolkit.errors import HostError
from sretoolkit.hosts import Host
from sretoolkit.pid1.forecast import HOST, Sample
from sretoolkit.pid1.process import Machine

_SPARE = 30.0  # seconds for the connection and the machine's own slowness
# POSIX sh without awk: it may run for long, and takes no process ids but the one of its sleep.
_SCRIPT = """
mount=$1 every=$2 count=$3
shift 3
while [ "$count" -gt 0 ]; do
  read -r now _ </proc/uptime && read -r _ _ _ tasks _ </proc/loadavg && echo "srt $now 0 ${tasks#*/}"
  number=0
  for path; do
    number=$((number + 1))
    { read -r current <"$mount${path%/}/pids.current"; } 2>/dev/null && echo "srt $now $number $current"
  done
  count=$((count - 1))
  [ "$count" = 0 ] || sleep "$every"
done
echo "srt end"
"""


def sample(
    host: Host, machine: Machine, paths: Iterable[str], *, every: timedelta, count: int
) -> dict[str, tuple[Sample, ...]]:
    """``count`` counts of some cgroups and of the whole machine, ``every`` so often, in one command.

    By path, as `Level.path` has it; the machine's own under `HOST`. A cgroup that went has what was counted before. Raises
    `HostError` when the host answered something else, besides what `Host.run` raises.
    """
    asked = list(dict.fromkeys(paths)) if machine.controller else []
    pause = f"{max(0.01, every.total_seconds()):g}"
    timeout = every.total_seconds() * count * 2 + _SPARE
    command = ["sh", "-c", _SCRIPT, "sh", machine.mount, pause, str(count), *asked]
    result = host.run(command, timeout=timeout)
    lines = [line.split() for line in result.stdout.splitlines() if line.startswith("srt ")]
    if ["srt", "end"] not in lines:
        shown = repr(result.stdout.strip()[:200])
        raise HostError(
            f"{host.name}: process ids cannot be counted: it printed {shown}",
            host=host.name,
            hint="it must be Linux with /proc and sh",
        )
    return _series([HOST, *asked], lines)


def paths(machine: Machine) -> list[str]:
    """The cgroups to be counted: each init's own, and each one above that has a ceiling."""
    found = [level.path for init in machine.inits for level in init.levels[:1]]
    found += [level.path for init in machine.inits for level in init.levels if level.limit is not None]
    return list(dict.fromkeys(found))


def _series(names: list[str], lines: list[list[str]]) -> dict[str, tuple[Sample, ...]]:
    found: dict[str, list[Sample]] = defaultdict(list)
    for words in lines:
        if len(words) == 4 and words[2].isdecimal() and words[3].isdecimal() and int(words[2]) < len(names):
            at = float(words[1])
            if math.isfinite(at):
                found[names[int(words[2])]].append(Sample(at, int(words[3])))
    return {name: tuple(found[name]) for name in names}
