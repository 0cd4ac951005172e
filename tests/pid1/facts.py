"""Builds what ``scan.sh`` prints, one process after the other, so that a test says only what it is about."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sretoolkit.pid1.process import Init, Machine, parse

TERM, CHLD, INT, QUIT = (1 << number - 1 for number in (15, 17, 2, 3))
ROOT_NAMESPACE = "pid:[4026531836]"
UPTIME = 1000.0


class Scan:
    """The records of one look at a host."""

    def __init__(
        self,
        *,
        uid: int = 0,
        own: str = ROOT_NAMESPACE,
        machine: str = "x86_64",
        tasks: int = 100,
        hidepid: str = "",
        controller: str = "v2",
    ) -> None:
        self._uid = uid
        head = (uid, machine, "6.1.0", own, 32768, 65536, tasks, UPTIME, hidepid, controller, "/sys/fs/cgroup")
        self._lines = [_line("host", *head)]
        self.process(1, name="systemd", parent=0, depth=1)
        self._lines.append(_line("i", 1))

    def process(
        self,
        pid: int,
        *,
        name: str,
        parent: int,
        depth: int = 2,
        children: int = 0,
        blocked: int = 0,
        ignored: int = 0,
        caught: int = 0,
        age: float = 500,
        uid: int = 0,
        state: str = "S",
    ) -> None:
        """A process that is an init, the child of one, or the parent of zombies."""
        masks = [f"{mask:016x}" for mask in (blocked, ignored, caught)]
        self._lines.append(_line("p", pid, parent, state, depth, children, 1, uid, *masks, name))
        self._lines.append(_line("a", pid, int((UPTIME - age) * 100)))

    def init(
        self,
        pid: int,
        *,
        name: str = "app",
        program: str | None = None,
        arguments: Sequence[str] = (),
        sigwait: int = 0,
        signalfd: int = 0,
        any_child: bool = False,
        elf: str = "2",
        threads: Iterable[int] | None = None,
        levels: Iterable[tuple[int, str, int]] = (),
        blocked: int = 0,
        ignored: int = 0,
        caught: int = 0,
        age: float = 500,
        uid: int = 0,
        state: str = "S",
        **more: object,
    ) -> None:
        """The first process of a namespace; as root it is seen whole, else only its masks are.

        ``more``: pid_max, nproc, cgroup and frozen, each as its record says it.
        """
        masks = {"blocked": blocked, "ignored": ignored, "caught": caught}
        self.process(pid, name=name, parent=900, age=age, uid=uid, state=state, **masks)
        kinds = {"pid_max": "m", "nproc": "r", "cgroup": "g", "frozen": "h"}
        self._lines += [_line(kinds[word], pid, value) for word, value in more.items()]
        self._lines += [
            _line("i", pid),
            _line("c", pid, "\037".join([*(arguments or [name]), ""]).replace("\n", "\036")),
        ]
        for number, (current, limit, failures) in enumerate(levels):
            self._lines.append(_line("l", pid, current, limit, failures, "/box" if number == 0 else "/"))
        if self._uid:
            self._lines += [_line("n", pid, ""), _line("x", pid, ""), _line("e", pid, "")]
            return
        self._lines += [_line("n", pid, f"pid:[{pid}]"), _line("x", pid, f"/usr/bin/{program or name}\036")]
        self.waits(pid, [blocked] if threads is None else threads, sigwait, signalfd, any_child, elf)

    def waits(
        self,
        pid: int,
        threads: Iterable[int],
        sigwait: int = 0,
        signalfd: int = 0,
        any_child: bool = False,
        elf: str = "2",
    ) -> None:
        """What each thread of an init, or of a child of one, blocks, and what the first thread and the files wait for."""
        blocked = list(threads)
        self._lines += [_line("e", pid, elf), *(_line("b", pid, f"{mask:016x}") for mask in blocked)]
        calls = [_line("s", pid, "-", "-") for _ in blocked]
        if sigwait:
            calls[0] = _line("s", pid, 128, "0x7ffc00001000")
            calls.append(_line("w", pid, sigwait.to_bytes(8, "little").hex()))
        elif any_child:
            calls[0] = _line("s", pid, 61, "0xffffffff")
        self._lines += calls
        if signalfd:
            self._lines.append(_line("f", pid, f"{signalfd:016x}"))

    def line(self, pid: int, words: Sequence[str]) -> None:
        """The command line of a process that is no init."""
        self._lines.append(_line("c", pid, "\037".join([*words, ""]).replace("\n", "\036")))

    def script(self, pid: int, text: str) -> None:
        """The script that it runs."""
        self._lines.append(_line("t", pid, text.replace("\n", "\036")))

    def tasks(self, uid: int, count: int) -> None:
        """How many threads and zombies a user has on the whole machine."""
        self._lines.append(_line("u", uid, count))

    def zombies(self, parent: int, *, seen: int, stayed: int, init: int) -> None:
        """Zombies of one parent, below an init."""
        self._lines += [_line("o", parent, init), _line("z", parent, seen, stayed)]

    def done(self) -> Machine:
        """What the toolkit makes of it."""
        return parse(self.text)

    @property
    def text(self) -> str:
        """What the script prints, not packed."""
        return "\n".join(["", "begin plain", *self._lines, "end", "end of scan", ""])


def only(machine: Machine) -> Init:
    """The one init besides the host's own."""
    (found,) = (init for init in machine.inits if not init.root)
    return found


def _line(*fields: object) -> str:
    return "\t".join(str(field) for field in fields)
