"""Indicators on a Graphite: from the points as the archive keeps them, added up here.

Graphite's own ``divideSeries(summarize(...), summarize(...))`` gives the same where both sides have points and every
window begins on a whole step. It gives nothing where no error was counted yet, puts each sum at its window's start, and
cannot tell a point from a roll-up. Sums over (t - window, t] of the raw points are exact in all of these.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np

from sretoolkit.clock import format_duration
from sretoolkit.errors import NoData, NotExpressible
from sretoolkit.metrics.compiled import Compiled
from sretoolkit.metrics.matcher import Selector
from sretoolkit.metrics.sources._graphite_render import Series, native
from sretoolkit.metrics.sources._graphite_target import Target, compiled
from sretoolkit.metrics.windows import Samples, from_samples, group_of

if TYPE_CHECKING:
    from sretoolkit.metrics.grid import Grid
    from sretoolkit.metrics.series import SeriesFrame
    from sretoolkit.metrics.sli import SLI
    from sretoolkit.metrics.sources.graphite import Graphite

LOOKBACK = timedelta(minutes=5)
_RAW = "the points of the window as the archive keeps them, added up here: the exact sums over (t - window, t]"
_BOUND = "the greatest of the quantiles in the window: the window's own quantile is this or less"

# what a roll-up must be for its value to mean what the indicator needs, and by what its points are then multiplied
_MEANT = {
    "delta": ("sum", "average"),
    "cumulative": ("last", "max"),
    "saturation": ("max",),
    "latency_quantile": ("max",),
    "availability": ("average",),
}


@dataclass
class Indicator:
    """One SLI on one Graphite."""

    source: Graphite
    sli: SLI
    grid: Grid
    exact: bool
    targets: dict[Selector, Target] = field(default_factory=dict)
    notes: dict[str, None] = field(default_factory=dict)
    whole: bool = True

    def compiled(self) -> Compiled:
        """What would be asked; raises `NotExpressible` for what points cannot tell."""
        sli = self.sli
        if sli.kind == "availability" and sli.metric is None:
            raise self._cannot(
                "Graphite keeps points, not the states of checks",
                'give the SLI a metric that is 1 when all is well and else 0: on.graphite = { metric = "..." }',
            )
        for selector in (sli.total, sli.bad, sli.metric, sli.capacity):
            if selector is not None:
                self.targets[selector] = self._target(selector)
        start, end = self._bounds()
        asked = {self._asked(selector).text: None for selector in self.targets}
        left = [str(one) for selector in self.targets for one in self._asked(selector).apart]
        reason = _RAW + (f"; held against the answer here: {', '.join(dict.fromkeys(left))}" if left else "")
        if sli.kind == "latency_quantile":
            reason = "one series that was computed beforehand; quantiles of several cannot be put together"
        lines = "\n".join(native(text, start, end) for text in asked)
        return Compiled(lines, reason, self.ask, _BOUND if sli.kind == "latency_quantile" else "")

    def ask(self) -> SeriesFrame:
        """The values; raises `NotExpressible` when only roll-ups of another kind are left of that window."""
        start, end = self._bounds()
        found = self._fetched(start, end)
        sli = self.sli

        def fetch(selector: Selector, after: int, until: int) -> Sequence[Samples]:
            target = self.targets[selector]
            kept = []
            for one in found[self._asked(selector).text]:
                labels = target.labels(one.name, one.tags)
                if labels is not None:
                    times, values = one.samples.times, one.samples.values
                    inside = (times > after) & (times <= until)
                    kept.append(Samples(labels, times[inside], values[inside]))
            return kept

        if sli.kind == "latency_quantile":
            self._check_premade(fetch(next(iter(self.targets)), start * 1000, end * 1000))
            sli = replace(sli, kind="saturation", capacity=None)
        frame = from_samples(sli, self.grid, fetch, source=self.source.name, counter="delta", lookback=LOOKBACK)
        kind = "quantile" if self.sli.kind == "latency_quantile" else frame.kind
        native_query = self.compiled().native
        warnings = [*self.notes, *frame.warnings]
        return replace(frame, kind=kind, warnings=warnings, complete=self.whole, query=native_query)

    def _fetched(self, start: int, end: int) -> dict[str, list[Series]]:
        texts = list(dict.fromkeys(self._asked(selector).text for selector in self.targets))
        source = self.source
        there = source.renderer.steps(texts, start, self.sli.name) or source.renderer.steps(texts, end, self.sli.name)
        source.afford(sum(-(-(end - start) // step) for _, step in there), self.sli.name)
        found = {text: source.renderer.points(text, start, end, self.sli.name) for text in texts}
        finest = dict(source.renderer.steps(texts, self._now(), self.sli.name))
        return {text: [self._even(one, finest.get(one.name, one.step), start) for one in found[text]] for text in texts}

    def _even(self, one: Series, finest: int, start: int) -> Series:
        """A series whose points mean what the indicator needs; notes what is not as it should be."""
        if one.begins > start + max(one.step, finest) and len(one.samples.times):
            self.whole = False
            self.notes["Graphite keeps nothing of the window's beginning any more"] = None
        width = self.sli.window // timedelta(seconds=1)
        if finest and width % finest:
            self.notes[f"the window is no whole number of Graphite's steps of {finest} s"] = None
        if not one.step or one.step <= finest:
            return one
        kind = (self.sli.counter or "delta") if self.sli.kind in ("error_ratio", "throughput") else self.sli.kind
        method = self.source.rollup
        if method not in _MEANT[kind]:
            raise self._cannot(
                f"of that window Graphite keeps only roll-ups of {one.step} s in place of points of {finest} s, and "
                + (f"their {method} does not tell this" if method else "what a roll-up's value means it does not say"),
                "ask a window in the finest archive's retention; or say how storage-aggregation.conf rolls these "
                f"series up: rollup = {' or '.join(map(repr, _MEANT[kind]))} of the source",
            )
        self.notes[f"from roll-ups of {one.step} s: the window's ends are only so exact"] = None
        if kind == "delta" and method == "average":
            samples = one.samples
            return replace(one, samples=Samples(samples.labels, samples.times, samples.values * (one.step / finest)))
        return one

    def _check_premade(self, series: Sequence[Samples]) -> None:
        groups = [group_of(one.labels, self.sli.by) for one in series]
        if len(set(groups)) < len(groups):
            raise self._cannot(
                f"{len(groups)} series match, and quantiles of several cannot be put together: the least and the "
                "greatest of them are all that is known",
                "select the one series that was computed over all (by a relay or an aggregator), group by what tells "
                "them apart, or measure the greatest as saturation",
            )
        if not groups:
            hint = "are the names right (sli.explain(source) shows the query)?"
            name = self.source.name
            raise NoData(f"{name} has no data for the SLI {self.sli.name}", source=name, query=self.sli.name, hint=hint)
        width = self.sli.window // timedelta(milliseconds=1)
        crowded = any(int(np.diff(one.times).min(initial=width)) < width for one in series)
        if self.exact and crowded:
            raise self._cannot(
                "the window holds several quantiles, of which its own cannot be computed",
                f"without exact it is the greatest of them, a bound; or a window of one interval ({LOOKBACK})",
            )

    def _target(self, selector: Selector) -> Target:
        target = compiled(selector, self.source.paths)
        if target is None:
            raise self._cannot(
                f"no series of Graphite can be called {selector.metric!r}", "name it so in on.graphite of the SLI"
            )
        if target.template:
            known = {*target.template.labels}
            needed = [*self.sli.by, *(one.label for one in selector.matchers)]
            if lacking := [label for label in needed if label not in known]:
                raise self._cannot(
                    f"the path {target.template.text} has no node for the label {lacking[0]}",
                    f"it has: {', '.join(target.template.labels)}; other nodes get a name in the option path",
                )
        return target

    def _asked(self, selector: Selector) -> Target:
        """What is asked for a selector: where bad is a part of total, total's answer holds it already."""
        total = self.sli.total
        return self.targets[total if self.sli.bad_is_part and total is not None else selector]

    def _bounds(self) -> tuple[int, int]:
        early = LOOKBACK if self.sli.counter == "cumulative" else timedelta(0)
        start = self.grid.first - (self.sli.window + early) // timedelta(milliseconds=1)
        return start // 1000, self.grid.last // 1000

    def _now(self) -> int:
        return int(self.source.clock.now().timestamp()) - 1

    def _cannot(self, reason: str, nearest: str) -> NotExpressible:
        what = f"{self.sli.kind} {self.sli.name} over {format_duration(self.sli.window)}"
        return self.source.cannot(what, self.sli.name, reason=reason, nearest=nearest)
