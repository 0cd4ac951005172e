"""Canary configurations of Kayenta and AnalysisTemplates of Argo, as measures and a judge; what does not translate is named.

Both say what to ask, neither says which instances are the candidate: that is told beside them (``by``, ``candidate``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sretoolkit.errors import ConfigError
from sretoolkit.metrics.matcher import Matcher, Selector
from sretoolkit.report import Finding, Report, Table
from sretoolkit.rollout.measure import Measure

_RATE = r"sum\s*(?:by\s*\([^)]*\)\s*)?\(\s*(?:i?rate|increase)\s*\(\s*(?P<{0}>[\w:]+(?:\{{[^}}]*\}})?)\s*\[[^\]]+\]\s*\)\s*\)"
_RATIO = re.compile(rf"^\s*\(?\s*{_RATE.format('part')}\s*/\s*{_RATE.format('whole')}\s*\)?\s*$", re.S)
_CONDITION = re.compile(r"^\s*result(?:\[0\])?\s*(?P<operator><=?|>=?)\s*(?P<limit>\d+(?:\.\d+)?)\s*$")


@dataclass(frozen=True)
class Imported:
    """What became of a foreign configuration: parts of a rollout, and lines for what there is no counterpart of."""

    name: str
    measures: tuple[Measure, ...]
    judge: Mapping[str, Any]
    left_out: tuple[str, ...] = ()

    def report(self) -> Report:
        """What was taken over, and what was not."""
        rows = [
            (each.name, each.kind, each.metric or each.bad or each.good, "yes" if each.critical else "no")
            for each in self.measures
        ]
        findings = [
            Finding(severity="medium", subject=self.name, summary=line, remedy="say it in [rollouts.NAME] by hand")
            for line in self.left_out
        ]
        return Report(
            f"{self.name}, taken over", findings, [Table("measures", ("name", "kind", "asks", "critical"), rows)]
        )


def kayenta(given: Mapping[str, Any], *, source: str, by: str, candidate: str, baseline: str = "") -> Imported:
    """A canary configuration (its JSON, read); raises `ConfigError` for what is none.

    Metrics become gauges (as Kayenta treats them), directions, criticality, groups and allowed increases are kept.
    """
    if not isinstance(given.get("metrics"), list):
        raise ConfigError(
            "this is no canary configuration of Kayenta: it has no list of metrics", hint="export it as JSON"
        )
    side = {"source": source, "by": by, "candidate": candidate, "baseline": baseline}
    weights = (given.get("classifier") or {}).get("groupWeights") or {}
    measures, left = [], []
    for metric in given["metrics"]:
        name, asked = str(metric.get("name", "?")), metric.get("query") or {}
        told = (metric.get("analysisConfigurations") or {}).get("canary") or {}
        selector = _kayenta_selector(asked)
        if not selector:
            kind = asked.get("type", "an unknown kind")
            left.append(f"{name}: a query of {kind} with a template of its own cannot be asked instance by instance")
            continue
        left += [f"{name}: {line}" for line in _kayenta_left_out(told)]
        group = str((metric.get("groups") or [""])[0])
        measures.append(Measure(
            name=name, metric=selector, worse="down" if told.get("direction") == "decrease" else "up",
            critical=bool(told.get("critical")), informational=bool(told.get("muted")), group=group,
            weight=float(weights.get(group, 1.0)), **side,  # type: ignore[arg-type]
        ))  # fmt: skip
    judge, differs = _kayenta_judge(given["metrics"])
    left += differs
    return Imported(str(given.get("name", "a canary configuration")), tuple(measures), judge, tuple(left))


def argo(given: Mapping[str, Any], *, source: str, by: str, candidate: str, baseline: str = "") -> Imported:
    """An AnalysisTemplate with Prometheus metrics (its YAML, read); raises `ConfigError` for what is none.

    A ratio of two rates with one condition becomes a measure of counts; the threshold judge keeps limit and failures.
    """
    spec = given.get("spec") or {}
    if given.get("kind") not in ("AnalysisTemplate", "ClusterAnalysisTemplate") or not isinstance(
        spec.get("metrics"), list
    ):
        raise ConfigError("this is no AnalysisTemplate with metrics", hint="kubectl get analysistemplate NAME -o yaml")
    measures, left, limits, failures = [], [], set(), set()
    for metric in spec["metrics"]:
        name = str(metric.get("name", "?"))
        found = _argo_ratio(metric)
        if isinstance(found, str):
            left.append(f"{name}: {found}")
            continue
        parts, limit = found
        measures.append(Measure(name=name, source=source, by=by, candidate=candidate, baseline=baseline, **parts))
        limits.add(limit)
        failures.add(int(metric.get("failureLimit", 0)) + 1)
        left += [
            f"{name}: {key} has no counterpart"
            for key in ("inconclusiveLimit", "consecutiveErrorLimit")
            if key in metric
        ]
    if len(limits) > 1 or len(failures) > 1:
        left.append(f"the limits differ ({', '.join(map(str, sorted(limits)))}): the strictest is taken for all")
    judge = {"kind": "threshold", "limit": min(limits, default=0.0), "failures": min(failures, default=1)}
    name = str((given.get("metadata") or {}).get("name", "an AnalysisTemplate"))
    return Imported(name, tuple(measures), judge, tuple(left))


def _kayenta_judge(metrics: list[Mapping[str, Any]]) -> tuple[dict[str, Any], list[str]]:
    """Its own judge, with the allowed increase that all metrics share."""
    told = [(metric.get("analysisConfigurations") or {}).get("canary") or {} for metric in metrics]
    allowed = {
        float(each["effectSize"]["allowedIncrease"])
        for each in told
        if "allowedIncrease" in (each.get("effectSize") or {})
    }
    judge: dict[str, Any] = {"kind": "mann-whitney", "quirks": True}
    if len(allowed) == 1:
        judge["increase"] = allowed.pop()
    differ = ", ".join(map(str, sorted(allowed)))
    return judge, [f"allowedIncrease differs between metrics ({differ}): the judge has one"] if allowed else []


def _kayenta_selector(asked: Mapping[str, Any]) -> str:
    """The metric with its label bindings; "" for a template, or a system whose query is no name."""
    if not asked.get("metricName") or asked.get("customInlineTemplate") or asked.get("customFilterTemplate"):
        return ""
    bindings = [str(each) for each in asked.get("labelBindings") or []]
    matchers = [
        Matcher(label, "=", value.strip("\"'")) for label, _, value in (each.partition("=") for each in bindings)
    ]
    return str(Selector(str(asked["metricName"]), tuple(matchers)))


def _kayenta_left_out(told: Mapping[str, Any]) -> list[str]:
    left = []
    if told.get("direction") == "either":
        left.append('the direction "either" is taken as "increase"')
    if told.get("nanStrategy") == "replace":
        left.append("nanStrategy replace is not taken over: what is not there is not 0")
    if (told.get("outliers") or {}).get("strategy") not in (None, "keep"):
        left.append("outliers are kept")
    return left


def _argo_ratio(metric: Mapping[str, Any]) -> tuple[dict[str, Any], float] | str:
    """The parts of a measure and the greatest share that may be bad, or why there is none."""
    query = str(((metric.get("provider") or {}).get("prometheus") or {}).get("query") or "")
    if not query:
        return f"the provider {', '.join(metric.get('provider') or {}) or 'none'} is none that is read"
    if "{{" in query:
        return "its query has arguments ({{...}}): put them in first"
    ratio = _RATIO.match(query)
    condition = _CONDITION.match(str(metric.get("successCondition", "")))
    if not ratio:
        return "its query is no ratio of two rates"
    if not condition:
        return "its successCondition is no single comparison of the result"
    limit, more = float(condition["limit"]), condition["operator"].startswith(">")
    part = {"good" if more else "bad": ratio["part"], "total": ratio["whole"]}
    return part, round(1 - limit, 9) if more else limit
