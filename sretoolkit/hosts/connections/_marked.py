"""Commands in a container: where their own output begins and ends is marked by them, since nothing else tells for sure.

An engine's or a kubelet's streams stay open for as long as a background child holds them, and Kubernetes (before 1.30)
cannot end stdin: so the command says its process id first and its exit code last, and is given its input by count.
"""

from __future__ import annotations

import re
import secrets
import shlex

from sretoolkit.errors import HostError
from sretoolkit.hosts.result import OUTPUT_LIMIT, Output, Sink

_TAIL = 80
_NO_SHELL = re.compile(r"executable file not found|no such file or directory", re.IGNORECASE)


class Exchange:
    """One command with its three streams; ``script`` is what ``sh -c`` in the container is given."""

    def __init__(self, command: str, data: bytes) -> None:
        self.data = data
        self._mark = f"\036sretoolkit-{secrets.token_hex(8)} "
        self.out, self.err = Stream(self._mark), Stream(self._mark)
        mark = shlex.quote(self._mark)
        given = (
            f"head -c {len(data)} | sh -c {shlex.quote(command)}"
            if data
            else f"sh -c {shlex.quote(command)} </dev/null"
        )
        self.script = (
            f"printf '%s%s\\n' {mark} $$; {given}; code=$?; "
            f"printf '%s%s\\n' {mark} $code; printf '%s%s\\n' {mark} $code >&2; exit $code"
        )

    @property
    def done(self) -> bool:
        """Whether the command has said its exit code, and both streams are whole."""
        return len(self.out.said) > 1 and bool(self.err.said)

    @property
    def pid(self) -> int | None:
        """The shell's process id in the container, which is its process group's too; None when it never ran."""
        return self.out.said[0] if self.out.said else None

    def output(self, *, killed: bool = False) -> Output:
        """What the command left behind; without an exit code when it is not done."""
        _, _, out = self.out.before(2).partition(b"\n")
        code = self.out.said[1] if self.done else None
        return Output(code, out, self.err.before(1), self.out.truncated or self.err.truncated, killed=killed)


class Stream:
    """What arrives of one stream, and the numbers that follow our marks in it."""

    def __init__(self, mark: str) -> None:
        self._sink = Sink(OUTPUT_LIMIT)
        self._mark = mark.encode()
        self._said = re.compile(re.escape(self._mark) + rb"(\d+)\n")
        self._tail = b""
        self.said: list[int] = []

    @property
    def truncated(self) -> bool:
        """Whether there was more than is kept."""
        return self._sink.truncated

    def feed(self, chunk: bytes) -> None:
        """Take a chunk."""
        self._sink.feed(chunk)
        seen = self._tail + chunk
        found = list(self._said.finditer(seen))
        self.said += [int(match[1]) for match in found]
        self._tail = seen[found[-1].end() if found else 0 :][-_TAIL:]

    def before(self, marks: int) -> bytes:
        """The content up to the mark of that number, from the first one on where there are two."""
        parts = self._sink.bytes().split(self._mark)
        return parts[0] if marks == 1 else b"".join(parts[1:marks])


def no_shell(said: str, name: str, hint: str) -> HostError | None:
    """The error for a container without a shell, if that is what the runtime says."""
    if not _NO_SHELL.search(said):
        return None
    return HostError(f"{name} has no shell: nothing can be run in it", host=name, hint=hint)
