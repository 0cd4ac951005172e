"""Which machine asks for a boot script, by what its firmware could send."""

from __future__ import annotations

from sretoolkit.provision.boots import known
from sretoolkit.provision.handlers import Desk, Request
from tests.provision.machine import Machine

HOSTILE = 'SN "x" \\ <b>&uuid=7a5a11c0-0000-4000-8000-000000000002 ☃ '


def test_a_serial_number_comes_as_hexadecimal_digits(machines_desk: Desk) -> None:
    """Quotes, ampersands and blanks in it are neither lost nor another question: the machine with just that serial is found."""
    machine = Machine(machines_desk, 1, hw={"serial": HOSTILE.strip()})
    machine.boot()
    Machine(machines_desk, 2).boot()
    with machines_desk.registry.store.transaction() as tx:

        def who(**query: str) -> str:
            node = known(tx, Request("GET", "/svc/boot", query), ("serial",))
            return node.id if node else ""

        assert machine.node == who(serial_hex=HOSTILE.encode().hex())
        assert ["", "", ""] == [who(serial_hex=word) for word in ("no digits", "00", "")]
