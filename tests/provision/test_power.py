"""A machine's power as data: what is written down is what comes back, and nothing of it is a secret."""

from __future__ import annotations

from typing import Any

import pytest

from sretoolkit.errors import ConfigError, ProvisionError, UnknownPlugin
from sretoolkit.plan import Context, ManualGate, Step
from sretoolkit.provision.power import POWERS, Power
from sretoolkit.provision.power_steps import BootNext, SetPower, network_boot
from sretoolkit.secrets import Secret

IPMI = {"kind": "ipmi", "address": "10.0.9.17", "user": "admin", "password": "env:BMC_PASSWORD"}
REDFISH = {"kind": "redfish", "url": "https://bmc17.example", "user": "admin", "password": "env:BMC_PASSWORD"}


def test_there_are_four_ways() -> None:
    """Each module of powers/ is one, under the name that a user types."""
    assert {"ipmi", "manual", "qemu", "redfish"} == set(POWERS)


@pytest.mark.parametrize(
    "given", [IPMI, REDFISH, {"kind": "qemu", "socket": "/run/m1.sock"}, {"kind": "manual", "where": "rack 3"}]
)
def test_a_power_is_data(given: dict[str, Any]) -> None:
    """It goes to plain data and back; passwords stay references."""
    power = Power.of(given)
    assert given == power.to_dict()
    assert power == Power.of(power.to_dict())
    assert power.target.startswith(f"power:{given['kind']}/")


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"kind": "telepathy"}, "telepathy"),
        ({"adress": "x"}, "no option 'adress'"),
        ({"password": "hunter2"}, "not a secret reference"),
        ({"address": "-oProxyCommand=reboot"}, "is no address"),
        ({"user": "a b"}, "is no user"),
    ],
)
def test_what_does_not_fit_is_refused(change: dict[str, Any], word: str) -> None:
    """Unknown kinds and options, passwords in clear text, and addresses that a program would read as options."""
    with pytest.raises((ConfigError, UnknownPlugin), match=word) as refused:
        Power.of({**IPMI, **change})
    assert "hunter2" not in str(refused.value)


def test_an_option_that_is_missing_is_named() -> None:
    """With all that there are."""
    with pytest.raises(ConfigError, match="needs the option 'address'") as refused:
        Power.of({"kind": "ipmi", "user": "admin", "password": "env:X"})
    assert "cipher" in refused.value.hint


def test_a_controller_that_does_not_answer_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody listens there: within the time, with the address and a hint, without the password."""
    monkeypatch.setenv("BMC_PASSWORD", "a-long-password")
    for given in ({**IPMI, "address": "127.0.0.1", "port": 9}, {**REDFISH, "url": "http://127.0.0.1:9"}):
        with pytest.raises(ProvisionError, match=r"127\.0\.0\.1|ipmitool") as failed:
            Power.of(given).state(timeout=2)
        assert failed.value.hint
        assert "a-long-password" not in str(failed.value)


def test_a_person_is_asked_where_nothing_can_be_switched() -> None:
    """A plan gets a gate with the machine and its place; called directly it says that a person has to."""
    manual = {"kind": "manual", "where": "rack 3, unit 12"}
    (gate,) = network_boot("web1", manual)
    assert isinstance(gate, ManualGate)
    assert "start web1 from the network (rack 3, unit 12)" in gate.question
    for act in (Power.of(manual).on, Power.of(manual).off, Power.of(manual).reset):
        with pytest.raises(ProvisionError, match="a person has to: rack 3, unit 12"):
            act()


def test_steps_are_data_and_say_how_by_hand(ctx: Context) -> None:
    """Another process can read a step; a person finds the command that takes it back."""
    step = SetPower(node="web1", power=IPMI, before="on", after="off")
    assert step == Step.from_dict(step.to_dict())
    assert "ipmitool -I lanplus -H 10.0.9.17 -p 623 -U admin -a chassis power on" == step.by_hand()
    told = BootNext(node="web1", power=IPMI, before="", after="network")
    assert "let web1 boot from the network the next time" == told.describe()
    assert told.by_hand().endswith("chassis bootdev none")
    assert isinstance(Power.of(IPMI).password, Secret)  # type: ignore[attr-defined]
