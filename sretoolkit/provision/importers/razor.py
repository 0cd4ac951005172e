"""Razor: a folder with its collections as JSON, as ``/api/collections/NAME?depth=1`` gives them.

``tags.json``, ``policies.json``, ``repos.json``, ``brokers.json``, ``hooks.json`` and ``nodes.json``, each
``{"items": [...]}`` or a list.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sretoolkit.errors import ProvisionError
from sretoolkit.provision.importer import Imported, Importer

_KINDS = ("tags", "policies", "repos", "brokers", "hooks", "nodes")
_BROKERS = {"noop": "noop", "puppet": "puppet", "puppet-pe": "puppet", "legacy-puppet": "puppet"}
_TASKS = {
    "debian": "debian",
    "ubuntu": "ubuntu",
    "centos": "rhel",
    "redhat": "rhel",
    "fedora": "rhel",
    "noop": "discovery",
}


class Razor(Importer):
    """Reads razor-server 1.x."""

    def read(self, source: str) -> Imported:
        """All collections that are there; the others are said to be missing."""
        folder, found = Path(source), Imported()
        collections = {name: self._items(folder / f"{name}.json", found) for name in _KINDS}
        if not any(collections.values()):
            raise ProvisionError(
                f"{source} holds no collections of Razor",
                hint="curl .../api/collections/tags?depth=1 > tags.json, and so on",
            )
        for tag in collections["tags"]:
            found.add("tag", {"name": tag["name"], "rule": tag.get("rule")}, f"tag {tag['name']}")
        tasks = {repo["name"]: _name(repo.get("task")) for repo in collections["repos"]}
        for repo in collections["repos"]:
            self._repo(repo, found)
        for broker in collections["brokers"]:
            self._broker(broker, found)
        for place, policy in enumerate(collections["policies"], start=1):
            self._policy(policy, place * 10, tasks, found)
        for hook in collections["hooks"]:
            found.lost(
                f"hook {hook['name']}",
                "its program is on Razor's server",
                f"copy {hook.get('hook_type')}.hook here, then create-hook",
            )
        for node in collections["nodes"]:
            self._node(node, found)
        return found

    @staticmethod
    def _items(path: Path, found: Imported) -> list[dict[str, Any]]:
        if not path.is_file():
            found.lost(path.name, "is not in the folder", "", severity="low")
            return []
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ProvisionError(f"{path} cannot be read: {error}") from error
        items = content.get("items", []) if isinstance(content, Mapping) else content
        whole = [item for item in items if isinstance(item, Mapping) and len(set(item) - {"spec", "id", "name"}) > 0]
        if len(whole) < len(items):
            found.lost(
                path.name,
                f"{len(items) - len(whole)} items are references alone",
                "export with ?depth=1",
                severity="high",
            )
        return [dict(item) for item in whole]

    @staticmethod
    def _repo(repo: Mapping[str, Any], found: Imported) -> None:
        where = f"repo {repo['name']}"
        url = repo.get("url") or repo.get("iso_url") or ""
        found.add("repo", {"name": repo["name"], "url": url}, where)
        what = "an ISO image, which is not unpacked here" if repo.get("iso_url") else "an installer's tree"
        found.lost(where, f"it is {what}", "write down its kernel, initrd and their SHA-256: update-repo")

    @staticmethod
    def _broker(broker: Mapping[str, Any], found: Imported) -> None:
        kind, configuration = str(broker.get("broker_type")), dict(broker.get("configuration") or {})
        where = f"broker {broker['name']}"
        uses = _BROKERS.get(kind)
        if uses is None:
            found.lost(where, f"there is no broker {kind!r} here", "ssh-run, ansible and webhook do most of it")
            return
        options = {
            key: configuration.pop(key)
            for key in ("server", "environment")
            if uses == "puppet" and key in configuration
        }
        found.add("broker", {"name": broker["name"], "uses": uses, **({"options": options} if options else {})}, where)
        if configuration:
            found.lost(where, f"these options have no counterpart: {', '.join(sorted(configuration))}")

    @staticmethod
    def _policy(policy: Mapping[str, Any], order: int, tasks: Mapping[str, str], found: Imported) -> None:
        where, name = f"policy {policy['name']}", _name(policy.get("task")) or tasks.get(_name(policy.get("repo")), "")
        configuration = dict(policy.get("configuration") or {})
        task = next((ours for theirs, ours in _TASKS.items() if name.startswith(theirs)), "")
        if not task:
            found.lost(
                where,
                f"there is no task {name!r} here",
                "make one: a folder with task.toml and templates",
                severity="high",
            )
        given = {
            "name": policy["name"], "task": task or "discovery", "repo": _name(policy.get("repo")), "order": order,
            "broker": _name(policy.get("broker")), "enabled": bool(policy.get("enabled", True)) and bool(task),
            "max_count": int(policy.get("max_count") or 0), "hostname": configuration.get("hostname_pattern", "${id}"),
            "tags": [_name(tag) for tag in policy.get("tags", [])], "metadata": dict(policy.get("node_metadata") or {}),
        }  # fmt: skip
        found.add("policy", given, where)
        if configuration.get("root_password"):
            found.lost(
                where,
                "its root password is in clear text in Razor, and was not taken over",
                'update-policy --root-password "vault:..."',
            )

    @staticmethod
    def _node(node: Mapping[str, Any], found: Imported) -> None:
        where, state = f"node {node['name']}", node.get("state") or {}
        hardware = dict(node.get("hw_info") or {})
        if extra := sorted(key for key in hardware if key.startswith("fact_")):
            found.lost(where, f"it is recognised by facts ({', '.join(extra)}), which is not done here", severity="low")
        installed = state.get("installed") or ""
        metadata = dict(node.get("metadata") or {})
        if ipmi := node.get("ipmi"):
            metadata["power"] = {"kind": "ipmi", "address": ipmi.get("hostname", ""), "user": ipmi.get("username", "")}
            found.lost(where, "Razor does not show its IPMI password", "add it to its power metadata as a reference")
        found.machine(
            where, hardware, metadata=metadata, installed=str(installed), hostname=str(node.get("hostname") or "")
        )


def _name(reference: Any) -> str:
    return str(reference.get("name", "")) if isinstance(reference, Mapping) else str(reference or "")
