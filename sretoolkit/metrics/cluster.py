"""A service inside a Kubernetes cluster, reached through the API server's service proxy: no port needs to be opened."""

from __future__ import annotations

import re
from dataclasses import replace

from sretoolkit.errors import ConfigError
from sretoolkit.http import Remote
from sretoolkit.http.kubeconfig import api_server

_PLACE = re.compile(r"(?P<context>.+)/(?P<namespace>[a-z0-9-]+)/(?P<service>(?:https?:)?[a-z0-9.-]+:[a-z0-9-]+)")


def through(place: str, remote: Remote) -> Remote:
    """The same service by way of the API server of ``context/namespace/[https:]service:port``, with that login.

    The path of ``remote.url`` is kept. Raises `ConfigError` when the kubeconfig has no such context, or when the service
    wants a login of its own: the API server takes the Authorization header for itself.
    """
    match = _PLACE.fullmatch(place)
    if not match:
        raise ConfigError(f"{place!r} names no service", hint='write cluster = "context/namespace/service:port"')
    if remote.token or remote.username:
        hint = "open a way to the service (kubectl port-forward) and give its URL"
        raise ConfigError("a login does not pass through the API server's service proxy", hint=hint)
    api = api_server(match["context"])
    path = remote.url.partition("://")[2].partition("/")[2] if "://" in remote.url else remote.url.lstrip("/")
    service = f"/api/v1/namespaces/{match['namespace']}/services/{match['service']}/proxy"
    return replace(
        remote,
        url=f"{api.url}{service}/{path}".rstrip("/"),
        token=api.token,
        ca=api.ca,
        cert=api.cert,
        key=api.key,
        verify=api.verify,
    )
