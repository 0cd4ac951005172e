"""An SSH server in this process, for what a real sshd does not do on request: passwords without accounts, silence."""

from __future__ import annotations

import socket
import threading
from pathlib import Path
from typing import Any, Self

import paramiko  # type: ignore[import-untyped]


class SSHDouble:
    """Lets one password in; answers every command with ``answer`` and exit code 0, or with nothing when that is None."""

    def __init__(self, folder: Path, *, password: str, answer: bytes | None = b"hello\n") -> None:
        self.password = password
        self.answer = answer
        self.commands: list[str] = []
        self._key = paramiko.ECDSAKey.generate()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._transports: list[Any] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self.known_hosts = folder / "known_hosts"
        self.known_hosts.write_text(f"[127.0.0.1]:{self.port} {self._key.get_name()} {self._key.get_base64()}\n")

    @property
    def port(self) -> int:
        """Where it listens on the loopback address."""
        return int(self._listener.getsockname()[1])

    def options(self, **more: Any) -> dict[str, Any]:
        """The table [hosts.NAME] for this server."""
        where = {"connection": "ssh", "address": "127.0.0.1", "port": self.port, "user": "somebody"}
        return {**where, "known_hosts": str(self.known_hosts), **more}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(20)
        for transport in self._transports:
            transport.close()
            transport.join(20)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            transport = paramiko.Transport(connection)
            transport.add_server_key(self._key)
            self._transports.append(transport)
            try:
                transport.start_server(server=_Rules(self))
            except (paramiko.SSHException, EOFError):
                transport.close()


class _Rules(paramiko.ServerInterface):  # type: ignore[misc]
    def __init__(self, double: SSHDouble) -> None:
        self._double = double

    def get_allowed_auths(self, username: str) -> str:
        return "password"

    def check_auth_password(self, username: str, password: str) -> int:
        right = (username, password) == ("somebody", self._double.password)
        return int(paramiko.AUTH_SUCCESSFUL if right else paramiko.AUTH_FAILED)

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return int(paramiko.OPEN_SUCCEEDED)

    def check_channel_exec_request(self, channel: Any, command: bytes) -> bool:
        self._double.commands.append(command.decode())
        if self._double.answer is not None:
            threading.Thread(target=self._respond, args=(channel, self._double.answer), daemon=True).start()
        return True

    def _respond(self, channel: Any, answer: bytes) -> None:
        while channel.recv(65536):  # the end of its input shows that the client has seen its request accepted
            continue
        channel.sendall(answer)
        channel.send_exit_status(0)
        channel.close()
