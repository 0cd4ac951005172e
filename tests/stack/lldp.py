"""A switch's announcement of itself (LLDP), as bytes."""

from __future__ import annotations


def field(kind: int, value: bytes) -> bytes:
    """One field: seven bits of kind, nine of length."""
    return (kind << 9 | len(value)).to_bytes(2, "big") + value


def frame(*fields: bytes) -> bytes:
    """A whole frame of these fields, from a switch to the nearest bridge."""
    return b"\x01\x80\xc2\x00\x00\x0e" + b"\x02\x00\x5e\x00\x00\x01" + b"\x88\xcc" + b"".join(fields) + field(0, b"")


FRAME = frame(
    field(1, b"\x04\x02\x00\x5e\x00\x00\x01"), field(2, b"\x05Ethernet1/7"), field(3, b"\x00\x78"), field(4, b"rack a1"),
    field(5, b"sw1.example"), field(6, b"a switch"),
)  # fmt: skip
