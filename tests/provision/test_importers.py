"""Coming from Razor and Cobbler: what translates does, what does not is said, no password comes along."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xmlrpc.server import SimpleXMLRPCRequestHandler, SimpleXMLRPCServer

import pytest

from sretoolkit.config import Config
from sretoolkit.errors import ProvisionError, StepFailed
from sretoolkit.plan.recovery import reverse
from sretoolkit.plan.session import rejoin
from sretoolkit.provision.entries import Policy
from sretoolkit.provision.handlers import Desk
from sretoolkit.provision.importer import Imported
from sretoolkit.provision.importers.cobbler import Cobbler
from sretoolkit.provision.importers.razor import Razor
from sretoolkit.provision.registry import Registry
from tests.provision.machine import Machine

RAZOR: dict[str, list[dict[str, Any]]] = {
    "tags": [{"name": "big", "rule": [">=", ["num", ["fact", "processorcount"]], 8]}, {"name": "odd", "rule": ["fact", "x"]}],
    "repos": [{"name": "deb12", "iso_url": "http://mirror/debian.iso", "task": {"name": "debian"}}],
    "brokers": [
        {"name": "pup", "broker_type": "puppet", "configuration": {"server": "p.example", "version": "7"}},
        {"name": "chef", "broker_type": "chef", "configuration": {}},
    ],
    "policies": [
        {
            "name": "web", "repo": {"name": "deb12"}, "task": {"name": "debian"}, "broker": {"name": "pup"}, "enabled": True,
            "max_count": 20, "configuration": {"hostname_pattern": "web${id}.example", "root_password": "hunter2"},
            "tags": [{"name": "big"}], "node_metadata": {"role": "web"},
        },
        {"name": "win", "repo": {"name": "deb12"}, "task": {"name": "windows/8pro"}, "broker": {"name": "pup"}, "tags": []},
    ],
    "hooks": [{"name": "cmdb", "hook_type": "cmdb", "configuration": {}}],
    "nodes": [
        {"name": "node1", "hw_info": {"mac": ["52-54-00-00-00-01"], "serial": "SN1", "uuid": "U-1"},
         "state": {"installed": "web"}, "hostname": "web1.example", "metadata": {"rack": "a1"}, "root_password": "hunter2",
         "ipmi": {"hostname": "10.1.0.1", "username": "admin"}},
        {"name": "node2", "hw_info": {"mac": ["52-54-00-00-00-02"]}, "state": {"installed": False}},
        {"name": "node3", "hw_info": {"fact_rack": "x"}, "state": {}},
    ],
}  # fmt: skip


@pytest.fixture
def razor(tmp_path: Path) -> Path:
    """Razor's collections in a folder."""
    for name, items in RAZOR.items():
        (tmp_path / f"{name}.json").write_text(json.dumps({"spec": "x", "items": items, "total": len(items)}))
    return tmp_path


def test_razor_is_read_and_written_down(razor: Path, registry: Registry, config: Config, machines_desk: Desk) -> None:
    """Tags, policies with their order and places, brokers, and machines that are installed stay as they are."""
    found = Razor().read(str(razor))
    assert "completed" == found.plan(registry).run(apply=True, config=config).state
    web = registry.policies()["web"]
    assert ("debian", "deb12", "pup", ("big",), 20, "web${id}.example", {"role": "web"}, 10, True) == (
        web.task, web.repo, web.broker, web.tags, web.max_count, web.hostname, web.metadata, web.order, web.enabled,
    )  # fmt: skip
    assert (False, {"server": "p.example"}) == (
        registry.policies()["win"].enabled,
        registry.document("broker", "pup").to_dict()["options"],
    )
    machine = Machine(machines_desk, 1, hw={"uuid": "u-1", "serial": "SN1", "mac": ["52:54:00:00:00:01"]})
    machine.boot()
    node = registry.node("SN1")
    assert (machine.node, "installed", "web1.example") == (node.id, node.state, node.hostname)
    assert "microkernel" not in machine.script()
    assert [] == list(Razor().read(str(razor)).plan(registry).items)


def test_what_razor_had_and_we_have_not_is_said(razor: Path) -> None:
    """A finding for each, and the clear passwords are nowhere."""
    found = Razor().read(str(razor))
    lost = {finding.subject: finding.summary for finding in found.findings}
    for subject in ("tag odd", "broker chef", "policy win", "hook cmdb", "node node3", "repo deb12"):
        assert subject in lost, subject
    assert [True, False] == ["clear text" in str(found.report()), "hunter2" in str(found.report())]


def test_references_alone_are_no_export(tmp_path: Path) -> None:
    """Without depth=1 Razor lists names; that is said, and not taken for emptiness."""
    (tmp_path / "tags.json").write_text(json.dumps({"items": [{"name": "big", "spec": "s", "id": "i"}]}))
    with pytest.raises(ProvisionError, match="holds no collections"):
        Razor().read(str(tmp_path))


