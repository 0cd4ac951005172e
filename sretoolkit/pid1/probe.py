"""The reap probe: an orphan is made in a PID namespace, and one sees whether its first process takes care of it."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from sretoolkit.config import Config
from sretoolkit.errors import HostError, PlanError
from sretoolkit.hosts import Host, connect, host_of
from sretoolkit.pid1.init import kind_of, reaps
from sretoolkit.pid1.look import look
from sretoolkit.pid1.workload import remedy
from sretoolkit.plan import Context, Plan, Step
from sretoolkit.plan.plan import Outcome
from sretoolkit.plan.step import World, shown
from sretoolkit.report import Finding, Report, Severity

_PATIENCE = 3  # seconds after which an orphan that is dead still is not going to be reaped


def probe_reaping(host_name: str, container: str, *, config: Config | None = None) -> Plan:
    """A plan that makes one orphan in a container's PID namespace and watches it; nothing of the container is executed.

    Without steps where zombies already prove that it does not reap. Where it does not, one zombie more stays until the
    container is restarted; a program that counts its children naively (a prefork server around a bare ``wait``) may start
    a worker too many. Raises `HostError` when the container is not seen, `PlanError` when we are not root there.
    """
    with connect(host_name, config) as host:
        found = look(host)
        init = found.named(container).init
        if any(group.stayed and group.parent == init.process for group in init.zombies):
            return Plan(f"{container} on {host_name}: its zombies prove already that it does not reap", [])
        if found.machine.uid != 0:
            hint = "look as root, or make an orphan by hand: docker exec NAME sh -c 'sleep 1 &'"
            raise PlanError(f"entering the PID namespace of {container} on {host_name} needs root", hint=hint)
        started = _started(host, init.process.pid)
    answer, why = reaps(init, kind_of(init)[1])
    step = ReapProbe(
        host=host_name, container=container, pid=init.process.pid, started=started, expected=f"{answer}: {why}"
    )
    return Plan(f"Reap probe of {container} on {host_name}", [step], on_failure="hold")


@dataclass(frozen=True, kw_only=True)
class ReapProbe(Step):
    """Make an orphan and watch it."""

    irreversible = True

    before: str = "not probed"
    after: str = "probed"
    host: str
    container: str
    pid: int = shown()
    started: str = shown()
    expected: str = shown(default="")

    @property
    def target(self) -> str:
        """``container:HOST/NAME``."""
        return f"container:{self.host}/{self.container}"

    def describe(self) -> str:
        """What it may leave behind."""
        return (
            f"on {self.host} make one orphan in the PID namespace of {self.container} (pid {self.pid}); if it is not "
            "reaped, one zombie stays, and a naive prefork server may start a worker too many"
        )

    def observe(self, ctx: Context) -> str:
        """Whether it was probed: nobody can see that later."""
        return self.before

    def verify(self, ctx: Context) -> tuple[World, Any]:
        """Done once this process has an answer."""
        answer = self._answers(ctx)
        return (World.AFTER, answer[0]) if answer else (World.BEFORE, self.before)

    def do(self, ctx: Context) -> None:
        """Make the orphan; raises `HostError` when the first process is another one by now, or may not be entered."""
        host = host_of(ctx, self.host)
        script = files("sretoolkit.pid1").joinpath("reap.sh").read_text(encoding="utf-8")
        command = ["sh", "-c", script, "sh", str(self.pid), self.started, str(_PATIENCE)]
        said = host.run(command, timeout=ctx.remaining()).stdout.split()
        word = said[0] if said else ""
        if word not in ("reaped", "zombie", "taken"):
            what = {"gone": "is not there any more", "denied": "may not be entered"}.get(word, "gave no answer")
            raise HostError(
                f"{self.host}: the first process of {self.container} {what}", host=self.host, hint="look again"
            )
        self._answers(ctx).append({"orphan": word, "seconds": float(said[1]) if len(said) > 1 else None})

    def undo(self, ctx: Context) -> None:
        """There is nothing that could be taken back: a zombie stays until its parent waits or ends."""

    def _answers(self, ctx: Context) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = ctx.use(("reap probe", self.host, self.container), list)
        return found


def reaping(outcome: Outcome) -> Report:
    """What a reap probe found, from its outcome."""
    found = outcome.seen[0] if outcome.seen and isinstance(outcome.seen[0], dict) else None
    title = outcome.title
    if found is None:
        summary = "not probed" if outcome.rows else "not probed: its zombies prove already that it does not reap"
        return Report(title, [Finding(severity="info", subject=title, summary=summary, rule="reap-probe")])
    said = {
        "reaped": f"an orphan was reaped within {found['seconds'] or 0:.2f} s",
        "taken": "another process (a subreaper) adopted the orphan",
        "zombie": f"an orphan stays as a zombie (watched for {found['seconds'] or 0:.0f} s)",
    }
    stays = found["orphan"] == "zombie"
    cure = remedy("init") if stays else ""
    severity: Severity = "high" if stays else "info"
    return Report(
        title,
        [Finding(severity=severity, subject=title, summary=said[found["orphan"]], remedy=cure, rule="reap-probe")],
    )


def _started(host: Host, pid: int) -> str:
    """Field 22 of a process's stat: with its pid it is that process and no other."""
    stat = host.read_text(f"/proc/{pid}/stat")
    return stat.rpartition(")")[2].split()[19]
