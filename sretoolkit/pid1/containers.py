"""Changes of one Docker container, each a step that can be taken back: copy, stop and start, rename, limit, restart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal
from urllib.parse import quote

from sretoolkit.errors import HostError
from sretoolkit.hosts import host_of
from sretoolkit.pid1.copying import body, difference, networks
from sretoolkit.pid1.engine import Engine
from sretoolkit.plan import Context, Step
from sretoolkit.plan.step import shown

_MARGIN = timedelta(minutes=2)  # beyond a grace period, for the engine and for getting healthy


@dataclass(frozen=True, kw_only=True)
class ContainerStep(Step):
    """Something about one container of one host."""

    host: str
    container: str
    grace: float = 10.0

    @property
    def deadline(self) -> timedelta:  # type: ignore[override]
        """Long enough for the container's own grace period."""
        return timedelta(seconds=self.grace) + _MARGIN

    @property
    def target(self) -> str:
        """``container:HOST/NAME``; a copy and what is kept are leased with the container itself."""
        return f"container:{self.host}/{self.container}"

    def engine(self, ctx: Context) -> Engine:
        """The engine of the host."""
        return Engine(host_of(ctx, self.host))


@dataclass(frozen=True, kw_only=True)
class MakeCopy(ContainerStep):
    """Make a container like another one, but for ``change``; it is not started."""

    before: str = "absent"
    after: str = "made"
    copy: str
    change: Mapping[str, str | bool]
    differs: tuple[str, ...] = shown(default=())

    def describe(self) -> str:
        """The copy and what is different about it."""
        return f"on {self.host} make {self.copy}, a copy of {self.container} with {'; '.join(self.differs)}"

    def observe(self, ctx: Context) -> str:
        """Whether the copy is there."""
        return "absent" if self.engine(ctx).inspect(self.copy) is None else "made"

    def do(self, ctx: Context) -> None:
        """Make it, in the same networks."""
        engine = self.engine(ctx)
        found = engine.known(self.container)
        engine.call("POST", "/containers/create", body(found, self.change), name=self.copy, timeout=ctx.remaining())
        for network, wanted in list(networks(found).items())[1:]:
            asked = {"Container": self.copy, "EndpointConfig": wanted}
            engine.call("POST", f"/networks/{quote(network)}/connect", asked, timeout=ctx.remaining())

    def undo(self, ctx: Context) -> None:
        """Remove it; volumes stay."""
        self.engine(ctx).remove(self.copy)

    def by_hand(self) -> str:
        """The command that removes it."""
        return f"on {self.host}: docker rm {self.copy}"


@dataclass(frozen=True, kw_only=True)
class SetRunning(ContainerStep):
    """Stop a container (its own stop signal and grace period), or start it and wait until it is well."""

    before: Literal["runs", "stopped"]
    after: Literal["runs", "stopped"]
    which: str

    def describe(self) -> str:
        """Stop or start."""
        return f"on {self.host} {'start' if self.after == 'runs' else 'stop'} {self.which}"

    def observe(self, ctx: Context) -> str | None:
        """Whether it runs; None when there is no such container."""
        found = self.engine(ctx).inspect(self.which)
        return ("runs" if found["State"]["Running"] else "stopped") if found else None

    def do(self, ctx: Context) -> None:
        """Bring it about."""
        self._make(ctx, running=self.after == "runs")

    def undo(self, ctx: Context) -> None:
        """The other way round."""
        self._make(ctx, running=self.before == "runs")

    def by_hand(self) -> str:
        """The command that restores it."""
        return f"on {self.host}: docker {'start' if self.before == 'runs' else 'stop'} {self.which}"

    def _make(self, ctx: Context, *, running: bool) -> None:
        engine = self.engine(ctx)
        if running:
            engine.start(self.which, timeout=ctx.remaining() / 2)
        else:
            engine.stop(self.which, self.grace)


