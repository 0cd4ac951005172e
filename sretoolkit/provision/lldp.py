"""Who is at the other end of a cable: the frame that a switch sent, read (LLDP, IEEE 802.1AB).

The frame comes from whoever is on that cable: every length in it is checked, and every text is bounded.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from typing import Any

_TYPE = b"\x88\xcc"
_MOST_BYTES = 1514
_LONGEST = 255  # of a text, by the standard
_NIC = re.compile(r"[A-Za-z0-9._-]{1,15}")
_HEX = re.compile(r"(?:[0-9a-f]{2})+")
_CHASSIS, _PORT = 1, 2
_TEXTS = {4: "port_description", 5: "switch"}
_BY_MAC, _BY_ADDRESS = {_CHASSIS: 4, _PORT: 3}, {_CHASSIS: 5, _PORT: 4}  # the subtypes that are no texts
_IP = {1: ipaddress.IPv4Address, 2: ipaddress.IPv6Address}

PREFIX = "lldp_"


def neighbours(facts: Mapping[str, Any]) -> Mapping[str, Any]:
    """The facts, where a card's raw frame (``lldp``) has become ``lldp_CARD_chassis`` and what else `neighbour` gives.

    What the frame does not say, or says wrongly, is not there.
    """
    cards = facts.get("nics")
    if not isinstance(cards, list) or not any(isinstance(card, dict) and "lldp" in card for card in cards):
        return facts
    heard: dict[str, Any] = {}
    for card in cards:
        if isinstance(card, dict) and _NIC.fullmatch(str(card.get("name", ""))):
            told = neighbour(str(card.get("lldp", "")))
            heard |= {f"{PREFIX}{card['name']}_{what}": value for what, value in told.items()}
    plain = [{k: v for k, v in card.items() if k != "lldp"} if isinstance(card, dict) else card for card in cards]
    return {**facts, "nics": plain, **heard}


def not_heard(name: str, facts: Mapping[str, Any]) -> bool:
    """Whether that fact is a neighbour's that was not heard yet in this boot: its absence is no news."""
    return name.startswith(PREFIX) and name not in facts


def neighbour(frame: str) -> dict[str, str]:
    """What a frame in hexadecimal digits says: chassis, port, port_description, switch (its name); {} for what is none."""
    if len(frame) > 2 * _MOST_BYTES or not _HEX.fullmatch(frame):
        return {}
    raw = bytes.fromhex(frame)
    if raw[12:14] != _TYPE:
        return {}
    found: dict[str, str] = {}
    for kind, value in _fields(raw[14:]):
        if kind in (_CHASSIS, _PORT):
            found.setdefault("chassis" if kind == _CHASSIS else "port", _identity(kind, value))
        elif kind in _TEXTS:
            found.setdefault(_TEXTS[kind], _text(value))
    return {name: value for name, value in found.items() if value}


def _fields(raw: bytes) -> Iterator[tuple[int, bytes]]:
    """Kind and value of each field, until the end, or until one is longer than what is left."""
    while len(raw) >= 2:
        kind, size = raw[0] >> 1, (raw[0] & 1) << 8 | raw[1]
        if kind == 0 or 2 + size > len(raw):
            return
        yield kind, raw[2 : 2 + size]
        raw = raw[2 + size :]


def _identity(kind: int, value: bytes) -> str:
    """A chassis or port: a MAC address, an IP address, or a text, by its first byte."""
    how, rest = value[:1], value[1:]
    if how == bytes([_BY_MAC[kind]]) and len(rest) == 6:
        return rest.hex(":")
    if how == bytes([_BY_ADDRESS[kind]]) and rest[:1] in (b"\x01", b"\x02"):
        try:
            return str(_IP[rest[0]](rest[1:]))
        except ipaddress.AddressValueError:
            return ""
    return _text(rest)


def _text(value: bytes) -> str:
    text = value[:_LONGEST].decode("utf-8", "replace")
    return "".join(char if char.isprintable() else " " for char in text).strip()
