"""A Kubernetes cluster's API server, spoken to as plain JSON: no version of its objects is taken for granted.

``Cluster("prod").get("/api/v1/namespaces/shop/pods/web-0")``; what a server has only in other versions answers 404.
"""

from __future__ import annotations

import json as jsonlib
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, Self, cast
from urllib.parse import quote, urlencode

from sretoolkit.errors import HostError, HTTPError, Unanswered, Unreachable
from sretoolkit.http import Client
from sretoolkit.http.client import Answer
from sretoolkit.http.kubeconfig import remote_of, settings
from sretoolkit.report import plain

if TYPE_CHECKING:
    from sretoolkit.plan import Context

MANAGER = "sretoolkit"  # by this name our changes stand in an object's managedFields
_PAGE = 500
_AWAY = 90.0  # seconds that a server may be away: a restart, a new leader of its store
_FAULTY = 15.0  # seconds of errors of its own; one that a webhook makes does not go away by itself
_PAUSE, _LONGEST_PAUSE = 0.1, 2.0
_BUSY = frozenset({429, 502, 503, 504})
_MERGE = {"Content-Type": "application/strategic-merge-patch+json"}
_METADATA = {"Accept": "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"}
_OPERATIONS = {"Content-Type": "application/json-patch+json"}


class ClusterError(HostError):
    """The API server refused a request; ``.status`` is HTTP's: 403 = not allowed, 404 = not there, 409 = changed meanwhile."""

    def __init__(self, message: str, *, host: str, status: int, hint: str = "") -> None:
        super().__init__(message, host=host, hint=hint)
        self.status = status


