"""QEMU's own protocol over its Unix socket: one JSON object a line."""

from __future__ import annotations

import json
import socket
import struct
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sretoolkit.errors import ProvisionError


class Qmp:
    """A connection to a running QEMU; raises `ProvisionError` when nothing listens at ``path`` or it is no QEMU."""

    def __init__(self, path: Path, *, timeout: float = 10) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(timeout)
        self._file = self._socket.makefile("rwb")
        try:
            self._socket.connect(str(path))
            self._next()  # its greeting
            self.ask("qmp_capabilities")
        except (OSError, ValueError) as error:
            self.close()
            raise ProvisionError(
                f"no QEMU answers at {path}: {error}",
                subject=str(path),
                hint="is it started with -qmp unix:PATH,server?",
            ) from error
        except BaseException:
            self.close()
            raise

    def ask(self, command: str, **arguments: Any) -> Any:
        """What a command returns; raises `ProvisionError` when QEMU refuses it, or ends."""
        asked = {"execute": command} | ({"arguments": arguments} if arguments else {})
        self._file.write(json.dumps(asked).encode() + b"\n")
        self._file.flush()
        while True:
            told = self._next()
            if "return" in told:
                return told["return"]
            if "error" in told:
                said = told["error"].get("desc", told["error"])
                raise ProvisionError(f"QEMU at {self.path} refused {command}: {said}", subject=str(self.path))

    def peer(self) -> int:
        """QEMU's process id."""
        told = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        return int(struct.unpack("3i", told)[0])

    def close(self) -> None:
        """Close the connection, which QEMU has one of at a time; the machine runs on."""
        self._file.close()
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _next(self) -> dict[str, Any]:
        line = self._file.readline()
        if not line:
            raise ProvisionError(f"QEMU at {self.path} ended", subject=str(self.path))
        told: dict[str, Any] = json.loads(line)
        return told


def alive(pid: int) -> bool:
    """Whether a process still holds anything: any thread of it is there and not just waiting to be reaped."""
    try:
        threads = [(thread / "stat").read_text() for thread in Path(f"/proc/{pid}/task").iterdir()]
    except OSError:  # one of them, or all, ended while we looked
        return Path(f"/proc/{pid}/task").exists() and alive(pid)
    return any(line.rpartition(")")[2].split()[0] not in ("Z", "X") for line in threads)
