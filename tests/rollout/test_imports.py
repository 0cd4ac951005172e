"""Kayenta's and Argo's configurations: what they ask is asked, what has no counterpart is named and never dropped."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from sretoolkit.errors import ConfigError
from sretoolkit.rollout.imports import argo, kayenta
from sretoolkit.rollout.judge import Judge

SIDE = {"source": "prod", "by": "pod", "candidate": "web-canary-.*"}
KAYENTA: dict[str, Any] = {
    "name": "shop",
    "metrics": [
        {
            "name": "cpu",
            "query": {"type": "prometheus", "metricName": "cpu_usage", "labelBindings": ['app="web"']},
            "groups": ["system"],
            "analysisConfigurations": {
                "canary": {"direction": "increase", "critical": True, "effectSize": {"allowedIncrease": 1.2}}
            },
        },
        {
            "name": "hits",
            "query": {"type": "prometheus", "metricName": "cache_hits"},
            "groups": ["cache"],
            "analysisConfigurations": {"canary": {"direction": "decrease", "nanStrategy": "replace"}},
        },
        {"name": "odd", "query": {"type": "prometheus", "metricName": "x", "customInlineTemplate": "PromQL:x"}},
    ],
    "classifier": {"groupWeights": {"system": 60, "cache": 40}},
}
TEMPLATE = """
apiVersion: argoproj.io/v1alpha1
kind: AnalysisTemplate
metadata: {name: success-rate}
spec:
  metrics:
  - name: success
    interval: 1m
    failureLimit: 3
    successCondition: result[0] >= 0.95
    provider:
      prometheus:
        query: sum(rate(http_requests_total{code!~"5.."}[5m])) / sum(rate(http_requests_total[5m]))
  - name: arguments
    successCondition: result[0] >= 0.95
    provider: {prometheus: {query: 'sum(rate(x{a="{{args.a}}"}[5m]))'}}
  - name: job
    provider: {job: {}}
"""


def test_a_kayenta_configuration_is_taken_over() -> None:
    """Directions, criticality, groups and weights; the judge is its own, quirks and all."""
    found = kayenta(KAYENTA, **SIDE)
    cpu, hits = found.measures

    assert ('cpu_usage{app="web"}', "up", True, "system", 60.0) == (
        cpu.metric,
        cpu.worse,
        cpu.critical,
        cpu.group,
        cpu.weight,
    )
    assert ("down", False) == (hits.worse, hits.critical)
    assert {"kind": "mann-whitney", "quirks": True, "increase": 1.2} == found.judge
    assert Judge.of(found.judge).kind == "mann-whitney"


def test_what_kayenta_has_and_we_have_not_is_named() -> None:
    """Each metric and option that was left, by name."""
    found = kayenta(KAYENTA, **SIDE)

    assert ["hits", "odd"] == [line.split(":")[0] for line in found.left_out]
    assert "what is not there is not 0" in str(found.report())


def test_an_argo_template_is_taken_over() -> None:
    """Good ones of all, and the limit turned round; failures as it counts them."""
    found = argo(yaml.safe_load(TEMPLATE), **SIDE)
    (success,) = found.measures

    assert ('http_requests_total{code!~"5.."}', "http_requests_total") == (success.good, success.total)
    assert {"kind": "threshold", "limit": 0.05, "failures": 4} == found.judge
    assert ["arguments", "job"] == [line.split(":")[0] for line in found.left_out]


@pytest.mark.parametrize(
    ("read", "given"), [(kayenta, {}), (argo, {"kind": "Pod"}), (argo, {"kind": "AnalysisTemplate"})]
)
def test_what_is_something_else_is_refused(read: Any, given: dict[str, Any]) -> None:
    """With where to get the right thing."""
    with pytest.raises(ConfigError) as caught:
        read(given, **SIDE)

    assert caught.value.hint
