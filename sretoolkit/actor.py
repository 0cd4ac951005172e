"""Who acts, and in which process."""

from __future__ import annotations

import os
import platform
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

from sretoolkit.config import Config

_NO_LOGIN = 2**32 - 1


@dataclass(frozen=True)
class Actor:
    """A person or program: the operating system's user, and the identity that a front end gave.

    ``user`` is who logged in (the kernel's audit login id, which sudo does not change) where the kernel knows it,
    otherwise the user that the process runs as. ``identity`` is what the user says; it counts as proof only when
    ``via`` is a front end that authenticated it.
    """

    user: str
    identity: str = ""
    via: str = "local"

    @classmethod
    def current(cls, config: Config | None = None) -> Self:
        """The one who runs this process."""
        return cls(user=_user_name(_login_id()), identity=(config or Config.load())["identity"])

    @property
    def principal(self) -> str:
        """Who it is when two people must differ: the identity of an authenticating front end, else the user."""
        return self.identity if self.identity and self.via != "local" else self.user

    def __str__(self) -> str:
        return f"{self.identity} ({self.user})" if self.identity else self.user

    def to_dict(self) -> dict[str, Any]:
        """Plain data for the journal."""
        return asdict(self)


@dataclass(frozen=True)
class Process:
    """One process of one boot of one machine; a pid used again is another one."""

    host: str
    boot: str
    pid: int
    started: str

    @classmethod
    def current(cls) -> Self:
        """This process."""
        return cls.of(os.getpid())

    @classmethod
    def of(cls, pid: int) -> Self:
        """A process of this machine by its pid."""
        return cls(host=platform.node(), boot=boot_id(), pid=pid, started=_start_time(pid))

    @property
    def here(self) -> bool:
        """Whether it is (or was) one that this process could see: same machine, same boot, same PID namespace."""
        return (self.host, self.boot) == (platform.node(), boot_id())

    @property
    def alive(self) -> bool | None:
        """Whether it still runs; None when that cannot be known from here."""
        if not self.here:
            return None
        return _start_time(self.pid) == self.started and self.started != ""

    def to_dict(self) -> dict[str, Any]:
        """Plain data for the journal."""
        return asdict(self)


@lru_cache(maxsize=1)
def boot_id() -> str:
    """An id of this boot of the machine and of our PID namespace in it; "" where the system has none."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _login_id() -> int:
    try:
        login = int(Path("/proc/self/loginuid").read_text())
    except (OSError, ValueError):
        login = _NO_LOGIN
    return os.getuid() if login == _NO_LOGIN else login


def _user_name(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid-{uid}"


def _start_time(pid: int) -> str:
    """When the process began, in clock ticks since boot; "" when it is gone or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]
