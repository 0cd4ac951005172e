"""The Gateway API: an HTTPRoute shares out requests between the Services of the two tracks.

The weights of a rule are relative. A weight counts as set when the route's controller says so of this generation; where no
controller writes a status of the route, `check` says that only the observed split can tell.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import Any

from sretoolkit.errors import HostError, PlanError
from sretoolkit.plan import Context
from sretoolkit.rollout.cluster_object import ClusterObject
from sretoolkit.rollout.routers._weighted import Weighted

_ALL = {"path": {"type": "PathPrefix", "value": "/"}}  # what a rule without matches is for
_TOLD = 10.0  # seconds; a controller takes up a change in much less
_NO_STATUS = (
    "no controller writes a status of {}: a weight counts as set once it is written, see that the split comes about"
)


@dataclass(frozen=True, kw_only=True)
class Gateway(Weighted):
    """``route``: the HTTPRoute, of which one rule names the Services ``stable`` and ``candidate``, both in its namespace."""

    rules = "rules"
    backends = "backendRefs"
    unset = 1

    route: str
    stable: str
    candidate: str

    @property
    def object(self) -> ClusterObject:
        """The HTTPRoute."""
        return ClusterObject(
            context=self.context, namespace=self.namespace, name=self.route, kind="HTTPRoute",
            group="gateway.networking.k8s.io", plural="httproutes", versions=("v1", "v1beta1"),
        )  # fmt: skip

    @property
    def sides(self) -> tuple[str, str]:
        """Both Services."""
        return f"the Service {self.stable}", f"the Service {self.candidate}"

    @property
    def selected(self) -> tuple[str, str]:
        """By their names."""
        return f'.name == "{self.stable}"', f'.name == "{self.candidate}"'

    def side(self, backend: Mapping[str, Any]) -> str:
        """By its name, where it is a Service of this namespace."""
        service = (backend.get("group") or "", backend.get("kind") or "Service") == ("", "Service")
        here = backend.get("namespace") in (None, "", self.namespace)
        names = {self.stable: "stable", self.candidate: "candidate"}
        return names.get(str(backend.get("name")), "") if service and here else ""

    def check(self, ctx: Context) -> tuple[str, ...]:
        """Also refuses a route that its controller has not accepted."""
        found = self.object.read(ctx)
        if not _parents(found):
            return (_NO_STATUS.format(self.object.label), *super().check(ctx))
        self._settled(ctx, found)
        return super().check(ctx)

    def weight(self, ctx: Context) -> int:
        """As the route's controller has it; raises `HostError` while it has not taken up what is written."""
        return self.shares(self._in_effect(ctx, self.object.read(ctx), within=_TOLD)).percent

    def set_weight(self, ctx: Context, percent: int) -> None:
        """Write both weights, and wait for the route's controller."""
        self._in_effect(ctx, self.object.edit(ctx, partial(self.weigh, percent=percent), _spec))

    def match(self, ctx: Context) -> Mapping[str, str] | None:
        """That of the rule that leads to the candidate alone."""
        found = self._in_effect(ctx, self.object.read(ctx), within=_TOLD)
        chosen = self.chosen(found)
        return next(filter(None, (self._led(rule, chosen) for rule in found["spec"]["rules"])), None)

    def set_match(self, ctx: Context, match: Mapping[str, str] | None) -> None:
        """A rule for the same requests with that header besides, which leads to the candidate alone."""
        if match is not None and "header" not in match:
            raise PlanError("an HTTPRoute matches headers, a cookie is none by itself", hint="use a header")
        self._in_effect(ctx, self.object.edit(ctx, partial(self.lead, match=match), _spec, rehearsed=match is not None))

    def mirror(self, ctx: Context) -> int:
        """The percent of the filter that copies to the candidate."""
        found = self._in_effect(ctx, self.object.read(ctx), within=_TOLD)
        return sum(
            _copied(each["requestMirror"]) for each in self.chosen(found).get("filters") or () if self._copies(each)
        )

    def set_mirror(self, ctx: Context, percent: int) -> None:
        """A RequestMirror filter; raises `HostError` where the served HTTPRoute knows no percent and that is not 100."""
        edited = self.object.edit(ctx, partial(self.copy, percent=percent), _spec, rehearsed=percent not in (0, 100))
        self._in_effect(ctx, edited)

    def lead(self, found: dict[str, Any], match: Mapping[str, str] | None) -> None:
        """Write that match into the object at hand, or take it away; of the rule's other fields the new one has the same."""
        rules, chosen = found["spec"]["rules"], self.chosen(found)
        if match is not None and {"header": match["header"], "value": match["value"]} in (
            self._led(rule, chosen) for rule in rules
        ):
            return
        rules[:] = [rule for rule in rules if not self._led(rule, chosen)]
        if match is None:
            return
        header = {"type": "Exact", "name": match["header"], "value": match["value"]}
        leading = {key: deepcopy(value) for key, value in chosen.items() if key != "name"}
        matches = leading.get("matches") or [_ALL]
        leading["matches"] = [{**each, "headers": [*(each.get("headers") or ()), header]} for each in matches]
        leading["backendRefs"] = [{**self._backend(chosen, "candidate"), "weight": 1}]
        rules.insert(rules.index(chosen), leading)

    def copy(self, found: dict[str, Any], percent: int) -> None:
        """Write that mirror into the object at hand, or take it away."""
        chosen = self.chosen(found)
        filters = chosen.get("filters") or []
        if percent == sum(_copied(each["requestMirror"]) for each in filters if self._copies(each)):
            return
        kept = [each for each in filters if not self._copies(each)]
        if percent:
            backend = {
                key: value
                for key, value in self._backend(chosen, "candidate").items()
                if key not in ("weight", "filters")
            }
            mirror = {"backendRef": backend} | ({"percent": percent} if percent < 100 else {})
            kept.append({"type": "RequestMirror", "requestMirror": mirror})
        chosen["filters"] = kept
        if not kept:
            del chosen["filters"]

    def _backend(self, rule: Mapping[str, Any], side: str) -> dict[str, Any]:
        return deepcopy(next(each for each in rule["backendRefs"] if self.side(each) == side))

    def _copies(self, each: Mapping[str, Any]) -> bool:
        to = (each.get("requestMirror") or {}).get("backendRef")
        return each.get("type") == "RequestMirror" and self.side(to or {}) == "candidate"

    def _led(self, rule: Mapping[str, Any], chosen: Mapping[str, Any]) -> dict[str, str] | None:
        """The header by which a rule leads requests of the chosen one to the candidate alone; None when it is no such rule."""
        if [self.side(each) for each in rule.get("backendRefs") or ()] != ["candidate"]:
            return None
        mine, its = chosen.get("matches") or [_ALL], rule.get("matches") or []
        if len(mine) != len(its) or not its:
            return None
        header = (its[0].get("headers") or [None])[-1]
        if not header or header.get("type", "Exact") != "Exact":
            return None
        expected = [{**each, "headers": [*(each.get("headers") or ()), header]} for each in mine]
        return {"header": header["name"], "value": header["value"]} if expected == list(its) else None

    def _in_effect(self, ctx: Context, found: dict[str, Any], *, within: float = float("inf")) -> dict[str, Any]:
        late = "its controller has not taken up the last change; does it run?"
        return self.object.wait(ctx, found, partial(self._settled, ctx), late=late, within=within)

    def _settled(self, ctx: Context, found: Mapping[str, Any]) -> bool:
        """Whether every controller that writes a status of this route says that it is so; raises `HostError` if one refuses."""
        generation = int(found["metadata"]["generation"])
        settled = True
        for parent in _parents(found):
            for condition in parent.get("conditions") or ():
                current = int(condition.get("observedGeneration") or generation) >= generation
                settled &= current
                if current and condition["type"] in ("Accepted", "ResolvedRefs") and condition["status"] == "False":
                    said = f"{condition['type']} is False, {condition['reason']}: {condition['message']}"
                    what = f"{self.object.label} is refused by {parent['controllerName']}: {said}"
                    raise HostError(what, host=self.object.cluster(ctx).name, hint="mend the route, or undo the change")
        return settled


def _parents(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    return list((found.get("status") or {}).get("parents") or ())


def _spec(found: Mapping[str, Any]) -> Any:
    return found["spec"]


def _copied(mirror: Mapping[str, Any]) -> int:
    if fraction := mirror.get("fraction"):
        return int(100 * fraction["numerator"] // fraction.get("denominator", 100))
    return int(mirror.get("percent", 100))
