"""A container of a Kubernetes pod, by the API server's ``exec``: what `kubectl exec` does."""

from __future__ import annotations

import json
import selectors
import shlex
import ssl
import time
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote, urlencode

from sretoolkit.errors import ConfigError, HostError, Unreachable
from sretoolkit.hosts.cluster import Cluster, ClusterError
from sretoolkit.hosts.connection import Connection
from sretoolkit.hosts.connections._marked import Exchange, no_shell
from sretoolkit.hosts.result import Output
from sretoolkit.http.kubeconfig import authorization

if TYPE_CHECKING:
    from kubernetes.stream.ws_client import WSClient

_PIECE = 8192  # bytes of input a message: as many as a socket that can be written to takes without waiting
_KILL_TIMEOUT = 10.0
_OUT, _ERR, _STATUS = 1, 2, 3


class Kubernetes(Connection):
    """Commands in a container with a shell. Options: context, kubeconfig, namespace, pod, container."""

    options: ClassVar[dict[str, type]] = dict.fromkeys(("context", "kubeconfig", "namespace", "pod", "container"), str)

    @cached_property
    def cluster(self) -> Cluster:
        """The cluster that the pod is in."""
        return Cluster(self.given.get("context", ""), kubeconfig=self.given.get("kubeconfig", ""))

    @property
    def pod(self) -> str:
        """The pod's name; the host's own when none is given."""
        return str(self.given.get("pod", self.endpoint.name))

    def execute(self, command: str, *, timeout: float, data: bytes) -> Output:
        """Run the command; at the deadline it is killed by a second one."""
        deadline = time.monotonic() + timeout
        self._check(timeout)
        exchange = Exchange(command, data)
        socket = self._opened(exchange.script, deadline, stdin=bool(data))
        try:
            status = _converse(socket, exchange, deadline)
        except _broken() as error:
            raise self._in_doubt(command, str(error)) from error
        finally:
            socket.sock.shutdown()
        if exchange.done:
            return exchange.output()
        if time.monotonic() >= deadline:
            return exchange.output(killed=self._kill(exchange.pid))
        raise self._failed(command, exchange, status)

    def by_hand(self, command: str) -> str:
        """The ``kubectl exec`` command line."""
        file = ["--kubeconfig", self.given["kubeconfig"]] if "kubeconfig" in self.given else []
        context = ["--context", self.given["context"]] if "context" in self.given else []
        container = ["-c", self.given["container"]] if "container" in self.given else []
        words = [
            "kubectl",
            *file,
            *context,
            "-n",
            self._namespace,
            "exec",
            self.pod,
            *container,
            "--",
            "sh",
            "-c",
            command,
        ]
        return shlex.join(words)

    def close(self) -> None:
        """Close the connections to the API server."""
        self.cluster.close()

    @property
    def _namespace(self) -> str:
        return str(self.given.get("namespace", "default"))

    @property
    def _path(self) -> str:
        return f"/api/v1/namespaces/{quote(self._namespace)}/pods/{quote(self.pod)}"

    def _check(self, timeout: float) -> None:
        """Whether the container runs: an exec in one that does not is refused in many words."""
        name = self.endpoint.name
        try:
            pod = self.cluster.get(self._path, timeout=timeout)
        except ClusterError as error:
            hint = error.hint or f"kubectl -n {self._namespace} get pods lists those there are"
            raise HostError(f"{name}: {error.message}", host=name, hint=hint) from error
        listed = [*pod["spec"]["containers"], *pod["spec"].get("initContainers", ())]
        known = [each["name"] for each in listed]
        wanted = self.given.get("container", known[0])
        if wanted not in known:
            what = f"{name}: the pod {self.pod} has no container {wanted!r}"
            raise ConfigError(what, hint=f"it has: {', '.join(known)}")
        states = pod.get("status", {})
        found = [*states.get("containerStatuses", ()), *states.get("initContainerStatuses", ())]
        state: dict[str, Any] = next((each["state"] for each in found if each["name"] == wanted), {})
        if "running" not in state:
            told = next(iter(state), "not started")
            why = state.get(told, {}).get("reason", "")
            raise Unreachable(
                f"{name}: the container {wanted} is {told} {why}".rstrip() + "; nothing ran",
                host=name,
                hint=f"kubectl -n {self._namespace} describe pod {self.pod} tells why",
            )

    def _opened(self, script: str, deadline: float, *, stdin: bool) -> WSClient:
        from kubernetes.stream.ws_client import WSClient
        from websocket import WebSocketBadStatusException, WebSocketException

        settings = self.cluster.settings
        asked = [("command", word) for word in ("sh", "-c", script)]
        asked += [("stdout", "true"), ("stderr", "true"), ("stdin", str(stdin).lower())]
        if "container" in self.given:
            asked.append(("container", self.given["container"]))
        url = f"{settings.host}{self._path}/exec?{urlencode(asked)}"
        url = url.replace("http", "ws", 1)
        token = authorization(settings)
        try:
            socket = WSClient(settings, url, {"authorization": token} if token else {}, capture_all=False, binary=True)  # type: ignore[no-untyped-call]
        except WebSocketBadStatusException as error:
            raise self._not_let_in(error) from error
        except (OSError, WebSocketException) as error:
            raise self._unreachable(str(error)) from error
        socket.sock.settimeout(max(0.1, deadline - time.monotonic()))
        return socket

    def _kill(self, pid: int | None) -> bool:
        """Kill the command's process group; whether that is known to have worked."""
        if pid is None:
            return False
        deadline = time.monotonic() + _KILL_TIMEOUT
        exchange = Exchange(f"kill -KILL -{pid} || kill -KILL {pid}", b"")
        try:
            socket = self._opened(exchange.script, deadline, stdin=False)
        except HostError:
            return False
        try:
            _converse(socket, exchange, deadline)
        except _broken():
            return False
        finally:
            socket.sock.shutdown()
        return exchange.done and exchange.output().exit_code == 0

    def _failed(self, command: str, exchange: Exchange, status: str) -> HostError:
        name = self.endpoint.name
        if exchange.pid is not None:
            return self._in_doubt(command, status)
        of = self.given.get("container", "CONTAINER")
        hint = (
            f"look at it from its node, or put a shell beside it: kubectl -n {self._namespace} debug -it {self.pod} "
            f"--image=busybox --target={of} (Kubernetes 1.23 and later)"
        )
        return no_shell(status, name, hint) or self._unreachable(status)

    def _not_let_in(self, error: Any) -> HostError:
        name = self.endpoint.name
        body = getattr(error, "resp_body", b"") or b""
        said = body.decode(errors="replace") if isinstance(body, bytes) else str(body)
        try:
            said = str(json.loads(said)["message"])
        except (ValueError, KeyError, TypeError):
            said = said or str(error)
        if error.status_code in (401, 403):
            hint = "it takes a role that may create pods/exec (kubectl auth can-i create pods/exec)"
            return HostError(f"{name}: {said[:300]}", host=name, hint=hint)
        return self._unreachable(said)

    def _unreachable(self, why: str) -> Unreachable:
        name, why = self.endpoint.name, " ".join(why.split())[:300] or "the connection was refused"
        return Unreachable(f"{name}: {why}; nothing ran", host=name, hint=f"try it by hand: {self.by_hand('true')}")

    def _in_doubt(self, command: str, why: str) -> Unreachable:
        name = self.endpoint.name
        what = f"cut off while a command ran ({' '.join(why.split())[:200]}); the command is in doubt: {command[:200]}"
        hint = "it may have run to its end, in part, or may still run: look at the pod before you do it again"
        return Unreachable(f"{name}: {what}", host=name, hint=hint)


