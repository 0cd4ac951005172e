"""What booting machines ask and are answered, without any web framework: a request in, a response out, in one transaction.

The contract is written down in docs/provisioning.md ("How a machine speaks"). `server/` routes requests to `Desk.answer`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from sretoolkit.config import Config
from sretoolkit.errors import IdentityConflict, ProvisionError
from sretoolkit.plan.control import EVERY_RUN
from sretoolkit.provision import orders, seeds
from sretoolkit.provision.boots import next_boot
from sretoolkit.provision.check_in import STILL_THERE, Arrival, Crowded, Limits, digest_of, enter
from sretoolkit.provision.entries import Policy, is_file_name
from sretoolkit.provision.facts import MOST_BYTES
from sretoolkit.provision.node import Node
from sretoolkit.provision.registry import Registry, change, node_in, note
from sretoolkit.provision.task import task
from sretoolkit.store.store import Transaction

TEXT, EVERY = "text/plain; charset=utf-8", 2
_MOST_LOG = 64 * 1024


@dataclass(frozen=True)
class Request:
    """One request as the handlers see it; ``address`` is the peer's, ``headers`` are in lower case."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    address: str = ""

    def json(self) -> Any:
        """The body as JSON; raises `ProvisionError`."""
        if len(self.body) > MOST_BYTES:
            raise ProvisionError(f"a body of {len(self.body)} bytes is too large; at most {MOST_BYTES}")
        try:
            return msgspec.json.decode(self.body or b"{}")
        except (msgspec.DecodeError, RecursionError) as error:
            raise ProvisionError(f"the body is no JSON: {error}") from error

    @property
    def token(self) -> str:
        """What stands behind ``Authorization: Bearer``."""
        kind, _, token = self.headers.get("authorization", "").partition(" ")
        return token.strip() if kind.lower() == "bearer" else ""


@dataclass(frozen=True)
class Response:
    """What is answered: a body, or a file of this machine."""

    status: int = 200
    body: bytes = b""
    kind: str = TEXT
    headers: Mapping[str, str] = field(default_factory=dict)
    file: Path | None = None

    @classmethod
    def text(cls, text: str, status: int = 200, **headers: str) -> Response:
        """Plain text."""
        return cls(status, text.encode(), headers=headers)

    @classmethod
    def lines(cls, **values: Any) -> Response:
        """``key=value`` lines that a shell can read: all but ``A-Za-z0-9._:/+-`` is percent-encoded."""
        shown = {name: "" if value is None else quote(str(value), safe="._:/+-") for name, value in values.items()}
        return cls.text("".join(f"{name}={value}\n" for name, value in shown.items()))


