"""A copy of a Docker container: what the engine is told to make, from what it knows of the one there is."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from sretoolkit.errors import PlanError

Change = Mapping[str, str | bool]
_FIELDS = {"init": ("HostConfig", "Init"), "stop_signal": ("Config", "StopSignal")}


def body(found: Mapping[str, Any], change: Change) -> dict[str, Any]:
    """The request that makes a container like ``found`` (an inspection), but for ``change`` (init, stop_signal).

    Volumes without a name are taken over by the name that the engine gave them, so that no data stays behind.
    """
    config, limits = deepcopy(dict(found["Config"])), deepcopy(dict(found["HostConfig"]))
    if config.get("Hostname") == found["Id"][:12]:
        config.pop("Hostname")  # the engine's own choice
    known = [*(limits.get("Binds") or []), *(limits.get("Mounts") or [])]
    taken = {str(each.get("Target")) if isinstance(each, dict) else each.split(":")[1] for each in known}
    unnamed = [
        each for each in found.get("Mounts") or () if each["Type"] == "volume" and each["Destination"] not in taken
    ]
    limits["Binds"] = [*(limits.get("Binds") or []), *(f"{each['Name']}:{each['Destination']}" for each in unnamed)]
    places = {"Config": config, "HostConfig": limits}
    for key, value in change.items():
        section, name = _FIELDS[key]
        places[section][name] = value
    first = dict(list(networks(found).items())[:1])
    return {**config, "HostConfig": limits, "NetworkingConfig": {"EndpointsConfig": first}}


def networks(found: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """How a container is attached to each of its networks: addresses and names that were asked for, none that were given."""
    attached = {}
    for name, network in (found["NetworkSettings"].get("Networks") or {}).items():
        aliases = [alias for alias in network.get("Aliases") or () if alias != found["Id"][:12]]
        wanted = {"IPAMConfig": network.get("IPAMConfig"), "Links": network.get("Links"), "Aliases": aliases or None}
        attached[name] = {**wanted, "DriverOpts": network.get("DriverOpts")}
    return attached


def difference(found: Mapping[str, Any], change: Change) -> list[str]:
    """What would change, line by line; [] when it is so already."""
    lines = []
    for key, value in change.items():
        section, name = _FIELDS[key]
        old = found[section].get(name) or None
        if old != value:
            lines.append(f"{section}.{name}: {'not set' if old is None else old} → {value}")
    return lines


def refuse(found: Mapping[str, Any], host: str) -> None:
    """Raise `PlanError` for a container that a copy cannot replace, with what to do instead."""
    name, labels = str(found["Name"]).lstrip("/"), found["Config"].get("Labels") or {}
    where = f"{name} on {host}"
    if not found["State"]["Running"]:
        raise PlanError(f"{where} does not run", hint="start it first, so that it can be seen to work as it is")
    if found["HostConfig"].get("AutoRemove"):
        hint = "change the command that starts it"
        raise PlanError(
            f"{where} was started with --rm: once stopped it is gone and nothing could be undone", hint=hint
        )
    if owner := next((key for key in labels if key.startswith(("com.docker.swarm.", "io.kubernetes."))), ""):
        hint = "change the service or the manifest: its orchestrator would replace a copy"
        raise PlanError(f"{where} belongs to an orchestrator ({owner})", hint=hint)
    if str(found["HostConfig"].get("NetworkMode", "")).startswith("container:"):
        hint = "recreate it from where it is defined"
        raise PlanError(f"{where} shares the network of another container", hint=hint)
