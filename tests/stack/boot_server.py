"""The whole boot server in a rack: dnsmasq, the TFTP folder, the microkernel, and ``sretoolkit serve`` on a store of its own."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from sretoolkit.clock import poll
from sretoolkit.config import Config
from sretoolkit.provision import orders
from sretoolkit.provision.dhcp import Site, dnsmasq, isc_dhcpd, kea
from sretoolkit.provision.entries import Document, Policy, Repo
from sretoolkit.provision.node import Node
from sretoolkit.provision.orders import Order
from sretoolkit.provision.registry import Registry
from sretoolkit.provision.tftp import TftpFolder
from sretoolkit.store import Store
from tests.stack import images
from tests.stack.dhcp_servers import DhcpServer
from tests.stack.dnsmasq import Dnsmasq
from tests.stack.images import Image
from tests.stack.machine import Machine
from tests.stack.process import Process
from tests.stack.rack import Rack

_REPOSITORY = Path(__file__).parents[2]
_PORT = 8080


class BootServer:
    """Answers machines of a rack.

    ``foreign``: beside a DHCP server that knows nothing of us, from a place of our own. ``flavour``: of the microkernel's
    kernel for x86_64. ``rewrite``: what becomes of dnsmasq's configuration. ``bios``: what BIOS machines load. ``dhcp``: who
    gives out addresses; where that is not dnsmasq, it serves files by TFTP alone.
    """

    def __init__(
        self,
        rack: Rack,
        folder: Path,
        *,
        secure_boot: bool = False,
        foreign: bool = False,
        consoles: str = "ttyS0",
        flavour: str = "",
        rewrite: Callable[[str], str] | None = None,
        bios: str = "ipxe",
        dhcp: str = "dnsmasq",
    ) -> None:
        self.rack = rack
        self.folder = folder
        self.secure_boot = secure_boot
        self.foreign = foreign
        self.consoles = consoles
        self.flavour = flavour
        self.rewrite = rewrite or str
        self.bios = bios
        self.dhcp = dhcp
        self.address = "10.77.0.2" if foreign else rack.address
        self.api = f"http://{self.address}:{_PORT}"
        self.config = Config.of(
            store={"url": f"sqlite:///{folder}/store.db"},
            journal={"keys": str(folder / "keys")},
            records={"folder": str(folder / "records")},
            provision={"folder": str(folder / "provision"), "url": self.api, "consoles": [consoles]},
        )
        self.store = Store(self.config["store.url"])
        self.registry = Registry(self.store)
        self._stack = ExitStack()
        self._place = ""
        self.dnsmasq: Dnsmasq
        self.server: Process

    def write(self, *documents: Document) -> None:
        """Write documents down."""
        with self.store.transaction() as tx:
            for document in documents:
                self.registry.put(tx, document.kind, document.name, document)

    def offer(
        self, image: Image, name: str = "small", *, keys: Sequence[str] = (), packing: str = "gz", **changes: Any
    ) -> None:
        """A repository of that image, and a policy of the same name that every machine gets; ``changes`` of the repository."""
        place = self.folder / "provision/repos" / name / f"image.{packing}"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.unlink(missing_ok=True)
        image.copy(place, packing)
        repo = Repo(
            name=name, image=place.name, image_format=packing, image_sha256=image.sha256, image_bytes=image.bytes,
            seed_partition=2, seed_path="/var/lib/sretoolkit/seed",
        )  # fmt: skip
        self.write(
            replace(repo, **changes),
            Policy(name=name, task="image", repo=name, hostname="m${id}", ssh_keys=tuple(keys)),
        )

    def node(self, machine: Machine, *, timeout: float = 240) -> Node:
        """The machine as the server knows it, once it has checked in."""

        def found() -> Node | None:
            return next((node for node in self.registry.nodes() if node.hardware.serial == machine.serial), None)

        node = poll(found, timeout=timeout, interval=0.1)
        if node is None:
            raise AssertionError(f"{machine.serial} did not check in:\n{self.told(machine)}")
        return node

    def order(self, node: Node, **options: Any) -> Order:
        """Order what the machine's policy says."""
        found = self.registry.node(node.id)
        made = orders.decided(found, self.registry.policies()[found.policy], **options)
        self.give(made)
        return made

    def give(self, order: Order) -> None:
        """Give an order as it is."""
        with self.store.transaction() as tx:
            orders.give(tx, order)

    def state(self, order: Order) -> Order:
        """The order as it stands."""
        with self.store.transaction() as tx:
            return orders.order_in(tx, order.id)

    def reaches(self, order: Order, *states: str, timeout: float = 400) -> str:
        """Wait until the order is in one of the states, or over; gives its state."""
        ends = {*states, "done", *orders.BAD}
        found = poll(lambda: (now := self.state(order).state) in ends and now, timeout=timeout, interval=0.1)
        return str(found or f"still {self.state(order).state}")

    def comes_to(self, order: Order, *states: str, timeout: float = 400) -> bool:
        """Whether the order comes to one of these states."""
        return bool(poll(lambda: self.state(order).state in states, timeout=timeout, interval=0.05))

    def events(self, node: Node) -> list[dict[str, Any]]:
        """What has happened to a machine: ``event``, and what was noted with it."""
        rows = self.store.read("SELECT event, entry FROM provision_log WHERE node = :node ORDER BY id", node=node.id)
        return [{"event": row["event"], **json.loads(row["entry"])} for row in rows]

    def told(self, machine: Machine) -> str:
        """What can be seen of a machine that does not do what it should."""
        return f"{machine.console[-3000:]}\n{self.dnsmasq.log[-1500:]}\n{self.server.log.read_text()[-1500:]}"

    def wait(self, condition: Callable[[], Any], *, timeout: float = 240) -> Any:
        """Poll the condition; it must come true."""
        found = poll(condition, timeout=timeout, interval=0.1)
        assert found, "it did not come about"
        return found

    def restart(self, signal: int) -> None:
        """Kill the server by a signal and start it again."""
        self.server.child.send_signal(signal)
        self.server.child.wait(30)
        self._serve()

    def __enter__(self) -> Self:
        with self._stack:
            self._stack.callback(self.store.close)
            if self.foreign:
                self._place = self.rack.place(self.address)
            self._files()
            self._dhcp()
            self._serve()
            self._stack.callback(lambda: self.server.stop())
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _files(self) -> None:
        folder = self.folder / "provision"
        kernels = folder / "microkernel"
        kernels.mkdir(parents=True)
        for arch in ("x86_64", "arm64"):
            flavour = self.flavour if arch == "x86_64" else ""
            shutil.copytree(images.microkernel(arch, flavour=flavour) / arch, kernels / arch)
        tftp = TftpFolder(folder / "tftp", [Path("/"), *images.loaders()])
        missing = tftp.make(self.api, microkernels=kernels, consoles=[self.consoles])
        if missing:
            raise RuntimeError(f"boot loaders are missing: {missing}; run tests/stack/install")
        (folder / "loaders").symlink_to(folder / "tftp")

    def _dhcp(self) -> None:
        options: dict[str, Any] = {
            "api": self.api, "network": "10.77.0.0/24", "folder": str(self.folder / "provision/tftp"),
            "secure_boot": self.secure_boot, "bios": self.bios,
        }  # fmt: skip
        gives: dict[str, Any] = {
            "first": "10.77.0.100",
            "last": "10.77.0.200",
            "router": self.rack.address,
            "dns": self.rack.address,
        }
        own = Site(
            **options, tftp=self.address, state=str(self.folder), **({} if self.foreign else gives),
            interface="eth0" if self.foreign else self.rack.bridge, prefix6="" if self.foreign else "fd77::/64",
        )  # fmt: skip
        if self.foreign:
            theirs = self._dnsmasq_lines("no-ping", "dhcp-range=10.77.0.100,10.77.0.200,255.255.255.0,1h")
            theirs += f"dhcp-leasefile={self.folder}/foreign-leases\n"
            self._stack.callback(Dnsmasq(self.rack, self.folder / "foreign", theirs).stop)
        config = dnsmasq(own)
        if self.dhcp != "dnsmasq":
            config = self._dnsmasq_lines("enable-tftp", f"tftp-root={own.folder}")
            added = {"isc-dhcpd": isc_dhcpd, "kea": kea}[self.dhcp](own)
            self._stack.callback(DhcpServer(self.dhcp, self.rack, self.folder / self.dhcp, added).stop)
        self.dnsmasq = Dnsmasq(self.rack, self.folder / "dhcp", self.rewrite(config), place=self._place)
        self._stack.callback(self.dnsmasq.stop)

    def _dnsmasq_lines(self, *lines: str) -> str:
        """A dnsmasq on the rack's bridge that announces the IPv6 network, and these lines."""
        usual = ["port=0", f"interface={self.rack.bridge}", "bind-interfaces", "log-dhcp", "enable-ra"]
        usual += ["dhcp-range=fd77::,ra-only", f"ra-param={self.rack.bridge},5,0"]
        return "".join(f"{line}\n" for line in [*usual, *lines])

    def _serve(self) -> None:
        environment = {
            **os.environ, "PYTHONPATH": str(_REPOSITORY), "SRETOOLKIT_STORE_URL": self.config["store.url"],
            "SRETOOLKIT_JOURNAL_KEYS": self.config["journal.keys"], "SRETOOLKIT_PROVISION_URL": self.api,
            "SRETOOLKIT_PROVISION_FOLDER": self.config["provision.folder"],
            "SRETOOLKIT_PROVISION_CONSOLES": json.dumps([self.consoles]),
        }  # fmt: skip
        command = [sys.executable, "-m", "sretoolkit", "serve", "--address", "0.0.0.0", "--port", str(_PORT)]
        whole = self.rack.command(command, place=self._place)
        self.server = Process(self.folder, "server", whole, environment=environment)
        self.wait(self._answers, timeout=60)

    def _answers(self) -> bool:
        if self.server.child.poll() is not None:
            raise RuntimeError(f"the server ended: {self.server.log.read_text()[-3000:]}")
        asked = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--max-time", "5", f"{self.api}/healthz"]
        return self.rack.run(asked, place=self._place, check=False) == "200"
