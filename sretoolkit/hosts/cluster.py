"""A Kubernetes cluster's API server, spoken to as plain JSON: no version of its objects is taken for granted.

``Cluster("prod").get("/api/v1/namespaces/shop/pods/web-0")``; what a server has only in other versions answers 404.
"""

from __future__ import annotations

import json as jsonlib
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Self, cast

from sretoolkit.errors import HostError, HTTPError, Unanswered, Unreachable
from sretoolkit.http import Client
from sretoolkit.http.kubeconfig import remote_of, settings
from sretoolkit.report import plain

_PAGE = 500
_MERGE = {"Content-Type": "application/strategic-merge-patch+json"}
_OPERATIONS = {"Content-Type": "application/json-patch+json"}


class ClusterError(HostError):
    """The API server refused a request; ``.status`` is HTTP's: 403 = not allowed, 404 = not there, 409 = changed meanwhile."""

    def __init__(self, message: str, *, host: str, status: int, hint: str = "") -> None:
        super().__init__(message, host=host, hint=hint)
        self.status = status


class Cluster:
    """The cluster of a kubeconfig's context ("" = the current one, "in-cluster" = where this pod runs).

    Every request raises `ClusterError` when it is refused, and `Unreachable` when the API server does not answer.
    """

    def __init__(self, context: str = "", *, kubeconfig: str = "") -> None:
        self.context = context
        self.kubeconfig = kubeconfig

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

    def create(self, path: str, new: Mapping[str, Any], *, timeout: float = 30) -> dict[str, Any]:
        """Make an object in the list at a path; 409 when there is one of that name."""
        return self._ask("POST", path, timeout=timeout, json=new)

    def delete(self, path: str, *, version: str = "", timeout: float = 30) -> dict[str, Any]:
        """Delete an object, with what it owns, after it; ``version``: its resourceVersion must be that, or 409."""
        only = {"preconditions": {"resourceVersion": version}} if version else {}
        options = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background", **only}
        return self._ask("DELETE", path, timeout=timeout, json=options)

    def patch(self, path: str, change: Mapping[str, Any], *, timeout: float = 30) -> dict[str, Any]:
        """Change an object by a strategic merge patch; a resourceVersion in it must be the present one, or 409."""
        return self._ask("PATCH", path, timeout=timeout, json=change, headers=_MERGE)

    def patch_json(
        self, path: str, operations: Sequence[Mapping[str, Any]], *, dry_run: bool = False, timeout: float = 30
    ) -> dict[str, Any]:
        """Change an object by a JSON patch (RFC 6902), also of a custom resource; ``dry_run``: only the answer is made."""
        params = {"dryRun": "All"} if dry_run else {}
        body = list(operations)
        return self._ask("PATCH", path, timeout=timeout, json=body, params=params, headers=_OPERATIONS)

    def watch(self, path: str, *, version: str, name: str, timeout: float) -> Iterator[dict[str, Any]]:
        """The events of one object of a list after a resource version, as they come, for at most ``timeout`` seconds."""
        seconds = max(1, int(timeout))
        query = (
            f"{path}?watch=1&fieldSelector=metadata.name%3D{name}&resourceVersion={version}&timeoutSeconds={seconds}"
        )
        try:
            with self._client.stream("GET", query, timeout=timeout) as (answer, lines):
                if not answer.ok:
                    raise self._refused("GET", path, answer)
                for line in lines:
                    if line.strip():
                        yield jsonlib.loads(line)
        except Unanswered as error:
            if not error.timed_out:
                raise self._unreachable(error) from error

    def _ask(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        try:
            answer = self._client.send(method, path, **request)
        except Unanswered as error:
            raise self._unreachable(error) from error
        except HTTPError as error:
            raise HostError(f"{self.name}: {error.message}", host=self.name, hint=error.hint) from error
        if not answer.ok:
            raise self._refused(method, path, answer)
        try:
            return cast("dict[str, Any]", answer.json())
        except ValueError as error:
            what = f"{self.name}: {path} answers what is no JSON ({answer.kind})"
            raise HostError(what, host=self.name, hint="is that address an API server?") from error

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
