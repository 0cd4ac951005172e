"""Networks as they are: packets that are lost, addresses that have run out, a line that is slow."""

from __future__ import annotations

import pytest

from sretoolkit.clock import poll
from tests.live.rack import LIVE, Lab, install
from tests.stack import images

pytestmark = LIVE


def test_lost_packets_cost_time_alone(lab: Lab) -> None:
    """Issue fault "TFTP loss": every eighth datagram of the server's is lost, loaders and addresses are asked for again."""
    server = lab.server()
    server.offer(images.small())
    drop = ["-A", "OUTPUT", "-p", "udp", "-m", "statistic", "--mode", "random", "--probability", "0.12", "-j", "DROP"]
    lab.rack.run(["iptables", *drop])
    install(server, lab.machine())
    lost = lab.rack.run(["iptables", "-nvxL", "OUTPUT"]).splitlines()[2].split()
    assert int(lost[0]) > 0


def test_a_machine_without_an_address_waits_and_is_not_known(lab: Lab) -> None:
    """Issue fault "DHCP pool exhausted": the one address is taken; the second machine is not known, nor written."""
    server = lab.server(rewrite=lambda text: text.replace("10.77.0.100,10.77.0.200", "10.77.0.100,10.77.0.100"))
    server.offer(images.small())
    other = {"serial": "SRT-0020", "uuid": "7a5a11c0-0000-4000-8000-000000000020", "macs": ["52:54:00:77:00:20"]}
    first, second = lab.machine("m1"), lab.machine("m2", **other)
    blank = second.digest()
    first.on()
    node = server.node(first)
    second.on()
    assert server.wait(lambda: "no address available" in server.dnsmasq.log, timeout=300)
    assert [node.id] == [known.id for known in server.registry.nodes()]
    assert "done" == server.reaches(server.order(node)), server.told(first)
    second.off()
    assert blank == second.digest()


def test_a_slow_line_is_waited_for(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Issue fault "HTTP image slow": at a megabyte a second it takes its time, and is what it should be."""
    monkeypatch.setenv("SRETOOLKIT_PROVISION_BANDWIDTH", "1")
    server = lab.server()
    server.offer(images.small())
    machine = lab.machine()
    machine.on()
    order = server.order(server.node(machine))
    assert "done" == server.reaches(order, timeout=600), server.told(machine)
    rows = {row["event"]: row["at"] for row in server.registry.log(order.node)}
    assert rows["stage-written"] - rows["stage-accepted"] > images.small().path.stat().st_size / 1e6 * 0.8
    assert poll(lambda: server.registry.node(order.node).state == "installed", timeout=10)


def test_a_machine_that_finds_no_room_stays_away(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server takes nobody in: the machine comes back when it was told to, which the server's answer says to it."""
    monkeypatch.setenv("SRETOOLKIT_PROVISION_MOST_NEW", "0")
    server = lab.server()
    machine = lab.machine()
    machine.on()
    assert server.wait(lambda: "the server has no room yet; again in 60 s" in machine.console, timeout=300)
    assert [] == server.registry.nodes()
