"""Speaking to a keeper, from whichever process a step runs in."""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path
from typing import Any

from sretoolkit.errors import HostError, StepFailed, Unreachable
from sretoolkit.plan import Context
from sretoolkit.rollout.local.keeper import SOCKET


class Keeping:
    """One connection to the keeper of a folder."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._one = threading.Lock()  # a gate's look that was left behind may still wait for its answer
        self._connection = socket.socket(socket.AF_UNIX)
        self._connection.settimeout(10)
        try:
            self._connection.connect(str(Path(folder) / SOCKET))
        except OSError as error:
            self._connection.close()
            hint = "is it still running? `sretoolkit demo canary` starts a new one"
            raise Unreachable(
                f"the keeper of {folder} does not answer: {error}", host="localhost", hint=hint
            ) from error
        self._lines = self._connection.makefile("rwb")

    def close(self) -> None:
        """Close the connection."""
        self._lines.close()
        self._connection.close()

    def tell(self, do: str, *, timeout: float = 10, **order: Any) -> dict[str, Any]:
        """Give an order, and return how all stands then; raises `StepFailed` with what the keeper says against it."""
        try:
            with self._one:
                self._connection.settimeout(timeout)
                self._lines.write(json.dumps({"do": do, **order}).encode() + b"\n")
                self._lines.flush()
                line = self._lines.readline()
        except OSError as error:
            raise Unreachable(f"the keeper of {self.folder} does not answer: {error}", host="localhost") from error
        if not line:
            raise HostError(
                f"the keeper of {self.folder} has ended", host="localhost", hint="its instances are gone too"
            )
        told: dict[str, Any] = json.loads(line)
        if "error" in told:
            raise StepFailed(told["error"], hint="its log is in that folder")
        found: dict[str, Any] = told["answer"]
        return found


def keeping(ctx: Context, folder: str) -> Keeping:
    """The plan's connection to the keeper of a folder."""
    return ctx.use(("keeper", folder), lambda: Keeping(folder))
