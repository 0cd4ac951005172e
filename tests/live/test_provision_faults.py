"""Nothing is written that should not be: other machines, other disks, broken images, power that goes, hostile texts."""

from __future__ import annotations

import dataclasses
import gzip
import os
import re
import signal
from pathlib import Path
from typing import Any

from sretoolkit.provision.orders import Order
from tests.live.rack import LIVE, Lab
from tests.stack import images
from tests.stack.boot_server import BootServer
from tests.stack.machine import Disk, Machine

pytestmark = LIVE

OLD = Disk("OLD-DISK", 128)


def old_disk(folder: Path, text: bytes = b"what nobody may lose") -> Path:
    """A raw disk that holds something, at its beginning and later."""
    path = folder / "old"
    with path.open("wb") as made:
        made.truncate(OLD.size << 20)
        for place in (0, 1 << 20, (OLD.size << 20) - 4096):
            made.seek(place)
            made.write(text)
    return path


def refused(server: BootServer, machine: Machine, **changes: Any) -> str:
    """Order something with these changes of a machine that is on; gives why it was refused."""
    order = dataclasses.replace(wanted(server, server.node(machine).id), **changes)
    server.give(order)
    assert "refused" == server.reaches(order), server.told(machine)
    return server.state(order).why


def wanted(server: BootServer, node: str) -> Order:
    """The order as it would be given."""
    from sretoolkit.provision import orders

    found = server.registry.node(node)
    return orders.decided(found, server.registry.policies()[found.policy], erase_confirmed=found.disks[0]["serial"])


def test_another_machine_or_disk_is_never_written(lab: Lab) -> None:
    """Issue "a refused wipe (wrong serial)": the machine itself compares, and every byte of its disk is as before.

    Its serial number, the disk's, the disk's size, and that the disk has a serial number at all.
    """
    server = lab.server()
    server.offer(images.small())
    machine = lab.machine(disks=[OLD])
    machine.fill(old_disk(lab.folder))
    before = machine.digest()
    machine.on()
    disk = wanted(server, server.node(machine).id).disk
    other = {"uuid": machine.uuid, "serial": "OTHER-SERIAL", "mac": list(machine.macs)}
    assert "this machine's serial is not OTHER-SERIAL" == refused(server, machine, id="o1", hardware=other)
    assert "there is no disk GONE" in refused(server, machine, id="o2", disk={**disk, "serial": "GONE"})
    told = "has 134217728 bytes, not 1073741824"
    assert told in refused(server, machine, id="o3", disk={**disk, "bytes": 1 << 30})
    assert "the order's disk has none" in refused(server, machine, id="o4", disk={**disk, "serial": ""})
    machine.off()
    assert before == machine.digest()


def test_a_swapped_disk_is_never_written(lab: Lab) -> None:
    """A disk of the same size and serial that holds something else than the one decided on: refused before a byte is written."""
    server = lab.server()
    server.offer(images.small())
    machine = lab.machine(disks=[OLD])
    machine.fill(old_disk(lab.folder))
    machine.on()
    node = server.node(machine)
    order = wanted(server, node.id)
    machine.off()
    machine.fill(old_disk(lab.folder, b"another disk"))
    before = machine.digest()
    server.give(order)
    machine.on()
    assert "refused" == server.reaches(order), server.told(machine)
    assert "holds something else than when it was decided on" in server.state(order).why
    machine.off()
    assert before == machine.digest()


