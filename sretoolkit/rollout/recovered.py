"""Whether a service does well again: a service level indicator, over the time since it was put right."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

import numpy as np

from sretoolkit.metrics.sli import SLI
from sretoolkit.metrics.source import connect
from sretoolkit.plan import Context, Gate, Verdict
from sretoolkit.rollout.gates import elapsed


@dataclass(frozen=True, kw_only=True)
class Recovered(Gate):
    """Passes once the indicator, over the time since this gate opened, is within ``limit``; needs ``least`` of that time.

    ``sli`` and ``source`` are names of the configuration; every group of the indicator must be within it. ``above``: a
    value is good when it is above the limit (an availability), not below (an error ratio, a latency).
    """

    sli: str
    source: str
    limit: float
    above: bool = False
    least: timedelta = timedelta(minutes=1)

    def describe(self) -> str:
        """The indicator and its limit."""
        return f"{self.sli} on {self.source} is {'above' if self.above else 'below'} {self.limit:g} again"

    def check(self, ctx: Context) -> Verdict:
        """Measure it since the gate opened. Raises as `SLI.measure` does, which is no answer and never a pass."""
        since = elapsed(ctx)
        about: dict[str, object] = {"elapsed": since.total_seconds()}
        if since < self.least:
            return Verdict(
                "continue", f"{self.least - since} to go until it can be said", about, needs=self.least - since
            )
        source = ctx.use(("source", self.source), lambda: connect(self.source, ctx.config, clock=ctx.clock))
        sli = replace(SLI.from_config(self.sli, ctx.config), window=timedelta(seconds=int(since.total_seconds())))
        frame = sli.measure(source, config=ctx.config)
        values = frame.values[-1]
        seen = values[~np.isnan(values)]
        if not len(seen):
            return Verdict("error", f"{self.source} has no data of {self.sli} since then", about)
        worst = float(seen.min() if self.above else seen.max())
        good = worst > self.limit if self.above else worst < self.limit
        said = f"{self.sli} is {worst:.4g}, the limit is {self.limit:g}"
        return Verdict("passed" if good else "continue", said, {**about, "value": worst})


def recovered(sli: str, source: str, limit: float, over: timedelta = timedelta(minutes=1)) -> Recovered:
    """The gate that `Rollout.rollback` asks in the end: the indicator is below ``limit`` over that time after the way back."""
    return Recovered(sli=sli, source=source, limit=limit, least=over)
