"""A node: which machine it is, what is known of it, and where in its life it stands."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self, get_args

from sretoolkit.errors import IdentityConflict, ProvisionError
from sretoolkit.provision.operators import Facts

State = Literal["registered", "matched", "installing", "installed", "retired"]
STATES: tuple[State, ...] = get_args(State)
IDENTITIES = ("uuid", "serial", "asset", "mac")
MATCH_ON = ("uuid", "serial", "mac")

# What vendors put where an identity belongs. It identifies nobody.
_JUNK = re.compile(
    r"(to be filled.*|not (specified|available|applicable|present|settable)|default string|system serial number|"
    r"chassis serial number|(no )?asset (tag|information)|none|n/?a|unknown|unspecified|empty|invalid|xxx*|\.*|"
    r"0*|0?123456789(abcdef)?|f+|00000000-0000-0000-0000-0+|ffffffff-ffff-ffff-ffff-f+|"
    r"03000200-0400-0500-0006-000700080009)",
    re.IGNORECASE,
)
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}|[0-9a-f]{2}(:[0-9a-f]{2}){19}")
_NO_MAC = re.compile(r"(00:){5}00|(ff:){5}ff")
_LONGEST = 128


@dataclass(frozen=True)
class Hardware:
    """A machine's identity: what the firmware and the network cards say, in one spelling, junk left out."""

    uuid: str = ""
    serial: str = ""
    asset: str = ""
    macs: tuple[str, ...] = ()

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Self:
        """From what a machine says: ``uuid``, ``serial``, ``asset`` and ``mac`` (a text or a list of them).

        Raises `ProvisionError` for what is no identity at all: other types, control characters, no MAC address.
        """
        macs = given.get("mac") or ()
        macs = [macs] if isinstance(macs, str) else macs
        if not isinstance(macs, Sequence) or len(macs) > 64:
            raise ProvisionError("hw: mac must be a list of at most 64 addresses")
        found = {_mac(mac) for mac in macs} - {""}
        words = {name: _word(name, given.get(name)) for name in ("uuid", "serial", "asset")}
        return cls(**words, macs=tuple(sorted(found)))

    @classmethod
    def stored(cls, given: Mapping[str, Any]) -> Self:
        """From `to_dict`, which was checked when it was written."""
        return cls(given["uuid"], given["serial"], given["asset"], tuple(given["mac"]))

    def keys(self, match_on: Iterable[str] = MATCH_ON) -> list[str]:
        """``uuid=...``, ``serial=...``, ``mac=...``: what other machines must not have in common with this one."""
        single = [f"{name}={getattr(self, name)}" for name in match_on if name != "mac" and getattr(self, name)]
        return single + [f"mac={mac}" for mac in self.macs if "mac" in match_on]

    def contradicts(self, other: Hardware) -> str:
        """Which identity both have and differ in (a replaced network card is no contradiction); "" when none does."""
        pairs = ((name, getattr(self, name), getattr(other, name)) for name in ("uuid", "serial"))
        return next((f"{name} {one} and {two}" for name, one, two in pairs if one and two and one != two), "")

    def to_dict(self) -> dict[str, Any]:
        """As a machine says it, in our spelling."""
        return {"uuid": self.uuid, "serial": self.serial, "asset": self.asset, "mac": list(self.macs)}


@dataclass(frozen=True, kw_only=True)
class Node:
    """One machine.

    ``held`` says why nothing may be done to it until a person has looked; ``order`` is its open order, ``orders`` how many
    it ever had.
    """

    id: str
    hardware: Hardware
    facts: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    state: State = "registered"
    policy: str = ""
    installed: str = ""
    hostname: str = ""
    host_key: str = ""
    held: str = ""
    order: str = ""
    orders: int = 0
    address: str = ""
    seen: float = 0.0

    @property
    def disks(self) -> list[Mapping[str, Any]]:
        """The disks that it reported."""
        found = self.facts.get("disks", [])
        return [disk for disk in found if isinstance(disk, Mapping)] if isinstance(found, list) else []

    def as_facts(self, tags: Mapping[str, Any]) -> Facts:
        """What rules may look at; the state is Razor's (``installed``: the policy that it was installed by) and ours."""
        state = {"installed": self.installed, "stage": self.state}
        return Facts(self.facts, self.metadata, state, self.hardware.macs, tags)


def the_one(hardware: Hardware, candidates: Sequence[Node]) -> Node | None:
    """Which of the nodes that share an identity with a machine it is; None when there are none, so that it is new.

    Raises `IdentityConflict` when it could be several, or when it shares one identity with a node and contradicts it in
    another: cloned firmware, a moved network card, or a machine that pretends.
    """
    if len(candidates) > 1:
        names = ", ".join(node.id for node in candidates)
        raise IdentityConflict(
            f"a machine ({shown(hardware)}) has something of {names}", nodes=[node.id for node in candidates],
            hint="see whether a card or board moved, then `sretoolkit provision set-node-hardware`",
        )  # fmt: skip
    if candidates and (difference := hardware.contradicts(candidates[0].hardware)):
        node = candidates[0]
        raise IdentityConflict(
            f"a machine ({shown(hardware)}) has something of {node.id} ({shown(node.hardware)}) and contradicts it: "
            f"{difference}",
            nodes=[node.id],
            hint="two machines with one identity, or a new board; `sretoolkit provision set-node-hardware` says which",
        )
    return candidates[0] if candidates else None


def shown(hardware: Hardware) -> str:
    """The identity in one line."""
    return " ".join(hardware.keys(IDENTITIES)) or "no identity"


def _word(name: str, value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ProvisionError(f"hw: {name} must be text, not a {type(value).__name__}")
    text = " ".join(value.split())
    if len(text) > _LONGEST or not text.isprintable():
        raise ProvisionError(f"hw: {name} is longer than {_LONGEST} characters or holds control characters")
    text = text.lower() if name == "uuid" else text
    return "" if _JUNK.fullmatch(text) else text


def _mac(value: Any) -> str:
    text = str(value).strip().lower().replace("-", ":")
    if not isinstance(value, str) or not _MAC.fullmatch(text):
        raise ProvisionError(f"hw: {str(value)[:60]!r} is no MAC address")
    return "" if _NO_MAC.fullmatch(text) else text
