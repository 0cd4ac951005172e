"""The processes of one container as a tree, with what the stop signal will do to each of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.resources import files

from sretoolkit.config import Config
from sretoolkit.errors import HostError
from sretoolkit.hosts import Host, connect
from sretoolkit.pid1.init import kind_of, reaps
from sretoolkit.pid1.look import look
from sretoolkit.pid1.signals import has, number
from sretoolkit.pid1.verdict import Subject
from sretoolkit.report import Report, Table

_WIDTH = 60  # characters of a command line
_MOST = 500  # processes that are shown


@dataclass(frozen=True)
class Member:
    """A process of the namespace: its pid on the host and ``inside``; the masks are those of its first thread."""

    pid: int
    parent: int
    inside: int
    state: str
    threads: int
    blocked: int
    ignored: int
    caught: int
    name: str
    command: str = ""

    @property
    def zombie(self) -> bool:
        """Dead, and not waited for."""
        return self.state == "Z"


def tree(host_name: str, container: str, *, config: Config | None = None) -> Report:
    """Every process of a container under its parent, with what happens to it when the container is stopped.

    The findings are those about this container. Reads only; raises `HostError` when it is not seen.
    """
    with connect(host_name, config) as host:
        found = look(host)
        subject = found.named(container)
        inside = members(host, subject.init.process.pid)
    columns = ("process", "pid inside", "pid", "state", "threads", "when it is stopped")
    rows = [
        (
            line,
            member.inside,
            member.pid,
            _STATES.get(member.state, member.state),
            member.threads,
            _verdict(member, subject, inside),
        )
        for line, member in _drawn(inside, subject.init.process.pid)
    ]
    facts = {
        "processes": len(inside),
        "zombies": sum(member.zombie for member in inside.values()),
        "first process": kind_of(subject.init)[0],
        "reaps orphans": reaps(subject.init, kind_of(subject.init)[1])[0],
    }
    findings = [ruling.finding for ruling in found.about(container)]
    shown = rows[:_MOST]
    title = "" if len(rows) == len(shown) else f"the first {_MOST} of {len(rows)} processes"
    return Report(f"{subject.name} on {host_name}", findings, [Table(title, columns, shown)], facts=facts)


def members(host: Host, pid: int) -> dict[int, Member]:
    """The processes in the PID namespace whose first process is ``pid``, by pid; raises `HostError` when it is gone."""
    script = files("sretoolkit.pid1").joinpath("tree.sh").read_text(encoding="utf-8")
    said = host.run(["sh", "-c", script, "sh", str(pid)], timeout=60, check=False).stdout
    found: dict[int, Member] = {}
    commands = {}
    for line in said.split("\n"):
        kind, _, rest = line.partition("\t")
        if kind == "t" and rest.count("\t") >= 8:
            own, parent, inside, state, threads, *masks, name = rest.split("\t", 8)
            blocked, ignored, caught = (int(mask, 16) for mask in masks)
            numbers = (int(own), int(parent), int(inside))
            found[int(own)] = Member(*numbers, state, int(threads), blocked, ignored, caught, name)
        elif kind == "c":
            own, _, words = rest.partition("\t")
            commands[int(own)] = " ".join(words.split("\037")).strip()
    if pid not in found or not said.endswith("end\n"):
        raise HostError(f"{host.name}: process {pid} is gone", host=host.name, hint="look again")
    return {own: replace(member, command=commands.get(own) or f"[{member.name}]") for own, member in found.items()}


_STATES = {
    "R": "runs",
    "S": "sleeps",
    "D": "waits for the disk",
    "T": "stopped",
    "t": "traced",
    "Z": "zombie",
    "I": "idle",
}


def _drawn(inside: Mapping[int, Member], top: int) -> Iterator[tuple[str, Member]]:
    """Each process with its branch of the tree; those that came from outside stand at the end."""
    children: dict[int, list[Member]] = defaultdict(list)
    for member in sorted(inside.values(), key=lambda each: each.pid):
        if member.pid != top:
            children[member.parent].append(member)
    stack = [("", "", inside[top])]
    outside = [member for parent, group in children.items() if parent not in inside for member in group]
    stack[:0] = [("(from outside) ", "               ", member) for member in reversed(outside)]
    while stack:
        lead, below, member = stack.pop()
        text = member.command if len(member.command) <= _WIDTH else member.command[: _WIDTH - 3] + "..."
        yield lead + text, member
        own = children.get(member.pid, ())
        for place, child in reversed(list(enumerate(own))):
            last = place == len(own) - 1
            stack.append((below + ("└─ " if last else "├─ "), below + ("   " if last else "│  "), child))


def _verdict(member: Member, subject: Subject, inside: Mapping[int, Member]) -> str:
    init, asked = subject.init, subject.asked
    if member.zombie:
        parent = inside.get(member.parent)
        return f"zombie: {parent.name if parent else 'its parent'} does not wait for it"
    if member.pid == init.process.pid:
        return f"{asked}: {subject.stop.word}"
    if not _told(member, subject):
        return "not told: killed when the first process ends"
    if has(member.ignored, number(asked)):
        return f"told, and ignores {asked}"
    if has(member.blocked, number(asked)):
        return f"told; it blocks {asked} or waits for it"
    return f"told, and handles {asked}" if has(member.caught, number(asked)) else f"told, and ends by {asked}"


def _told(member: Member, subject: Subject) -> bool:
    """Whether the first process passes the signal on to it."""
    return kind_of(subject.init)[1].tells(subject.init, direct=member.parent == subject.init.process.pid)
