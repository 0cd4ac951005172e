"""What a switch says of itself, read from its frame; what anybody else may send instead."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sretoolkit.provision.handlers import Desk
from sretoolkit.provision.lldp import neighbour, neighbours
from tests.provision.machine import Machine
from tests.stack.lldp import FRAME, field, frame


def test_a_switch_is_known_by_its_frame() -> None:
    """Chassis, port, the port's description and the switch's name; what else is in it is left."""
    expected = {
        "chassis": "02:00:5e:00:00:01",
        "port": "Ethernet1/7",
        "port_description": "rack a1",
        "switch": "sw1.example",
    }
    assert expected == neighbour(FRAME.hex())


def test_a_switch_may_name_itself_by_an_address() -> None:
    """IPv4, IPv6, a card's address, or any text."""
    fours = bytes([5, 1, 10, 0, 0, 1])
    sixes = bytes([4, 2]) + bytes(15) + b"\x01"
    assert {"chassis": "10.0.0.1", "port": "::1"} == neighbour(frame(field(1, fours), field(2, sixes)).hex())
    told = neighbour(frame(field(1, b"\x07stack-2"), field(2, b"\x03\x02\x00\x00\x00\x00\x09")).hex())
    assert {"chassis": "stack-2", "port": "02:00:00:00:00:09"} == told


def test_a_frame_that_lies_of_its_lengths_says_less() -> None:
    """A field that is longer than the frame ends it; an address of the wrong length, an empty or a hostile text is none."""
    cut = frame(field(1, b"\x07here"), b"\x05\xff")
    assert {"chassis": "here"} == neighbour(cut.hex())
    assert {} == neighbour(frame(field(1, bytes([5, 1, 10])), field(2, b""), field(5, b"\x00\x1b\n")).hex())
    assert {} == neighbour((FRAME[:12] + b"\x08\x00" + FRAME[14:]).hex())
    assert [{}, {}, {}] == [neighbour(text) for text in ("", "88cc", "zz" * 40)]
    assert {} == neighbour("00" * 2000)


@given(st.binary(max_size=1600))
def test_any_bytes_are_read_into_bounded_texts(rest: bytes) -> None:
    """No frame raises; what comes of it is short and printable."""
    for value in neighbour((FRAME[:14] + rest).hex()).values():
        assert 0 < len(value) <= 255
        assert value.isprintable()


ANYTHING = st.recursive(
    st.none() | st.text() | st.integers(), lambda part: st.lists(part) | st.dictionaries(st.text(), part)
)


@given(st.one_of(ANYTHING, st.lists(st.dictionaries(st.sampled_from(["name", "lldp", "mac"]), ANYTHING))))
def test_any_facts_keep_their_form(cards: object) -> None:
    """Whatever stands where the cards should be: facts come back, with as many cards, and no raw frame in any."""
    told = neighbours({"nics": cards})["nics"]
    if isinstance(cards, list):
        assert len(cards) == len(told)
        assert not any("lldp" in card for card in told if isinstance(card, dict))
    else:
        assert cards == told


def test_a_neighbour_is_a_fact_and_told_when_it_is_heard(machines_desk: Desk) -> None:
    """It comes with a later check-in of the same boot, which is no other boot; that it was not heard yet is no change."""
    machine = Machine(machines_desk, 1)
    (card,) = machine.facts["nics"]
    machine.boot()
    machine.facts["nics"] = [{**card, "lldp": FRAME.hex()}]
    machine.check_in()
    facts = machines_desk.registry.node(machine.node).facts
    assert ("Ethernet1/7", False) == (facts["lldp_eth0_port"], "lldp" in facts["nics"][0])
    machine.facts["nics"] = [card]
    machine.boot()
    log = [(row["event"], row["entry"].get("facts")) for row in machines_desk.registry.log(machine.node)]
    names = [f"lldp_eth0_{what}" for what in ("chassis", "port", "port_description", "switch")]
    assert [("node-facts-changed", names)] == [entry for entry in log if entry[0] == "node-facts-changed"]
    assert 2 == [event for event, _ in log].count("node-booted")
