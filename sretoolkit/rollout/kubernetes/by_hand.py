"""The commands by which a person does what a rollout would have done to a workload."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

from sretoolkit.rollout.cluster_object import ClusterObject
from sretoolkit.rollout.workload import STABLE


def command(
    thing: ClusterObject, stable: ClusterObject, track: str, state: Mapping[str, Any] | None, container: str, label: str
) -> str:
    """One line for a shell: sets image and number of a workload that is there, copies the stable one, or deletes."""
    what = f"{thing.kind.lower()}/{thing.name}"
    if state is None:
        return f"{thing.kubectl} delete {what}"
    image = shlex.quote(f"{container or '*'}={state['version']}") if "version" in state else ""
    change = [f"{thing.kubectl} set image {what} {image}"] if image else []
    change += [f"{thing.kubectl} scale {what} --replicas={state['replicas']}"] if "replicas" in state else []
    change += [f"{thing.kubectl} rollout status {what}"]
    done = " && ".join(change)
    if track == STABLE:
        return done
    copy = f"{stable.kubectl} get {stable.kind.lower()}/{stable.name} -o json | jq {shlex.quote(_copy(thing, track, label))}"
    return f"{{ {thing.kubectl} get {what} || {copy} | {thing.kubectl} create -f -; }} && {done}"


def _copy(thing: ClusterObject, track: str, label: str) -> str:
    key, name = json.dumps(label), json.dumps(thing.name)
    own = (
        f'(.spec.template.metadata.labels[{key}] // "stable" | if . == "stable" then "{track}" else . + "-{track}" end)'
    )
    labels = f".spec.selector.matchLabels[{key}] = $own | .spec.template.metadata.labels[{key}] = $own"
    return f"{own} as $own | .metadata = {{name: {name}, namespace: .metadata.namespace}} | del(.status) | {labels}"