def spoiled(server: BootServer, fault: str) -> None:
    """Offer an image whose file, or whose digest, is not what it should be."""
    server.offer(images.small(), **({"image_sha256": "0" * 64} if fault == "other" else {}))
    file = server.folder / "provision/repos/small/image.gz"
    if fault == "truncated":
        with file.open("r+b") as content:
            content.truncate(file.stat().st_size // 2)
    elif fault == "short":
        file.write_bytes(gzip.compress(bytes(1 << 20)))


def says_half_written(server: BootServer, order: Order) -> None:
    """Wait until the machine says that its disk is half-way through that order."""
    server.wait(lambda: order.id in [disk.get("half_order") for disk in server.registry.node(order.node).disks])


def test_a_broken_image_is_never_booted(lab: Lab) -> None:
    """Too large: refused. Truncated, of another content, too short: failed, and the disk is marked instead of bootable.

    The machine says so itself, at its next boot, and takes another order then.
    """
    faults = {
        "truncated": "broke off|cannot be unpacked", "other": "sha256",
        "short": "the image has 1048576 bytes, the order says 67108864",
    }  # fmt: skip
    server = lab.server()
    server.offer(images.small())
    machine = lab.machine(disks=[Disk(), Disk("SMALL", 32)])
    machine.on()
    node = server.node(machine)
    order = server.order(node, disk="SMALL")
    assert "refused" == server.reaches(order), server.told(machine)
    assert "does not fit" in server.state(order).why
    for fault, why in faults.items():
        spoiled(server, fault)
        order = server.order(node, disk="DISK0", erase_confirmed="DISK0")
        assert "failed" == server.reaches(order), server.told(machine)
        assert re.search(why, server.state(order).why)
        machine.reset()
        says_half_written(server, order)


def test_power_may_go_at_any_moment(lab: Lab) -> None:
    """Cut while it writes, after it has verified, and after it was seeded: each time the same order goes on, to its end."""
    server = lab.server()
    server.offer(images.small())
    machine = lab.machine()
    machine.on()
    node = server.node(machine)
    order = server.order(node)
    stages = ["accepted", "writing", "written", "verified", "seeded", "rebooting"]
    for number, stage in enumerate(stages[:-1]):
        if stage in ("writing", "verified") or os.environ.get("EVERY_FAULT"):
            assert server.comes_to(order, *stages[number:]), server.told(machine)
            machine.off()
            assert server.state(order).open
            machine.on()
    assert "done" == server.reaches(order), server.told(machine)


def test_the_server_may_be_killed_while_a_machine_writes(lab: Lab) -> None:
    """The machine waits for it and tries again; the order is fulfilled, or offered once more."""
    server = lab.server()
    server.offer(images.small())
    machine = lab.machine()
    machine.on()
    order = server.order(server.node(machine))
    assert server.comes_to(order, "accepted", "writing", "written", "verified"), server.told(machine)
    server.restart(signal.SIGKILL)
    found = server.reaches(order)
    if found == "failed":  # the image broke off: told as it is, and the next order does it
        assert "broke off" in server.state(order).why
        found = server.reaches(server.order(server.node(machine), erase_confirmed="DISK0"))
    assert "done" == found, server.told(machine)


def test_hostile_texts_in_the_firmware_are_texts(lab: Lab) -> None:
    """Quotes, backslashes, shell words, markup and very long ones: sent as they are, shown as they are, compared as they are."""
    hostile = {
        "serial": 'SN "x" \\ $(reboot) `id` <b>&amp;', "product": "<script>alert('1')</script>", "version": "v" * 3000,
        "family": "'; rm -rf /", "sku": "%s%n ${IFS}",
    }  # fmt: skip
    server = lab.server()
    server.offer(images.small())
    machine = lab.machine(serial=hostile["serial"], smbios=hostile)
    machine.on()
    node = server.wait(lambda: server.registry.nodes(), timeout=300)[0]
    assert (hostile["serial"], hostile["product"]) == (node.facts["serial"], node.facts["product"])
    assert "v" * 100 == node.facts["version"][:100]
    assert "done" == server.reaches(server.order(node)), server.told(machine)


def test_two_machines_that_say_they_are_one_are_held(lab: Lab) -> None:
    """Issue "two machines with one UUID": both wait for a person, and neither is written."""
    server = lab.server()
    server.offer(images.small())
    one = lab.machine("m1", serial="SRT-A")
    two = lab.machine("m2", serial="SRT-A", macs=["52:54:00:77:00:99"])
    one.on()
    node = server.node(one)
    two.on()
    assert server.wait(lambda: server.registry.node(node.id).held, timeout=300)
    assert server.wait(lambda: "two machines say that they are this one" in one.console + two.console, timeout=300)


def test_a_wiped_disk_is_empty_with_proof(lab: Lab) -> None:
    """Every byte is zero afterwards, by the machine's own reading and by ours."""
    server = lab.server()
    server.offer(images.small())
    machine = lab.machine(disks=[OLD])
    machine.fill(old_disk(lab.folder))
    machine.on()
    node = server.node(machine)
    order = dataclasses.replace(wanted(server, node.id), kind="wipe")
    server.give(order)
    assert "done" == server.reaches(order), server.told(machine)
    machine.off()
    raw = lab.folder / "raw"
    from tests.stack.images import run

    run("qemu-img", "convert", "-O", "raw", str(machine.disk()), str(raw))
    assert 0 == max(raw.read_bytes())
