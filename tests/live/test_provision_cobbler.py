"""Coming from a real Cobbler 3.3.10: what was made through its own API is imported, and machines get what they had there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sretoolkit.config import Config
from sretoolkit.provision.handlers import Desk
from sretoolkit.provision.importer import Imported
from sretoolkit.provision.importers import cobbler as importer
from sretoolkit.provision.registry import Registry
from sretoolkit.store import Store
from tests.conftest import REPOSITORY
from tests.provision.machine import Machine
from tests.stack.cobbler import Cobbler

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root"),
]

SYSTEMS: dict[str, dict[str, Any]] = {
    "s1": {"profile": "web", "hostname": "web1.example", "netboot_enabled": True, "power_type": "ipmilan",
           "power_address": "10.1.0.1", "power_user": "admin", "power_pass": "hunter2"},
    "s2": {"profile": "base", "netboot_enabled": False},
    "s3": {"profile": "base", "netboot_enabled": True},
    "s4": {"profile": "esx", "netboot_enabled": True, "autoinstall_meta": {"secret": "hunter3"}},
}  # fmt: skip
CARDS: dict[str, dict[str, Any]] = {
    "s1": {"macaddress-eth0": "52:54:00:00:00:01", "ipaddress-eth0": "10.0.0.5", "static-eth0": True,
           "macaddress-eth1": "52:54:00:00:01:01", "macaddress-bmc0": "52:54:00:00:02:01", "interfacetype-bmc0": "bmc"},
    "s2": {"macaddress-default": "52:54:00:00:00:02"},
    "s4": {"macaddress-default": "52:54:00:00:00:04", "dnsname-default": "esx4.example"},
}  # fmt: skip


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cobbler]:
    """A running Cobbler with two distributions, three profiles and four systems, made through its API."""
    with Cobbler(tmp_path_factory.mktemp("cobbler")) as cobbler:
        debian, vmware = cobbler.kernel("deb"), cobbler.kernel("esx")
        distro = {"arch": "x86_64", "os_version": "bullseye", "breed": "debian"}
        cobbler.make("distro", name="deb11-x86_64", kernel=debian[0], initrd=debian[1], **distro)
        other = {"arch": "x86_64", "os_version": "esxi70", "breed": "vmware"}
        cobbler.make("distro", name="esx7-x86_64", kernel=vmware[0], initrd=debian[1], **other)
        cobbler.make("profile", name="base", distro="deb11-x86_64", autoinstall="sample.seed")
        cobbler.make("subprofile", name="web", parent="base", kernel_options="quiet console=ttyS0")
        cobbler.make("profile", name="esx", distro="esx7-x86_64")
        cobbler.make("menu", name="tools", display_name="Tools")
        for name, options in SYSTEMS.items():
            cobbler.make("system", name=name, **options, modify_interface=CARDS.get(name, {}))
        yield cobbler


@pytest.fixture(params=["api", "disk"])
def source(request: pytest.FixtureRequest, peer: Cobbler) -> str:
    """The address of its API, and the folder that it writes its collections to."""
    return peer.url if request.param == "api" else str(peer.collections)


@pytest.fixture
def found(source: str) -> Imported:
    """What was read there."""
    return importer.Cobbler().read(source)


@pytest.fixture
def registry(store: Store) -> Registry:
    """An empty registry."""
    return Registry(store)


def test_its_profiles_are_policies_and_its_distributions_repositories(found: Imported) -> None:
    """A profile that inherits has its parent's distribution; one of a breed that we cannot install is off."""
    policies = {name: (policy.task, policy.repo, policy.tags, policy.enabled)  # type: ignore[attr-defined]
                for name, policy in found.documents["policy"].items()}  # fmt: skip
    assert policies == {
        "base": ("debian", "deb11-x86_64", ("cobbler-base",), True),
        "web": ("debian", "deb11-x86_64", ("cobbler-web",), True),
        "esx": ("discovery", "esx7-x86_64", ("cobbler-esx",), False),
    }
    debian = found.documents["repo"]["deb11-x86_64"].to_dict()
    expected = {"url": "file:///srv/trees/deb", "kernel": "linux", "initrd": "initrd.gz", "name": "deb11-x86_64"}
    assert (expected, {"cobbler-base", "cobbler-web", "cobbler-esx"}) == (debian, set(found.documents["tag"]))


def test_its_systems_are_machines(found: Imported) -> None:
    """With all cards but the controller's, the name that it had, its power, and installed when it may not netboot."""
    machines = {node["where"]: node for node in found.nodes}
    first, second = machines["system s1"], machines["system s2"]
    assert ("52:54:00:00:00:01", "52:54:00:00:01:01") == first["hardware"].macs
    assert {"kind": "ipmi", "address": "10.1.0.1", "user": "admin"} == first["metadata"]["power"]
    assert ("", "Cobbler") == (first["installed"], second["installed"])
    names = {where: node["metadata"]["hostname"] for where, node in machines.items()}
    assert {"system s1": "web1.example", "system s2": "s2", "system s4": "esx4.example"} == names


def test_what_does_not_translate_is_said_and_no_secret_with_it(found: Imported, source: str) -> None:
    """Breed, template, options, addresses, menus, a system without a card; neither power password nor metadata."""
    said = {(finding.subject, finding.summary) for finding in found.findings}
    expected = {
        ("profile esx", "there is no task for the breed 'vmware' here"),
        ("profile base", "its template sample.seed is not translated"),
        ("profile web", "its template sample.seed is not translated"),
        ("profile web", "kernel_options has no counterpart: console, quiet"),
        ("distro esx7-x86_64", "kernel and initrd are in two folders"),
        ("system s1", "its power password was not taken over"),
        ("system s1", "fixed addresses are for the task's templates to set: eth0 10.0.0.5"),
        ("system s3", "it has nothing by which it could be recognised"),
        ("system s4", "autoinstall_meta has no counterpart: secret"),
        ("menu tools", "has no counterpart here"),
    }
    if source.startswith("http"):
        expected |= {("distros", "their files are on Cobbler's own disk")}
    assert expected == said
    assert "hunter" not in str(found.report()) + json.dumps([node["metadata"] for node in found.nodes])


def test_machines_get_the_policy_of_their_profile(
    source: str, config: Config, own_home: Path, registry: Registry
) -> None:
    """Imported by the command; a second time there is nothing to write. Any card is enough to be recognised by."""
    given = {"STORE_URL": config["store.url"], "JOURNAL_KEYS": config["journal.keys"]}
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), **{f"SRETOOLKIT_{k}": v for k, v in given.items()}}
    words = [sys.executable, "-m", "sretoolkit", "provision", "import", "cobbler", source, "--apply"]
    done = subprocess.run(words, env=environment, cwd=own_home, capture_output=True, text=True, timeout=300)
    assert 0 == done.returncode, done.stdout + done.stderr
    desk = Desk(registry, config)
    macs = {"s1": "52:54:00:00:01:01", "s2": "52:54:00:00:00:02", "s4": "52:54:00:00:00:04", "new": "52:54:00:00:00:99"}
    found = {}
    for number, (name, mac) in enumerate(macs.items(), start=1):
        machine = Machine(desk, number, hw={"uuid": "", "serial": "", "mac": [mac]})
        machine.boot()
        node = registry.node(machine.node)
        found[name] = (node.state, node.policy, node.hostname)
    assert found == {
        "s1": ("matched", "web", "web1.example"),
        "s2": ("installed", "", "s2"),
        "s4": ("registered", "", ""),
        "new": ("registered", "", ""),
    }
    assert [] == list(importer.Cobbler().read(source).plan(registry).items)
