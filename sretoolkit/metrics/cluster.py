"""A service inside a Kubernetes cluster, reached through the API server's service proxy: no port needs to be opened."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Any

from sretoolkit.errors import ConfigError
from sretoolkit.http import Remote
from sretoolkit.report import plain
from sretoolkit.secrets import Secret, redaction

_PLACE = re.compile(r"(?P<context>.+)/(?P<namespace>[a-z0-9-]+)/(?P<service>(?:https?:)?[a-z0-9.-]+:[a-z0-9-]+)")


@dataclass(frozen=True, repr=False)
class _ContextToken(Secret):
    """The token of a kubeconfig's context, refreshed when it has to be."""

    settings: Any = field(default=None, compare=False)

    def reveal(self) -> str:
        value = str(self.settings.get_api_key_with_prefix("authorization")).removeprefix("Bearer ")
        redaction.add(value)
        return value


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
    from kubernetes import client, config

    try:
        api = config.new_client_from_config(context=match["context"])  # type: ignore[no-untyped-call]
    except (config.ConfigException, OSError) as error:
        hint = "kubectl config get-contexts lists those there are"
        raise ConfigError(
            f"the Kubernetes context {match['context']!r} cannot be used: {plain(error)}", hint=hint
        ) from error
    settings: client.Configuration = api.configuration
    token = settings.get_api_key_with_prefix("authorization") or ""
    path = remote.url.partition("://")[2].partition("/")[2] if "://" in remote.url else remote.url.lstrip("/")
    service = f"/api/v1/namespaces/{match['namespace']}/services/{match['service']}/proxy"
    return replace(
        remote,
        url=f"{settings.host}{service}/{path}".rstrip("/"),
        token=_ContextToken("file:kubeconfig", settings) if token else None,
        ca=settings.ssl_ca_cert or "",
        cert=settings.cert_file or "",
        key=settings.key_file or "",
        verify=settings.verify_ssl,
    )
