"""What a plan waits for when a machine is installed: how far its order is, and that it answers by SSH as itself."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from sretoolkit.errors import SREToolkitError
from sretoolkit.hosts.host import host_of
from sretoolkit.plan import Context, Gate, Verdict
from sretoolkit.provision import orders
from sretoolkit.provision.steps import registry_of


@dataclass(frozen=True, kw_only=True)
class StageReached(Gate):
    """Waits until an order has come to a stage; fails when it was refused, failed or revoked."""

    order: str
    stage: str
    what: str
    interval: timedelta = timedelta(seconds=1)
    horizon: timedelta = timedelta(minutes=60)

    def describe(self) -> str:
        """What is waited for."""
        return self.what

    def check(self, ctx: Context) -> Verdict:
        """Look once."""
        rows = registry_of(ctx).store.read(
            "SELECT state, why, node, {now} - changed AS since FROM provision_orders WHERE id = :id", id=self.order
        )
        if not rows:
            return Verdict("failed", f"the order {self.order} is not there")
        state, why = rows[0]["state"], rows[0]["why"]
        evidence = {"stage": state, "since_s": round(rows[0]["since"], 1)}
        if state in orders.BAD:
            return Verdict("failed", f"{rows[0]['node']}: {state}{f': {why}' if why else ''}", evidence)
        if orders.STAGES.index(state) >= orders.STAGES.index(self.stage):
            return Verdict("passed", f"{state}", evidence)
        return Verdict("continue", f"it is {state}", evidence)


@dataclass(frozen=True, kw_only=True)
class AnswersBySSH(Gate):
    """Waits until a provisioned host lets us in, with the host key that was made for it, under its name."""

    host: str
    hostname: str
    interval: timedelta = timedelta(seconds=2)
    horizon: timedelta = timedelta(minutes=10)

    def describe(self) -> str:
        """Which host, and as whom."""
        return f"{self.host} answers by SSH with its own key, as {self.hostname}"

    def check(self, ctx: Context) -> Verdict:
        """Ask for its name; what does not answer yet is asked again, a wrong key is a failure at once."""
        try:
            result = host_of(ctx, self.host).run(["uname", "-n"], timeout=15)
        except SREToolkitError as error:
            answer = "failed" if "CHANGED" in error.message or "unknown host key" in error.message else "continue"
            return Verdict(answer, error.message)  # type: ignore[arg-type]
        name = result.stdout.strip()
        if name.partition(".")[0] != self.hostname.partition(".")[0]:
            return Verdict("failed", f"it says that it is {name!r}", {"name": name})
        return Verdict("passed", f"it is {name}", {"name": name, "seconds": round(result.elapsed, 3)})


@dataclass(frozen=True, kw_only=True)
class SeenSince(Gate):
    """Waits until a machine has checked in again."""

    node: str
    after: float
    interval: timedelta = timedelta(seconds=1)
    horizon: timedelta = timedelta(minutes=30)

    def describe(self) -> str:
        """Which machine."""
        return f"{self.node} boots from the network and says what it is"

    def check(self, ctx: Context) -> Verdict:
        """Look once."""
        rows = registry_of(ctx).store.read("SELECT at, address FROM provision_boots WHERE node = :node", node=self.node)
        if rows and rows[0]["at"] > self.after:
            return Verdict("passed", f"it speaks from {rows[0]['address']}")
        return Verdict("continue", "nothing yet")
