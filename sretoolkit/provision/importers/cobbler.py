"""Cobbler: its collections on disk (``/var/lib/cobbler/collections``), or its XML-RPC API (``http://server/cobbler_api``).

A profile becomes a policy that wants a tag, the tag asks for the metadata ``cobbler_profile``, and each system has that.
"""

from __future__ import annotations

import http.client
import xmlrpc.client
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sretoolkit.errors import ProvisionError
from sretoolkit.provision.importer import Imported, Importer, json_files

_KINDS = ("distros", "profiles", "systems")
# what Cobbler also keeps, and has no counterpart here
_OTHERS = ("images", "repos", "menus")
_OPTIONS = (
    "kernel_options",
    "kernel_options_post",
    "autoinstall_meta",
    "template_files",
    "boot_files",
    "fetchable_files",
)
_BREEDS = {"debian": "debian", "ubuntu": "ubuntu", "redhat": "rhel"}
_POWER = {"ipmilan": "ipmi", "ipmilanplus": "ipmi", "redfish": "redfish"}
_TIMEOUT = 60


class Cobbler(Importer):
    """Reads Cobbler 3.x."""

    def read(self, source: str) -> Imported:
        """Distributions, profiles and systems."""
        asked = source.startswith(("http://", "https://"))
        items = _from_api(source) if asked else _from_disk(Path(source))
        if not any(items.values()):
            raise ProvisionError(
                f"{source} holds nothing of Cobbler",
                hint="name /var/lib/cobbler/collections, or http://server/cobbler_api",
            )
        found = Imported()
        distros = {distro["name"]: distro for distro in items["distros"]}
        profiles = {profile["name"]: profile for profile in items["profiles"]}
        for distro in distros.values():
            _distro(distro, found)
        for place, profile in enumerate(profiles.values(), start=1):
            _profile(profile, place * 10, profiles, distros, found)
        for system in items["systems"]:
            _system(system, found)
        for kind in _OTHERS:
            for item in items[kind]:
                found.lost(f"{kind.removesuffix('s')} {item['name']}", "has no counterpart here", severity="low")
        if asked and any(
            repo.to_dict().get("url", "").startswith("file://") for repo in found.documents["repo"].values()
        ):
            found.lost(
                "distros",
                "their files are on Cobbler's own disk",
                "import on that machine, or put the files where import-repo reaches them and update-repo --url",
            )
        return found


def _distro(distro: Mapping[str, Any], found: Imported) -> None:
    where = f"distro {distro['name']}"
    folder, kernel = _place(distro, "kernel")
    other, initrd = _place(distro, "initrd")
    url = f"file://{folder}" if folder.startswith("/") else folder
    if folder != other:
        found.lost(where, "kernel and initrd are in two folders", "put both into one, then import-repo")
    _options(distro, where, found)
    found.add("repo", {"name": distro["name"], "url": url, "kernel": kernel, "initrd": initrd}, where)


def _place(distro: Mapping[str, Any], what: str) -> tuple[str, str]:
    """Folder and name of a file: by its address where Cobbler fetches it from afar."""
    folder, _, name = str(distro.get(f"remote_boot_{what}") or distro.get(what) or "").rpartition("/")
    return folder, name


def _profile(
    profile: Mapping[str, Any], order: int, profiles: Mapping[str, Any], distros: Mapping[str, Any], found: Imported
) -> None:
    name, where = str(profile["name"]), f"profile {profile['name']}"
    distro = distros.get(_inherited(profile, "distro", profiles), {})
    task = _BREEDS.get(str(distro.get("breed")), "")
    if not task:
        found.lost(
            where,
            f"there is no task for the breed {distro.get('breed')!r} here",
            "make one: a folder with task.toml",
            severity="high",
        )
    tag = f"cobbler-{name}"
    found.add("tag", {"name": tag, "rule": ["=", ["metadata", "cobbler_profile", ""], name]}, where)
    given = {
        "name": name, "task": task or "discovery", "repo": str(distro.get("name", "")), "tags": [tag], "order": order,
        "hostname": "${hostname}", "enabled": bool(task),
    }  # fmt: skip
    found.add("policy", given, where)
    if template := _inherited(profile, "autoinstall", profiles):
        found.lost(
            where,
            f"its template {template} is not translated",
            f"what it does belongs into the task {task or 'of its own'}",
        )
    _options(profile, where, found)