def _broken() -> tuple[type[Exception], ...]:
    from websocket import WebSocketException

    return (OSError, WebSocketException)


def _converse(socket: WSClient, exchange: Exchange, deadline: float) -> str:
    """Move the streams until the command is done, the other side closes, or the deadline; returns what was said of its end."""
    rest, wire = memoryview(exchange.data), socket.sock.sock
    with selectors.DefaultSelector() as events:
        events.register(wire, selectors.EVENT_READ | (selectors.EVENT_WRITE if rest else 0))
        while socket.is_open() and not exchange.done and (left := deadline - time.monotonic()) > 0:  # type: ignore[no-untyped-call]
            waiting = isinstance(wire, ssl.SSLSocket) and wire.pending() > 0
            ready = sum(event for _, event in events.select(0 if waiting else left))
            if waiting or ready & selectors.EVENT_READ:
                socket.update(timeout=0)  # type: ignore[no-untyped-call]
                exchange.out.feed(socket.read_channel(_OUT))  # type: ignore[no-untyped-call]
                exchange.err.feed(socket.read_channel(_ERR))  # type: ignore[no-untyped-call]
            if ready & selectors.EVENT_WRITE:
                socket.write_channel(0, bytes(rest[:_PIECE]))  # type: ignore[no-untyped-call]
                rest = rest[_PIECE:]
                if not rest:
                    events.modify(wire, selectors.EVENT_READ)
    return _status(socket.read_channel(_STATUS))  # type: ignore[no-untyped-call]


def _status(told: bytes) -> str:
    try:
        return str(json.loads(told).get("message", ""))
    except (ValueError, AttributeError):
        return told.decode(errors="replace")