class Desk:
    """Answers machines. One for a process; what it knows is in the store, so that any number may work side by side."""

    def __init__(self, registry: Registry, config: Config) -> None:
        self.registry = registry
        self.config = config
        self.url = str(config["provision.url"]).rstrip("/")
        self.folder = Path(config["provision.folder"])
        self.limits = Limits(int(config["provision.most_new"]), tuple(config["provision.match_on"]))
        self._routes: dict[tuple[str, str], Callable[[Transaction, Request], Response]] = {
            ("GET", "boot"): self._boot,
            ("POST", "checkin"): self._check_in,
            ("POST", "poll"): self._poll,
            ("POST", "stage"): self._stage,
            ("GET", "seed"): self._seed,
            ("POST", "installed"): self._installed,
            ("POST", "log"): self._log,
            ("GET", "inject"): self._inject,
        }

    def answer(self, tx: Transaction, request: Request) -> Response:
        """Answer what needs the store. Whatever is wrong with the request is said in its answer."""
        name, _, rest = request.path.removeprefix("/svc/").partition("/")
        route = self._routes.get((request.method, name)) if not rest or name == "inject" else None
        if route is None:
            known = any(name == other for _, other in self._routes)
            return Response.text("no such thing here\n", 405 if known else 404)
        try:
            return route(tx, request)
        except IdentityConflict as error:
            return Response.text(f"{error.message}\n", 409)
        except Crowded as error:
            return Response.text(f"{error.message}\n", 429, **{"Retry-After": "60"})
        except ProvisionError as error:
            return Response.text(f"{error.message}\n", 400)

    def file(self, request: Request) -> Response:
        """A file of a repository or of the microkernel: /svc/file/REPO/PATH, /svc/microkernel/ARCH/kernel. No store."""
        place = request.path.removeprefix("/svc/")
        kind, _, name = place.partition("/")
        folder = {"file": "repos", "microkernel": "microkernel", "loader": "loaders"}.get(kind)
        if request.method not in ("GET", "HEAD") or folder is None or not is_file_name(name):
            return Response.text("no such file\n", 404)
        root = (self.folder / folder).resolve()
        path = (root / name).resolve()
        if not path.is_relative_to(root) or not path.is_file():
            return Response.text("no such file\n", 404)
        return Response(file=path, kind="application/octet-stream")

    def base(self, request: Request) -> str:
        """How machines reach us: as configured, or as this one did."""
        return self.url or f"http://{request.headers.get('host', 'localhost')}"

    def _boot(self, tx: Transaction, request: Request) -> Response:
        return Response.text(next_boot(tx, self, request))

    def _check_in(self, tx: Transaction, request: Request) -> Response:
        arrival = Arrival.of(request.json(), request.address, raw=request.body)
        entered = enter(tx, arrival, self.registry.matcher(tx), self.limits)
        left = entered.booted and (orders.left_rescue(tx, entered.node) or orders.missed_installer(tx, entered.node))
        node = node_in(tx, entered.node.id) if left else entered.node
        told = self._told(tx, node, self.base(request))
        if left and node.state in ("installed", "retired"):
            told["action"] = (
                "reboot"  # its loader could not ask what to boot; by now the loader's file says its own disk
            )
        return Response.lines(node=entered.node.id, token=entered.token, **told)

    def _poll(self, tx: Transaction, request: Request) -> Response:
        node = self._who(tx, request)
        return _unknown() if node is None else Response.lines(**self._told(tx, node, self.base(request)))

    def _stage(self, tx: Transaction, request: Request) -> Response:
        node = self._who(tx, request)
        if node is None:
            return _unknown()
        order, stage = request.query.get("order", ""), request.query.get("name", "")
        report = request.json()
        if node.order != order:
            return Response.text(f"{order} is not (or no longer) an order of this machine\n", 409)
        if stage == "accepted" and (reason := self._halted(tx) or node.held or self._full(tx)):
            return Response.text(f"not now: {reason}\n", 409)
        try:
            orders.advance(tx, order, stage, report if isinstance(report, Mapping) else {})
        except ProvisionError as error:
            return Response.text(f"{error.message}\n", 409)
        return Response.text("ok\n")

    def _seed(self, tx: Transaction, request: Request) -> Response:
        node = self._who(tx, request)
        if node is None:
            return _unknown()
        order = orders.order_in(tx, request.query.get("order", ""))
        if node.order != order.id or order.state not in ("verified", "accepted"):
            return Response.text(f"the order {order.id} is {order.state}: it has no seed now\n", 409)
        seed = seeds.made(order, node, self._policy(order.policy), self.base(request))
        files = task(order.task, self.config["provision.tasks"]).files("seed", seed.values)
        tx.execute(
            "UPDATE provision_orders SET token = :token WHERE id = :id", token=digest_of(seed.token), id=order.id
        )
        change(tx, node.id, host_key=seed.host_key)
        note(tx, node.id, "seed-given", order=order.id, host_key=seed.host_key)
        return Response(body=seeds.tar_of(files), kind="application/x-tar")

    def _inject(self, tx: Transaction, request: Request) -> Response:
        """A file for an installer (its preseed, its kickstart): to the machine that was sent there, at its address.

        An installer that was started without a word of its order asks for ``mine``: the address says which it is.
        """
        _, order_id, name = [*request.path.removeprefix("/svc/").split("/", 2), "", ""][:3]
        mine = order_id == "mine"
        if mine:
            sql = "SELECT n.order_id FROM provision_nodes n JOIN provision_boots b ON b.node = n.id WHERE b.address = :address"
            rows = tx.execute(f"{sql} AND n.order_id <> ''", address=request.address)
            order_id = rows[0]["order_id"] if len(rows) == 1 else ""
        order = orders.order_in(tx, order_id)
        rows = tx.execute("SELECT address FROM provision_boots WHERE node = :node", node=order.node)
        how = task(order.task, self.config["provision.tasks"])
        known = name in how.inject and (how.fetched or not mine)
        if order.state != "accepted" or not known or not rows or rows[0]["address"] != request.address:
            note(tx, order.node, "inject-refused", file=name[:100], address=request.address)
            return Response.text("this file is not for you, or not now\n", 403)
        seed = seeds.made(order, node_in(tx, order.node), self._policy(order.policy), self.base(request))
        text = how.render(how.inject[name], seed.values)
        if seed.token in text:  # another file of the same order leaves the token good
            sql = "UPDATE provision_orders SET token = :token WHERE id = :id"
            tx.execute(sql, token=digest_of(seed.token), id=order.id)
            change(tx, order.node, host_key=seed.host_key)
        return Response.text(text)

    def _installed(self, tx: Transaction, request: Request) -> Response:
        rows = tx.execute(
            "SELECT id FROM provision_orders WHERE token = :token AND token <> ''", token=digest_of(request.token)
        )
        if not request.token or not rows:
            note(tx, "", "callback-refused", address=request.address)
            return _unknown()
        report = request.json()
        order = orders.advance(tx, rows[0]["id"], "finished", report if isinstance(report, Mapping) else {})
        change(tx, order.node, address=request.address)
        return Response.text("ok\n")

    def _log(self, tx: Transaction, request: Request) -> Response:
        node = self._who(tx, request)
        if node is None:
            return _unknown()
        text = request.body[:_MOST_LOG].decode("utf-8", "replace")
        note(
            tx,
            node.id,
            "log",
            text="\n".join("".join(c if c.isprintable() else " " for c in line) for line in text.splitlines()),
        )
        return Response.text("ok\n")

    def _who(self, tx: Transaction, request: Request) -> Node | None:
        """The machine whose boot has this token; its being there is written down every few seconds."""
        if not request.token:
            return None
        token = digest_of(request.token)
        rows = tx.execute("SELECT node, {now} - at AS silent FROM provision_boots WHERE token = :token", token=token)
        if not rows:
            return None
        if rows[0]["silent"] > STILL_THERE / 3:
            tx.execute("UPDATE provision_boots SET at = {now} WHERE token = :token", token=token)
        return node_in(tx, rows[0]["node"])

    def _told(self, tx: Transaction, node: Node, base: str) -> dict[str, Any]:
        """What a machine is to do now."""
        wait = {"action": "wait", "every": EVERY}
        if not node.order or node.held or self._halted(tx):
            return wait
        order = orders.order_in(tx, node.order)
        if order.state == "rebooting" and order.kind == "install":
            return {"action": "reboot", "every": EVERY}
        if order.state == "ordered" and order.kind != "rescue" and not self._turn(tx, order):
            return wait
        meant = {f"expect_{name}": order.hardware.get(name) for name in ("uuid", "serial")}
        meant["expect_mac"] = next(iter(order.hardware.get("mac") or ()), "")
        meant |= {f"disk_{name}": order.disk.get(name) for name in ("serial", "name", "bytes", "fingerprint")}
        if order.kind == "wipe":
            return {"action": "wipe", "every": EVERY, "order": order.id, **meant}
        if order.kind == "rescue":
            if order.state == "ordered":
                orders.advance(tx, order.id, "accepted", {})
            return {"action": "rescue", "every": EVERY}
        if order.kind in ("installer", "boot"):
            return self._to_installer(tx, node_in(tx, node.id), order)
        repo = orders.repo_in(tx, order.repo)
        return {
            "action": "install", "every": EVERY, "order": order.id,
            "image": f"{base}/svc/file/{repo.name}/{repo.image}", "image_format": repo.image_format,
            "image_sha256": repo.image_sha256, "image_bytes": repo.image_bytes, **meant,
            "seed": "yes" if repo.seed_partition else "no", "seed_partition": repo.seed_partition,
            "seed_path": repo.seed_path, "then": order.then,
        }  # fmt: skip

    def _to_installer(self, tx: Transaction, node: Node, order: orders.Order) -> dict[str, Any]:
        """An installer checks nothing by itself: the machine and its disk are compared here, in the boot before it."""
        disk = next((disk for disk in node.disks if disk.get("name") == order.disk.get("name")), {})
        wrong = [name for name, value in order.disk.items() if disk.get(name) != value]
        if node.hardware.to_dict() != dict(order.hardware) or wrong:
            reason = f"the disk's {wrong[0]} is not what was ordered" if wrong else "the machine is not the one ordered"
            orders.advance(tx, order.id, "refused", {"reason": reason})
            return {"action": "wait", "every": EVERY}
        if order.state == "ordered":
            orders.advance(tx, order.id, "accepted", {})
        return {"action": "reboot", "every": EVERY}

    def _turn(self, tx: Transaction, order: orders.Order) -> bool:
        """Whether it is this order's turn: the oldest ones of machines that are there come first."""
        free = int(self.config["provision.most_installs"]) - self._running(tx)
        if free <= 0:
            return False
        rows = tx.execute(
            "SELECT o.id FROM provision_orders o JOIN provision_boots b ON b.node = o.node WHERE o.state = 'ordered' "
            "AND o.kind <> 'rescue' AND b.at > {now} - :there ORDER BY o.number LIMIT :free",
            there=STILL_THERE, free=free,
        )  # fmt: skip
        return order.id in {row["id"] for row in rows}

    def _full(self, tx: Transaction) -> str:
        most = int(self.config["provision.most_installs"])
        return "" if self._running(tx) < most else f"{most} machines are being installed"

    def _running(self, tx: Transaction) -> int:
        states = ", ".join(f"'{state}'" for state in orders.RUNNING)
        sql = f"SELECT count(*) AS count FROM provision_orders WHERE state IN ({states}) AND kind <> 'rescue'"
        rows = tx.execute(sql)
        return int(rows[0]["count"])

    def _halted(self, tx: Transaction) -> str:
        """Who has stopped everything (`sretoolkit control "*" stop`); "" when nobody has."""
        rows = tx.execute(
            "SELECT verb, actor, reason FROM controls WHERE run = :all ORDER BY id DESC LIMIT 1", all=EVERY_RUN
        )
        return f"{rows[0]['actor']} has stopped everything" if rows and rows[0]["verb"] == "stop" else ""

    def _policy(self, name: str) -> Policy:
        found = self.registry.policies().get(name)
        if found is None:
            raise ProvisionError(f"there is no policy {name!r} any more", subject=name)
        return found


def _unknown() -> Response:
    return Response.text("this token is not (or no longer) valid: check in again\n", 401)
