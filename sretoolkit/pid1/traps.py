"""What a shell's trap does, by its script: does it tell the program behind the shell, wait for it, end the shell?

Words, not a grammar (see `sretoolkit.pid1.script`): where they do not tell, the answer is None.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from sretoolkit.errors import ConfigError
from sretoolkit.pid1.script import commands
from sretoolkit.pid1.signals import number

_KILLS = {"kill", "pkill", "killall", "skill"}
_GOES_ON = re.compile(
    r"\b(?:while|until)\s+(?:true|:|false|sleep\s+\S+|\[+\s*1\s*\]+)\s*(?:[;\n]|$)|\bfor\s*\(\(\s*;\s*;"
)


@dataclass(frozen=True)
class Trap:
    """``tells``: it signals somebody; ``waits``: for what the shell has started; ``ends``: the shell ends after it."""

    tells: bool
    waits: bool
    ends: bool


def text_of(arguments: Sequence[str], script: str) -> str:
    """What a shell runs: the text behind its ``-c``, or else its script file's."""
    for place, word in enumerate(arguments[1:], 1):
        if not word.startswith(("-", "+")):
            break
        if word[:1] == "-" and word[1:2] != "-" and "c" in word:
            return next((each for each in arguments[place + 1 :] if not each.startswith("-")), "")
    return script


def trap(text: str, which: int) -> Trap | None:
    """What the script does at that signal; None when it has no trap for it, or one that cannot be followed."""
    body = _body(text, which)
    if body is None:
        return None
    inner = [words for words, _, _ in commands(body)]
    kills = [place for place, words in enumerate(inner) if _kills(words)]
    waits = any(words[0] == "wait" for words in inner[kills[0] if kills else 0 :])
    if any(words[0] == "exit" for words in inner):
        return Trap(bool(kills), waits, ends=True)
    return _afterwards(text, bool(kills), waits)


def _afterwards(text: str, tells: bool, waits: bool) -> Trap | None:
    """The trap returns to where the script was."""
    if _GOES_ON.search(text):
        return Trap(tells, waits, ends=False)
    main = commands(_without_functions(text))
    if not main or main[-1][2] > 0 or any(words[0] in ("while", "until", "done") for words, _, _ in main):
        return None
    again = sum(words[0] == "wait" for words, _, _ in main) > 1
    return Trap(tells, waits or again, ends=True)


def _kills(words: Sequence[str]) -> bool:
    if words[0] == "xargs":
        return any(word in _KILLS for word in words)
    return words[0] in _KILLS and "-0" not in words and "-l" not in words


def _body(text: str, which: int) -> str | None:
    """What the last trap for the signal runs; with it what it runs at its exit."""
    found: dict[int, str] = {}
    for words, _, _ in commands(text):
        if words[0] != "trap" or len(words) < 3 or words[1].startswith("-"):
            continue
        for name in words[2:]:
            found[_number(name)] = words[1]
    if which not in found:
        return None
    return "\n".join(_called(text, each) for each in (found[which], found.get(0, "")))


def _number(name: str) -> int:
    """Of a signal in a trap; 0 = the shell's exit, -1 = none that is known."""
    if name in ("EXIT", "0"):
        return 0
    try:
        return number(name)
    except ConfigError:
        return -1


def _called(text: str, body: str) -> str:
    """The body with those of the script's functions that it calls."""
    parts = [body]
    for words, _, _ in commands(body):
        inner = _function(text, words[0])
        if inner is not None:
            parts.append(inner)
    return "\n".join(parts)


def _function(text: str, name: str) -> str | None:
    """What a function does; None when there is none of that name."""
    start = re.search(
        rf"(?:^|[\s;])(?:function\s+{re.escape(name)}\b\s*(?:\(\s*\))?|{re.escape(name)}\s*\(\s*\))\s*\{{", text
    )
    return None if start is None else text[start.end() : _closing(text, start.end())]


def _without_functions(text: str) -> str:
    while start := re.search(r"(?:^|(?<=[\s;]))(?:function\s+[\w-]+\s*(?:\(\s*\))?|[\w-]+\s*\(\s*\))\s*\{", text):
        text = text[: start.start()] + text[_closing(text, start.end()) + 1 :]
    return text


def _closing(text: str, place: int) -> int:
    """The place of the bracket that closes a body; those of ``${...}`` count in pairs."""
    depth = 1
    while place < len(text):
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if depth == 0:
            return place
        place += 1
    return place
