"""A machine as the handlers see it: it says what it has, asks, and does what it is told, or something else."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from dataclasses import dataclass, field, replace
from typing import Any

from sretoolkit.provision.handlers import Desk, Request, Response

EMPTY = hashlib.sha256(bytes(1024 * 1024)).hexdigest()


@dataclass
class Machine:
    """One simulated machine. ``boot()`` is a boot into the microkernel."""

    desk: Desk
    number: int = 1
    facts: dict[str, Any] = field(default_factory=dict)
    hw: dict[str, Any] = field(default_factory=dict)
    address: str = ""
    boots: int = 0
    token: str = ""
    node: str = ""

    def __post_init__(self) -> None:
        self.address = self.address or f"10.0.{self.number // 250}.{self.number % 250 + 1}"
        mac = f"52:54:00:{self.number >> 16 & 255:02x}:{self.number >> 8 & 255:02x}:{self.number & 255:02x}"
        self.hw = {
            "uuid": f"7a5a11c0-0000-4000-8000-{self.number:012d}",
            "serial": f"SN{self.number}",
            "mac": [mac],
        } | self.hw
        disk = {
            "name": "vda",
            "bytes": 10**9,
            "serial": f"D{self.number}",
            "empty": True,
            "fingerprint": EMPTY,
            "content": "none",
        }
        self.facts = {
            "cpus": 8,
            "firmware": "bios",
            "disks": [disk],
            "nics": [{"name": "eth0", "mac": mac}],
        } | self.facts

    def ask(self, method: str, path: str, *, body: Any = None, token: str | None = None, **query: str) -> Response:
        """One request in a transaction of its own."""
        given = self.token if token is None else token
        headers = {"host": "server:8080"} | ({"authorization": f"Bearer {given}"} if given else {})
        data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        request = Request(method, f"/svc/{path}", query, headers, data, self.address)
        with self.desk.registry.store.transaction() as tx:
            return self.desk.answer(tx, request)

    def boot(self) -> Response:
        """Check in as after a boot; keeps what it is told."""
        self.boots += 1
        return self.check_in()

    def check_in(self) -> Response:
        """Check in once more in the same boot."""
        facts = {**self.facts, "boot_id": f"{self.number}-{self.boots}", "uptime": 3.0}
        response = self.ask("POST", "checkin", body={"hw": self.hw, "facts": facts}, token="")
        told = lines(response)
        self.token, self.node = told.get("token", self.token), told.get("node", self.node)
        return response

    def poll(self) -> dict[str, str]:
        """What it is told now."""
        return lines(self.ask("POST", "poll"))

    def stage(self, order: str, name: str, **report: Any) -> Response:
        """Say how far it is."""
        return self.ask("POST", "stage", body=report, order=order, name=name)

    def script(self) -> str:
        """The iPXE script that its firmware is given."""
        query = {"mac": self.hw["mac"][0], "uuid": self.hw["uuid"], "serial": self.hw["serial"], "platform": "pcbios"}
        return self.ask("GET", "boot", token="", **query).body.decode()

    def twin(self, **changes: Any) -> Machine:
        """Another machine that says the same, but for what is changed."""
        return replace(self, token="", node="", boots=0, **changes)


def files_of(response: Response) -> dict[str, str]:
    """The files of a seed, by name."""
    with tarfile.open(fileobj=io.BytesIO(response.body)) as archive:
        found = {entry.name: archive.extractfile(entry) for entry in archive}
        return {name: file.read().decode() for name, file in found.items() if file is not None}


def lines(response: Response) -> dict[str, str]:
    """The ``key=value`` lines of an answer; nothing for one that is no success."""
    from urllib.parse import unquote

    pairs = (line.partition("=") for line in response.body.decode().splitlines()) if response.status == 200 else ()
    return {name: unquote(value) for name, _, value in pairs}
