"""Steps and gates whose world is a folder of files, and that misbehave when a file tells them to."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

from sretoolkit.hosts import Host, connect
from sretoolkit.plan import Context, Gate, Step, Verdict, shown


@dataclass(frozen=True, kw_only=True)
class SetFile(Step):
    """Write a text into a file. ``FILE.do``, ``FILE.undo`` and ``FILE.verify`` say how to misbehave."""

    deadline: ClassVar[timedelta] = timedelta(seconds=20)

    path: str
    before: str
    after: str
    seen_at: str = shown(default="")

    @property
    def target(self) -> str:
        """The file."""
        return f"file:{self.path}"

    def describe(self) -> str:
        """Its name and the new text."""
        return f"write {self.after} into {Path(self.path).name}"

    def by_hand(self) -> str:
        """The shell command."""
        return f"echo -n {self.before} > {self.path}"

    def observe(self, ctx: Context) -> Any:
        """What is in it."""
        self._misbehave("verify")
        return Path(self.path).read_text()

    def do(self, ctx: Context) -> None:
        """Write the new text."""
        self._misbehave("do")
        Path(self.path).write_text(self.after)
        self._log("do")
        self._misbehave("done")

    def take_effect(self, ctx: Context) -> None:
        """Nothing to wait for; that it was asked is kept."""
        Path(self.path).with_suffix(".settled").touch()

    def tidy(self, ctx: Context) -> None:
        """Nothing is prepared; that it was asked is kept."""
        Path(self.path).with_suffix(".tidied").touch()

    def undo(self, ctx: Context) -> None:
        """Write the old text."""
        self._misbehave("undo")
        Path(self.path).write_text(self.before)
        self._log("undo")

    def _log(self, what: str) -> None:
        with Path(self.path).with_name("log").open("a") as log:
            log.write(f"{what} {Path(self.path).name}\n")

    def _misbehave(self, where: str) -> None:
        trap = Path(f"{self.path}.{where}")
        kind = trap.read_text() if trap.exists() else ""
        if kind == "raise":
            raise ValueError(f"told to fail in {where}")
        if kind == "once":
            trap.unlink()
            raise ValueError(f"told to fail once in {where}")
        if kind == "interrupt":
            trap.unlink()
            raise KeyboardInterrupt
        if kind == "kill":
            trap.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        if kind == "hang":
            trap.with_suffix(".hanging").touch()
            while trap.exists():
                time.sleep(0.01)


@dataclass(frozen=True, kw_only=True)
class SetFileForGood(SetFile):
    """The same, and nobody can take it back."""

    irreversible: ClassVar[bool] = True


@dataclass(frozen=True, kw_only=True)
class FileGate(Gate):
    """Answers what is written in a file; ``continue`` when there is none."""

    path: str

    def describe(self) -> str:
        """Its name."""
        return f"ask {Path(self.path).name}"

    def check(self, ctx: Context) -> Verdict:
        """Read it; a verdict of "slow" takes for ever."""
        file = Path(self.path)
        with file.with_suffix(".looks").open("a") as looks:
            looks.write(f"{len(ctx.evidence)}\n")
        answer: Any = file.read_text() if file.exists() else "continue"
        if answer == "raise":
            raise ValueError("the source is down")
        while answer == "slow" and not ctx.cancelled.is_set():
            time.sleep(0.01)
        return Verdict("continue" if answer == "slow" else answer, f"it says {answer}")


@dataclass(frozen=True, kw_only=True)
class RemoteFile(SetFile):
    """The same on a host, slowly: the new text is there at once, the command ends only when a file allows it."""

    host: str

    def observe(self, ctx: Context) -> Any:
        """Read it there."""
        return self._host(ctx).read(self.path).decode()

    def do(self, ctx: Context) -> None:
        """Write there, and wait until ``FILE.go`` exists there."""
        command = 'printf %s "$1" > "$2"; touch "$2.written"; while [ ! -e "$2.go" ]; do sleep 0.05; done'
        self._host(ctx).run(["sh", "-c", command, "sh", self.after, self.path], timeout=ctx.remaining())

    def undo(self, ctx: Context) -> None:
        """Write the old text there."""
        self._host(ctx).write(self.path, self.before.encode())

    def _host(self, ctx: Context) -> Host:
        return ctx.use(("host", self.host), lambda: connect(self.host, ctx.config))


@dataclass(frozen=True, kw_only=True)
class Meddle(Gate):
    """Somebody else: changes a file behind the plan's back, and fails."""

    path: str

    def describe(self) -> str:
        """What it does."""
        return "meddle"

    def check(self, ctx: Context) -> Verdict:
        """Change the file."""
        Path(self.path).write_text("somebody else's")
        return Verdict("failed", "meddled")


class Folder:
    """A world: files that all hold "old", and plans that make them "new"."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)

    def step(self, name: str, cls: type[SetFile] = SetFile, **options: Any) -> SetFile:
        """A step on a file that is made if need be."""
        file = self.path / name
        if not file.exists():
            file.write_text("old")
        return cls(path=str(file), before="old", after="new", **options)

    def gate(self, name: str = "gate", **options: Any) -> FileGate:
        """A gate that looks every 50 ms."""
        return FileGate(path=str(self.path / name), **{"interval": timedelta(milliseconds=50), **options})

    def tell(self, name: str, how: str) -> None:
        """Write a trap ("a.do") or a gate's answer ("gate")."""
        (self.path / name).write_text(how)

    def __getitem__(self, name: str) -> str:
        return (self.path / name).read_text()

    @property
    def log(self) -> list[str]:
        """What was really done, in order."""
        log = self.path / "log"
        return log.read_text().splitlines() if log.exists() else []
