"""Custom resource definitions of the tests, in a cluster; those that somebody else's cluster has are left as they are."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from sretoolkit.clock import poll
from tests.stack.kubernetes import Cluster, Kubernetes

_FOLDER = Path(__file__).parent / "crds"


def serve(cluster: Cluster, file: str) -> None:
    """Let the cluster serve the resource of ``crds/FILE.yaml``; returns once it does."""
    definition = yaml.safe_load((_FOLDER / f"{file}.yaml").read_text())
    name = definition["metadata"]["name"]
    there = cluster.kubectl("get", "crd", name, "--ignore-not-found", "-o", "name").strip()
    if there and not isinstance(cluster, Kubernetes):
        return
    cluster.apply(definition)
    path = f"/apis/{definition['spec']['group']}/{definition['spec']['versions'][0]['name']}"

    def served() -> bool:
        listed = json.loads(cluster.kubectl("get", "--raw", path, check=False) or "{}")
        return definition["spec"]["names"]["plural"] in {each["name"] for each in listed.get("resources", [])}

    assert poll(served, timeout=30), f"{name} is not served"
