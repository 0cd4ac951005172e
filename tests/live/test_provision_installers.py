"""Installers of distributions: what is written for them, beside what they themselves make of it."""

from __future__ import annotations

import shutil
import sys
from typing import Any

import pytest
import yaml
from jsonschema import Draft4Validator  # type: ignore[import-untyped]

from sretoolkit.provision.entries import Policy, Repo
from sretoolkit.provision.registry import change
from sretoolkit.provision.task import task
from tests.live.rack import LIVE, Lab
from tests.provision.test_tasks import EVIL, values
from tests.stack.debian_packages import cloud_config_schema, installer
from tests.stack.process import Process

pytestmark = LIVE


@pytest.mark.parametrize(
    "options",
    [{}, {"root_password": "env:ROOT_HASH", "ssh_keys": ("ssh-ed25519 AAAA a@b", f"ssh-ed25519 AAAA {EVIL}")}],
    ids=[0, 1],
)
def test_cloud_init_finds_nothing_wrong(options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """What images are started with, by cloud-init's own schema."""
    monkeypatch.setenv("ROOT_HASH", "$6$salt$hash")
    content = yaml.safe_load(task("image").files("seed", values(**options))["user-data"])
    Draft4Validator(cloud_config_schema()).validate(content)
    assert content["ssh_keys"]["ed25519_private"]


def test_debians_installer_does_what_it_is_told(lab: Lab) -> None:
    """It boots from the network after the check of machine and disk, has its answers from its memory, and asks our mirror.

    It cannot end: what it is made of is on no mirror within reach. No byte is written until then.
    """
    server = lab.server()
    tree = server.folder / "provision/repos/tree"
    tree.mkdir(parents=True)
    for name in ("linux", "initrd.gz"):
        shutil.copyfile(installer() / name, tree / name)
    server.write(Repo(name="tree", kernel="linux", initrd="initrd.gz"))
    server.write(Policy(name="tree", task="debian", repo="tree", hostname="web${id}"))
    listens = [
        sys.executable,
        "-u",
        "-m",
        "http.server",
        "80",
        "--bind",
        server.address,
        "--directory",
        str(lab.folder / "empty"),
    ]
    (lab.folder / "empty").mkdir()
    mirror = Process(lab.folder, "mirror", lab.rack.command(listens))
    try:
        machine = lab.machine()
        blank = machine.digest()
        machine.on()
        node = server.node(machine)
        with server.store.transaction() as tx:
            change(tx, node.id, metadata={"mirror": server.address})
        order = server.order(node, kind="installer")
        asked = '"GET /debian/dists/bookworm/Release HTTP/1.1" 404'
        assert server.wait(lambda: asked in mirror.log.read_text(), timeout=600), server.told(machine)
        assert server.registry.node(node.id).address in mirror.log.read_text()
        machine.off()
        assert blank == machine.digest()
        assert ("accepted", "installing") == (server.state(order).state, server.registry.node(node.id).state)
    finally:
        mirror.stop()