class Cluster:
    """The cluster of a kubeconfig's context ("" = the current one, "in-cluster" = where this pod runs).

    Every request raises `ClusterError` when it is refused, and `Unreachable` when the API server does not answer.
    ``patience`` gives the seconds for which one that is away or overloaded may be waited for, a minute and a half at the
    most; without it nobody waits. A request may then reach the server twice: a change that came about at the first time
    is refused at the second (409 for a resource version or a name, 404 for what is gone), and has to be looked at again.
    """

    def __init__(self, context: str = "", *, kubeconfig: str = "", patience: Callable[[], float] | None = None) -> None:
        self.context = context
        self.kubeconfig = kubeconfig
        self._patience = patience
        self._versions: dict[str, tuple[str, ...]] = {}

    @classmethod
    def shared(cls, ctx: Context, context: str) -> Self:
        """The connection that the steps of a plan share; it is patient for as long as the running step has time."""
        return ctx.use(("cluster", context), lambda: cls(context, patience=ctx.remaining))

    @property
    def name(self) -> str:
        """What it is called in findings and errors."""
        return self.context or "the current context"

    @cached_property
    def settings(self) -> Any:
        """The configuration of the ``kubernetes`` package; raises `ConfigError` when there is no such context."""
        return settings(self.context, self.kubeconfig)

    @cached_property
    def _client(self) -> Client:
        return Client(remote_of(self.settings))

    def close(self) -> None:
        """Close the connections."""
        if "_client" in self.__dict__:
            self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def get(self, path: str, *, timeout: float = 30, **params: str | int) -> dict[str, Any]:
        """One object, or the first page of a list."""
        return self._ask("GET", path, timeout=timeout, params=params)

    def text(self, path: str, *, timeout: float = 30, **params: str | int) -> str:
        """What is no object: the log of a container."""
        return self._asked("GET", path, timeout=timeout, params=params).text

    def has(self, path: str, *, timeout: float = 30) -> bool:
        """Whether an object is there; its content is not even asked for, so that it may be a Secret."""
        try:
            self._ask("GET", path, timeout=timeout, headers=_METADATA)
        except ClusterError as error:
            if error.status == 404:
                return False
            raise
        return True

    def items(self, path: str, *, timeout: float = 60, **params: str | int) -> list[dict[str, Any]]:
        """All objects of a list, page by page."""
        found: list[dict[str, Any]] = []
        more: dict[str, str | int] = {}
        while True:
            page = self.get(path, timeout=timeout, limit=_PAGE, **params, **more)
            found += page.get("items") or []
            follow = (page.get("metadata") or {}).get("continue")
            if not follow:
                return found
            more = {"continue": follow}

    def create(
        self, collection: str, body: Mapping[str, Any], *, dry_run: bool = False, timeout: float = 30
    ) -> dict[str, Any]:
        """Make an object of a list's kind; 409 when there is one of that name."""
        return self._ask("POST", collection, timeout=timeout, json=body, params=_written(dry_run))

    def patch(self, path: str, change: Mapping[str, Any], *, timeout: float = 30) -> dict[str, Any]:
        """Change an object by a strategic merge patch; a resourceVersion in it must be the present one, or 409."""
        return self._ask("PATCH", path, timeout=timeout, json=change, params=_written(False), headers=_MERGE)

    def patch_json(
        self, path: str, operations: Sequence[Mapping[str, Any]], *, dry_run: bool = False, timeout: float = 30
    ) -> dict[str, Any]:
        """Change an object by a JSON patch (RFC 6902), also of a custom resource; ``dry_run``: only the answer is made."""
        body = list(operations)
        return self._ask("PATCH", path, timeout=timeout, json=body, params=_written(dry_run), headers=_OPERATIONS)

    def delete(
        self,
        path: str,
        *,
        uid: str = "",
        version: str = "",
        propagation: Literal["Foreground", "Background", "Orphan"] = "Background",
        grace: int | None = None,
        timeout: float = 30,
    ) -> dict[str, Any]:
        """Delete an object, if it still is the one of that uid and resource version (else 409).

        With "Foreground" it stays, marked, until all that it owns is gone. ``grace``: seconds that a pod is given.
        """
        same = {key: value for key, value in (("uid", uid), ("resourceVersion", version)) if value}
        body: dict[str, Any] = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": propagation}
        body |= {"preconditions": same} if same else {}
        body |= {} if grace is None else {"gracePeriodSeconds": grace}
        return self._ask("DELETE", path, timeout=timeout, json=body)

    def served(self, group: str, *, timeout: float = 30) -> tuple[str, ...]:
        """The versions of an API group that the server has, newest first; () when it has none. Asked once."""
        if group not in self._versions:
            try:
                found = self.get(f"/apis/{group}", timeout=timeout).get("versions") or ()
            except ClusterError as error:
                if error.status != 404:
                    raise
                found = ()
            self._versions[group] = tuple(sorted((str(each["version"]) for each in found), key=_age, reverse=True))
        return self._versions[group]

    def collection(self, group: str, plural: str, namespace: str) -> str:
        """The path of a namespace's objects in the newest served version of their group; "" where there is none.

        ``collection("policy", "poddisruptionbudgets", "shop")`` is of policy/v1, or of v1beta1 on an old server.
        """
        versions = self.served(group)
        return f"/apis/{group}/{versions[0]}/namespaces/{quote(namespace)}/{plural}" if versions else ""

    def watch(
        self, path: str, *, version: str, timeout: float, name: str = "", labels: str = "", fields: str = ""
    ) -> Iterator[dict[str, Any]]:
        """The events of a list's objects after a resource version, as they come, for at most ``timeout`` seconds.

        ``name``: of that object alone; ``labels`` and ``fields``: of those that these selectors name. Where one is patient
        a connection that breaks off ends it early, without an error: whoever watches reads the object anew anyway.
        """
        chosen = {"fieldSelector": f"metadata.name={name}" if name else fields, "labelSelector": labels}
        about: dict[str, Any] = {key: value for key, value in chosen.items() if value}
        about |= {"watch": 1, "resourceVersion": version, "timeoutSeconds": max(1, int(timeout))}
        try:
            with self._client.stream("GET", f"{path}?{urlencode(about)}", timeout=timeout) as (answer, lines):
                if not answer.ok and (self._patience is None or answer.status not in (*_BUSY, 500)):
                    raise self._refused("GET", path, answer)
                for line in lines if answer.ok else ():
                    if line.strip():
                        yield jsonlib.loads(line)
                if answer.ok:
                    return
        except Unanswered as error:
            if error.timed_out:
                return
            if self._patience is None:
                raise self._unreachable(error) from error
        time.sleep(_PAUSE)  # who reads and watches again at once would ask a server in trouble at full speed

    def _asked(self, method: str, path: str, **request: Any) -> Answer:
        try:
            answer = self._answer(method, path, **request)
        except Unanswered as error:
            raise self._unreachable(error) from error
        except HTTPError as error:
            raise HostError(f"{self.name}: {error.message}", host=self.name, hint=error.hint) from error
        if not answer.ok:
            raise self._refused(method, path, answer)
        return answer

    def _ask(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        answer = self._asked(method, path, **request)
        try:
            return cast("dict[str, Any]", answer.json())
        except ValueError as error:
            what = f"{self.name}: {path} answers what is no JSON ({answer.kind})"
            raise HostError(what, host=self.name, hint="is that address an API server?") from error

    def _answer(self, method: str, path: str, **request: Any) -> Answer:
        """What the server says in the end: it is asked again while it cannot take the request and there is patience."""
        began, pause = time.monotonic(), _PAUSE
        left = 0.0 if self._patience is None else self._patience()
        while True:
            spent = time.monotonic() - began
            try:
                answer = self._client.send(method, path, **request)
            except Unanswered:
                if spent + pause >= min(_AWAY, left):
                    raise
            else:
                most = {500: _FAULTY}.get(answer.status, _AWAY if answer.status in _BUSY else 0.0)
                asked = answer.headers.get("Retry-After", "")
                pause = max(pause, float(asked)) if asked.isdecimal() else pause
                if spent + pause >= min(most, left):
                    return answer
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _unreachable(self, error: Unanswered) -> Unreachable:
        hint = error.hint or "does `kubectl version` answer?"
        return Unreachable(f"{self.name}: the API server does not answer: {error.message}", host=self.name, hint=hint)

    def _refused(self, method: str, path: str, answer: Any) -> ClusterError:
        try:
            said = plain(str(answer.json()["message"]))[:300]
        except (ValueError, KeyError, TypeError):
            said = answer.said
        hints = {
            401: "the login of this context has ended: log in again",
            403: "ask for a role that allows it (kubectl auth can-i --list)",
        }
        what = f"{self.name}: {method} {path}: {said}"
        return ClusterError(what, host=self.name, status=answer.status, hint=hints.get(answer.status, ""))


def _written(dry_run: bool) -> dict[str, str]:
    return {"fieldManager": MANAGER, **({"dryRun": "All"} if dry_run else {})}


def _age(version: str) -> tuple[int, int, int]:
    """What Kubernetes goes by: v2 before v1 before v1beta2 before v1alpha1."""
    found = re.fullmatch(r"v(\d+)(?:(alpha|beta)(\d+))?", version)
    if found is None:
        return -1, 0, 0
    major, stage, minor = found.groups()
    return {"alpha": 0, "beta": 1}.get(stage, 2), int(major), int(minor or 0)
