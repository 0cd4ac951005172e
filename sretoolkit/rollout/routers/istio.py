"""Istio: a VirtualService shares out requests between the hosts, or the subsets of a host, of the two tracks.

A weight counts as set once it is written: Istio tells nobody when its proxies have it, so `check` asks for the observed split.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import Any

from sretoolkit.errors import PlanError
from sretoolkit.plan import Context
from sretoolkit.rollout.cluster_object import ClusterObject
from sretoolkit.rollout.router import MIRROR
from sretoolkit.rollout.routers._weighted import Weighted

_APPLIED = (
    "a weight that is written is not yet one that every proxy has: Istio does not tell when, "
    "only the observed split or the metrics of the candidate do"
)
_NAME = "to-candidate-by-"
_COOKIE = r"^(.*?;)?\s*({})(;.*)?$"


@dataclass(frozen=True, kw_only=True)
class Istio(Weighted):
    """``service``: the VirtualService, of which one HTTP route names both destinations.

    ``stable`` and ``candidate`` are their hosts; where both are subsets of one host, ``stable_subset`` and
    ``candidate_subset`` tell them apart.
    """

    rules = "http"
    backends = "route"
    unset = 0

    service: str
    stable: str
    candidate: str
    stable_subset: str = ""
    candidate_subset: str = ""

    @property
    def object(self) -> ClusterObject:
        """The VirtualService."""
        return ClusterObject(
            context=self.context, namespace=self.namespace, name=self.service, kind="VirtualService",
            group="networking.istio.io", plural="virtualservices", versions=("v1", "v1beta1"),
        )  # fmt: skip

    @property
    def sides(self) -> tuple[str, str]:
        """Both destinations."""
        both = ((self.stable, self.stable_subset), (self.candidate, self.candidate_subset))
        stable, candidate = (f"the host {host}" + (f" subset {subset}" if subset else "") for host, subset in both)
        return stable, candidate

    @property
    def selected(self) -> tuple[str, str]:
        """By host and subset."""
        both = ((self.stable, self.stable_subset), (self.candidate, self.candidate_subset))
        told = '.destination.host == "{}" and (.destination.subset // "") == "{}"'
        return told.format(*both[0]), told.format(*both[1])

    def side(self, backend: Mapping[str, Any]) -> str:
        """By its host and subset."""
        return self._side(backend["destination"])

    def check(self, ctx: Context) -> tuple[str, ...]:
        """Also says that a written weight is not an applied one."""
        return (*super().check(ctx), _APPLIED)

    def weight(self, ctx: Context) -> int:
        """As it is written."""
        return self.shares(self.object.read(ctx)).percent

    def set_weight(self, ctx: Context, percent: int) -> None:
        """Write both weights, of a sum of 100 with all others."""
        self.object.edit(ctx, partial(self.weigh, percent=percent), _spec)

    def match(self, ctx: Context) -> Mapping[str, str] | None:
        """That of the route that leads to the candidate alone."""
        found = self.object.read(ctx)
        chosen = self.chosen(found)
        return next(filter(None, (self._led(rule, chosen) for rule in found["spec"]["http"])), None)

    def set_match(self, ctx: Context, match: Mapping[str, str] | None) -> None:
        """A route before ours, for the same requests with that header or cookie besides."""
        self.object.edit(ctx, partial(self.lead, match=match), _spec, rehearsed=match is not None)

    def mirror(self, ctx: Context) -> int:
        """The percent that is copied to the candidate."""
        return self._copied(self.chosen(self.object.read(ctx)))

    def set_mirror(self, ctx: Context, percent: int) -> None:
        """Copy that percent; raises `PlanError` when the route copies to somebody else already."""
        self.object.edit(ctx, partial(self.copy, percent=percent), _spec)

    def lead(self, found: dict[str, Any], match: Mapping[str, str] | None) -> None:
        """Write that match into the object at hand, or take it away; of the route's other fields the new one has the same."""
        rules, chosen = found["spec"]["http"], self.chosen(found)
        if match is not None and dict(match) in (self._led(rule, chosen) for rule in rules):
            return
        rules[:] = [rule for rule in rules if not self._led(rule, chosen)]
        if match is None:
            return
        name, text = _header(match)
        leading = deepcopy(chosen) | {"name": _NAME + match.get("header", "")}  # Istio wants headers in lower case
        conditions = leading.get("match") or [{}]
        if any(name in (each.get("headers") or {}) for each in conditions):
            raise PlanError(f"{self.object.label} matches the header {name} already", hint="use another header")
        leading["match"] = [{**each, "headers": {**(each.get("headers") or {}), name: text}} for each in conditions]
        candidate = next(each for each in leading["route"] if self.side(each) == "candidate")
        leading["route"] = [{**candidate, "weight": 100}]
        rules.insert(rules.index(chosen), leading)

    def copy(self, found: dict[str, Any], percent: int) -> None:
        """Write that mirror into the object at hand, or take it away."""
        chosen = self.chosen(found)
        present = chosen.get("mirror")
        if percent == self._copied(chosen):
            return
        if chosen.get("mirrors") or (present and self._side(present) != "candidate"):
            raise PlanError(
                f"{self.object.label} copies requests to somebody else: {MIRROR} is taken", hint="end that first"
            )
        for key in ("mirror", "mirrorPercentage"):
            chosen.pop(key, None)
        if percent:
            candidate = next(each for each in chosen["route"] if self.side(each) == "candidate")
            chosen |= {"mirror": deepcopy(candidate["destination"]), "mirrorPercentage": {"value": percent}}

    def _side(self, destination: Mapping[str, Any]) -> str:
        named = (destination["host"], destination.get("subset") or "")
        names = {(self.stable, self.stable_subset): "stable", (self.candidate, self.candidate_subset): "candidate"}
        return names.get(named, "")

    def _copied(self, rule: Mapping[str, Any]) -> int:
        if not rule.get("mirror") or self._side(rule["mirror"]) != "candidate":
            return 0
        return round(float((rule.get("mirrorPercentage") or {}).get("value", 100)))

    def _led(self, rule: Mapping[str, Any], chosen: Mapping[str, Any]) -> dict[str, str] | None:
        """What leads requests of the chosen route by another one to the candidate alone; None when it is no such route."""
        if [self.side(each) for each in rule.get("route") or ()] != ["candidate"]:
            return None
        mine, its = chosen.get("match") or [{}], rule.get("match") or []
        if len(mine) != len(its):
            return None
        added = (its[0].get("headers") or {}).keys() - (mine[0].get("headers") or {}).keys()
        if len(added) != 1:
            return None
        name = added.pop()
        text = its[0]["headers"][name]
        expected = [{**each, "headers": {**(each.get("headers") or {}), name: text}} for each in mine]
        return _match(name, text, str(rule.get("name"))) if expected == list(its) else None


def _spec(found: Mapping[str, Any]) -> Any:
    return found["spec"]


def _header(match: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """The header and its condition; a cookie is a part of one."""
    if "header" in match:
        return match["header"].lower(), {"exact": match["value"]}
    return "cookie", {"regex": _COOKIE.format(re.escape(f"{match['cookie']}={match['value']}"))}


def _match(name: str, text: Mapping[str, str], rule: str) -> dict[str, str] | None:
    """The match of such a header; None for a condition that we do not write."""
    if "exact" in text:
        given = rule.removeprefix(_NAME)
        return {"header": given if given.lower() == name else name, "value": text["exact"]}
    before, after = _COOKIE.split("{}")
    regex = text.get("regex", "")
    if name != "cookie" or not (regex.startswith(before) and regex.endswith(after)):
        return None
    cookie, _, value = re.sub(r"\\(.)", r"\1", regex[len(before) : -len(after)]).partition("=")
    return {"cookie": cookie, "value": value}