@dataclass(frozen=True, kw_only=True)
class Rename(ContainerStep):
    """Give a container another name; ``before`` and ``after`` are the names."""

    before: str
    after: str

    def describe(self) -> str:
        """Both names."""
        return f"on {self.host} rename {self.before} to {self.after}"

    def observe(self, ctx: Context) -> str | None:
        """Which of the two names is taken; None when both are, or neither."""
        engine = self.engine(ctx)
        taken = [name for name in (self.before, self.after) if engine.inspect(name) is not None]
        return taken[0] if len(taken) == 1 else None

    def do(self, ctx: Context) -> None:
        """Rename it."""
        self._rename(ctx, self.before, self.after)

    def undo(self, ctx: Context) -> None:
        """Rename it back."""
        self._rename(ctx, self.after, self.before)

    def by_hand(self) -> str:
        """The command that renames it back."""
        return f"on {self.host}: docker rename {self.after} {self.before}"

    def _rename(self, ctx: Context, old: str, new: str) -> None:
        self.engine(ctx).call("POST", f"/containers/{quote(old)}/rename", name=new, timeout=ctx.remaining())


@dataclass(frozen=True, kw_only=True)
class SetRestartPolicy(ContainerStep):
    """When the engine starts a container by itself: no, always, on-failure, unless-stopped."""

    before: str
    after: str
    which: str

    def describe(self) -> str:
        """The change in one line."""
        return f"on {self.host} let the engine restart {self.which}: {self.after} (was {self.before})"

    def observe(self, ctx: Context) -> str | None:
        """The policy's name."""
        found = self.engine(ctx).inspect(self.which)
        return str(found["HostConfig"]["RestartPolicy"]["Name"] or "no") if found else None

    def do(self, ctx: Context) -> None:
        """Set it."""
        self._set(ctx, self.after)

    def undo(self, ctx: Context) -> None:
        """Set the old one."""
        self._set(ctx, self.before)

    def by_hand(self) -> str:
        """The command that restores it."""
        return f"on {self.host}: docker update --restart={self.before} {self.which}"

    def _set(self, ctx: Context, policy: str) -> None:
        asked = {"RestartPolicy": {"Name": policy}}
        self.engine(ctx).call("POST", f"/containers/{quote(self.which)}/update", asked, timeout=ctx.remaining())


@dataclass(frozen=True, kw_only=True)
class SetPidsLimit(ContainerStep):
    """How many processes and threads a container may have; 0 = as many as it likes."""

    before: int
    after: int

    def describe(self) -> str:
        """The change in one line."""
        return f"on {self.host} limit {self.container} to {_count(self.after)} (was {_count(self.before)})"

    def observe(self, ctx: Context) -> int:
        """The limit that the engine keeps for it."""
        return limit_of(self.engine(ctx).known(self.container))

    def do(self, ctx: Context) -> None:
        """Set it; the container goes on."""
        self._set(ctx, self.after)

    def undo(self, ctx: Context) -> None:
        """Set the old one."""
        self._set(ctx, self.before)

    def by_hand(self) -> str:
        """The command that restores it."""
        return f"on {self.host}: docker update --pids-limit {self.before or -1} {self.container}"

    def _set(self, ctx: Context, limit: int) -> None:
        asked = {"PidsLimit": limit or -1}
        self.engine(ctx).call("POST", f"/containers/{quote(self.container)}/update", asked, timeout=ctx.remaining())


@dataclass(frozen=True, kw_only=True)
class RestartContainer(ContainerStep):
    """Stop a container and start it again: what it held in memory is gone."""

    irreversible = True

    before: str
    after: str = "restarted"

    def describe(self) -> str:
        """Since when it runs."""
        return f"on {self.host} restart {self.container}, which runs since {self.before[:19]}"

    def observe(self, ctx: Context) -> str | None:
        """Since when it runs, or "restarted" once that is another time; None when it does not run."""
        state = self.engine(ctx).known(self.container)["State"]
        if not state["Running"]:
            return None
        return self.before if state["StartedAt"] == self.before else "restarted"

    def do(self, ctx: Context) -> None:
        """Stop and start it, and wait until it is well."""
        engine = self.engine(ctx)
        engine.stop(self.container, self.grace)
        engine.start(self.container, timeout=ctx.remaining() / 2)

    def undo(self, ctx: Context) -> None:
        """There is no way back: raises `HostError`."""
        raise HostError(f"{self.container} was restarted: that cannot be taken back", host=self.host)


def limit_of(found: Mapping[str, Any]) -> int:
    """The limit of process ids in an inspection; 0 = none."""
    return max(0, int(found["HostConfig"].get("PidsLimit") or 0))


def differs(found: Mapping[str, Any], change: Mapping[str, str | bool]) -> tuple[str, ...]:
    """What a copy would have different, for the plan."""
    return tuple(difference(found, change))


def _count(limit: int) -> str:
    return f"{limit} process ids" if limit else "no limit"
