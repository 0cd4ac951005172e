"""A Dockerfile's stages: what each one would be as an image, instruction after instruction."""

from __future__ import annotations

import json
import posixpath
import re
import shlex
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path

from sretoolkit.pid1.lint.distribution import distribution
from sretoolkit.pid1.lint.start import Shell
from sretoolkit.pid1.lint.syntax import Instruction, parse, triggered

_VARIABLE = re.compile(r"\\(.)|\$(?:(\w+)|\{(\w+)(?:(:?[-+])([^}]*))?\})")
_PATHS = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
_MOST = 256 * 1024  # bytes of a script


@dataclass
class Stage:
    """One stage so far; ``lines`` has the line of each word that counts, ``files`` what was copied in from the context."""

    name: str = ""
    image: str = ""
    line: int = 0
    shell: list[str] = field(default_factory=lambda: ["/bin/sh", "-c"])
    sh: Shell = "unknown"
    entrypoint: list[str] | None = None
    cmd: list[str] | None = None
    forms: dict[str, str] = field(default_factory=dict)
    stop_signal: str | None = None
    health: str = ""
    folder: str = "/"
    variables: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    triggers: list[Instruction] = field(default_factory=list)
    files: dict[str, Path | str] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)
    own_cmd: bool = False
    context: Path = Path()

    def read(self, path: str) -> str | None:
        """The text of a file that was copied in from the build context or written here; None for any other."""
        for place in self._places(path):
            if place in self.files:
                return self._text(self.files[place], "")
            for above, source in self.files.items():
                if isinstance(source, Path) and place.startswith(above.rstrip("/") + "/") and source.is_dir():
                    found = self._text(source, place[len(above.rstrip("/")) + 1 :])
                    if found is not None:
                        return found
        return None

    def _text(self, source: Path | str, below: str) -> str | None:
        """What a script says; nothing outside the build context is read, wherever a link points."""
        if isinstance(source, str):
            return source
        try:
            path = (source / below).resolve(strict=True)
            if not path.is_file() or not path.is_relative_to(self.context.resolve()) or path.stat().st_size > _MOST:
                return None
            return path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError, ValueError):
            return None

    def _places(self, path: str) -> list[str]:
        if "/" not in path:
            return [f"{folder}/{path}" for folder in _PATHS] + [posixpath.normpath(f"{self.folder}/{path}")]
        return [posixpath.normpath(path if path.startswith("/") else f"{self.folder}/{path}")]


def stages(text: str, context: Path) -> list[Stage]:
    """Every stage in its order; ``context`` is the folder that the build copies from."""
    found: list[Stage] = []
    given: dict[str, str] = {}
    for instruction in parse(text):
        if instruction.word == "FROM":
            found.append(_begun(instruction, found, given, context))
        elif found:
            _apply(found[-1], instruction, context)
        elif instruction.word == "ARG":
            given.update(_pairs(instruction.rest, given))
    return found


def _begun(instruction: Instruction, earlier: list[Stage], given: Mapping[str, str], context: Path) -> Stage:
    words = expand(instruction.rest, given).split()
    base = words[0] if words else ""
    name = words[2].lower() if len(words) > 2 and words[1].upper() == "AS" else ""
    known = next((stage for stage in reversed(earlier) if stage.name and stage.name == base.lower()), None)
    if known is None and base.isdigit() and int(base) < len(earlier):
        known = earlier[int(base)]
    if known is None:
        return Stage(name, base, instruction.line, sh=distribution(base).sh, context=context)
    stage = deepcopy(known)
    stage.name, stage.line, stage.triggers, stage.own_cmd = name, instruction.line, [], False
    for trigger in known.triggers:
        _apply(stage, trigger, context)
    return stage


