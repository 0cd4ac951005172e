"""SSH, through Fabric: keys, agents, jump hosts and ``~/.ssh/config`` are its business; deadlines and doubt are ours.

A host key that is not known is refused, also a jump host's; nothing is ever added to a known_hosts file.
"""

from __future__ import annotations

import secrets
import shlex
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import fabric
import paramiko  # type: ignore[import-untyped]

from sretoolkit.config import Config
from sretoolkit.errors import ConfigError, HostError, Unreachable
from sretoolkit.hosts.connection import Connection, open_connection
from sretoolkit.hosts.connections._ssh_streams import BROKEN, settle, start, without_noise, wrapped
from sretoolkit.hosts.connections._ssh_trust import RefuseUnknown, load_key, load_known_hosts, refusal
from sretoolkit.hosts.endpoint import Endpoint, resolve
from sretoolkit.hosts.result import OUTPUT_LIMIT, Output, Sink
from sretoolkit.secrets import Secret

_CONNECT_TIMEOUT = 15
_KEEPALIVE = 10
_DEAD_AFTER = 30  # seconds without an answer to what was sent, after which the kernel gives the connection up
_SESSIONS = 8  # at once; a server allows 10 unless told otherwise
_KILL_TIMEOUT = 5.0


class SSH(Connection):
    """Commands on another machine. Options: address, port, user, key, passphrase, password, jump, known_hosts."""

    options: ClassVar[dict[str, type]] = {
        "address": str,
        "port": int,
        "user": str,
        "key": str,
        "passphrase": str,
        "password": str,
        "jump": str,
        "known_hosts": str,
    }

    def __init__(self, endpoint: Endpoint, config: Config) -> None:
        super().__init__(endpoint, config)
        self._lock = threading.Lock()
        self._sessions = threading.BoundedSemaphore(_SESSIONS)
        self._fabric: fabric.Connection | None = None
        self._jump = self._jump_host()

    @property
    def address(self) -> str:
        """Where to, as the configuration says; the host's own name when it says nothing."""
        return str(self.given.get("address", self.endpoint.name))

    def execute(self, command: str, *, timeout: float, data: bytes) -> Output:
        """Run the command in a channel of its own; at the deadline it is killed through a second one."""
        deadline = time.monotonic() + timeout
        with self._slot(deadline), self._channel(deadline) as channel:
            return self._exchange(channel, command, data, deadline)

    def by_hand(self, command: str) -> str:
        """The ``ssh`` command line."""
        port = ["-p", str(self.given["port"])] if "port" in self.given else []
        jump = ["-J", self._jump.login] if self._jump else []
        key = ["-i", self.given["key"]] if "key" in self.given else []
        return shlex.join(["ssh", *port, *jump, *key, self._login, command])

    @property
    def login(self) -> str:
        """``user@address:port``, as a jump host is written."""
        return self._login + (f":{self.given['port']}" if "port" in self.given else "")

    @property
    def _login(self) -> str:
        return f"{self.given['user']}@{self.address}" if "user" in self.given else self.address

    def close(self) -> None:
        """Close the connection and that to the jump host."""
        with self._lock:
            self._drop()
        if self._jump:
            self._jump.close()

    def _drop(self) -> None:
        if self._fabric is not None:
            gateway: Any = self._fabric.gateway
            self._fabric.client.close()
            while isinstance(gateway, fabric.Connection) and self._jump is None:
                gateway.client.close()
                gateway = gateway.gateway
            self._fabric = None

    def _jump_host(self) -> SSH | None:
        if "jump" not in self.given:
            return None
        endpoint, seen = resolve(self.given["jump"], self.config), [self.endpoint.name]
        while True:
            if endpoint.name in seen:
                way = " -> ".join([*seen, endpoint.name])
                raise ConfigError(f"[hosts.{self.endpoint.name}] jump goes in a circle: {way}", hint="mend one of them")
            seen.append(endpoint.name)
            if "jump" not in endpoint.options:
                break
            endpoint = resolve(endpoint.options["jump"], self.config)
        jump = open_connection(resolve(self.given["jump"], self.config), self.config)
        if not isinstance(jump, SSH):
            hint = f"see [hosts.{self.given['jump']}]"
            raise ConfigError(f"[hosts.{self.endpoint.name}] jump must be reached by ssh", hint=hint)
        return jump

    @contextmanager
    def _slot(self, deadline: float) -> Iterator[None]:
        if not self._sessions.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise Unreachable(
                f"{self.endpoint.name}: {_SESSIONS} commands were busy for the whole time; nothing ran",
                host=self.endpoint.name,
                hint="give a longer timeout, or run fewer at once",
            )
        try:
            yield
        finally:
            self._sessions.release()

    @contextmanager
    def _channel(self, deadline: float) -> Iterator[paramiko.Channel]:
        transport = self.transport(deadline - time.monotonic())
        try:
            channel = transport.open_session(timeout=max(0.1, deadline - time.monotonic()))
        except BROKEN as error:
            raise self._unreachable(f"no session could be opened ({_word(error)}); nothing ran") from error
        try:
            yield channel
        finally:
            channel.close()

    def transport(self, timeout: float = _CONNECT_TIMEOUT) -> paramiko.Transport:
        """The open connection, opened anew when it has died since the last command.

        Reaching the host, its greeting and logging in may each take ``timeout`` seconds, and no more than 15.
        """
        with self._lock:
            if self._fabric is not None and self._fabric.is_connected:
                return self._fabric.transport
            self._drop()
            self._fabric = self._prepared(max(1, round(min(timeout, _CONNECT_TIMEOUT))))
            try:
                self._fabric.open()
            except BaseException as error:
                self._drop()
                if isinstance(error, BROKEN):
                    raise self._refused(error) from error
                raise
            transport: paramiko.Transport = self._fabric.transport
            transport.set_keepalive(_KEEPALIVE)
            if isinstance(transport.sock, socket.socket) and hasattr(socket, "TCP_USER_TIMEOUT"):
                transport.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _DEAD_AFTER * 1000)
            return transport

    def _prepared(self, timeout: int) -> fabric.Connection:
        settings = fabric.Config(lazy=True)
        settings.load_ssh_config()
        if self._jump:
            self._jump.transport(timeout)
        connection = fabric.Connection(
            self.address,
            user=self.given.get("user"),
            port=self.given.get("port"),
            config=settings,
            gateway=self._jump._fabric if self._jump else None,
            connect_timeout=timeout,
            connect_kwargs=self._credentials(timeout),
        )
        hop: Any = connection
        while isinstance(hop, fabric.Connection) and not (self._jump and hop is self._jump._fabric):
            load_known_hosts(hop.client, self.given.get("known_hosts"), self.endpoint.name)
            hop.client.set_missing_host_key_policy(RefuseUnknown())
            hop = hop.gateway
        return connection

    def _credentials(self, timeout: int) -> dict[str, Any]:
        given: dict[str, Any] = dict.fromkeys(("banner_timeout", "auth_timeout", "channel_timeout"), timeout)
        for name in ("password", "passphrase"):
            if name in self.given:
                given[name] = Secret(self.given[name]).reveal()
        if "key" in self.given:
            given["pkey"] = load_key(self.given["key"], given.get("passphrase"), self.endpoint.name)
        if "key" in self.given or "password" in self.given:
            given.update(allow_agent=False, look_for_keys=False)
        return given

    def _exchange(self, channel: paramiko.Channel, command: str, data: bytes, deadline: float) -> Output:
        """Send the command, move its three streams, wait for its end or the deadline."""
        mark = f"\036sretoolkit-{secrets.token_hex(8)} "
        out, err = Sink(OUTPUT_LIMIT), Sink(OUTPUT_LIMIT)
        channel.settimeout(max(0.1, deadline - time.monotonic()))
        try:
            channel.exec_command(wrapped(command, mark))
        except BROKEN as error:
            raise self._in_doubt(command, error) from error
        channel.settimeout(None)
        draining = start(channel, data, out, err)
        ended = channel.status_event.wait(max(0.0, deadline - time.monotonic()))
        whole = ended and settle(draining, (out, err), deadline)
        shown, pid = without_noise(out.bytes(), mark.encode())
        truncated = out.truncated or err.truncated or not whole
        if not ended:
            return Output(None, shown, err.bytes(), truncated, killed=self._kill(pid))
        transport = channel.get_transport()
        if channel.exit_status < 0 or not (channel.eof_received or transport.is_active()):
            raise self._in_doubt(command, transport.get_exception())
        return Output(channel.exit_status, shown, err.bytes(), truncated)

    def _kill(self, pid: str) -> bool:
        """Kill the command's process group through another channel; whether that is known to have worked."""
        if not pid:
            return False
        try:
            with self._channel(time.monotonic() + _KILL_TIMEOUT) as channel:
                channel.settimeout(_KILL_TIMEOUT)
                channel.exec_command(f"kill -KILL -{pid} || kill -KILL {pid}")
                return bool(channel.status_event.wait(_KILL_TIMEOUT) and channel.exit_status == 0)
        except (Unreachable, *BROKEN):
            return False

    def _refused(self, error: BaseException) -> HostError:
        if found := refusal(error, self.endpoint.name, self.address, self.given.get("port")):
            return found
        return self._unreachable(f"no connection to {self.login}: {_word(error)}; nothing ran")

    def _unreachable(self, what: str) -> Unreachable:
        hint = f"try it by hand: {self.by_hand('true')}"
        return Unreachable(f"{self.endpoint.name}: {what}", host=self.endpoint.name, hint=hint)

    def _in_doubt(self, command: str, error: BaseException | None) -> Unreachable:
        with self._lock:
            self._drop()
        why = f" ({_word(error)})" if error else ""
        what = f"the connection was cut while a command ran{why}; the command is in doubt: {command[:200]}"
        return Unreachable(
            f"{self.endpoint.name}: {what}",
            host=self.endpoint.name,
            hint="it may have run to its end, in part, or may still run: look at the host before you do it again",
        )


def _word(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
