"""The proxy in `sretoolkit.rollout.local.keeper`: shares that come about exactly, a header or cookie, copies, counters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from sretoolkit.plan import Context
from sretoolkit.rollout.local.keeping import keeping
from sretoolkit.rollout.router import MATCH, MIRROR, SPLIT, WEIGHT, Router, Split


@dataclass(frozen=True, kw_only=True)
class Local(Router):
    """The proxy of the keeper in ``folder``."""

    can: ClassVar[frozenset[str]] = frozenset({WEIGHT, MATCH, MIRROR, SPLIT})

    folder: str

    @property
    def target(self) -> str:
        """``local-proxy:FOLDER``."""
        return f"local-proxy:{self.folder}"

    def weight(self, ctx: Context) -> int:
        """What it goes by."""
        return int(keeping(ctx, self.folder).tell("look")["weight"])

    def set_weight(self, ctx: Context, percent: int) -> None:
        """From the next request on."""
        keeping(ctx, self.folder).tell("weight", percent=percent)

    def match(self, ctx: Context) -> Mapping[str, str] | None:
        """What it goes by."""
        found: dict[str, str] | None = keeping(ctx, self.folder).tell("look")["match"]
        return found

    def set_match(self, ctx: Context, match: Mapping[str, str] | None) -> None:
        """From the next request on."""
        keeping(ctx, self.folder).tell("match", match=None if match is None else dict(match))

    def mirror(self, ctx: Context) -> int:
        """What it goes by."""
        return int(keeping(ctx, self.folder).tell("look")["mirror"])

    def set_mirror(self, ctx: Context, percent: int) -> None:
        """From the next request on."""
        keeping(ctx, self.folder).tell("mirror", percent=percent)

    def split(self, ctx: Context) -> Split:
        """Since the keeper began."""
        counted = keeping(ctx, self.folder).tell("look")["counted"]
        return Split(stable=counted.get("stable", 0), candidate=counted.get("candidate", 0))
