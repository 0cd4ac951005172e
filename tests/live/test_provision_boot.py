"""Real (virtual) machines boot from the network, are discovered, written and come up, by each kind of firmware."""

from __future__ import annotations

import pytest

from tests.live.rack import LIVE, Lab, command, hears_its_switch, install
from tests.stack import images
from tests.stack.machine import Disk

pytestmark = LIVE


@pytest.mark.parametrize(
    ("firmware", "known"),
    [
        ("bios", ("bios", False, "x86_64")),
        ("uefi", ("uefi", False, "x86_64")),
        ("secureboot", ("uefi", True, "x86_64")),
        ("arm64", ("uefi", False, "arm64")),
    ],
)
def test_a_machine_is_installed(lab: Lab, firmware: str, known: tuple[str, bool, str]) -> None:
    """Power on, discovery, order, image, seed, reboot, callback: by BIOS, UEFI, Secure Boot enforced, and ARM64.

    What the switch at the end of its cable says becomes a fact, in the same boot.
    """
    console = "ttyAMA0" if firmware == "arm64" else "ttyS0"
    server = lab.server(secure_boot=firmware == "secureboot", consoles=console)
    server.offer(images.small(known[2]))
    machine = lab.machine(firmware=firmware)
    machine.on()
    facts = hears_its_switch(server, machine)
    switch = {name: value for name, value in facts.items() if name.startswith("lldp_")}
    assert {
        "lldp_eth0_chassis": "02:00:5e:00:00:01", "lldp_eth0_port": "Ethernet1/7", "lldp_eth0_port_description": "rack a1",
        "lldp_eth0_switch": "sw1.example",
    } == switch  # fmt: skip
    node = install(server, machine)
    assert known == (facts["firmware"], facts["secure_boot"], facts["architecture"])
    (disk,) = facts["disks"]
    assert ("DISK0", 2 << 30, True) == (disk["serial"], disk["bytes"], disk["empty"])
    assert list(machine.macs) == [card["mac"] for card in facts["nics"]]
    stages = [event["event"] for event in server.events(node) if event["event"].startswith("stage-")]
    wanted = ["accepted", "writing", "written", "verified", "seeded", "rebooting"]
    assert wanted == [name.removeprefix("stage-") for name in stages]
    assert "installed" == server.registry.node(node.id).state
    assert "installed: the server answered 200" in machine.console or server.wait(
        lambda: "installed: the server answered 200" in machine.console
    )
    machine.reset()  # and it stays installed: whatever comes, it boots its own disk
    assert server.wait(lambda: machine.console.count("installed: the server answered") == 2, timeout=300)


@pytest.mark.parametrize(("firmware", "bios"), [("bios", "ipxe"), ("bios", "pxelinux"), ("uefi", "ipxe")])
def test_a_machine_is_installed_beside_a_foreign_dhcp_server(lab: Lab, firmware: str, bios: str) -> None:
    """ProxyDHCP: the addresses come from a server that knows nothing of us; what is booted comes from us."""
    server = lab.server(foreign=True, bios=bios)
    server.offer(images.small())
    machine = lab.machine(firmware=firmware)
    install(server, machine)
    assert "DHCPACK" not in server.dnsmasq.log
    assert "proxy-ignored" not in server.dnsmasq.log


def test_two_machines_are_installed_at_once(lab: Lab) -> None:
    """Each gets its own order, seed and name; neither waits for the other."""
    server = lab.server()
    server.offer(images.small())
    machines = [
        lab.machine(f"m{n}", macs=[f"52:54:00:77:00:2{n}"], uuid=f"7a5a11c0-0000-4000-8000-00000000002{n}", serial=f"SRT-2{n}")
        for n in (1, 2)
    ]  # fmt: skip
    for machine in machines:
        machine.on()
    orders = [server.order(server.node(machine)) for machine in machines]
    assert ["done", "done"] == [server.reaches(order) for order in orders]
    nodes = [server.registry.node(order.node) for order in orders]
    assert 2 == len({node.hostname for node in nodes}) == len({node.address for node in nodes})


