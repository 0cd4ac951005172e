"""The supervisor's side of the kernel: start it, speak to it over Unix sockets, interrupt it, end it with all its children."""

from __future__ import annotations

import asyncio
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sretoolkit.actor import Process
from sretoolkit.errors import RunbookError
from sretoolkit.plan.strays import MARK, end_strays
from sretoolkit.runbook.forked import PIPE, start

if TYPE_CHECKING:
    from jupyter_client.asynchronous.client import AsyncKernelClient

_SECRET_NAME = re.compile(r"PASSWORD|PASSWD|PASSPHRASE|TOKEN|SECRET|API_?KEY|CREDENTIAL|PRIVATE_?KEY", re.IGNORECASE)
_PORTS = ("shell_port", "iopub_port", "stdin_port", "control_port", "hb_port")
_TAIL = 8192


class KernelProcess:
    """One kernel under its guard. What nbclient needs of a kernel manager, and no more."""

    has_kernel = True
    ipykernel = True

    def __init__(
        self, grant: Mapping[str, Any], *, cwd: Path | None = None, hidden: frozenset[str] = frozenset()
    ) -> None:
        """Start it; ``hidden`` are further names of environment variables that it must not see."""
        self._run = str(grant["run"])
        self.folder = Path(tempfile.mkdtemp(prefix="sretoolkit-"))
        self._connection = {
            **{name: number for number, name in enumerate(_PORTS, start=1)},
            "transport": "ipc",
            "ip": str(self.folder / "k"),
            "key": secrets.token_hex(32),
            "signature_scheme": "hmac-sha256",
            "kernel_name": "python3",
        }
        file = self.folder / "kernel.json"
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT, 0o600), "w") as opened:
            json.dump(self._connection, opened)
        reading, self._pipe = os.pipe()
        try:
            self._process = start(
                "kernel", str(file), str(reading), stdout=PIPE, merge=True, keep=[reading], cwd=cwd,
                environment=_environment(hidden) | {MARK: self._run},
            )  # fmt: skip
        finally:
            os.close(reading)
        self.process = Process.of(self._process.pid)
        self._tail = bytearray()
        self._readers = [
            threading.Thread(target=self._read_tail, daemon=True),
            threading.Thread(target=self._send, args=(json.dumps(grant).encode() + b"\n",), daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    @property
    def alive(self) -> bool:
        """Whether the guard, and so the kernel, still runs."""
        return self._process.poll() is None

    @property
    def last_words(self) -> str:
        """The end of what the process printed past the kernel's own streams: why it could not start, or crashed."""
        return self._tail.decode(errors="replace").strip()

    def client(self) -> AsyncKernelClient:
        """A client that is connected to it, once `ready` has returned."""
        from jupyter_client.asynchronous.client import AsyncKernelClient

        client = AsyncKernelClient()
        client.load_connection_info(dict(self._connection))  # type: ignore[arg-type]
        client.allow_stdin = False

        async def is_alive() -> bool:
            """Whether its process runs: there is no heartbeat to ask."""
            return self.alive

        client.is_alive = is_alive  # type: ignore[method-assign]
        return client

    async def ready(self, client: AsyncKernelClient, *, timeout: float = 60.0) -> None:
        """Wait until the kernel answers and its output is heard; raises `RunbookError` when it does not come up."""
        from queue import Empty

        ends = time.monotonic() + timeout
        sockets = [Path(f"{self._connection['ip']}-{self._connection[name]}") for name in _PORTS]
        while not all(path.exists() for path in sockets):
            self._still_coming(ends)
            await asyncio.sleep(0.01)
        client.start_channels(hb=False, stdin=False)  # with it a cell that asks would wait for ever
        while True:
            client.kernel_info()
            try:
                await client.shell_channel.get_msg(timeout=0.5)
                await client.iopub_channel.get_msg(timeout=0.2)
                return
            except Empty:
                self._still_coming(ends)

    async def interrupt_kernel(self) -> None:
        """Interrupt the running cell, and what it started in its own process group."""
        self.interrupt()

    def interrupt(self) -> None:
        """Send SIGINT to the kernel's process group; the guard ignores it."""
        if self.alive:
            os.killpg(self._process.pid, signal.SIGINT)

    def wait(self, timeout: float) -> bool:
        """Whether it ended within so many seconds."""
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return False
        return True

    def kill(self) -> int | None:
        """Let the guard kill the kernel and every descendant, clean up, and return the exit code."""
        if self._pipe >= 0:
            os.close(self._pipe)
            self._pipe = -1
        if not self.wait(10.0):
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        if (
            self._process.returncode is not None and self._process.returncode < 0
        ):  # the guard itself was killed, and could leave something behind
            end_strays(self._run)
        self._readers[0].join(1.0)
        shutil.rmtree(self.folder, ignore_errors=True)
        return self._process.returncode

    def _still_coming(self, ends: float) -> None:
        if not self.alive:
            raise RunbookError(f"the kernel ended before it was ready: {self.last_words}", hint="`sretoolkit doctor`")
        if time.monotonic() > ends:
            raise RunbookError(f"the kernel did not come up in time: {self.last_words}", hint="`sretoolkit doctor`")

    def _send(self, line: bytes) -> None:
        try:
            with os.fdopen(os.dup(self._pipe), "wb") as pipe:
                pipe.write(line)
        except OSError:
            return  # it ended at once; `ready` says why

    def _read_tail(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as stream:
            while chunk := os.read(stream.fileno(), 4096):
                self._tail = (self._tail + chunk)[-_TAIL:]


def _environment(hidden: frozenset[str]) -> dict[str, str]:
    """This process's environment without what is, or is named like, a secret."""
    return {name: value for name, value in os.environ.items() if name not in hidden and not _SECRET_NAME.search(name)}
