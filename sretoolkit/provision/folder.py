"""Policies in git: a folder of documents, read, tested by its own cases, compared with what is, and applied as a plan.

``tags/``, ``repos/``, ``policies/``, ``brokers/`` and ``hooks/`` hold one document a file (JSON or TOML); its name is the
file's when it says none. ``cases/`` hold recorded facts and what is expected of them.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sretoolkit.errors import ProvisionError
from sretoolkit.plan import Plan
from sretoolkit.provision.entries import KINDS, Document, read
from sretoolkit.provision.registry import Registry, matcher_of
from sretoolkit.provision.simulate import Documents, outlooks, recorded
from sretoolkit.provision.steps import SetDocument
from sretoolkit.report import Finding, Report, Table

_FOLDERS = {"tag": "tags", "repo": "repos", "policy": "policies", "broker": "brokers", "hook": "hooks"}
_CREATE = ("tag", "repo", "broker", "hook", "policy")  # a policy's tags are there before it


def read_folder(folder: Path) -> Documents:
    """All documents of a folder by kind and name; raises `ProvisionError` for the first that cannot be read."""
    if not folder.is_dir():
        raise ProvisionError(f"there is no folder {folder}", hint="it holds tags/, policies/, ...")
    found: dict[str, dict[str, Document]] = {kind: {} for kind in KINDS}
    for kind, name in _FOLDERS.items():
        for path, content in _files(folder / name):
            try:
                document = read(kind, {"name": path.stem, **content})
            except ProvisionError as error:
                raise ProvisionError(f"{path}: {error.message}", hint=error.hint) from error
            if document.name in found[kind]:
                raise ProvisionError(f"{path}: there are two files for the {kind} {document.name!r}")
            found[kind][document.name] = document
    matcher_of(found["tag"], found["policy"])
    return found


def apply_folder(registry: Registry, folder: Path, *, prune: bool = False) -> Plan:
    """The plan that makes what is known what the folder says; with ``prune`` what it does not name is deleted."""
    wanted = read_folder(folder)
    there = {kind: registry.documents(kind) for kind in KINDS}
    steps = [step for kind in _CREATE for step in _changes(kind, there[kind], wanted[kind])]
    gone = [
        SetDocument(kind=kind, name=name, before=document.to_dict(), after=None)
        for kind in reversed(_CREATE)
        for name, document in there[kind].items()
        if prune and name not in wanted[kind]
    ]
    return Plan(f"apply {folder}", [*steps, *gone])


def check_cases(folder: Path) -> Report:
    """Whether the folder's own cases come out as they expect: a test of the policies before anybody applies them."""
    documents = read_folder(folder)
    matcher = matcher_of(documents["tag"], documents["policy"])
    rows, findings = [], []
    for path, case in _files(folder / "cases"):
        expected = case.get("expect", {})
        if not isinstance(case.get("facts"), Mapping) or not isinstance(expected, Mapping) or not expected:
            raise ProvisionError(
                f"{path}: a case needs facts and what to expect of them", hint='"expect": {"policy": "web"}'
            )
        node = recorded(case["facts"], name=path.stem, metadata=case.get("metadata"))
        outlook = outlooks([node], matcher)[0]
        seen = {"policy": outlook.policy, "tags": sorted(outlook.decision.tags)}
        wrong = {key: (value, seen.get(key)) for key, value in expected.items() if _plain(value) != seen.get(key)}
        rows.append((path.stem, "FAILED" if wrong else "ok", outlook.policy or "none", ", ".join(seen["tags"])))
        findings += [
            Finding(
                severity="high", subject=path.stem, summary=f"{key} is {found!r}, not {value!r}", proof="certain",
                remedy=f"mend the rules, or {path}", rule="case",
            )
            for key, (value, found) in wrong.items()
        ]  # fmt: skip
    return Report(f"Cases of {folder}", findings, [Table("", ("case", "", "policy", "tags"), rows)])


def _changes(kind: str, there: Mapping[str, Document], wanted: Mapping[str, Document]) -> Iterator[SetDocument]:
    for name, document in wanted.items():
        before = there[name].to_dict() if name in there else None
        if before != document.to_dict():
            yield SetDocument(kind=kind, name=name, before=before, after=document.to_dict())


def _files(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    for path in sorted(folder.glob("*")) if folder.is_dir() else ():
        if path.suffix not in (".json", ".toml"):
            continue
        try:
            text = path.read_text(encoding="utf-8")
            content = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
        except (OSError, ValueError) as error:
            raise ProvisionError(f"{path} cannot be read: {error}", hint="mend the file") from error
        if not isinstance(content, dict):
            raise ProvisionError(f"{path} must hold one table")
        yield path, content


def _plain(value: Any) -> Any:
    return sorted(value) if isinstance(value, list) else value