def test_a_server_with_usual_hardware_is_known_and_written(lab: Lab) -> None:
    """With Debian's kernel for any machine: an Intel card, an NVMe and a SATA disk by their serials; the SATA one is written."""
    server = lab.server(flavour="amd64")
    server.offer(images.small())
    machine = lab.machine(card="e1000e", disks=[Disk("NVME-1", 256, "nvme"), Disk("SATA-2", 512, "sata")], memory=2048)
    machine.on()
    node = server.node(machine, timeout=400)
    (card,) = node.facts["nics"]
    assert ("e1000e", True) == (card["driver"], card["carrier"])
    assert "sw1.example" == hears_its_switch(server, machine)["lldp_eth0_switch"]
    disks = {disk["serial"]: (disk["name"], disk["bytes"] >> 20) for disk in node.facts["disks"]}
    assert {"NVME-1": ("nvme0n1", 256), "SATA-2": ("sda", 512)} == disks
    order = server.order(node, disk="SATA-2")
    assert server.comes_to(order, "rebooting"), server.told(
        machine
    )  # what is installed has drivers for virtual disks alone


def test_uefi_boots_by_http_where_there_is_no_tftp(lab: Lab) -> None:
    """UEFI HTTP boot: the firmware itself fetches iPXE by HTTP from the boot server, and the machine is discovered."""
    no_tftp = "dhcp-ignore=tag:arch-7,tag:!ipxe\n"  # no answer to a firmware that wants it
    server = lab.server(rewrite=lambda config: config + no_tftp)
    machine = lab.machine(firmware="uefi", pxe=False)
    machine.on()
    node = server.node(machine)
    assert "uefi" == node.facts["firmware"]
    assert "snponly.efi" not in server.dnsmasq.log.replace(f"{server.api}/svc/loader/snponly.efi", "")


@pytest.mark.parametrize(("bios", "packing"), [("ipxe", "gz"), ("pxelinux", "xz")])
def test_an_installed_machine_is_rescued_and_goes_back_to_its_disk(lab: Lab, bios: str, packing: str) -> None:
    """By the command: a shell on its console in its next boot, no byte written, and its own disk in the boot after that.

    By iPXE, and by PXELINUX, which is given a file a machine; and from an image that xz has packed.
    """
    server = lab.server(bios=bios)
    server.offer(images.small(), packing=packing)
    machine = lab.machine()
    node = install(server, machine)
    home = "installed: the server answered"
    assert server.wait(lambda: home in machine.console)
    machine.off()
    before = machine.digest()
    done = command(server, "provision", "rescue-node", "--node", machine.serial, "--apply")
    assert 0 == done.returncode, done.stdout + done.stderr
    machine.on()
    assert server.wait(lambda: "rescue: a shell is on the console" in machine.console, timeout=300)
    assert server.registry.node(node.id).order
    machine.off()
    assert before == machine.digest()
    machine.on()
    assert server.wait(lambda: machine.console.count(home) == 2, timeout=300), server.told(machine)
    found = server.registry.node(node.id)
    assert ("installed", "small", "") == (found.state, found.installed, found.order)
    told = [word for word in ("boot.ipxe", "pxelinux.cfg/01-52-54-00-77-00-10") if f"/{word} to" in server.dnsmasq.log]
    assert ["boot.ipxe" if bios == "ipxe" else "pxelinux.cfg/01-52-54-00-77-00-10"] == told


@pytest.mark.parametrize(("dhcp", "firmware"), [("isc-dhcpd", "bios"), ("kea", "uefi")])
def test_a_machine_is_installed_behind_another_dhcp_server(lab: Lab, dhcp: str, firmware: str) -> None:
    """ISC dhcpd and Kea stay in charge of the addresses, and lead machines to us by what was added to their configuration."""
    server = lab.server(dhcp=dhcp)
    server.offer(images.small())
    install(server, lab.machine(firmware=firmware))
    log = server.dnsmasq.log
    assert (False, True) == ("DHCPOFFER" in log or "DHCPACK" in log, "/boot.ipxe to" in log)
