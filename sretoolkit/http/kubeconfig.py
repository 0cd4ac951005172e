"""A Kubernetes API server as something to speak HTTP with: address, authorities and login of a kubeconfig's context."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

from sretoolkit.errors import ConfigError
from sretoolkit.http.remote import Remote
from sretoolkit.report import plain
from sretoolkit.secrets import Secret, redaction

IN_CLUSTER = "in-cluster"


@dataclass(frozen=True, repr=False)
class _ContextToken(Secret):
    """The token of a kubeconfig's context, refreshed when it has to be."""

    settings: Any = field(default=None, compare=False)

    def reveal(self) -> str:
        value = authorization(self.settings).removeprefix("Bearer ")
        redaction.add(value)
        return value


def settings(context: str = "", kubeconfig: str = "") -> Any:
    """The configuration of the ``kubernetes`` package for a context; "" is the current one, "in-cluster" a pod's own.

    ``kubeconfig`` "" is KUBECONFIG's or the usual file. Raises `ConfigError` when there is no such context.
    """
    from kubernetes import client, config

    try:
        if context == IN_CLUSTER:
            own: Any = client.Configuration()
            config.load_incluster_config(client_configuration=own)  # type: ignore[no-untyped-call]
            return own
        api = config.new_client_from_config(  # type: ignore[no-untyped-call]
            config_file=_file(kubeconfig), context=context or None
        )
        return api.configuration
    except (config.ConfigException, OSError) as error:
        hint = "kubectl config get-contexts lists those there are"
        raise ConfigError(f"the Kubernetes context {context!r} cannot be used: {plain(error)}", hint=hint) from error


def _file(given: str) -> str | None:
    """The ``kubernetes`` package reads the variable only once, when it is imported."""
    return given or os.environ.get("KUBECONFIG") or None


def current_context(kubeconfig: str = "") -> str:
    """The name of a kubeconfig's current context; raises `ConfigError` when it has none."""
    from kubernetes import config

    try:
        _, active = config.list_kube_config_contexts(config_file=_file(kubeconfig))  # type: ignore[no-untyped-call]
    except (config.ConfigException, OSError) as error:
        hint = "give a context; kubectl config get-contexts lists those there are"
        raise ConfigError(f"there is no current Kubernetes context: {plain(error)}", hint=hint) from error
    return str(active["name"])


def authorization(given: Any) -> str:
    """The Authorization header of what `settings` returned, "" without a token; the key's name depends on the version."""
    return str((given.auth_settings().get("BearerToken") or {}).get("value") or "")


def api_server(context: str = "", kubeconfig: str = "") -> Remote:
    """The API server of a context, with its login; raises as `settings` does."""
    return remote_of(settings(context, kubeconfig))


def remote_of(given: Any) -> Remote:
    """The same from what `settings` returned."""
    return Remote(
        url=str(given.host),
        token=_ContextToken("file:kubeconfig", given) if authorization(given) else None,
        ca=given.ssl_ca_cert or "",
        cert=given.cert_file or "",
        key=given.key_file or "",
        verify=given.verify_ssl,
    )