COBBLER: dict[str, list[dict[str, Any]]] = {
    "distros": [
        {"name": "deb12-x86_64", "kernel": "/srv/d/linux", "initrd": "/srv/d/initrd.gz", "arch": "x86_64", "breed": "debian"},
        {"name": "esx", "kernel": "/srv/e/mboot.c32", "initrd": "/srv/f/x", "breed": "vmware"},
    ],
    "profiles": [
        {"name": "base", "distro": "deb12-x86_64", "parent": "", "autoinstall": "default.seed", "kernel_options": {}},
        {"name": "web", "distro": "<<inherit>>", "parent": "base", "autoinstall": "<<inherit>>", "kernel_options": "quiet"},
        {"name": "esx", "distro": "esx", "parent": "", "autoinstall": ""},
    ],
    "systems": [
        {"name": "s1", "profile": "web", "hostname": "web1.example", "netboot_enabled": True, "power_type": "ipmilan",
         "power_address": "10.1.0.1", "power_user": "admin", "power_pass": "hunter2",
         "interfaces": {"eth0": {"mac_address": "52:54:00:00:00:01", "ip_address": "10.0.0.5", "static": True}}},
        {"name": "s2", "profile": "base", "hostname": "", "netboot_enabled": False,
         "interfaces": {"default": {"mac_address": "52:54:00:00:00:02"}}},
        {"name": "s3", "profile": "base", "netboot_enabled": True, "interfaces": {}},
    ],
    "images": [{"name": "memtest"}],
    "repos": [],
    "menus": [],
}  # fmt: skip


class Api(SimpleXMLRPCRequestHandler):
    """Cobbler's address."""

    rpc_paths = ("/cobbler_api",)


@pytest.fixture(params=["disk", "api"])
def cobbler(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The same Cobbler as a folder, and behind its API."""
    if request.param == "disk":
        for kind, items in COBBLER.items():
            (tmp_path / kind).mkdir()
            for item in items:
                (tmp_path / kind / f"{item['name']}.json").write_text(json.dumps(item))
        yield str(tmp_path)
        return
    server = SimpleXMLRPCServer(("127.0.0.1", 0), Api, logRequests=False, allow_none=True)
    for kind, items in COBBLER.items():
        server.register_function(lambda items=items: items, f"get_{kind}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/cobbler_api"
    server.shutdown()
    server.server_close()
    thread.join()


def test_cobbler_is_read_and_written_down(
    cobbler: str, registry: Registry, config: Config, machines_desk: Desk
) -> None:
    """A system that boots gets the policy of its profile and its own name; one that must not netboot is left alone."""
    found = Cobbler().read(cobbler)
    found.plan(registry).run(apply=True, config=config)
    first, second = (Machine(machines_desk, number, hw={"uuid": "", "serial": ""}) for number in (1, 2))
    for machine in (first, second):
        machine.boot()
    one, two = registry.node(first.node), registry.node(second.node)
    assert ("matched", "web", "web1.example") == (one.state, one.policy, one.hostname)
    assert ("installed", "Cobbler", "s2") == (two.state, two.installed, two.hostname)
    web = registry.policies()["web"]
    assert ("debian", "deb12-x86_64", True) == (web.task, web.repo, web.enabled)
    assert {"kind": "ipmi", "address": "10.1.0.1", "user": "admin"} == one.metadata["power"]


def test_what_cobbler_had_and_we_have_not_is_said(cobbler: str) -> None:
    """Templates, options, fixed addresses, a breed, a system without a card; and its power password is nowhere."""
    found = Cobbler().read(cobbler)
    text = str(found.report())
    for words in (
        "default.seed",
        "quiet",
        "10.0.0.5",
        "'vmware'",
        "s3",
        "power password was not taken over",
        "two folders",
        "memtest",
    ):
        assert words in text, words
    assert "hunter2" not in text
    assert not isinstance(found.documents["policy"]["esx"], Policy) or not found.documents["policy"]["esx"].enabled


@pytest.mark.parametrize("source", ["/nonexistent", "http://127.0.0.1:9/cobbler_api"])
def test_a_cobbler_that_is_not_there(source: str) -> None:
    """A clear error, no traceback."""
    with pytest.raises(ProvisionError):
        Cobbler().read(source)


def test_many_machines_are_written_down_by_the_hundred_and_taken_back(registry: Registry, config: Config) -> None:
    """All of them with one step a hundred; a second import has nothing to write; undo forgets every one."""
    found = Imported()
    for number in range(250):
        found.machine(f"system s{number}", {"serial": f"SN{number}"}, metadata={"rack": "a"}, installed="")
    done = found.plan(registry).run(apply=True, config=config)
    serials = {node.hardware.serial for node in registry.nodes()}
    assert (3, {f"SN{number}" for number in range(250)}, 0) == (
        len(done.rows),
        serials,
        len(found.plan(registry).items),
    )
    reverse(rejoin(registry.store, done.run, config=config)).run(apply=True, config=config)
    assert [] == registry.nodes()


def test_a_hundred_with_one_that_is_known_otherwise_are_not_written_at_all(registry: Registry, config: Config) -> None:
    """Two systems with one serial number: the error says whose it is, and the others of the hundred are not half there."""
    found = Imported()
    for number in (1, 2, 1):
        found.machine(f"system s{number}", {"serial": f"SN{number}"}, metadata={}, installed="")
    with pytest.raises(StepFailed, match="serial=SN1 belongs to"):
        found.plan(registry).run(apply=True, config=config)
    assert [] == registry.nodes()
