"""The image of one container in the template of a workload's pods."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sretoolkit.errors import PlanError


def container_of(found: Mapping[str, Any], name: str, label: str) -> dict[str, Any]:
    """The container of that name, "" = the only one; raises `PlanError` when it cannot be told."""
    listed: list[dict[str, Any]] = found["spec"]["template"]["spec"]["containers"]
    names = ", ".join(each["name"] for each in listed)
    one = [each for each in listed if not name or each["name"] == name]
    if len(one) != 1:
        what = f"{label} has no container {name!r}" if name else f"{label} has {len(listed)} containers"
        raise PlanError(what, hint=f"say whose image is the version: container = one of {names}")
    return one[0]


def program_for(name: str, image: str) -> str:
    """What jq does to write an image into an object."""
    which = f"[] | select(.name == {json.dumps(name)})" if name else "[0]"
    return f"(.spec.template.spec.containers{which} | .image) = {json.dumps(image)}"
