"""Debian's packages of which the live tests want the files alone: unpacked into the cache, never installed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sretoolkit.provision.microkernel.packages import Packages, unpack
from tests.stack.images import CACHE, made

_INSTALLER = "debian-installer-12-netboot-amd64"


def installer() -> Path:
    """The folder with ``linux`` and ``initrd.gz`` of Debian 12's installer."""
    return _unpacked(_INSTALLER) / "usr/lib/debian-installer/images/12/amd64/text/debian-installer/amd64"


def cloud_config_schema() -> dict[str, Any]:
    """The JSON schema that cloud-init holds its configuration against."""
    place = "usr/lib/python3/dist-packages/cloudinit/config/schemas/schema-cloud-config-v1.json"
    content: dict[str, Any] = json.loads((_unpacked("cloud-init") / place).read_text())
    return content


def _unpacked(name: str) -> Path:
    with made(f"package-{name}") as (place, missing):
        if missing:
            unpack(Packages(CACHE / "apt-x86_64", "x86_64").download(name), missing)
    return place
