"""What differs between operating systems; each of them is a module in ``platforms/`` named as ``uname -s`` says it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sretoolkit.plugins import Plugins

if TYPE_CHECKING:
    from sretoolkit.hosts.host import Host


class Platform(ABC):
    """One operating system as seen through a host."""

    def __init__(self, host: Host) -> None:
        self.host = host

    @abstractmethod
    def sysctls(self, keys: Sequence[str]) -> dict[str, str]:
        """The values of those of the kernel settings that exist, white space made single; one round trip."""

    @abstractmethod
    def set_sysctl(self, key: str, value: str, *, timeout: float) -> None:
        """Set a kernel setting until the next boot; raises `CommandFailed` with the kernel's word."""

    @abstractmethod
    def sysctl_command(self, key: str, value: str) -> list[str]:
        """The command by which a person sets it."""


PLATFORMS: Plugins[Platform] = Plugins("sretoolkit.hosts.platforms", Platform)  # type: ignore[type-abstract]


def platform_of(kernel: str, host: Host) -> Platform:
    """The plug-in for what ``uname -s`` printed; raises `UnknownPlugin`."""
    return PLATFORMS[kernel.lower()](host)
