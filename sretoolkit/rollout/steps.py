"""The changes that every rollout is made of: a track made another state, a share of the requests moved."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar

from sretoolkit.plan import Context, Step
from sretoolkit.rollout.router import Router
from sretoolkit.rollout.workload import Workload


@dataclass(frozen=True, kw_only=True)
class SetTrack(Step):
    """Make one track of a workload another state, and wait until it is ready."""

    before: dict[str, Any] | None
    after: dict[str, Any] | None
    workload: dict[str, Any]
    track: str

    @property
    def part(self) -> Workload:
        """The workload again."""
        return Workload.of(self.workload)

    @property
    def target(self) -> str:
        """The workload's."""
        return self.part.target

    @property
    def deadline(self) -> timedelta:  # type: ignore[override]
        """As long as the workload may take to become ready."""
        return self.part.patience

    def describe(self) -> str:
        """The change in one line."""
        label = self.part.label(self.track)
        if self.after is None:
            return f"remove {label} ({self.track})"
        if self.before is None:
            return f"make {label} ({self.track}): {_state(self.after)}"
        changed = {key: value for key, value in self.after.items() if self.before.get(key) != value}
        was = {key: self.before.get(key) for key in changed}
        return f"change {label} ({self.track}): {_state(changed)} (was {_state(was)})"

    def observe(self, ctx: Context) -> dict[str, Any] | None:
        """The state of the track, of what this step writes alone."""
        seen = self.part.track(ctx, self.track)
        if seen is None:
            return None
        written = {*(self.before or {}), *(self.after or {})}
        return {key: value for key, value in seen.items() if key in written}

    def do(self, ctx: Context) -> None:
        """Make it, and wait."""
        self.part.set_track(ctx, self.track, self.after)

    def take_effect(self, ctx: Context) -> None:
        """The same once more: what is written already is only waited for."""
        self.part.set_track(ctx, self.track, self.after)

    def undo(self, ctx: Context) -> None:
        """Make it what it was, and wait."""
        self.part.set_track(ctx, self.track, self.before)

    def by_hand(self) -> str:
        """The workload's own command."""
        return self.part.by_hand(self.track, self.before)


@dataclass(frozen=True, kw_only=True)
class SetTrackForGood(SetTrack):
    """The same where the new version does what cannot be taken back, such as a migration of its database."""

    irreversible: ClassVar[bool] = True

    because: tuple[str, ...]

    def describe(self) -> str:
        """What cannot be taken back is named."""
        return f"{super().describe()}; that includes, for good: {'; '.join(self.because)}"


@dataclass(frozen=True, kw_only=True)
class RouterStep(Step):
    """A change of a router."""

    deadline: ClassVar[timedelta] = timedelta(minutes=2)

    router: dict[str, Any]

    @property
    def part(self) -> Router:
        """The router again."""
        return Router.of(self.router)

    @property
    def target(self) -> str:
        """The router's."""
        return self.part.target

    def tidy(self, ctx: Context) -> None:
        """What was written and did not come into effect would come with somebody's next reload."""
        self.part.settle(ctx)


@dataclass(frozen=True, kw_only=True)
class SetWeight(RouterStep):
    """Give the candidate another share of the requests, in whole percent."""

    before: int
    after: int

    @property
    def deadline(self) -> timedelta:  # type: ignore[override]
        """Long where the router weighs by instances, which have to become ready."""
        return timedelta(minutes=10) if self.part.by_replicas else timedelta(minutes=2)

    def describe(self) -> str:
        """Both shares."""
        return f"give the candidate {self.after} % of the requests (was {self.before} %), by {self.part.kind}"

    def observe(self, ctx: Context) -> int:
        """The share now."""
        return self.part.weight(ctx)

    def do(self, ctx: Context) -> None:
        """Set it."""
        self.part.set_weight(ctx, self.after)

    def take_effect(self, ctx: Context) -> None:
        """The same once more: what is written already is only waited for."""
        self.part.set_weight(ctx, self.after)

    def undo(self, ctx: Context) -> None:
        """Set what it was."""
        self.part.set_weight(ctx, self.before)

    def by_hand(self) -> str:
        """The router's own command."""
        return self.part.by_hand(self.before)


@dataclass(frozen=True, kw_only=True)
class SetMatch(RouterStep):
    """Let requests with a header or cookie lead to the candidate, or no longer."""

    before: dict[str, str] | None
    after: dict[str, str] | None

    def describe(self) -> str:
        """What leads there."""
        if self.after is None:
            return f"no request is led to the candidate by its header any more, by {self.part.kind}"
        what = " ".join(f"{key} {value}" for key, value in self.after.items())
        return f"requests with the {what} lead to the candidate, by {self.part.kind}"

    def observe(self, ctx: Context) -> Mapping[str, str] | None:
        """What leads there now."""
        return self.part.match(ctx)

    def do(self, ctx: Context) -> None:
        """Set it."""
        self.part.set_match(ctx, self.after)

    def undo(self, ctx: Context) -> None:
        """Set what it was."""
        self.part.set_match(ctx, self.before)


@dataclass(frozen=True, kw_only=True)
class SetMirror(RouterStep):
    """Copy a part of the requests to the candidate, whose answers are dropped."""

    before: int
    after: int

    def describe(self) -> str:
        """Both shares."""
        return f"copy {self.after} % of the requests to the candidate (was {self.before} %), by {self.part.kind}"

    def observe(self, ctx: Context) -> int:
        """The share now."""
        return self.part.mirror(ctx)

    def do(self, ctx: Context) -> None:
        """Set it."""
        self.part.set_mirror(ctx, self.after)

    def undo(self, ctx: Context) -> None:
        """Set what it was."""
        self.part.set_mirror(ctx, self.before)


def _state(state: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{key} {value if isinstance(value, str | int) else json.dumps(value)}" for key, value in state.items()
    )