def _apply(stage: Stage, instruction: Instruction, context: Path) -> None:
    word, rest = instruction.word, instruction.rest
    if word in _CHANGES:
        _CHANGES[word](stage, instruction)
        kept = {"ENTRYPOINT": "command", "CMD": "command", "STOPSIGNAL": "stop_signal", "HEALTHCHECK": "health"}.get(
            word
        )
        if kept:
            stage.lines[kept] = instruction.line
    elif word in ("COPY", "ADD") and "from" not in instruction.flags:
        _copy(stage, instruction, context)
    elif word == "ONBUILD":
        if (later := triggered(instruction)) is not None:
            stage.triggers.append(later)
    elif word in ("ARG", "ENV"):
        stage.variables.update(_pairs(rest, stage.variables, keep=stage.variables if word == "ARG" else None))
    elif word == "LABEL":
        stage.labels.update(_pairs(rest, stage.variables))


def _entrypoint(stage: Stage, instruction: Instruction) -> None:
    """One of its own resets the CMD that came from the image below."""
    stage.entrypoint = _command(stage, instruction)
    if not stage.own_cmd:
        stage.cmd = None


def _cmd(stage: Stage, instruction: Instruction) -> None:
    stage.cmd, stage.own_cmd = _command(stage, instruction), True


def _command(stage: Stage, instruction: Instruction) -> list[str]:
    listed = instruction.listed
    stage.forms[instruction.word] = "exec" if listed is not None else "shell"
    return listed if listed is not None else [*stage.shell, instruction.rest] if instruction.rest else []


def _stop_signal(stage: Stage, instruction: Instruction) -> None:
    stage.stop_signal = expand(instruction.rest, stage.variables)


def _health(stage: Stage, instruction: Instruction) -> None:
    stage.health = "" if instruction.rest.upper().startswith("NONE") else "the HEALTHCHECK"


def _shell(stage: Stage, instruction: Instruction) -> None:
    stage.shell = instruction.listed or stage.shell


def _workdir(stage: Stage, instruction: Instruction) -> None:
    stage.folder = posixpath.normpath(
        posixpath.join(stage.folder, expand(instruction.rest.strip("\"'"), stage.variables))
    )


_CHANGES: Mapping[str, Callable[[Stage, Instruction], None]] = {
    "ENTRYPOINT": _entrypoint, "CMD": _cmd, "STOPSIGNAL": _stop_signal, "HEALTHCHECK": _health, "SHELL": _shell,
    "WORKDIR": _workdir,
}  # fmt: skip


def _copy(stage: Stage, instruction: Instruction, context: Path) -> None:
    words = instruction.listed or [expand(word, stage.variables) for word in instruction.rest.split()]
    if len(words) < 2:
        return
    *sources, target = words
    many = len(sources) > 1 or target.endswith(("/", "."))
    place = posixpath.normpath(posixpath.join(stage.folder, target))
    for source in sources:
        if source.startswith("<<"):
            name = source.lstrip("<-").strip("\"'")
            stage.files[posixpath.join(place, name) if many else place] = instruction.documents.get(name, "")
            continue
        origin = context / source.lstrip("/")
        inside = many and not origin.is_dir()
        stage.files[posixpath.join(place, origin.name) if inside else place] = origin


def _pairs(text: str, variables: Mapping[str, str], keep: Mapping[str, str] | None = None) -> dict[str, str]:
    """``A=1 B="2 3"``, the old ``A 1``, and ARG's bare ``A``; ``keep``: an ENV of that name is stronger."""
    try:
        words = shlex.split(text)
    except ValueError:
        return {}
    if words and "=" not in words[0]:
        words = ["=".join([words[0], " ".join(words[1:])])] if len(words) > 1 else []
    found: dict[str, str] = {}
    for word in words:
        name, _, value = word.partition("=")
        if name and (keep is None or name not in keep):
            found[name] = expand(value, {**variables, **found})
    return found


def expand(text: str, variables: Mapping[str, str]) -> str:
    """With the variables that are known; one that is not stays as it is written."""

    def value(found: re.Match[str]) -> str:
        if found[1]:
            return found[1]
        name, how, other = found[2] or found[3], found[4] or "", found[5] or ""
        known = variables.get(name)
        if "+" in how:
            return other if known else ""
        if known is None or (how == ":-" and not known):
            return other if how else found[0]
        return known

    return _VARIABLE.sub(value, text)


def listed(words: list[str]) -> str:
    """The exec form."""
    return json.dumps(words, ensure_ascii=False)
