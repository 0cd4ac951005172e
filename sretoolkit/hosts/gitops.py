"""Who else writes an object of a cluster: a GitOps controller would take a change of ours back at its next synchronisation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

HINT = "change it in the repository that it is made from, and let that be synchronised"

_MARKS = {
    "argocd.argoproj.io/instance": "Argo CD",
    "argocd.argoproj.io/tracking-id": "Argo CD",
    "kustomize.toolkit.fluxcd.io/name": "Flux",
    "helm.toolkit.fluxcd.io/name": "Flux",
}
_WRITERS = {
    "argocd-controller": "Argo CD",
    "argocd-application-controller": "Argo CD",
    "kustomize-controller": "Flux",
    "helm-controller": "Flux",
}


def managed_by(found: Mapping[str, Any]) -> str:
    """The system that keeps an object of the API as its repository says ("Argo CD", "Flux"), "" when none is known."""
    meta = found["metadata"]
    marks = {**(meta.get("labels") or {}), **(meta.get("annotations") or {})}
    by = next((system for mark, system in _MARKS.items() if mark in marks), "")
    writers = (str(each.get("manager", "")) for each in meta.get("managedFields") or ())
    return by or next((_WRITERS[writer] for writer in writers if writer in _WRITERS), "")


def last_writer(found: Mapping[str, Any], *, but: str = "") -> str:
    """Who changed an object's spec last, and when ("kubectl-edit, 2026-11-01T14:05:00Z"); "" when it does not tell.

    By its managedFields. ``but``: a manager that is not meant, such as oneself.
    """
    managers = [
        each
        for each in found["metadata"].get("managedFields") or ()
        if each.get("manager") != but and "f:spec" in (each.get("fieldsV1") or {})
    ]
    last = max(managers, key=lambda each: str(each.get("time", "")), default=None)
    return f"{last['manager']}, {last.get('time', 'at an unknown time')}" if last else ""
