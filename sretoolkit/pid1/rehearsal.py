"""The stop rehearsal: a clone of a container, without network, is stopped instead of the container itself."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from datetime import timedelta
from importlib.resources import files
from typing import Any

from sretoolkit.config import Config
from sretoolkit.errors import HostError, PlanError
from sretoolkit.hosts import Host, connect
from sretoolkit.pid1.containers import ContainerStep
from sretoolkit.pid1.engine import Engine
from sretoolkit.pid1.signals import name as signal_name
from sretoolkit.pid1.signals import number
from sretoolkit.pid1.workload import remedy
from sretoolkit.plan import Context, Plan
from sretoolkit.plan.plan import Outcome
from sretoolkit.plan.step import World, shown
from sretoolkit.report import Finding, Report, Table

_KEPT = (
    "CapAdd", "CapDrop", "CgroupParent", "CpuQuota", "CpuPeriod", "CpuShares", "CpusetCpus", "Init", "IpcMode", "Memory",
    "MemorySwap", "PidsLimit", "ReadonlyRootfs", "Runtime", "SecurityOpt", "ShmSize", "Sysctls", "Tmpfs", "Ulimits",
    "GroupAdd", "LogConfig", "UsernsMode", "CgroupnsMode", "MaskedPaths", "ReadonlyPaths",
)  # fmt: skip
KILLED = 137  # 128 + SIGKILL
_BY_KILL = 9  # a wait status: ended by SIGKILL


def rehearse_stop(
    host_name: str, container: str, *, settle: timedelta = timedelta(seconds=5), config: Config | None = None
) -> Plan:
    """A plan that starts a clone of a Docker container, stops it after ``settle``, measures how it ends, and removes it.

    The clone has the same image, command, environment and limits, but no network, no devices, and only read-only views of
    the volumes; sockets that are mounted are left out. Its startup code runs: that is what the plan shows and asks for.
    Raises `PlanError` for a privileged container and one that shares namespaces with others.
    """
    with connect(host_name, config) as host:
        engine = Engine(host)
        found = engine.known(container)
        _refuse(found, host_name)
        clone = f"{container}.rehearsal"
        if engine.inspect(clone) is not None:
            hint = f"another rehearsal, or what is left of one? docker rm -f {clone}"
            raise PlanError(f"{host_name} has a container {clone} already", hint=hint)
        sockets = _sockets(host, found)
    grace = found["Config"].get("StopTimeout")
    about: dict[str, Any] = {
        "host": host_name,
        "container": container,
        "clone": clone,
        "left_out": tuple(sockets),
        "grace": 10.0 if grace is None else float(grace),
    }
    signal = signal_name(str(found["Config"].get("StopSignal") or "SIGTERM"))
    return Plan(
        f"Rehearse stopping {container} on {host_name}",
        [MakeClone(**about), StopClone(**about, settle=settle, signal=signal)],
    )


@dataclass(frozen=True, kw_only=True)
class MakeClone(ContainerStep):
    """Make the clone; it is not started."""

    before: str = "absent"
    after: str = "made"
    clone: str
    left_out: tuple[str, ...] = ()

    def describe(self) -> str:
        """What the clone is without."""
        out = f"; left out: {', '.join(self.left_out)}" if self.left_out else ""
        return f"on {self.host} make {self.clone}, like {self.container} but without network, volumes read-only{out}"

    def observe(self, ctx: Context) -> str:
        """Whether the clone is there."""
        return "absent" if self.engine(ctx).inspect(self.clone) is None else "made"

    def do(self, ctx: Context) -> None:
        """Make it."""
        self.make(ctx)

    def make(self, ctx: Context) -> None:
        """Tell the engine to make the clone."""
        engine = self.engine(ctx)
        body = _body(engine.known(self.container), self.left_out)
        engine.call("POST", "/containers/create", body, name=self.clone, timeout=ctx.remaining())

    def undo(self, ctx: Context) -> None:
        """Remove it, with the volumes that were made for it."""
        self.engine(ctx).remove(self.clone, volumes=True)

    def by_hand(self) -> str:
        """The command that removes it."""
        return f"on {self.host}: docker rm -f -v {self.clone}"


@dataclass(frozen=True, kw_only=True)
class StopClone(MakeClone):
    """Start the clone, stop it, see how it ended, and remove it: it is there before and gone after."""

    before: str = "made"
    after: str = "absent"
    settle: timedelta
    signal: str = shown(default="SIGTERM")

    @property
    def deadline(self) -> timedelta:  # type: ignore[override]
        """The grace period and the time to settle come on top."""
        return super().deadline + self.settle

    def describe(self) -> str:
        """What is measured."""
        seconds = self.settle.total_seconds()
        how = f"stop it by {self.signal} after {seconds:g} s, remove it"
        return f"on {self.host} start {self.clone} (its startup code runs), {how}"

    def verify(self, ctx: Context) -> tuple[World, Any]:
        """As any step, with what was measured."""
        world, seen = super().verify(ctx)
        measured = self._measured(ctx)
        return world, (measured if measured and world is World.AFTER else seen)

    def do(self, ctx: Context) -> None:
        """Start, wait, stop, remove; raises `HostError` when it ends before it is told to."""
        engine = self.engine(ctx)
        try:
            engine.start(self.clone, settle=self.settle.total_seconds(), timeout=ctx.remaining())
        except HostError as error:
            hint = "it may need its network or a volume that it can write: a rehearsal cannot tell how it stops"
            raise HostError(error.message, host=self.host, hint=hint) from error
        began = time.monotonic()
        lost = self._stop(engine, ctx)
        took = time.monotonic() - began
        exit_code = int(engine.known(self.clone)["State"]["ExitCode"])
        engine.remove(self.clone, volumes=True)
        told = {
            "exit": exit_code,
            "seconds": round(took, 2),
            "killed": exit_code == KILLED and took >= self.grace,
            "lost": lost,
            "signal": self.signal,
            "grace": self.grace,
        }
        self._measured(ctx).update(told)

    def _stop(self, engine: Engine, ctx: Context) -> list[str] | None:
        """Stop it; who wanted to be told and was killed when the first process ended, None where nobody could watch."""
        first = str(engine.known(self.clone)["State"]["Pid"])
        program = files("sretoolkit.pid1").joinpath("ends.py").read_text(encoding="utf-8")
        stop = ["docker", "stop", "-t", str(round(self.grace)), self.clone]
        command = ["python3", "-c", program, first, str(number(self.signal)), *stop]
        done = engine.host.run(command, timeout=ctx.remaining(), check=False)
        try:
            seen = json.loads(done.stdout)
            ends = [(str(name), bool(own), bool(takes), status) for name, own, takes, status in seen["ends"]]
        except (ValueError, TypeError, KeyError):
            engine.stop(self.clone, self.grace)  # no python3, not root, or no events: then it is only stopped
            return None
        if seen["code"]:
            raise HostError(f"{self.host}: {self.clone} cannot be stopped: {seen['said']}", host=self.host)
        return sorted({name for name, own, takes, status in ends if takes and not own and status == _BY_KILL})

    def undo(self, ctx: Context) -> None:
        """Make the clone again, which the step before it removes."""
        self.make(ctx)

    def _measured(self, ctx: Context) -> dict[str, Any]:
        found: dict[str, Any] = ctx.use(("rehearsal", self.host, self.clone), dict)
        return found


def rehearsed(outcome: Outcome) -> Report:
    """How the clone stopped, from the plan's outcome."""
    found = outcome.seen[-1] if outcome.seen and isinstance(outcome.seen[-1], dict) else None
    if found is None:
        summary = "not rehearsed: the plan was not carried out" if outcome.state == "planned" else "it was not measured"
        return Report(
            outcome.title, [Finding(severity="info", subject=outcome.title, summary=summary, rule="rehearsal")]
        )
    rows = [(found["signal"], found["exit"], f"{found['seconds']:.2f} s", f"{found['grace']:g} s")]
    table = Table("", ("stop signal", "exit code", "took", "grace period"), rows)
    return Report(outcome.title, [_told(outcome.title, found)], [table])


