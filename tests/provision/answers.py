"""A server on the loopback interface that gives the answers it was told to give, one for each connection."""

from __future__ import annotations

import socket
import threading
from collections.abc import Mapping, Sequence
from typing import Self

Answer = bytes | tuple[int, Mapping[str, str], bytes]


class Answers:
    """Gives each answer in its turn: bytes as they are, or status, headers and body. It ends a line whose other end is closed."""

    def __init__(self, answers: Sequence[Answer]) -> None:
        self.asked: list[tuple[str, str, str, bytes]] = []
        self._answers = answers
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._socket.getsockname()[1])
        self._thread = threading.Thread(target=self._serve)

    def _serve(self) -> None:
        for answer in self._answers:
            line, _ = self._socket.accept()
            with line, line.makefile("rb") as said:
                method, path, _ = said.readline().decode().split()
                headers: dict[str, str] = {}
                while text := said.readline().strip().decode():
                    name, _, value = text.partition(": ")
                    headers[name.lower()] = value
                body = said.read(int(headers.get("content-length", 0)))
                self.asked.append((method, path, headers.get("authorization", ""), body))
                line.sendall(answer if isinstance(answer, bytes) else _whole(*answer))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join(30)
        self._socket.close()


def _whole(status: int, headers: Mapping[str, str], body: bytes) -> bytes:
    lines = [f"HTTP/1.1 {status} Word", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body
