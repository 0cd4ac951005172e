"""A storm: a thousand machines that boot together against one server process and one SQLite store, over real HTTP.

Each stage (script, first part of kernel and initrd by range, check-in with facts of real size, poll) is asked for by all of
them within 0.2 s, every request over a connection of its own as firmware does. `python -m benchmarks.provision` starts the
server; this module is the client, in a process of its own.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

_NICS = 4
_DISKS = 8


def facts(number: int) -> dict[str, Any]:
    """What a server of two sockets, four cards and eight disks says: about 3.8 kB."""
    disks = [
        {
            "name": f"nvme{place}n1", "bytes": 1920383410176, "serial": f"S4YPNE0N{number:06d}{place}",
            "model": "SAMSUNG MZQLB1T9HAJR", "rotational": False, "empty": False, "content": "gpt",
            "fingerprint": f"{number:032x}{place:032x}", "last_mount": 1790000000,
        }
        for place in range(_DISKS)
    ]  # fmt: skip
    nics = [
        {"name": f"eth{place}", "mac": mac(number, place), "speed": 25000, "carrier": True, "driver": "mlx5_core"}
        for place in range(_NICS)
    ]
    return {
        "cpus": 64, "cpu_model": "Intel(R) Xeon(R) Gold 6338 CPU @ 2.00GHz", "memory_bytes": 540000000000, "numa_nodes": 2,
        "architecture": "x86_64", "vendor": "Dell Inc.", "product": "PowerEdge R650", "version": "", "serial": f"SN{number}",
        "uuid": f"7a5a11c0-0000-4000-8000-{number:012d}", "asset": "", "bios_version": "1.5.5", "bios_date": "02/10/2022",
        "firmware": "uefi", "secure_boot": False, "kernel": "6.1.0", "ip": f"10.0.{number >> 8}.{number & 255}",
        "boot_id": f"boot-{number}", "uptime": 12.5, "nics": nics, "disks": disks, "rack": f"r{number % 40}",
    }  # fmt: skip


def mac(number: int, place: int) -> str:
    """The address of one card of one machine."""
    return f"52:54:{place:02x}:{number >> 16 & 255:02x}:{number >> 8 & 255:02x}:{number & 255:02x}"


class Asked(asyncio.Protocol):
    """One request over a connection of its own; the answer is whole when the server closes."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.got: list[bytes] = []
        self.done: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send it."""
        assert isinstance(transport, asyncio.Transport)
        transport.write(self.data)

    def data_received(self, data: bytes) -> None:
        """Keep it."""
        self.got.append(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """All is there."""
        self.done.set_result(b"".join(self.got))


def written(head: str, body: bytes = b"") -> bytes:
    """A request as bytes."""
    return f"{head}\r\nHost: server\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


async def ask(port: int, data: bytes) -> tuple[float, int, bytes]:
    """Seconds from connecting to the last byte, status, body."""
    began = time.perf_counter()
    _, asked = await asyncio.get_running_loop().create_connection(lambda: Asked(data), "127.0.0.1", port)
    answer = await asked.done
    return time.perf_counter() - began, int(answer[9:12] or 0), answer.partition(b"\r\n\r\n")[2]


def requests_of(number: int) -> dict[str, tuple[bytes, int]]:
    """What one machine asks, stage by stage, and the status that is right."""
    said = facts(number)
    hw = {"uuid": said["uuid"], "serial": said["serial"], "mac": [mac(number, 0)]}
    query = f"mac={mac(number, 0)}&uuid={said['uuid']}&serial=SN{number}&platform=efi&arch=x86_64"
    part = "\r\nRange: bytes=0-65535"
    return {
        "script": (written(f"GET /svc/boot?{query} HTTP/1.1"), 200),
        "kernel": (written(f"GET /svc/microkernel/x86_64/kernel HTTP/1.1{part}"), 206),
        "initrd": (written(f"GET /svc/microkernel/x86_64/initrd HTTP/1.1{part}"), 206),
        "check-in": (written("POST /svc/checkin HTTP/1.1", json.dumps({"hw": hw, "facts": said}).encode()), 200),
        "poll": (b"", 200),
    }


async def stage(
    port: int, name: str, asked: list[tuple[bytes, int]], within: float
) -> tuple[dict[str, Any], list[bytes]]:
    """All machines ask the same within so many seconds; milliseconds, failures, and what they were answered."""
    began = time.perf_counter() + 0.1

    async def one(place: int) -> tuple[float, int, bytes]:
        await asyncio.sleep(max(0.0, began + within * place / len(asked) - time.perf_counter()))
        return await ask(port, asked[place][0])

    answers = await asyncio.gather(*(one(place) for place in range(len(asked))))
    took = sorted(seconds for seconds, _, _ in answers)
    failed = sum(status != right for (_, status, _), (_, right) in zip(answers, asked, strict=True))
    shown = {"failed": failed, "p50_ms": 1e3 * took[len(took) // 2], "p99_ms": 1e3 * took[int(len(took) * 0.99)]}
    return {name: shown}, [body for _, _, body in answers]


async def storm(port: int, count: int, within: float, first: int) -> dict[str, Any]:
    """All machines, one stage after the other, as machines that were switched on together do."""
    machines = [requests_of(first + number) for number in range(count)]
    result: dict[str, Any] = {}
    tokens = [""] * count
    for name in machines[0]:
        asked = [machine[name] for machine in machines]
        if name == "poll":
            asked = [(written(f"POST /svc/poll HTTP/1.1\r\nAuthorization: Bearer {token}"), 200) for token in tokens]
        shown, bodies = await stage(port, name, asked, within)
        result |= shown
        if name == "check-in":
            tokens = [
                next((x[6:] for x in body.decode().splitlines() if x.startswith("token=")), "") for body in bodies
            ]
    return result


if __name__ == "__main__":
    port, count, within, first = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
    print(json.dumps(asyncio.run(storm(port, count, within, first))))