def _told(title: str, found: Mapping[str, Any]) -> Finding:
    signal = found["signal"]
    if found["killed"]:
        cure = remedy("handle", what="the program", signal=signal)
        return Finding(
            severity="high",
            subject=title,
            summary=f"{signal} did not stop it: it was killed after {found['grace']:g} s",
            remedy=f"{cure}; or {remedy('init')}",
            rule="stop-observed",
        )
    stopped = f"{signal} stopped it within {found['seconds']:.1f} s (exit code {found['exit']})"
    if found["lost"]:
        names = ", ".join(found["lost"])
        return Finding(
            severity="high",
            subject=title,
            summary=f"{stopped}, but {names} behind it was killed: not told, or while it shut down",
            evidence=f"the kernel reports SIGKILL as the end of {names}, which takes {signal} itself",
            remedy=remedy("exec"),
            rule="stop-not-passed-on",
        )
    unseen = "" if found["lost"] is not None else "; how the processes behind it ended could not be watched from here"
    return Finding(severity="info", subject=title, summary=stopped + unseen, rule="stop-observed")


def _body(found: Mapping[str, Any], left_out: tuple[str, ...]) -> dict[str, Any]:
    """The request that makes the clone: only what is known to be harmless is kept."""
    config = deepcopy(dict(found["Config"]))
    config["Labels"] = {"sretoolkit.rehearsal": str(found["Name"]).lstrip("/")}  # no orchestrator takes it for its own
    config.pop("Hostname", None)
    config.pop("ExposedPorts", None)
    config["Healthcheck"] = {"Test": ["NONE"]}
    limits = {key: found["HostConfig"][key] for key in _KEPT if found["HostConfig"].get(key) not in (None, "", [], {})}
    limits["NetworkMode"] = "none"
    limits["RestartPolicy"] = {"Name": "no"}
    limits["Binds"] = [
        f"{mount['Name'] if mount['Type'] == 'volume' else mount['Source']}:{mount['Destination']}:ro"
        for mount in found.get("Mounts") or ()
        if mount["Type"] in ("bind", "volume") and mount.get("Source") not in left_out
    ]
    return {**config, "HostConfig": limits}


def _sockets(host: Host, found: Mapping[str, Any]) -> list[str]:
    """Sockets that are mounted: through them a clone could reach the world."""
    sources = [str(mount["Source"]) for mount in found.get("Mounts") or () if mount["Type"] == "bind"]
    script = 'for path; do [ ! -S "$path" ] || printf "%s\\n" "$path"; done'
    return host.run(["sh", "-c", script, "sh", *sources], timeout=30).stdout.splitlines() if sources else []


def _refuse(found: Mapping[str, Any], host: str) -> None:
    limits, name = found["HostConfig"], str(found["Name"]).lstrip("/")
    if limits.get("Privileged"):
        raise PlanError(
            f"{name} on {host} is privileged: a clone could reach beyond itself", hint="rehearse in a test stage"
        )
    for key in ("PidMode", "IpcMode", "UTSMode"):
        if str(limits.get(key) or "").startswith(("host", "container:")):
            hint = "rehearse in a test stage"
            raise PlanError(f"{name} on {host} shares namespaces ({key} {limits[key]}): a clone would too", hint=hint)
