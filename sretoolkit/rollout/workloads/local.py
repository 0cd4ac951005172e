"""Processes on this machine, kept by `sretoolkit.rollout.local.keeper`: the embedded default, without root or a server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sretoolkit.errors import PlanError
from sretoolkit.plan import Context
from sretoolkit.rollout.local.keeping import keeping
from sretoolkit.rollout.workload import CANDIDATE, STABLE, Found, Revision, Workload


@dataclass(frozen=True, kw_only=True)
class Local(Workload):
    """The service of the keeper in ``folder``."""

    folder: str

    @property
    def target(self) -> str:
        """``local:FOLDER``."""
        return f"local:{self.folder}"

    @property
    def patience(self) -> timedelta:
        """An instance is there in a second, or never."""
        return timedelta(minutes=1)

    def label(self, track: str) -> str:
        """The track's processes."""
        return f"the {track} processes"

    def look(self, ctx: Context, version: str = "") -> Found:
        """Version and number of the stable processes; raises `PlanError` when there are none."""
        tracks = keeping(ctx, self.folder).tell("look")["tracks"]
        if STABLE not in tracks:
            raise PlanError(f"nothing runs in {self.folder}", hint="start the service first")
        return Found(
            version=tracks[STABLE]["version"], replicas=tracks[STABLE]["replicas"], candidate=tracks.get(CANDIDATE)
        )

    def track(self, ctx: Context, track: str) -> dict[str, Any] | None:
        """Version and number of a track's processes."""
        found: dict[str, Any] | None = keeping(ctx, self.folder).tell("look")["tracks"].get(track)
        return found

    def set_track(self, ctx: Context, track: str, state: Mapping[str, Any] | None) -> None:
        """Start and end processes one by one; a new one answers before an old one goes."""
        given = None if state is None else dict(state)
        keeping(ctx, self.folder).tell("track", track=track, state=given, timeout=ctx.remaining())

    def trouble(self, ctx: Context, track: str) -> str:
        """How many processes there are not, or the last words of those that ended by themselves."""
        return "; ".join(keeping(ctx, self.folder).tell("look")["lacking"].get(track) or [])

    def revisions(self, ctx: Context) -> Sequence[Revision]:
        """What the stable processes were before, since the keeper began."""
        history: list[str] = keeping(ctx, self.folder).tell("look")["history"]
        return [
            Revision(number=number, version=version) for number, version in reversed(list(enumerate(history, start=1)))
        ]
