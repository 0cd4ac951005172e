"""Cures as plans: an init or another stop signal for a container, room for process ids, a restart before they run out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from sretoolkit.config import Config
from sretoolkit.errors import PlanError
from sretoolkit.hosts import SetSysctl, connect, host_of
from sretoolkit.pid1.containers import (
    MakeCopy,
    Rename,
    RestartContainer,
    SetPidsLimit,
    SetRestartPolicy,
    SetRunning,
    differs,
    limit_of,
)
from sretoolkit.pid1.copying import refuse
from sretoolkit.pid1.engine import Engine
from sretoolkit.pid1.look import look
from sretoolkit.pid1.signals import name as signal_name
from sretoolkit.plan import Context, Gate, Plan, Verdict

_PID_MAX = "kernel.pid_max"
_HIGHEST = 4_194_304  # PID_MAX_LIMIT on 64 bits


def cure(
    host_name: str,
    container: str,
    what: Literal["init", "stop-signal", "limit"],
    *,
    stop_signal: str = "SIGTERM",
    limit: int = 512,
    config: Config | None = None,
) -> Plan:
    """The plan for one of the cures of a Docker container by name; raises as `recreate` and `limit_ids` do."""
    if what == "limit":
        return limit_ids(host_name, container, limit, config=config)
    if what == "init":
        return recreate(host_name, container, init=True, config=config)
    return recreate(host_name, container, stop_signal=stop_signal, config=config)


def recreate(
    host_name: str,
    container: str,
    *,
    init: bool | None = None,
    stop_signal: str | None = None,
    config: Config | None = None,
) -> Plan:
    """A plan that replaces a Docker container by a copy with an init or another stop signal, and all else as it was.

    The old one is stopped and kept as ``NAME.previous``, by which the plan is undone; remove it when all is well. Without
    steps when it is so already. Raises `PlanError` where a copy would not do, with what to do instead.
    """
    change: dict[str, str | bool] = {} if init is None else {"init": init}
    if stop_signal:
        change["stop_signal"] = signal_name(stop_signal)
    if not change:
        raise PlanError("nothing to change was given", hint="give init=True or stop_signal=")
    with connect(host_name, config) as host:
        engine = Engine(host)
        found = engine.known(container)
        refuse(found, host_name)
        lines = differs(found, change)
        if not lines:
            return Plan(f"{container} on {host_name} is so already", [])
        new, old = f"{container}.next", f"{container}.previous"
        for name in (new, old):
            if engine.inspect(name) is not None:
                hint = f"see what it is; then docker rm {name}"
                raise PlanError(f"{host_name} has a container {name} already, from an earlier change", hint=hint)
        lost = engine.call("GET", f"/containers/{container}/changes") or []
    grace = _grace(found)
    about: dict[str, Any] = {"host": host_name, "container": container}
    policy = str(found["HostConfig"]["RestartPolicy"]["Name"] or "no")
    notes: tuple[str, ...] = (f"{len(lost)} paths changed inside it stay behind in {old}",) if lost else ()
    if "com.docker.compose.project" in (found["Config"].get("Labels") or {}):
        notes += ("the Compose file must say the same, or its next `up` takes this back",)
    steps = [
        MakeCopy(**about, copy=new, change=change, differs=(*lines, *notes)),
        SetRunning(**about, before="runs", after="stopped", which=container, grace=grace),
        Rename(**about, before=container, after=old),
        *([SetRestartPolicy(**about, before=policy, after="no", which=old)] if policy != "no" else []),
        Rename(**about, before=new, after=container),
        SetRunning(**about, before="stopped", after="runs", which=container, grace=grace),
    ]
    return Plan(f"Recreate {container} on {host_name}", [*steps, *_gates(about, change)])


def limit_ids(host_name: str, container: str, limit: int, *, config: Config | None = None) -> Plan:
    """A plan that gives a Docker container a limit of process ids (threads count); it goes on running. Raises `PlanError`."""
    if limit < 1:
        raise PlanError(f"a limit of {limit} process ids lets nothing run", hint="give one of at least a few hundred")
    with connect(host_name, config) as host:
        before = limit_of(Engine(host).known(container))
    steps = [] if before == limit else [SetPidsLimit(host=host_name, container=container, before=before, after=limit)]
    return Plan(f"Limit the process ids of {container} on {host_name} to {limit}", steps)


def raise_pid_max(host_name: str, value: int, *, config: Config | None = None) -> Plan:
    """A plan that raises ``kernel.pid_max`` of a host until its next boot. Raises `PlanError` for less than it has."""
    if value > _HIGHEST:
        raise PlanError(f"{_PID_MAX} cannot be {value}", hint=f"{_HIGHEST} is the kernel's own limit")
    with connect(host_name, config) as host:
        step = SetSysctl.on(host, _PID_MAX, str(value))
    if int(step.before) > value:
        hint = "lowering it would make forks fail"
        raise PlanError(f"{host_name} has {_PID_MAX} {step.before} already", hint=hint)
    return Plan(f"Raise {_PID_MAX} of {host_name} to {value}", [] if step.before == step.after else [step])


def restart(host_name: str, container: str, *, config: Config | None = None) -> Plan:
    """A plan that restarts a Docker container whose process ids run out, and looks afterwards whether there is room.

    It cannot be taken back: running it needs the explicit yes. Raises `PlanError` when the container does not run.
    """
    with connect(host_name, config) as host:
        found = Engine(host).known(container)
    if not found["State"]["Running"]:
        raise PlanError(f"{container} on {host_name} does not run", hint=f"docker start {container}")
    about: dict[str, Any] = {"host": host_name, "container": container}
    step = RestartContainer(**about, before=str(found["State"]["StartedAt"]), grace=_grace(found))
    gate = Cured(**about, rules=("ids-low", "forks-failed"), horizon=timedelta(minutes=1))
    return Plan(f"Restart {container} on {host_name}", [step, gate], on_failure="hold")


@dataclass(frozen=True, kw_only=True)
class Cured(Gate):
    """Whether a container has none of these findings any more; a program that has just started is given time."""

    interval: timedelta = timedelta(seconds=2)
    horizon: timedelta = timedelta(seconds=30)

    host: str
    container: str
    rules: tuple[str, ...]

    def describe(self) -> str:
        """What must be gone."""
        return f"{self.container} on {self.host} has no finding {' or '.join(self.rules)}"

    def check(self, ctx: Context) -> Verdict:
        """Look at the host again."""
        found = {ruling.finding.rule for ruling in look(host_of(ctx, self.host)).about(self.container)}
        left = sorted(rule for rule in found if rule in self.rules)
        if left:
            return Verdict("continue", f"still found: {', '.join(left)}")
        return Verdict("passed", "none of them is found", {"findings": sorted(found)})


def _gates(about: Mapping[str, Any], change: Mapping[str, str | bool]) -> list[Gate]:
    rules = (
        ("stop-dropped", "stop-killed", "zombies-of-init", "reaping-latent")
        if "init" in change
        else ("stop-dropped", "stop-killed")
    )
    return [Cured(**about, rules=rules)]


def _grace(found: Mapping[str, Any]) -> float:
    given = found["Config"].get("StopTimeout")
    return 10.0 if given is None else float(given)
