"""Plain hosts: a folder of releases, a link to the one that runs, a command that restarts the service, one that asks its health.

``FOLDER/releases/VERSION`` holds a release, ``FOLDER/current`` links to the one in use; releases are brought there by whatever
builds them. Hosts are changed one after the other, each healthy before the next; the old release stays for the way back.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar

from sretoolkit.clock import poll
from sretoolkit.errors import CommandFailed, ConfigError, HostError, PlanError, StepFailed
from sretoolkit.hosts.host import host_of
from sretoolkit.plan import Context
from sretoolkit.report import Finding
from sretoolkit.rollout.workload import CANDIDATE, STABLE, Found, Revision, Workload

_VERSION = re.compile(r"[\w.+-]+")
_BATCH = "hosts:"
_LINK = 'cd "$1" && test -d "releases/$2" && ln -sfn "releases/$2" current.new && mv -T current.new current'
_READ = 'cd "$1" 2>/dev/null && readlink current; true'
_LIST = 'cd "$1/releases" && ls -1t'


@dataclass(frozen=True, kw_only=True)
class Hosts(Workload):
    """``hosts`` serve the stable version, ``candidates`` (others) are those that a canary begins on.

    ``restart`` starts the service too, ``stop`` ends it (on a candidate that is given up); ``health`` exits with 0 once the
    service answers. All are run on the host itself, as the user that its connection has.
    """

    scales: ClassVar[bool] = False

    hosts: tuple[str, ...]
    folder: str
    restart: tuple[str, ...]
    health: tuple[str, ...]
    stop: tuple[str, ...] = ()
    candidates: tuple[str, ...] = ()
    ready_within: timedelta = timedelta(minutes=2)

    def __post_init__(self) -> None:
        if not self.hosts or not self.restart or not self.health:
            raise ConfigError(
                "a workload of hosts needs hosts, restart and health",
                hint='health = ["curl", "-fsS", "http://localhost/health"]',
            )
        if set(self.hosts) & set(self.candidates):
            raise ConfigError("a host is stable or a candidate, not both", hint="name other hosts as candidates")
        if self.candidates and not self.stop:
            raise ConfigError(
                "candidates need a stop command", hint="it ends the service on a candidate that is given up"
            )

    @property
    def target(self) -> str:
        """``hosts:FIRST,…/FOLDER``: the same for every plan on these hosts."""
        return f"hosts:{','.join(sorted(self.hosts))}{self.folder}"

    @property
    def carries_all(self) -> bool:
        """With as many candidates as hosts."""
        return len(self.candidates) >= len(self.hosts)

    @property
    def patience(self) -> timedelta:
        """One host after the other."""
        return self.ready_within * max(1, len(self.hosts), len(self.candidates))

    def label(self, track: str) -> str:
        """The hosts of a track."""
        names = self._hosts(track)
        return f"{', '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''}"

    def look(self, ctx: Context, version: str = "") -> Found:
        """Releases and links of every host; raises `PlanError` when one has not got the release, or they disagree."""
        seen = {name: self._version(ctx, name) for name in self.hosts}
        present = sorted({version or "nothing" for version in seen.values()})
        if len(present) > 1:
            told = "; ".join(f"{name}: {found or 'nothing'}" for name, found in sorted(seen.items()))
            hint = "end the rollout that left them so, or set them alike by a rolling rollout of one version"
            raise PlanError(f"the hosts do not run one version: {told}", hint=hint)
        lacking = [
            name for name in (*self.hosts, *self.candidates) if version and version not in self._releases(ctx, name)
        ]
        if lacking:
            hint = f"bring it to {self.folder}/releases/{version} there"
            raise PlanError(f"the release {version} is not on {', '.join(lacking)}", hint=hint)
        sick = [name for name in self.hosts if not self._healthy(ctx, name)]
        findings = [Finding(severity="high", subject=name, summary="is not healthy before the start") for name in sick]
        return Found(
            version=present[0], replicas=len(self.hosts), candidate=self.track(ctx, CANDIDATE), findings=findings
        )

    def track(self, ctx: Context, track: str) -> dict[str, Any] | None:
        """The version its hosts run (several with a + while it changes), None when none runs anything."""
        found = sorted({self._version(ctx, name) for name in self._hosts(track)})
        return {"version": "+".join(found)} if any(found) else None

    def set_track(self, ctx: Context, track: str, state: Mapping[str, Any] | None) -> None:
        """Host by host; one that runs it already and is healthy is left alone."""
        for name in self._hosts(track):
            if state is None:
                self._end(ctx, name)
            elif self._version(ctx, name) != state["version"] or not self._healthy(ctx, name):
                self._begin(ctx, name, str(state["version"]))

    def trouble(self, ctx: Context, track: str) -> str:
        """The hosts of a track whose health command does not end with 0."""
        sick = [name for name in self._hosts(track) if not self._healthy(ctx, name)]
        return f"not healthy: {', '.join(sick)}" if sick else ""

    def batches(self, ctx: Context, size: int) -> Sequence[str]:
        """Tracks such as ``hosts:web1,web2``."""
        return [_BATCH + ",".join(self.hosts[place : place + size]) for place in range(0, len(self.hosts), size)]

    def revisions(self, ctx: Context) -> Sequence[Revision]:
        """The releases that every host still has, the newest first."""
        present = self._version(ctx, self.hosts[0])
        everywhere = set.intersection(*(set(self._releases(ctx, name)) for name in self.hosts))
        names = [name for name in self._releases(ctx, self.hosts[0]) if name in everywhere and name != present]
        return [Revision(number=len(names) - place, version=name) for place, name in enumerate(names)]

    def by_hand(self, track: str, state: Mapping[str, Any] | None) -> str:
        """For each host of the track."""
        where = f"on {', '.join(self._hosts(track))}: "
        if state is None:
            return f"{where}{shlex.join(self.stop)}; rm {shlex.quote(self.folder)}/current"
        link = f"ln -sfn releases/{state['version']} {shlex.quote(self.folder)}/current"
        return f"{where}{link} && {shlex.join(self.restart)}"

    # ------------------------------------------------------------------ one host

    def _hosts(self, track: str) -> tuple[str, ...]:
        if track.startswith(_BATCH):
            return tuple(track.removeprefix(_BATCH).split(","))
        return {STABLE: self.hosts, CANDIDATE: self.candidates}.get(track, ())

    def _sh(self, ctx: Context, name: str, script: str, *words: str) -> str:
        command = ["sh", "-c", script, "sh", self.folder, *words]
        return host_of(ctx, name).run(command, timeout=min(30, ctx.remaining())).stdout

    def _version(self, ctx: Context, name: str) -> str:
        return self._sh(ctx, name, _READ).strip().rpartition("/")[2]

    def _releases(self, ctx: Context, name: str) -> list[str]:
        try:
            return self._sh(ctx, name, _LIST).split()
        except CommandFailed as error:
            hint = f"{self.folder}/releases must hold a folder a release"
            raise HostError(
                f"{name} has no releases: {error.result.stderr.strip()[-200:]}", host=name, hint=hint
            ) from error

    def _healthy(self, ctx: Context, name: str) -> bool:
        return host_of(ctx, name).run(list(self.health), timeout=min(30, ctx.remaining()), check=False).exit_code == 0

    def _begin(self, ctx: Context, name: str, version: str) -> None:
        """Link and restart, and wait for its health; raises `StepFailed` with what the host said last."""
        if not _VERSION.fullmatch(version):
            raise StepFailed(f"{version!r} cannot be the name of a release", hint="letters, digits, . _ + and -")
        host = host_of(ctx, name)
        try:
            self._sh(ctx, name, _LINK, version)
            host.run(list(self.restart), timeout=ctx.remaining())
        except CommandFailed as error:
            told = error.result.stderr.strip()[-300:] or error.message
            raise StepFailed(
                f"{name} does not start {version}: {told}", hint=f"look at the service on {name}"
            ) from error
        within = min(ctx.remaining(), self.ready_within.total_seconds())
        if not poll(lambda: self._healthy(ctx, name), timeout=within, interval=0.5):
            told = host.run(list(self.health), timeout=30, check=False)
            said = (told.stderr or told.stdout).strip()[-300:]
            what = f"{name} is not healthy {within:.0f} s after it was started with {version}: {said}"
            raise StepFailed(what, hint=f"look at the service on {name}")

    def _end(self, ctx: Context, name: str) -> None:
        host = host_of(ctx, name)
        if self._version(ctx, name):
            host.run(list(self.stop), timeout=ctx.remaining())
            self._sh(ctx, name, 'rm -f "$1/current"')