def _system(system: Mapping[str, Any], found: Imported) -> None:
    name, where = str(system["name"]), f"system {system['name']}"
    interfaces = {
        key: value
        for key, value in dict(system.get("interfaces") or {}).items()
        # a controller's card says nothing about the machine that boots
        if isinstance(value, Mapping) and value.get("interface_type") != "bmc"
    }
    macs = [str(nic["mac_address"]) for nic in interfaces.values() if nic.get("mac_address")]
    hostname = str(system.get("hostname") or "") or next(
        (str(n["dns_name"]) for n in interfaces.values() if n.get("dns_name")), name
    )
    metadata: dict[str, Any] = {"cobbler_profile": str(system.get("profile", "")), "hostname": hostname}
    if not system.get("profile"):
        found.lost(where, f"it has no profile but the image {system.get('image') or '?'}", "write a policy for it")
    if template := _inherited(system, "autoinstall", {}):
        found.lost(where, f"its own template {template} is not translated", "what it does belongs into a task")
    _options(system, where, found)
    if address := str(system.get("power_address") or ""):
        kind = _POWER.get(str(system.get("power_type")), "")
        metadata["power"] = {"kind": kind or "manual", "address": address, "user": str(system.get("power_user") or "")}
        hint = "add its password to its power metadata as a reference"
        found.lost(
            where,
            "its power password was not taken over"
            if kind
            else f"there is no power {system.get('power_type') or 'type for it'!r} here",
            hint,
        )
    fixed = [
        f"{key} {nic['ip_address']}" for key, nic in interfaces.items() if nic.get("static") and nic.get("ip_address")
    ]
    if fixed:
        found.lost(where, f"fixed addresses are for the task's templates to set: {', '.join(fixed)}", severity="low")
    installed = "" if system.get("netboot_enabled") in (True, 1) else "Cobbler"
    found.machine(where, {"mac": macs}, metadata=metadata, installed=installed, hostname=hostname if installed else "")


def _options(item: Mapping[str, Any], where: str, found: Imported) -> None:
    """Say which of its options are lost, by name alone: values may be secrets."""
    for option in _OPTIONS:
        value = item.get(option)
        if value not in (None, "", {}, "<<inherit>>"):
            names = (
                sorted(value) if isinstance(value, Mapping) else [word.partition("=")[0] for word in str(value).split()]
            )
            found.lost(where, f"{option} has no counterpart: {', '.join(names)}", severity="low")


def _inherited(profile: Mapping[str, Any], option: str, profiles: Mapping[str, Any]) -> str:
    """An option of a profile, or of those above it."""
    seen: set[str] = set()
    while profile and profile.get("name") not in seen:
        seen.add(str(profile.get("name")))
        value = profile.get(option)
        if value not in (None, "", "<<inherit>>"):
            return str(value)
        profile = profiles.get(str(profile.get("parent") or ""), {})
    return ""


def _from_disk(folder: Path) -> dict[str, list[dict[str, Any]]]:
    return {
        kind: [content for _, content in json_files(folder / kind) if isinstance(content, dict)]
        for kind in (*_KINDS, *_OTHERS)
    }


def _from_api(url: str) -> dict[str, list[dict[str, Any]]]:
    connection = http.client.HTTPSConnection if url.startswith("https://") else http.client.HTTPConnection

    class Transport(xmlrpc.client.Transport):
        """As the library's own (one connection, closed at the end), but it does not wait for ever."""

        def make_connection(self, host: Any) -> http.client.HTTPConnection:
            kept = self._connection[1]
            if kept is None:
                address, self._extra_headers, _ = self.get_host_info(host)
                kept = connection(address, timeout=_TIMEOUT)
                self._connection = host, kept
            return kept

    try:
        with xmlrpc.client.ServerProxy(url, transport=Transport(), allow_none=True) as server:
            answers: dict[str, Any] = {kind: getattr(server, f"get_{kind}")() for kind in (*_KINDS, *_OTHERS)}
    except (OSError, xmlrpc.client.Error, http.client.HTTPException) as error:
        raise ProvisionError(
            f"{url} cannot be asked: {error}", hint="its API is at http://server/cobbler_api"
        ) from error
    return {kind: [dict(item) for item in items] for kind, items in answers.items()}
