"""Dockerfile and Containerfile: the last stage, or the one that is chosen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sretoolkit.errors import ConfigError
from sretoolkit.pid1 import script
from sretoolkit.pid1.lint.distribution import distribution
from sretoolkit.pid1.lint.format import Format, content, literal
from sretoolkit.pid1.lint.stages import Stage, listed, stages
from sretoolkit.pid1.lint.start import Start
from sretoolkit.pid1.workload import Fix

_NAMES = ("dockerfile", "containerfile")
_SIGNS = set(";&|<>$`(){}*?")


class Dockerfile(Format):
    """One image; a file is known by its name."""

    def knows(self, path: Path) -> bool:
        """Dockerfile, Dockerfile.web, web.Dockerfile and the same with Containerfile."""
        name = path.name.lower()
        return not name.endswith(".dockerignore") and (name.split(".")[0] in _NAMES or name.split(".")[-1] in _NAMES)

    def starts(self, path: Path, *, target: str = "") -> Sequence[Start]:
        """The stage ``target``, else the last one."""
        found = stages(content(path), path.parent)
        if not found:
            raise ConfigError(f"{path} has no FROM: it is no Dockerfile", hint="is it the file that was meant?")
        stage = found[-1]
        if target:
            chosen = [each for each in found if each.name == target.lower()]
            if not chosen:
                names = ", ".join(each.name for each in found if each.name) or "none has a name"
                raise ConfigError(f"{path} has no stage {target!r}", hint=f"its stages: {names}")
            stage = chosen[-1]
        return [start_of(stage, path)]


def start_of(stage: Stage, path: Path) -> Start:
    """How a container of that stage is started."""
    base = distribution(stage.image)
    own = stage.entrypoint is not None or stage.cmd is not None
    caveat = ""
    if stage.entrypoint is None and not base.plain:
        caveat = f"unless {stage.image} has an ENTRYPOINT, which is not written here"
    return Start(
        subject=f"{path.name}{f' (stage {stage.name})' if stage.name else ''}",
        path=str(path),
        line=stage.line,
        owner=next((stage.labels[key] for key in ("owner", "team", "maintainer") if stage.labels.get(key)), ""),
        command=_command(stage) if own or stage.image == "scratch" else None,
        unknown_because=f"neither ENTRYPOINT nor CMD is here: {stage.image} says what is started",
        caveat=caveat,
        sh=stage.sh,
        stop_signal=stage.stop_signal,
        signal_sure=base.plain,
        executes=stage.health,
        lines=stage.lines,
        words=_words(stage),
        read=stage.read,
    )


def _command(stage: Stage) -> tuple[str, ...]:
    """CMD gives the arguments of ENTRYPOINT; one in shell form takes none."""
    if stage.forms.get("ENTRYPOINT") == "shell":
        return tuple(stage.entrypoint or ())
    return (*(stage.entrypoint or ()), *(stage.cmd or ()))


def _words(stage: Stage) -> dict[Fix, str]:
    install, tini = distribution(stage.image).install
    has_entrypoint = bool(stage.entrypoint)
    in_cmd = not has_entrypoint or (stage.forms.get("ENTRYPOINT") == "exec" and stage.forms.get("CMD") == "shell")
    word = "CMD" if in_cmd else "ENTRYPOINT"
    command = (stage.cmd if in_cmd else stage.entrypoint) or []
    entry = f"ENTRYPOINT {literal(listed([tini, '--', *(stage.entrypoint or [])]))}"
    return {
        "init": f"{install}\n{entry}\nor run it with --init (Compose: init: true)",
        "exec": _exec(stage, word, command),
        "exec-behind": _exec(stage, word, command),
        "background": "in the script: {what} & wait $!",
        "stop-signal": "STOPSIGNAL {what}",
        "limit": "docker run --pids-limit 512",
    }


def _exec(stage: Stage, word: str, command: list[str]) -> str:
    """The line to write instead: the exec form where no shell is needed."""
    if stage.forms.get(word) != "shell" and command[1:2] != ["-c"]:
        return "end the script with exec: {exec}"
    text = command[-1] if command else ""
    if text.startswith("["):
        return f'{word} ["program", "argument"]: a list in double quotes; as it is written, the shell runs it'
    told = script.read(text)
    if told.end == "single" and not _SIGNS & set(text):
        return f"{word} {literal(listed(list(told.words)))}"
    return f"{word} {literal(_last(text, told))}"


def _last(text: str, told: script.Script) -> str:
    place = text.rfind(told.words[0]) if told.words else -1
    return f"{text[:place]}exec {text[place:]}" if place >= 0 else f"exec {text}"
