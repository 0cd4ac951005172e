"""Compose files: every service, with the Dockerfile that it is built from where that stands beside it."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sretoolkit.errors import ConfigError
from sretoolkit.pid1.lint.distribution import distribution
from sretoolkit.pid1.lint.format import Format, content
from sretoolkit.pid1.lint.formats.dockerfile import start_of as _start_of
from sretoolkit.pid1.lint.lined import Lined, documents
from sretoolkit.pid1.lint.stages import Stage, expand, stages
from sretoolkit.pid1.lint.start import Start
from sretoolkit.pid1.workload import Fix

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(us|ms|s|m|h)")
_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_GRACE = 10.0  # seconds; Compose's default
_WORDS: dict[Fix, str] = {
    "init": "init: true",
    "exec": "command: the program itself without a shell, or sh -c '{exec}'",
    "exec-behind": "end the script with exec: {exec}",
    "background": "in the script: {what} & wait $!",
    "stop-signal": "stop_signal: {what}",
    "limit": "pids_limit: 512",
    "subreaper": "leave tini out, or give it -s",
}


class Compose(Format):
    """Docker Compose, known by its name or by its services."""

    def knows(self, path: Path) -> bool:
        """compose.yaml, docker-compose.yml, and YAML with services that is nobody else's."""
        if path.suffix.lower() not in (".yaml", ".yml"):
            return False
        try:
            found = documents(content(path), path)
        except ConfigError:
            return False
        return any(isinstance(each.get("services"), Lined) and "apiVersion" not in each for each in found)

    def starts(self, path: Path, *, target: str = "") -> Sequence[Start]:
        """Every service, or the one that is named; variables have the values of the environment and of ``.env``."""
        variables = {**_environment(path.parent / ".env"), **os.environ}
        return [
            _start(str(name), service, path, variables)
            for document in documents(content(path), path)
            for name, service in document.part("services").items()
            if isinstance(service, Lined) and target in ("", name)
        ]


def _environment(path: Path) -> dict[str, str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return {}
    pairs = [line.split("=", 1) for line in lines if "=" in line and not line.lstrip().startswith("#")]
    return {name.strip(): value.strip().strip("\"'") for name, value in pairs}


def _start(name: str, service: Lined, path: Path, variables: Mapping[str, str]) -> Start:
    built = _built(service, path, variables)
    image = expand(str(service.get("image") or ""), variables)
    stage = built or Stage(image=image, sh=distribution(image).sh)
    entrypoint, command = _words(service.get("entrypoint"), variables), _words(service.get("command"), variables)
    whole: tuple[str, ...] | None
    if entrypoint:
        whole = (*entrypoint, *(command or ()))
    elif command and (stage.entrypoint or (built and distribution(stage.image).plain)):
        whole = (*(stage.entrypoint or ()), *command)
    else:
        whole = command if command and not built else None
    described = _start_of(stage, path) if built else None
    caveat = (
        "" if entrypoint or built else f"unless {image or 'the image'} has an ENTRYPOINT, which is not written here"
    )
    plain = distribution(stage.image).plain
    if whole is None and described is not None:
        whole, caveat = described.command, described.caveat
    start = Start(
        subject=name,
        path=str(path),
        line=service.line,
        image=image,
        command=whole,
        unknown_because=f"{image or 'the image'} says what is started",
        caveat="" if plain else caveat,
        sh=stage.sh,
        signal_sure=plain,
        executes=stage.health,
        words=_WORDS,
        read=stage.read,
        stop_signal=stage.stop_signal,
    )
    return _configured(start, service, variables)


def _configured(start: Start, service: Lined, variables: Mapping[str, str]) -> Start:
    """With all that the service says beside its command."""
    signal, mode = service.get("stop_signal"), str(service.get("pid") or "")
    health, labels = service.part("healthcheck"), service.get("labels")
    test = health.get("test")
    off = health.get("disable") is True or test in ("NONE", ["NONE"])
    owners = dict(labels) if isinstance(labels, Mapping) else {}
    lines = {
        "command": service.at(
            "command" if "command" in service else "entrypoint" if "entrypoint" in service else "build"
        ),
        "stop_signal": service.at("stop_signal"),
        "grace": service.at("stop_grace_period"),
        "health": service.at("healthcheck"),
        "pids": service.at("pids_limit"),
    }
    return replace(
        start,
        owner=next((str(owners[key]) for key in ("owner", "team", "maintainer") if owners.get(key)), ""),
        stop_signal=expand(str(signal), variables) if signal else start.stop_signal,
        grace=_duration(service.get("stop_grace_period")),
        init=service.get("init") is True,
        shared=mode == "host" or mode.startswith(("container:", "service:")),
        executes="" if off else "the healthcheck" if test else start.executes,
        pids=_limited(service),
        lines=lines,
    )


def _limited(service: Lined) -> bool:
    own = service.get("pids_limit", service.part("deploy").part("resources").part("limits").get("pids"))
    return own is not None and str(own) not in ("0", "-1")


def _built(service: Lined, path: Path, variables: Mapping[str, str]) -> Stage | None:
    """The stage that a service is built from; None where its Dockerfile cannot be read from here."""
    build = service.get("build")
    if not build:
        return None
    table = build if isinstance(build, Lined) else {}
    context = path.parent / expand(str(table.get("context", ".") if table else build), variables)
    file = context / expand(str(table.get("dockerfile", "Dockerfile")), variables)
    try:
        text = str(table["dockerfile_inline"]) if "dockerfile_inline" in table else content(file)
    except ConfigError:
        return None
    found = stages(text, context)
    target = str(table.get("target", "")).lower()
    chosen = [stage for stage in found if stage.name == target] if target else found
    return chosen[-1] if chosen else None


def _words(given: Any, variables: Mapping[str, str]) -> tuple[str, ...] | None:
    """Compose splits text into words itself; it starts no shell. ``$$`` is a dollar."""
    if given is None:
        return None
    if isinstance(given, str):
        try:
            pieces = shlex.split(given)
        except ValueError:
            pieces = given.split()
    else:
        pieces = [str(word) for word in given] if isinstance(given, list) else []
    return tuple("$".join(expand(part, variables) for part in piece.split("$$")) for piece in pieces)


def _duration(given: Any) -> float:
    text = str(given or "") if given != 0 else "0s"
    parts = _DURATION.findall(text)
    return sum(float(count) * _UNITS[unit] for count, unit in parts) if parts else _GRACE
