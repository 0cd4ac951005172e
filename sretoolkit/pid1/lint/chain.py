"""What stands between the container's start and its program: inits, shells, and words that only become the next program."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from sretoolkit.pid1 import script
from sretoolkit.pid1.init import INITS
from sretoolkit.pid1.inits._forwarding import Forwarding
from sretoolkit.pid1.lint.start import Shell, Start

_ARGUMENT = {"tini": {"-p", "-e"}, "dumb-init": {"-r", "--rewrite"}, "catatonit": set[str]()}  # options that take one
_BECOME = {"env": 0, "gosu": 1, "su-exec": 1, "nice": 0, "nohup": 0, "stdbuf": 0}  # arguments before the program
_DEEPEST = 8  # words that become the next program, one after the other
_SHEBANG = ("#!",)


@dataclass(frozen=True)
class Chain:
    """``init``: the init in it ("" = none), which tells the whole group if ``group``; ``subreaper``: it was told to be one.

    ``program``: what runs in the end, "" where that cannot be read. ``shell``: the shell that stays before it, with
    ``trap``, how its script ends, and its ``text``; ``why`` says how we know.
    """

    init: str = ""
    group: bool = False
    subreaper: bool = False
    shell: Shell | None = None
    end: script.End | None = None
    trap: bool = False
    text: str = ""
    program: str = ""
    words: tuple[str, ...] = ()
    why: str = ""


def follow(start: Start) -> Chain:
    """From the first word to the program."""
    return _follow(start, tuple(start.command or ()), Chain(), 0)


def _follow(start: Start, words: tuple[str, ...], chain: Chain, depth: int) -> Chain:
    if not words or not words[0] or "$" in words[0] or depth > _DEEPEST:
        return replace(chain, words=words, why=chain.why or "which program it is cannot be read")
    name = PurePosixPath(words[0]).name
    kind = _kind(name)
    if kind in _ARGUMENT and not chain.init:
        options, rest = _options(kind, words[1:])
        known = INITS[kind]()
        group = isinstance(known, Forwarding) and known.group(options)
        subreaper = any(option[:2] != "--" and "s" in option for option in options)
        return _follow(start, rest, replace(chain, init=name, group=group, subreaper=subreaper), depth + 1)
    if kind == "shell" or name == "busybox":
        return _shell(start, words[1:] if name == "busybox" else words, chain, depth)
    if name in _BECOME:
        rest = _after(name, words[1:])
        return _follow(start, rest, chain, depth + 1)
    if text := start.read(words[0]):
        return _file(start, words, text, chain, depth)
    if name.endswith((".sh", ".bash")) or name in ("entrypoint", "docker-entrypoint", "start", "run"):
        why = f"{words[0]} cannot be read from here; if it is a script, it must end with exec"
        return replace(chain, program=name, words=words, why=why)
    return replace(chain, program=name, words=words)


def _kind(name: str) -> str:
    return next((kind for kind in INITS if name in INITS[kind].names), "")


def _options(kind: str, words: tuple[str, ...]) -> tuple[list[str], tuple[str, ...]]:
    """The init's own options, and what it starts."""
    found, place = [], 0
    while place < len(words) and words[place].startswith("-"):
        option = words[place]
        place += 1
        if option == "--":
            break
        found.append(option)
        place += option in _ARGUMENT.get(kind, ())
    return found, words[place:]


def _after(name: str, words: tuple[str, ...]) -> tuple[str, ...]:
    """What ``env A=b prog``, ``gosu user prog`` and the like become."""
    place = 0
    while place < len(words) and (words[place].startswith("-") or (name == "env" and "=" in words[place])):
        place += 2 if words[place] in ("-n", "-u") else 1
    return words[place + _BECOME[name] :]


def _shell(start: Start, words: tuple[str, ...], chain: Chain, depth: int) -> Chain:
    """``sh -c TEXT``, ``sh FILE``, or a shell that reads from nobody."""
    name = PurePosixPath(words[0]).name if words else "sh"
    kind = _which(start, name)
    place, inline = 1, False
    while place < len(words) and words[place].startswith(("-", "+")):
        option = words[place]
        inline |= option[:2] != "--" and "c" in option
        place += 2 if option in ("-o", "+o", "-O") else 1
    if place >= len(words):
        return replace(chain, shell=kind, end="unclear", program=name, words=words, why="an interactive shell")
    if not inline:
        text = start.read(words[place])
        if text is None:
            why = f"the script {words[place]} cannot be read from here"
            return replace(chain, shell=kind, end="unclear", words=words, why=why)
        return _script(start, text, words[place:], kind, chain, depth)
    arguments = words[place + 1 :] or (name,)
    return _script(start, words[place], arguments, kind, chain, depth)


def _file(start: Start, words: tuple[str, ...], text: str, chain: Chain, depth: int) -> Chain:
    """A script that is started by its name: its first line names the interpreter."""
    first = text.partition("\n")[0]
    if not first.startswith(_SHEBANG):
        return replace(chain, program=PurePosixPath(words[0]).name, words=words)
    interpreter = first[2:].split() or ["/bin/sh"]
    name = PurePosixPath(interpreter[0]).name
    if name == "env":
        interpreter = [word for word in interpreter[1:] if not word.startswith("-")] or ["sh"]
        name = PurePosixPath(interpreter[0]).name
    if _kind(name) != "shell":
        return _follow(replace(start, read=lambda path: None), (*interpreter, *words), chain, depth + 1)
    return _script(start, text, words, _which(start, name), chain, depth)


def _script(start: Start, text: str, arguments: tuple[str, ...], kind: Shell, chain: Chain, depth: int) -> Chain:
    """``arguments`` begin with $0."""
    told = script.read(text)
    rest = tuple(
        piece for word in told.words for piece in (arguments[1:] if word in ("$@", "$*", "${@}", "${*}") else (word,))
    )
    became = told.end == "exec" or (told.end == "single" and kind in ("bash", "busybox") and not told.trap)
    if became:
        return _follow(start, rest, chain, depth + 1)
    inner = rest[0] if rest else ""
    end = told.end if told.end != "single" or kind == "unknown" else "stays"
    return replace(chain, shell=kind, end=end, trap=told.trap, text=text, program=PurePosixPath(inner).name, words=rest)


def _which(start: Start, name: str) -> Shell:
    """Debian's dash stays standing before a single command; bash and busybox become it."""
    if name in ("bash", "dash"):
        return "bash" if name == "bash" else "dash"
    if name in ("ash", "busybox"):
        return "busybox"
    return start.sh if name == "sh" else "unknown"
