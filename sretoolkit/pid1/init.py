"""What is known about a kind of first process; each kind is a module in ``inits/``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cache
from pathlib import PurePosixPath
from typing import ClassVar, Literal

from sretoolkit.pid1.process import Init
from sretoolkit.pid1.scripts import MANY
from sretoolkit.pid1.signals import disposition, has
from sretoolkit.pid1.workload import Fix
from sretoolkit.plugins import Plugins
from sretoolkit.report import Proof, Severity

SIGINT, SIGQUIT, SIGTERM, SIGCHLD = 2, 3, 15, 17
GRACE = 10.0  # seconds; Docker's default, the shortest one in common use
GO = 0xFFFFFFFD7FC1FEFF  # what Go's runtime catches, whatever the program asks for
YOUNG = 5.0  # seconds in which a program may still be setting up its handlers

Reaps = Literal["yes", "no", "unknown"]


@dataclass(frozen=True)
class Stop:
    """What will come of the stop signal: a word for the table, and why; ``severity`` None = nothing to report.

    ``fix`` is the cure, ``what`` the program or signal that it is about (see `sretoolkit.pid1.workload.remedy`).
    """

    word: str
    why: str
    proof: Proof = "inferred"
    severity: Severity | None = None
    fix: Fix | None = None
    what: str = ""


class Kind(ABC):
    """One kind of init: the program names by which it is known, whether it reaps orphans, how it takes a signal."""

    names: ClassVar[frozenset[str]] = frozenset()
    reaps: ClassVar[Reaps] = "unknown"

    @abstractmethod
    def stop(self, init: Init, which: int, *, assumed: bool, grace: float = GRACE) -> Stop:
        """What the stop signal will do; ``assumed``: nobody said which one is configured; ``grace`` in seconds."""

    def tells(self, init: Init, *, direct: bool) -> bool:
        """Whether it passes a stop signal on to its ``direct`` children, or to those further down."""
        return False


INITS: Plugins[Kind] = Plugins("sretoolkit.pid1.inits", Kind)  # type: ignore[type-abstract]


def kind_of(init: Init) -> tuple[str, Kind]:
    """The plug-in that knows this init, with its name; "plain" when none does."""
    name = _by_program().get(_called(init), "plain") if init.first else "shared"
    return name, INITS[name]()


def reaps(init: Init, kind: Kind) -> tuple[Reaps, str]:
    """Whether it takes care of orphans, and how we know."""
    if not init.first:
        return "unknown", "orphans go to the first process of the namespace that it shares"
    if any(group.stayed and group.parent == init.process for group in init.zombies):
        return "no", "it has zombies that stayed"
    if has(init.process.ignored, SIGCHLD) and not has(init.process.blocked, SIGCHLD):
        return "yes", "SIGCHLD is ignored: the kernel reaps"
    if kind.reaps != "unknown" and init.exe and disposition(init, SIGTERM) != "dropped":
        return kind.reaps, f"{_called(init)} does"
    if init.waits is None:
        return "unknown", "only root may see what it waits for"
    if init.waits.any_child:
        return "yes", "it waits for any child"
    if has(init.waits.sigwait | init.waits.signalfd, SIGCHLD):
        return "yes", "it takes SIGCHLD by sigwait or signalfd"
    if init.process.caught == GO:
        return "no", "Go's runtime has a handler for SIGCHLD, and waits for no child that the program did not start"
    if has(init.process.caught, SIGCHLD):
        return "unknown", "it has a SIGCHLD handler; what that does cannot be seen"
    return "no", "it neither waits for any child nor takes SIGCHLD"


def own_options(init: Init) -> list[str]:
    """The init's own arguments: those before ``--`` or the first that is no option."""
    own = []
    for argument in init.arguments[1:]:
        if argument == "--" or not argument.startswith("-"):
            break
        own.append(argument)
    return own


def young(init: Init) -> bool:
    """Whether it may still be setting itself up."""
    return init.process.age is not None and init.process.age < YOUNG


def _called(init: Init) -> str:
    """A program of many names (busybox) is what it is called as, or else its first argument."""
    if init.program not in MANY:
        return init.program
    words = (init.process.name, *(PurePosixPath(word).name for word in init.arguments[:2]))
    return next((word for word in words if word and word not in MANY), init.program)


@cache
def _by_program() -> dict[str, str]:
    return {program: name for name in INITS for program in INITS[name].names}
