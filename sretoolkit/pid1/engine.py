"""Docker's API on any host, through ``docker system dial-stdio``: nothing is installed or exposed there.

It is the way in which Docker's own client speaks over SSH; DOCKER_HOST and contexts of the host are followed.
Source: Docker Engine API v1.41.
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Mapping
from http.client import HTTPException, HTTPResponse
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote, urlencode

from sretoolkit.clock import poll
from sretoolkit.errors import HostError
from sretoolkit.hosts import Host

if TYPE_CHECKING:
    import socket

_DENIED = "root and the group docker may ask it; is the engine running there (docker info)?"


class EngineError(HostError):
    """The engine refused a request; ``.status`` is HTTP's."""

    def __init__(self, message: str, *, host: str, status: int, hint: str = "") -> None:
        super().__init__(message, host=host, hint=hint)
        self.status = status


class _Received:
    """Bytes that were received, as HTTPResponse wants them."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def makefile(self, mode: str) -> io.BytesIO:
        return io.BytesIO(self._content)


class Engine:
    """The Docker Engine of a host. Bodies go through stdin: what they hold (environments) is in no argument list."""

    def __init__(self, host: Host) -> None:
        self.host = host

    def call(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, timeout: float = 60, **query: Any
    ) -> Any:
        """One request; the answer's JSON, None without one. Raises `EngineError`, and `HostError` when nobody answers."""
        content = b"" if body is None else json.dumps(body).encode()
        asked = f"{path}?{urlencode(query)}" if query else path
        head = f"{method} {asked} HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
        command = ["docker", "system", "dial-stdio"]
        result = self.host.run(command, input=head.encode() + content, timeout=timeout, check=False)
        return self._read(f"{method} {path}", result.stdout, result.stderr)

    def inspect(self, name: str) -> dict[str, Any] | None:
        """What the engine knows of a container; None when there is none of that name."""
        try:
            return cast("dict[str, Any]", self.call("GET", f"/containers/{quote(name)}/json"))
        except EngineError as error:
            if error.status == 404:
                return None
            raise

    def known(self, name: str) -> dict[str, Any]:
        """The same; raises `HostError` when there is none."""
        found = self.inspect(name)
        if found is None:
            hint = (
                "`docker ps -a` there lists those there are; Podman's are not changed by plans, their findings say how"
            )
            raise HostError(f"{self.host.name} has no container {name!r}", host=self.host.name, hint=hint)
        return found

    def start(self, name: str, *, settle: float = 1.0, timeout: float = 60) -> None:
        """Start a container; wait until it has run for ``settle`` seconds and is healthy, where it has a health check.

        Raises `HostError` when it ended, or is not healthy in time.
        """
        self.call("POST", f"/containers/{quote(name)}/start", timeout=timeout)
        ready = time.monotonic() + settle
        if not poll(lambda: self._runs(name) and time.monotonic() >= ready, timeout=timeout, interval=0.2):
            what = f"{self.host.name}: {name} runs, but is not healthy after {timeout:g} s"
            raise HostError(what, host=self.host.name, hint=f"docker inspect {name} shows its health log")

    def stop(self, name: str, grace: float) -> None:
        """Stop a container: its stop signal, then SIGKILL after ``grace`` seconds."""
        self.call("POST", f"/containers/{quote(name)}/stop", t=round(grace), timeout=grace + 60)

    def remove(self, name: str, *, volumes: bool = False) -> None:
        """Remove a container, if it is there; it is killed if it runs. ``volumes``: its anonymous volumes go with it."""
        try:
            self.call("DELETE", f"/containers/{quote(name)}", force="true", v=str(volumes).lower())
        except EngineError as error:
            if error.status != 404:
                raise

    def _runs(self, name: str) -> bool:
        """Whether it runs and is healthy, or has no health check; raises `HostError` when it has ended."""
        state = self.known(name)["State"]
        if not state["Running"] or state.get("Restarting"):
            what = f"{self.host.name}: {name} ended with exit code {state['ExitCode']} as soon as it was started"
            raise HostError(what, host=self.host.name, hint=f"docker logs {name}")
        return (state.get("Health") or {}).get("Status") in (None, "healthy")

    def _read(self, what: str, answered: str, said: str) -> Any:
        answer = HTTPResponse(cast("socket.socket", _Received(answered.encode())))
        try:
            answer.begin()
            content = answer.read()
        except (HTTPException, OSError) as error:
            lines = said.strip().splitlines()
            text = f"{self.host.name}: Docker does not answer: {lines[-1][:200] if lines else 'it said nothing'}"
            raise HostError(text, host=self.host.name, hint=_DENIED) from error
        if answer.status >= 400:
            try:
                message = str(json.loads(content)["message"])
            except (ValueError, KeyError, TypeError):
                message = f"status {answer.status}"
            text = f"{self.host.name}: Docker refused {what}: {message[:300]}"
            raise EngineError(
                text, host=self.host.name, status=answer.status, hint="docker events and its log tell more"
            )
        return json.loads(content) if content.strip() else None
