"""A container of this machine's Docker Engine, by ``docker exec``; DOCKER_HOST and contexts are followed."""

from __future__ import annotations

import os
import selectors
import shlex
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

from sretoolkit.errors import HostError, Unreachable
from sretoolkit.hosts.connection import Connection
from sretoolkit.hosts.connections._marked import Exchange, no_shell
from sretoolkit.hosts.result import Output, Sink

_LOOK = 0.05
_CHUNK = 65536
_KILL_TIMEOUT = 10.0


class Docker(Connection):
    """Commands in a running container with a shell. Options: container (else the host's own name), user."""

    options: ClassVar[dict[str, type]] = {"container": str, "user": str}

    @property
    def container(self) -> str:
        """The container's name or id."""
        return str(self.given.get("container", self.endpoint.name))

    def execute(self, command: str, *, timeout: float, data: bytes) -> Output:
        """Run the command; at the deadline it is killed by a second one."""
        exchange, said = Exchange(command, data), Sink(2000)
        deadline = time.monotonic() + timeout
        with self._client(exchange) as client:
            ended = _converse(client, exchange, said, deadline)
        if exchange.done:
            return exchange.output()
        if not ended:
            return exchange.output(killed=self._kill(exchange.pid))
        raise self._failed(command, exchange, said.bytes().decode(errors="replace"))

    def by_hand(self, command: str) -> str:
        """The ``docker exec`` command line."""
        return shlex.join([*self._words(), "sh", "-c", command])

    def _words(self, *options: str) -> list[str]:
        user = ["-u", str(self.given["user"])] if "user" in self.given else []
        return ["docker", "exec", *options, *user, self.container]

    @contextmanager
    def _client(self, exchange: Exchange) -> Iterator[subprocess.Popen[bytes]]:
        words = [*self._words(*(["-i"] if exchange.data else [])), "sh", "-c", exchange.script]
        try:
            client = subprocess.Popen(
                words,
                stdin=subprocess.PIPE if exchange.data else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
            )
        except FileNotFoundError as error:
            name = self.endpoint.name
            raise HostError(f"{name}: there is no docker program here", host=name, hint="install docker.io") from error
        try:
            yield client
        finally:
            client.kill()
            client.wait()
            for pipe in (client.stdin, client.stdout, client.stderr):
                if pipe:
                    pipe.close()

    def _kill(self, pid: int | None) -> bool:
        """Kill the command's process group; whether that is known to have worked."""
        if pid is None:
            return False
        words = [*self._words(), "sh", "-c", f"kill -KILL -{pid} || kill -KILL {pid}"]
        try:
            return subprocess.run(words, capture_output=True, timeout=_KILL_TIMEOUT, check=False).returncode == 0
        except subprocess.TimeoutExpired:
            return False

    def _failed(self, command: str, exchange: Exchange, said: str) -> HostError:
        name = self.endpoint.name
        last = (said.strip().splitlines() or ["it said nothing"])[-1][:300]
        if exchange.pid is not None:
            hint = "it may have run to its end, in part, or may still run: see docker ps -a and the container's log"
            return Unreachable(
                f"{name}: cut off; the command is in doubt: {command[:200]} ({last})", host=name, hint=hint
            )
        hint = f"use a debug image in its namespaces: docker run --rm -it --pid=container:{self.container} busybox"
        if error := no_shell(said, name, hint):
            return error
        if "No such container" in said or "permission denied" in said:
            return HostError(
                f"{name}: {last}", host=name, hint="docker ps -a lists those there are, for root and its group"
            )
        return Unreachable(f"{name}: {last}; nothing ran", host=name, hint="does it run? docker ps -a shows it")


def _converse(client: subprocess.Popen[bytes], exchange: Exchange, said: Sink, deadline: float) -> bool:
    """Move the streams until the command is done or the client ended; False at the deadline."""
    rest = memoryview(exchange.data)
    with selectors.DefaultSelector() as pipes:
        assert client.stdout is not None
        assert client.stderr is not None
        pipes.register(client.stdout, selectors.EVENT_READ, (exchange.out.feed,))
        pipes.register(client.stderr, selectors.EVENT_READ, (exchange.err.feed, said.feed))
        if client.stdin:
            os.set_blocking(client.stdin.fileno(), False)
            pipes.register(client.stdin, selectors.EVENT_WRITE, ())
        while pipes.get_map() and not exchange.done:
            if (left := deadline - time.monotonic()) <= 0:
                return False
            for key, _ in pipes.select(min(left, _LOOK)):
                if key.fileobj is client.stdin:
                    rest = _give(pipes, key.fd, rest, client)
                elif chunk := os.read(key.fd, _CHUNK):
                    for take in key.data:
                        take(chunk)
                else:
                    pipes.unregister(key.fd)
    return True


def _give(pipes: selectors.BaseSelector, fd: int, rest: memoryview, client: subprocess.Popen[bytes]) -> memoryview:
    try:
        rest = rest[os.write(fd, rest[:_CHUNK]) :]
    except BrokenPipeError:
        rest = rest[len(rest) :]
    if not rest and client.stdin:
        pipes.unregister(fd)
        client.stdin.close()
    return rest
