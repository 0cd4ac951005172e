"""Linux: kernel settings through /proc/sys, which is there without any package installed."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from sretoolkit.errors import CommandFailed, ConfigError
from sretoolkit.hosts.platform import Platform

_KEY = re.compile(r"[\w-]+(?:\.[\w@/-]+)+", re.ASCII)
_ROOT = "/proc/sys/"


class Linux(Platform):
    """A Linux host, or a network namespace of one."""

    def sysctls(self, keys: Sequence[str]) -> dict[str, str]:
        """The values of those of ``keys`` that exist and can be read."""
        paths = {_path(key): key for key in keys}
        lines = self.host.run(["grep", "-Hs", "", *paths], timeout=30, check=False).stdout.splitlines()
        found: dict[str, str] = {}
        for path, _, value in (line.partition(":") for line in lines):
            found[paths[path]] = " ".join(f"{found.get(paths[path], '')} {value}".split())
        return found

    def set_sysctl(self, key: str, value: str, *, timeout: float) -> None:
        """Write the value; the kernel may refuse it, and only root may."""
        line = f"printf '%s\\n' {shlex.quote(value)} > {shlex.quote(_path(key))}"
        try:
            self.host.run(line, timeout=timeout)
        except CommandFailed as error:
            error.hint = "it needs root, a writable /proc/sys (not a container's), and a value that this kernel takes"
            raise

    def sysctl_command(self, key: str, value: str) -> list[str]:
        """``sysctl -w key=value``."""
        return ["sysctl", "-w", f"{key}={value}"]


def _path(key: str) -> str:
    """Dots part the names; a slash stands for a dot inside one, as in ``net.ipv4.conf.eth0/100.forwarding``."""
    if not _KEY.fullmatch(key) or "//" in key or "/." in key or "./" in key:
        raise ConfigError(f"{key!r} is no kernel setting", hint='write it as "net.ipv4.tcp_congestion_control"')
    return _ROOT + key.translate(str.maketrans("./", "/."))
