"""Machines switched by real controllers' protocols: ipmitool against pyghmi, Redfish against sushy-emulator, QEMU's own."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sretoolkit.clock import poll
from sretoolkit.config import Config
from sretoolkit.errors import ProvisionError
from sretoolkit.plan import Plan, Step
from sretoolkit.provision.power import Power
from sretoolkit.provision.power_steps import BootNext, SetPower, network_boot
from sretoolkit.provision.powers._qmp import alive
from tests.conftest import REPOSITORY
from tests.live.rack import LIVE, Lab
from tests.stack import images
from tests.stack.bmc import Bmc
from tests.stack.machine import Machine
from tests.stack.redfish import FakeRedfish

pytestmark = LIVE


def carry_out(config: Config, *items: Any) -> str:
    """Run a plan of these; gives the state it ends in."""
    plan = Plan("power", list(items))
    return str(plan.run(apply=True, config=config).state)


def ipmi(bmc: Bmc, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The power of a machine behind that controller."""
    monkeypatch.setenv("BMC_PASSWORD", bmc.password)
    return {
        "kind": "ipmi", "address": "127.0.0.1", "port": bmc.port, "user": bmc.user, "password": "env:BMC_PASSWORD", "cipher": 3
    }  # fmt: skip


def redfish(emulator: FakeRedfish, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The power of a machine behind that emulator."""
    monkeypatch.setenv("BMC_PASSWORD", emulator.password)
    return {"kind": "redfish", "url": emulator.url, "user": emulator.user, "password": "env:BMC_PASSWORD"}


def qemu(machine: Machine) -> dict[str, Any]:
    """The power of a machine by its monitor."""
    start = ["env", f"PYTHONPATH={REPOSITORY}", sys.executable, "-m", "tests.stack.machine", str(machine.folder)]
    return {"kind": "qemu", "socket": str(machine.qmp), "start": shlex.join(start)}


@pytest.fixture
def bare(lab: Lab) -> Machine:
    """A machine that is off."""
    return lab.machine()


def test_ipmi_switches_a_machine(bare: Machine, config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """State, on, next boot, reset and off, as steps that are read back; the password is in no argument list."""
    with Bmc(bare) as bmc:
        switches(ipmi(bmc, monkeypatch), bare, config)


def test_redfish_switches_a_machine(bare: Machine, config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same by Redfish, whose controller takes seconds to do what it has said yes to."""
    with FakeRedfish(bare) as emulator:
        switches(redfish(emulator, monkeypatch), bare, config)


def test_qemu_switches_a_machine(bare: Machine, config: Config) -> None:
    """The same by QEMU's monitor, which is told of the next boot only while it runs."""
    power = qemu(bare)
    assert "off" == Power.of(power).state()
    assert "completed" == carry_out(config, SetPower(node="m", power=power, before="off", after="on"))
    assert ("on", True) == (Power.of(power).state(), bare.is_on())
    for device in ("disk", "network"):
        assert "completed" == carry_out(
            config, BootNext(node="m", power=power, before=Power.of(power).next_boot(), after=device)
        )
        assert device == Power.of(power).next_boot()
    Power.of(power).reset()
    assert "completed" == carry_out(config, SetPower(node="m", power=power, before="on", after="off"))
    assert ("off", False) == (Power.of(power).state(), bare.is_on())


def switches(given: dict[str, Any], machine: Machine, config: Config) -> None:
    """On and off and next boots by steps; the machine itself is looked at, not the controller."""
    power = Power.of(given)
    assert ("off", False) == (power.state(), machine.is_on())
    told = power.next_boot()
    steps: list[Step] = [BootNext(node="m", power=given, before=told, after="network")]
    assert "completed" == carry_out(config, *steps, SetPower(node="m", power=given, before="off", after="on"))
    assert ("on", True, "network") == (power.state(), machine.is_on(), power.next_boot())
    power.reset()
    assert poll(lambda: power.state() == "on", timeout=60)  # a restart may be seen as off for a moment
    assert "completed" == carry_out(config, BootNext(node="m", power=given, before="network", after="disk"))
    assert "disk" == power.next_boot()
    off = SetPower(node="m", power=given, before="on", after="off")
    assert "completed" == carry_out(config, off)
    assert ("off", False) == (power.state(), machine.is_on())


def test_a_wrong_password_is_told(bare: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused with the controller's address and a hint; neither password is in the message."""
    with Bmc(bare) as bmc, FakeRedfish(bare) as emulator:
        for given in (ipmi(bmc, monkeypatch), redfish(emulator, monkeypatch)):
            monkeypatch.setenv("BMC_PASSWORD", "not-the-password")
            with pytest.raises(ProvisionError, match=r"127\.0\.0\.1") as failed:
                Power.of(given).state(timeout=20)
            assert failed.value.hint
            assert "password" not in str(failed.value).replace("user and password", "")


@pytest.mark.parametrize("protocol", ["ipmi", "redfish"])
def test_a_controller_brings_a_machine_to_its_installed_system(
    lab: Lab, bare: Machine, config: Config, monkeypatch: pytest.MonkeyPatch, protocol: str
) -> None:
    """From off: told to boot from the network, switched on, discovered and installed, without a hand on it."""
    server = lab.server()
    server.offer(images.small())
    with Bmc(bare) if protocol == "ipmi" else FakeRedfish(bare) as controller:
        given = ipmi(controller, monkeypatch) if isinstance(controller, Bmc) else redfish(controller, monkeypatch)
        assert "completed" == carry_out(config, *network_boot("m", given))
        order = server.order(server.node(bare))
        assert "done" == server.reaches(order), server.told(bare)
        # and from on: it is switched off first, so that the next boot is a fresh one
        items = network_boot("m", given)
        assert ["off", "on"] == [item.after for item in items if isinstance(item, SetPower)]
        assert Path(f"/proc/{(bare.folder / 'qemu.pid').read_text().strip()}").exists()


OWNER = """
import signal, sys
from contextlib import ExitStack
from tests.live.rack import Lab
with ExitStack() as stack:
    lab = Lab(stack)
    machine = lab.machine()
    machine.on()
    print(lab.rack.name, lab.folder, (machine.folder / "qemu.pid").read_text().strip(), flush=True)
    signal.pause()
"""


def test_a_machine_ends_with_its_owner() -> None:
    """A test that is killed, without a chance to clean up, leaves no virtual machine behind."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen([sys.executable, "-c", OWNER], env=environment, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        rack, folder, pid = owner.stdout.readline().split()
        try:
            assert alive(int(pid))
            owner.kill()
            assert poll(lambda: not alive(int(pid)), timeout=30)
        finally:
            owner.kill()
            subprocess.run(["ip", "netns", "del", rack], check=True, timeout=30)
            shutil.rmtree(folder)
