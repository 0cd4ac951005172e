"""What is rolled out: one service that can run in two versions beside each other."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, ClassVar

from sretoolkit.errors import PlanError
from sretoolkit.plan import Context
from sretoolkit.plan.part import Part
from sretoolkit.plugins import Plugins
from sretoolkit.report import Finding

STABLE, CANDIDATE, BASELINE = "stable", "candidate", "baseline"


@dataclass(frozen=True, kw_only=True)
class Revision:
    """A version that was there before: ``number`` (greater is newer), what it is, when, and how it differs from the next."""

    number: int
    version: str
    at: str = ""
    changes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a workload is when a plan is made.

    ``version`` and ``replicas`` (instances) of the stable track; ``candidate`` is that track's state or None; ``scaled``:
    an autoscaler sets the replicas, so that no plan may. ``findings`` are shown beside the plan.
    """

    version: str
    replicas: int
    candidate: Mapping[str, Any] | None = None
    scaled: bool = False
    findings: Sequence[Finding] = field(default_factory=tuple)


class Workload(Part):
    """A service of which tracks run: ``stable`` serves now, ``candidate`` is the new version.

    ``baseline`` is the old version once more, as big as the candidate, to compare with. The state of a track is plain data,
    ``{"version": "shop:2", "replicas": 3}``, or None when it does not exist. A state that is to be made may leave keys
    out: they stay as they are (a new track begins with one instance).
    Every method raises `HostError` (or a child of it) when the world does not answer.
    """

    plugins: ClassVar[Plugins[Any]]
    scales: ClassVar[bool] = True  # False: how many instances a track has is not for a plan to say

    @property
    def carries_all(self) -> bool:
        """Whether the candidate can be made big enough for all requests."""
        return self.scales

    @property
    @abstractmethod
    def target(self) -> str:
        """What is leased: ``kind:where/what``; the same for every plan that changes this service."""

    @abstractmethod
    def label(self, track: str) -> str:
        """What people call a track there: ``Deployment shop/web-canary``."""

    @abstractmethod
    def look(self, ctx: Context, version: str = "") -> Found:
        """Read everything that a plan to ``version`` needs; changes nothing.

        Raises `PlanError` for what must not be begun (managed by somebody else, old or new version not to be had, no quota
        for the candidate), with what to do instead.
        """

    @abstractmethod
    def track(self, ctx: Context, track: str) -> dict[str, Any] | None:
        """The state of a track now, None when there is none."""

    @abstractmethod
    def set_track(self, ctx: Context, track: str, state: Mapping[str, Any] | None) -> None:
        """Make a track that state, and return once every instance is ready (None: once it takes no requests and is gone).

        Safe to call again after having died in the middle. Raises `StepFailed` or `HostError` at once when it cannot come
        about (crash loop, image missing, quota), with what the system says, and when ``ctx.remaining()`` is over.
        """

    def trouble(self, ctx: Context, track: str) -> str:
        """What is wrong with instances of a track that was ready (restarting, gone), "" when nothing is or none can tell."""
        return ""

    def batches(self, ctx: Context, size: int) -> Sequence[str]:
        """Tracks that together are the stable one, each of at most ``size`` instances, for a rolling change.

        One for all where the system itself replaces instance by instance.
        """
        return [STABLE]

    def revisions(self, ctx: Context) -> Sequence[Revision]:
        """Versions that can be gone back to, newest first, without the present one."""
        raise PlanError(f"{self.label(STABLE)} keeps no older versions", hint="name the version to go back to")

    def by_hand(self, track: str, state: Mapping[str, Any] | None) -> str:
        """The exact command by which a person makes a track that state; "" when there is none."""
        return ""

    @property
    def patience(self) -> timedelta:
        """How long a track may take to become ready."""
        return timedelta(minutes=10)


WORKLOADS: Plugins[Workload] = Plugins("sretoolkit.rollout.workloads", Workload)  # type: ignore[type-abstract]
Workload.plugins = WORKLOADS
