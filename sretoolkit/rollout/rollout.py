"""A rollout: what is rolled out, what shares out its requests, in which way, and who judges. It makes plans, and runs none.

In ``sretoolkit.toml``::

    [rollouts.shop]
    strategy = {kind = "canary", steps = [5, 25, 50], bake = "15m"}
    workload = {kind = "kubernetes", context = "prod", namespace = "shop", name = "web"}
    router = {kind = "gateway", context = "prod", namespace = "shop", route = "web"}
    judge = {kind = "calibrated"}
    measures = [{name = "errors", source = "prod", bad = 'http_requests_total{code=~"5.."}', total = "http_requests_total",
                 by = "pod", candidate = "web-canary-.*", baseline = "web-.*"}]
    markers = ["prod"]
    places = [{name = "eu", workload = {context = "eu"}, router = {context = "eu"}}]   # several, one after the other
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, Self

from sretoolkit.clock import parse_duration
from sretoolkit.config import Config
from sretoolkit.errors import ConfigError, PlanError
from sretoolkit.plan import Context, Gate, Plan, Step
from sretoolkit.report import Finding, Report, Table
from sretoolkit.rollout.analysis import Analysis, preflight
from sretoolkit.rollout.measure import Measure, on_source
from sretoolkit.rollout.router import Router
from sretoolkit.rollout.strategy import Strategy
from sretoolkit.rollout.workload import CANDIDATE, STABLE, Revision, Workload

if TYPE_CHECKING:
    from sretoolkit.metrics.events import Event

_DURATIONS = ("look", "patience")


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """One service's way to a new version. ``name`` is what people call the service.

    ``look``: how often the judge looks; ``patience``: how long the metrics may be away before the rollout is taken back;
    ``on_inconclusive``: "fail" takes it back, "hold" leaves it to a person; ``irreversible``: what the new version does that
    cannot be taken back (a migration), for which an explicit yes is asked; ``markers``: sources that get a deploy marker;
    ``places``: options that differ from place to place (cluster, region), rolled out one after the other in one plan.
    """

    name: str
    workload: Workload
    strategy: Strategy
    router: Router | None = None
    judge: Mapping[str, Any] = field(default_factory=lambda: {"kind": "calibrated"})
    measures: tuple[Measure, ...] = ()
    look: timedelta = timedelta(minutes=1)
    patience: timedelta = timedelta(minutes=5)
    on_inconclusive: Literal["fail", "hold"] = "fail"
    on_failure: Literal["undo", "hold"] = "undo"
    irreversible: tuple[str, ...] = ()
    markers: tuple[str, ...] = ()
    places: tuple[Mapping[str, Any], ...] = ()

    @classmethod
    def of(cls, name: str, given: Mapping[str, Any]) -> Self:
        """From plain data, as in the configuration; raises `ConfigError` for a missing or wrong part."""
        known = {item.name for item in fields(cls)} - {"name"}
        what = f"the rollout {name!r}"
        if unknown := sorted(given.keys() - known):
            raise ConfigError(f"{what} has no part {unknown[0]!r}", hint=f"there are: {', '.join(sorted(known))}")
        for part in ("workload", "strategy"):
            if not isinstance(given.get(part), Mapping):
                raise ConfigError(f"{what} has no {part}", hint=f'write {part} = {{kind = "..."}}')
        options: dict[str, Any] = dict(given)
        options["workload"] = Workload.of(given["workload"])
        options["strategy"] = Strategy.of(given["strategy"])
        options["router"] = Router.of(given["router"]) if given.get("router") else None
        options["measures"] = tuple(Measure.of(each) for each in given.get("measures", ()))
        options |= {key: parse_duration(given[key]) for key in _DURATIONS if isinstance(given.get(key), str)}
        options |= {key: tuple(given[key]) for key in ("irreversible", "markers", "places") if key in given}
        return cls(name=name, **options)

    @classmethod
    def from_config(cls, name: str, config: Config | None = None) -> Self:
        """Read ``[rollouts.NAME]``."""
        return cls.of(name, (config or Config.load()).endpoint("rollouts", name))

    def plan(self, version: str, *, config: Config | None = None) -> Plan:
        """Every change on the way to ``version``, and every question between; reads the world and changes nothing.

        Raises `PlanError` for what must not be begun, with what to do instead, and `HostError` when the world does not answer.
        """
        items: list[Step | Gate] = []
        with _context(config) as ctx:
            for place in self._placed():
                items += place.strategy.compile(place, version, ctx).items
        return Plan(f"Roll out {version} of {self.name}", items, on_failure=self.on_failure)

    def by_blue_green(self, **options: Any) -> Rollout:
        """The same service by blue-green, with these options beside those that are configured for it."""
        given = self.strategy.to_dict() if self.strategy.kind == "blue-green" else {"kind": "blue-green"}
        return replace(self, strategy=Strategy.of({**given, **options}))

    def preflight(self, version: str, *, config: Config | None = None) -> Report:
        """What a person should know before the plan is run: what the judge can decide, which shares come about, what has no undo.

        A finding of severity high says why the rollout cannot end well. Raises as `plan` does.
        """
        findings: list[Finding] = []
        tables: list[Table] = []
        config = config or Config.load()
        with _context(config) as ctx:
            for place in self._placed():
                compiled = place.strategy.compile(place, version, ctx)
                findings += [
                    Finding(severity="info", subject=place.workload.target, summary=note) for note in compiled.notes
                ]
                findings += place.workload.look(ctx, version).findings
                if place.measures and compiled.judged:
                    horizon, shares = compiled.judged
                    power = preflight(place.measures, place.judge, horizon=horizon, shares=shares, config=config)
                    findings += power.findings
                    tables += power.tables
        if not self.measures:
            what = "there are no measures: only readiness and time are asked for, nobody judges"
            findings.append(Finding(severity="medium", subject=self.name, summary=what, remedy="add measures to it"))
        if str(config["store.url"]).startswith("sqlite"):
            what = "the store is SQLite: when this machine is lost, no other one can take the rollout back"
            findings.append(
                Finding(severity="low", subject="store", summary=what, remedy="use PostgreSQL, and a watchdog")
            )
        return Report(f"Before {version} of {self.name} is rolled out", findings, tables)

    def history(self, *, config: Config | None = None) -> Report:
        """The versions that can be gone back to, newest first, and what changed with each."""
        with _context(config) as ctx:
            rows = [
                (place.workload.label(STABLE), each.number, each.version, each.at, "; ".join(each.changes))
                for place in self._placed()
                for each in place.workload.revisions(ctx)
            ]
        table = Table("older versions", ("of", "revision", "version", "since", "changed after it"), rows)
        return Report(f"Older versions of {self.name}", [], [table])

    def rollback(self, to: str = "", *, recovered: Gate | None = None, config: Config | None = None) -> Plan:
        """Back to an older version ("" = the one before), at once: no shares and no judge.

        The candidate is taken out of the requests first; where the old colour of a blue-green rollout still runs, all is
        one flip. ``recovered`` is a gate that is asked in the end. Raises `PlanError` when there is nothing to go back to.
        """
        items: list[Step | Gate] = []
        with _context(config) as ctx:
            for place in self._placed():
                items += place.backwards(to, ctx)
        title = f"Roll {self.name} back" + (f" to {to}" if to else "")
        return Plan(title, [*items, *([recovered] if recovered else [])], on_failure="hold")

    def backwards(self, to: str, ctx: Context) -> list[Step | Gate]:
        """The way back in one place."""
        from sretoolkit.rollout.course import Course

        course = Course(self, ctx)
        if course.weight == 100 and course.track(CANDIDATE) is not None:
            return self._flip_back(course, to)
        if course.weight:
            course.weigh(0)
        candidate = course.track(CANDIDATE)
        serving = course.track(STABLE) or {}
        if to and (candidate or {}).get("version") == to and candidate and candidate.get("replicas"):
            course.weigh(100)
            return course.items
        if candidate is not None:
            course.make(CANDIDATE, None)
        if not to and not course.items:
            to = self._revision(ctx, serving).version
        if to and to != serving.get("version"):
            course.make(STABLE, {"version": to})
        if not course.items:
            raise PlanError(f"{self.name} runs {serving.get('version')} and nothing else", hint="name an older version")
        return course.items

    def _flip_back(self, course: Any, to: str) -> list[Step | Gate]:
        """The candidate carries everything: the stable track is the old colour."""
        old = course.track(STABLE)
        if old is None:
            hint = "roll out the old version instead"
            raise PlanError(f"{self.workload.label(STABLE)} is gone: there is nothing to flip to", hint=hint)
        wanted = {"version": to} if to and to != old.get("version") else {}
        if not old.get("replicas", 1):
            wanted["replicas"] = (course.track(CANDIDATE) or {}).get("replicas", 1)
        course.make(STABLE, wanted)
        course.weigh(0)
        items: list[Step | Gate] = course.items
        return items

    def _revision(self, ctx: Context, serving: Mapping[str, Any]) -> Revision:
        found = self.workload.revisions(ctx)
        if not found:
            hint = "name the version to go back to"
            raise PlanError(f"{self.name} runs {serving.get('version')} and has no older version", hint=hint)
        return found[0]

    def analysis(self, horizon: timedelta, **standing: Any) -> Analysis:
        """The judge as a gate, for at most ``horizon``."""
        return Analysis(
            judge=dict(self.judge),
            measures=tuple(measure.to_dict() for measure in self.measures),
            interval=min(self.look, horizon),
            horizon=horizon,
            patience=self.patience,
            on_inconclusive=self.on_inconclusive,
            **standing,
        )

    def marker(self, version: str, what: str = "begins", *, config: Config | None = None) -> Plan:
        """A plan that marks in every source of ``markers`` that the rollout of a version begins, or what became of it."""
        from sretoolkit.metrics.marks import annotate

        return annotate(self.markers, self._event(version, what), config=config)

    def _event(self, version: str, what: str) -> Event:
        from sretoolkit.clock import Clock
        from sretoolkit.metrics.events import Event

        title = f"rollout of {version} of {self.name} {what}"
        return Event(start=Clock().now(), title=title, tags=("rollout", self.name))

    @property
    def targets(self) -> list[str]:
        """What is leased while it goes on: by these a run is known to be of this service."""
        return sorted({part.target for place in self._placed() for part in (place.workload, place.router) if part})

    def _placed(self) -> Iterator[Rollout]:
        """The rollout of each place, in order."""
        if not self.places:
            yield self
        for place in self.places:
            parts: dict[str, Any] = {"workload": Workload.of({**self.workload.to_dict(), **place.get("workload", {})})}
            if self.router is not None:
                parts["router"] = Router.of({**self.router.to_dict(), **place.get("router", {})})
            source = place.get("source")
            yield replace(
                self, places=(), measures=on_source(self.measures, source) if source else self.measures, **parts
            )


@contextmanager
def _context(config: Config | None) -> Iterator[Context]:
    ctx = Context(config=config)
    ctx.start(60)
    try:
        yield ctx
    finally:
        ctx.close()
