"""A service and its router in one file of JSON: a world that several processes see, and that a test can disturb.

``traps`` in the file end or hold a process at a place: ``{"candidate.set": "kill"}``, before (``.do``) or after (``.done``)
the change is written.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from sretoolkit.errors import HostError, StepFailed
from sretoolkit.plan import Context
from sretoolkit.rollout.router import MATCH, MIRROR, ROUTERS, SPLIT, WEIGHT, Router, Split
from sretoolkit.rollout.workload import STABLE, WORKLOADS, Found, Revision, Workload

BEGIN: dict[str, Any] = {
    "tracks": {"stable": {"version": "1", "replicas": 4}},
    "weight": 0,
    "match": None,
    "mirror": 0,
    "counted": [0, 0],
    "revisions": ["0.9", "0.8"],
    "log": [],
    "traps": {},
}


class World:
    """The file."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        if not self.path.exists():
            self.write(BEGIN)

    def read(self) -> dict[str, Any]:
        """All of it."""
        found: dict[str, Any] = json.loads(self.path.read_text())
        return found

    def write(self, content: Mapping[str, Any]) -> None:
        """Replace it at once."""
        beside = self.path.with_suffix(f".{os.getpid()}")
        beside.write_text(json.dumps(content))
        beside.replace(self.path)

    def change(self, **values: Any) -> None:
        """Replace some of it."""
        self.write({**self.read(), **values})

    def set(self, name: str, key: str, value: Any) -> None:
        """One change, on the log, with its traps."""
        self._trap(f"{name}.do")
        world = self.read()
        world["log"].append([name, value])
        if key:
            world[key][name] = value
        else:
            world[name] = value
        self.write(world)
        self._trap(f"{name}.done")

    def _trap(self, place: str) -> None:
        world = self.read()
        what = world["traps"].pop(place, "")
        self.write(world)
        if what == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if what:
            raise StepFailed(what)


@dataclass(frozen=True, kw_only=True)
class MemoryWorkload(Workload):
    """Its tracks are entries of the file."""

    path: str

    @property
    def target(self) -> str:
        """``memory:PATH``."""
        return f"memory:{self.path}"

    def label(self, track: str) -> str:
        """The track itself."""
        return f"memory {track}"

    def look(self, ctx: Context, version: str = "") -> Found:
        """The stable track."""
        state = self.world.read()["tracks"][STABLE]
        return Found(version=state["version"], replicas=state["replicas"])

    def track(self, ctx: Context, track: str) -> dict[str, Any] | None:
        """The entry."""
        world = self.world.read()
        if "away" in world:
            raise HostError("the world is away", host="memory")
        found: dict[str, Any] | None = world["tracks"].get(track)
        return found

    def set_track(self, ctx: Context, track: str, state: Mapping[str, Any] | None) -> None:
        """Write the entry."""
        now = self.world.read()["tracks"].get(track) or {"replicas": 1}
        self.world.set(track, "tracks", None if state is None else {**now, **state})

    def trouble(self, ctx: Context, track: str) -> str:
        """What the file says."""
        return str(self.world.read().get("trouble", {}).get(track, ""))

    def batches(self, ctx: Context, size: int) -> Sequence[str]:
        """Two tracks when the file says so."""
        found: list[str] = self.world.read().get("batches", [STABLE])
        return found

    def revisions(self, ctx: Context) -> Sequence[Revision]:
        """Those of the file."""
        return [Revision(number=9 - place, version=each) for place, each in enumerate(self.world.read()["revisions"])]

    def by_hand(self, track: str, state: Mapping[str, Any] | None) -> str:
        """A command that nobody has."""
        return f"set {track} {json.dumps(state)}"

    @property
    def world(self) -> World:
        """The file."""
        return World(self.path)


@dataclass(frozen=True, kw_only=True)
class MemoryRouter(Router):
    """Its weight is an entry of the file; ``switches``: only 0 and 100."""

    can: ClassVar[frozenset[str]] = frozenset({WEIGHT, MATCH, MIRROR, SPLIT})

    path: str

    @property
    def target(self) -> str:
        """``memory-router:PATH``."""
        return f"memory-router:{self.path}"

    def weight(self, ctx: Context) -> int:
        """The entry."""
        return int(self.world.read()["weight"])

    def set_weight(self, ctx: Context, percent: int) -> None:
        """Write it."""
        self.world.set("weight", "", percent)

    def match(self, ctx: Context) -> Mapping[str, str] | None:
        """The entry."""
        found: dict[str, str] | None = self.world.read()["match"]
        return found

    def set_match(self, ctx: Context, match: Mapping[str, str] | None) -> None:
        """Write it."""
        self.world.set("match", "", match)

    def mirror(self, ctx: Context) -> int:
        """The entry."""
        return int(self.world.read()["mirror"])

    def set_mirror(self, ctx: Context, percent: int) -> None:
        """Write it."""
        self.world.set("mirror", "", percent)

    def split(self, ctx: Context) -> Split:
        """Each look counts a thousand more, shared out by the weight, or as ``skew`` says."""
        world = self.world.read()
        share = world.get("skew", world["weight"])
        stable, candidate = world["counted"]
        world["counted"] = [stable + 10 * (100 - share), candidate + 10 * share]
        self.world.write(world)
        return Split(stable=stable, candidate=candidate)

    def by_hand(self, percent: int) -> str:
        """A command that nobody has."""
        return f"weigh {percent}"

    @property
    def world(self) -> World:
        """The file."""
        return World(self.path)


class _Also(dict[str, Any]):
    """The real plug-ins, and one that only the tests have."""

    kind = "plug-in"

    def __init__(self, real: Any, name: str, found: type) -> None:
        super().__init__({name: found})
        self.real = real
        self.kind = real.kind

    def __missing__(self, name: str) -> Any:
        return self.real[name]


def plug_in() -> None:
    """Let workloads and routers of the kind ``memory`` be found in this process."""
    Workload.plugins = _Also(WORKLOADS, "memory", MemoryWorkload)  # type: ignore[assignment]
    Router.plugins = _Also(ROUTERS, "memory", MemoryRouter)  # type: ignore[assignment]


plug_in()
