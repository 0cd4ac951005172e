"""ingress-nginx: a second Ingress with canary annotations beside the main one leads a share of its requests to the candidate.

It is made from the main one when it is needed, and removed when the candidate gets nothing any more.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar
from urllib.parse import quote

from sretoolkit.errors import PlanError
from sretoolkit.hosts.cluster import ClusterError
from sretoolkit.plan import Context
from sretoolkit.rollout.cluster_object import ClusterObject
from sretoolkit.rollout.router import MATCH, WEIGHT, Router

_PREFIX = "nginx.ingress.kubernetes.io/canary"
_WEIGHT, _TOTAL = f"{_PREFIX}-weight", f"{_PREFIX}-weight-total"
_HEADER, _VALUE, _COOKIE = f"{_PREFIX}-by-header", f"{_PREFIX}-by-header-value", f"{_PREFIX}-by-cookie"
_CLASS = "kubernetes.io/ingress.class"
_MADE = {"app.kubernetes.io/managed-by": "sretoolkit"}
_APPLIED = "its controller says of no object when its nginx has it: look at the metrics of the candidate at each share"


@dataclass(frozen=True, kw_only=True)
class IngressNginx(Router):
    """``ingress``: the main Ingress, whose paths to the Service ``stable`` are shared with the Service ``candidate``.

    ``canary``: the name of the second Ingress ("" = that of the main one and "-canary"). One that the team made itself is
    used as it is, and kept.
    """

    can: ClassVar[frozenset[str]] = frozenset({WEIGHT, MATCH})

    context: str = ""
    namespace: str = "default"
    ingress: str
    stable: str
    candidate: str
    canary: str = ""

    @property
    def main(self) -> ClusterObject:
        """The main Ingress."""
        return self._ingress(self.ingress)

    @property
    def second(self) -> ClusterObject:
        """The Ingress with the canary annotations."""
        return self._ingress(self.canary or f"{self.ingress}-canary")

    @property
    def target(self) -> str:
        """The main Ingress's."""
        return self.main.target

    def check(self, ctx: Context) -> tuple[str, ...]:
        """Refuses a second canary for a rule (ingress-nginx uses one), and objects that somebody else writes."""
        found = self.main.read(ctx)
        self.main.refuse_managed(found)
        self.beside(found)
        second = self.second.find(ctx)
        if second is None:
            self._refuse_another(ctx, found)
            return (_APPLIED,)
        if not _made(second):
            self.second.refuse_managed(second)
        if self._annotations(second).get(_PREFIX) != "true":
            hint = "choose another name for it (canary = ...)"
            raise PlanError(f"{self.second.label} is there and is no canary", hint=hint)
        if self.candidate not in {service for _, _, service in _paths(second)}:
            what = f"{self.second.label} leads to other Services than {self.candidate}"
            raise PlanError(what, hint="name the Service that it leads to as candidate, or remove it")
        return (_APPLIED,)

    def achieved(self, ctx: Context, percent: int) -> float:
        """Exactly that; raises `PlanError` where the canary's own total of weights does not let it be written."""
        found = self.second.find(ctx)
        self._part(percent, self._annotations(found) if found else {})
        return float(percent)

    def weight(self, ctx: Context) -> int:
        """By the annotations; 0 without a second Ingress."""
        found = self.second.find(ctx)
        return self.share(found) if found else 0

    def set_weight(self, ctx: Context, percent: int) -> None:
        """Write the annotation; the second Ingress is made when it is missing, and removed when nothing leads to it."""
        self._write(ctx, partial(self.weigh, percent=percent))

    def match(self, ctx: Context) -> Mapping[str, str] | None:
        """By the annotations."""
        found = self.second.find(ctx)
        return self.led(found) if found else None

    def set_match(self, ctx: Context, match: Mapping[str, str] | None) -> None:
        """A header with a value, or a cookie that says "always": ingress-nginx knows no other value of a cookie."""
        if match is not None and "cookie" in match and match["value"] != "always":
            hint = 'let its value be "always", or use a header'
            raise PlanError(f"ingress-nginx leads by a cookie of the value always, not {match['value']!r}", hint=hint)
        self._write(ctx, partial(self.lead, match=match))

    def by_hand(self, percent: int) -> str:
        """``kubectl annotate``, making the second Ingress if it is missing; its removal where nothing should lead to it."""
        if not percent:
            return f"{self.second.kubectl} delete {self.second.resource} --ignore-not-found"
        words = f"annotate --overwrite {self.second.resource} {_PREFIX}=true {_WEIGHT}={percent} {_TOTAL}-"
        return f"{self.second.kubectl} {words} || {self._made_by_hand(percent)}"

    # ------------------------------------------------------------------ pure

    def beside(self, main: Mapping[str, Any]) -> dict[str, Any]:
        """The second Ingress for a main one, with a weight of 0; raises `PlanError` when no path leads to the stable Service."""
        rules = []
        for rule in deepcopy(main["spec"].get("rules") or []):
            paths = [path for path in (rule.get("http") or {}).get("paths") or () if _service(path) == self.stable]
            for path in paths:
                path["backend"]["service"]["name"] = self.candidate
            if paths:
                rules.append({**rule, "http": {"paths": paths}})
        if not rules:
            hint = "a canary can only share rules with a path; name the Service that they lead to as stable"
            raise PlanError(f"no path of {self.main.label} leads to the Service {self.stable}", hint=hint)
        meta = main["metadata"]
        mine = {_PREFIX: "true", _WEIGHT: "0"}
        if kind := (meta.get("annotations") or {}).get(_CLASS):
            mine[_CLASS] = kind
        owner = {"apiVersion": main["apiVersion"], "kind": "Ingress", "name": meta["name"], "uid": meta["uid"]}
        same = {key: main["spec"][key] for key in ("ingressClassName",) if key in main["spec"]}
        return {
            "apiVersion": main["apiVersion"],
            "kind": "Ingress",
            "metadata": {
                "name": self.second.name,
                "namespace": self.namespace,
                "labels": _MADE,
                "annotations": mine,
                "ownerReferences": [owner],
            },
            "spec": {**same, "rules": rules},
        }

    def share(self, found: Mapping[str, Any]) -> int:
        """The percent by its annotations; any share but none and all is at least 1 and at most 99."""
        marks = self._annotations(found)
        if marks.get(_PREFIX) != "true":
            return 0
        exact = 100 * int(marks.get(_WEIGHT, 0)) / int(marks.get(_TOTAL, 100))
        return round(exact) if exact in (0, 100) else min(99, max(1, round(exact)))

    def led(self, found: Mapping[str, Any]) -> dict[str, str] | None:
        """The match by its annotations."""
        marks = self._annotations(found)
        if marks.get(_HEADER):
            return {"header": marks[_HEADER], "value": marks.get(_VALUE, "always")}
        return {"cookie": marks[_COOKIE], "value": "always"} if marks.get(_COOKIE) else None

    def weigh(self, found: Mapping[str, Any], percent: int) -> None:
        """Write a percent into the object at hand."""
        if self.share(found) != percent:
            found["metadata"].setdefault("annotations", {})[_WEIGHT] = self._part(percent, self._annotations(found))

    def lead(self, found: Mapping[str, Any], match: Mapping[str, str] | None) -> None:
        """Write a match into the object at hand, or take it away."""
        if self.led(found) == match:
            return
        marks = found["metadata"].setdefault("annotations", {})
        for key in (_HEADER, _VALUE, _COOKIE):
            marks.pop(key, None)
        if match is not None and "header" in match:
            marks |= {_HEADER: match["header"], _VALUE: match["value"]}
        elif match is not None:
            marks[_COOKIE] = match["cookie"]

    def _part(self, percent: int, marks: Mapping[str, str]) -> str:
        total = int(marks.get(_TOTAL, 100))
        if total * percent % 100:
            hint = f"let {_TOTAL} be 100, or choose other percents"
            raise PlanError(f"{percent} % of a total weight of {total} is no whole number", hint=hint)
        return str(total * percent // 100)

    def _annotations(self, found: Mapping[str, Any]) -> dict[str, str]:
        return dict(found["metadata"].get("annotations") or {})

    # ------------------------------------------------------------------ the cluster

    def _ingress(self, name: str) -> ClusterObject:
        return ClusterObject(
            context=self.context, namespace=self.namespace, name=name, kind="Ingress",
            group="networking.k8s.io", plural="ingresses", versions=("v1",),
        )  # fmt: skip

    def _write(self, ctx: Context, change: Any) -> None:
        """Edit the second Ingress, making it first or removing it last where it is ours to make."""
        found = self.second.find(ctx)
        if found is None:
            main = self.main.read(ctx)
            made = self.beside(main)
            change(made)
            if not self._idle(made):
                self._refuse_another(ctx, main)
                self._create(ctx, made)
            return
        meant = deepcopy(found)
        change(meant)
        if _made(found) and self._idle(meant):
            self._remove(ctx, found)
        else:
            self.second.edit(ctx, change, lambda seen: (seen["spec"], self.share(seen), self.led(seen)))

    def _idle(self, found: Mapping[str, Any]) -> bool:
        return not self.share(found) and self.led(found) is None

    def _create(self, ctx: Context, made: Mapping[str, Any]) -> None:
        try:
            self.second.cluster(ctx).create(self.second.collection(ctx), made, timeout=min(30, ctx.remaining()))
        except ClusterError as error:
            if error.status != 409:
                raise
            found = self.second.read(ctx)  # it may have been made at a first try whose answer was lost
            if not _made(found) or (self.share(found), self.led(found)) != (self.share(made), self.led(made)):
                raise self.second.changed(ctx, "made by somebody else", "missing") from error

    def _remove(self, ctx: Context, found: Mapping[str, Any]) -> None:
        path = f"{self.second.collection(ctx)}/{quote(self.second.name)}"
        try:
            self.second.cluster(ctx).delete(
                path, version=found["metadata"]["resourceVersion"], timeout=min(30, ctx.remaining())
            )
        except ClusterError as error:
            if error.status == 409:
                raise self.second.changed(ctx, "another one", "the one that was read") from error
            if error.status != 404:
                raise

    def _refuse_another(self, ctx: Context, main: Mapping[str, Any]) -> None:
        """ingress-nginx takes one canary for a host and path, whichever; a second one would have no effect."""
        mine = {(host, path) for host, path, service in _paths(main) if service == self.stable}
        for each in self.main.cluster(ctx).items(self.main.collection(ctx), timeout=min(30, ctx.remaining())):
            name = each["metadata"]["name"]
            both = mine & {(host, path) for host, path, _ in _paths(each)}
            if self._annotations(each).get(_PREFIX) == "true" and name != self.second.name and both:
                host, path = min(both)
                what = f"the Ingress {self.namespace}/{name} is a canary of {host or '*'}{path} already"
                hint = f"ingress-nginx takes one a rule: end that one first, or use it: canary = {name!r}"
                raise PlanError(what, hint=hint)

    def _made_by_hand(self, percent: int) -> str:
        """From the main Ingress as it is then."""
        keep = json.dumps({_PREFIX: "true", _WEIGHT: str(percent)})
        program = (
            f'.metadata = {{name: "{self.second.name}", labels: {json.dumps(_MADE)}, annotations: ({keep} + '
            f'((.metadata.annotations // {{}}) | with_entries(select(.key == "{_CLASS}"))))}} | del(.status, .spec.tls)'
            f' | .spec.rules |= map(.http.paths |= map(select(.backend.service.name == "{self.stable}")'
            f' | .backend.service.name = "{self.candidate}") | select(.http.paths | length > 0))'
        )
        kubectl = self.main.kubectl
        return f"{kubectl} get {self.main.resource} -o json | jq {shlex.quote(program)} | {kubectl} create -f -"


def _made(found: Mapping[str, Any]) -> bool:
    """Whether we have made it, and so may remove it."""
    return _MADE.items() <= (found["metadata"].get("labels") or {}).items()


def _service(path: Mapping[str, Any]) -> str:
    return str(((path.get("backend") or {}).get("service") or {}).get("name", ""))


def _paths(found: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Host, path and Service of everything that it routes."""
    for rule in found["spec"].get("rules") or ():
        for path in (rule.get("http") or {}).get("paths") or ():
            yield str(rule.get("host", "")), str(path.get("path", "/")), _service(path)
