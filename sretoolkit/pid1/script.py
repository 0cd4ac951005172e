"""What a shell does at its end: does it become the program (exec), stay before it, or trap signals.

No shell grammar, but its words: quotes, comments, substitutions, here-documents, operators. Where a compound command hides
what happens, the answer is "unclear".
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

End = Literal["exec", "single", "stays", "waits", "unclear"]

_OPERATORS = ("&&", "||", ";;", "|&", ";", "&", "|", "(", ")", "\n")
_HEREDOC = re.compile(r"<<-?[ \t]*(['\"]?)(\w+)\1")
_OPENING = {"if", "then", "else", "elif", "while", "until", "do", "{", "!", "time"}
_CLOSING = {"fi", "done", "esac", "}"}
_LATE = {"fi", "done", "esac", "}", ")"}
_BUILTINS = {":", "[", "cd", "echo", "eval", "exit", "export", "printf", "read", "set", "shift", "source", ".", "test", "true",
             "trap", "ulimit", "umask", "unset", "wait", "local", "return", "false"}  # fmt: skip
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*\+?=")


Command = tuple[tuple[str, ...], str, int]


@dataclass(frozen=True)
class Script:
    """``end``: how it ends; ``words``: the last command (after ``exec``, if that is how it ends); ``trap``: it sets one."""

    end: End
    words: tuple[str, ...] = ()
    trap: bool = False


def read(text: str) -> Script:
    """What becomes of the shell that runs ``text``."""
    found = commands(text)
    plain = [command for command in found if command[0] and command[0][0] not in _LATE]
    trap = any(words[0] == "trap" and len(words) > 2 and words[1] not in ("-", "") for words, _, _ in plain)
    if not plain:
        return Script("unclear", trap=trap)
    words, operator, depth = plain[-1]
    compound = depth > 0
    if operator == "&":
        return Script("stays", words, trap)
    if _execs(plain, -1):
        return Script("exec", _program(words[1:]), trap)
    if words[0] == "wait":
        return Script("waits", words, trap)
    if compound or any(_execs(plain, place) for place in range(len(plain))):
        return Script("unclear", words, trap)
    if len(found) == 1 and words[0] not in _BUILTINS:
        return Script("single", words, trap)
    return Script("stays", words, trap)


def _execs(commands: Sequence[Command], place: int) -> bool:
    """Whether the shell itself becomes that command's program: not in a pipe, not in the background."""
    words, operator, _ = commands[place]
    piped = len(commands) > 1 and place % len(commands) > 0 and commands[place - 1][1] in ("|", "|&")
    return words[0] == "exec" and len(words) > 1 and operator not in ("|", "|&", "&") and not piped


def _program(words: tuple[str, ...]) -> tuple[str, ...]:
    """Without exec's own options."""
    return words[2:] if words[0] == "-a" else words[1:] if words[0] in ("-c", "-l", "--") else words


def commands(text: str) -> list[Command]:
    """Each simple command: words, the operator behind it, how many compound commands it stands in."""
    found: list[Command] = []
    words: list[str] = []
    depth = 0
    for piece in [*_tokens(text), "\n"]:
        if piece not in _OPERATORS:
            word = piece[1:]  # the mark of a word
            if not words and word in _OPENING:
                depth += word in ("if", "while", "until", "{")
            elif not words and word in ("for", "case"):
                depth += 1
                words.append(word)
            elif not words and word in _CLOSING:
                depth -= 1
                words.append(word)
            elif words or not _ASSIGNMENT.match(word):
                words.append(word)
            continue
        if piece == "(":
            depth += 1
        if words:
            found.append((tuple(words), piece, depth))
            words = []
        if piece == ")":
            depth = max(0, depth - 1)
    return found


def _tokens(text: str) -> list[str]:
    """Operators as they are, words with a "w" before them and their quotes taken off; redirections are left out."""
    text = _without_documents(text.replace("\r\n", "\n"))
    found: list[str] = []
    place, size = 0, len(text)
    while place < size:
        char = text[place]
        operator = next((each for each in _OPERATORS if text.startswith(each, place)), None)
        if char in " \t":
            place += 1
        elif text.startswith("\\\n", place):
            place += 2
        elif char == "#":
            place = _until(text, "\n", place)
        elif redirect := re.compile(r"(?:\d*|&)(?:>>|>\||<>|<<<|[<>])&?[ \t]*").match(text, place):
            place = redirect.end()
            if place < size and text[place] not in "\n;|&()":
                place = _word(text, place)[1]
        elif operator:
            found.append(operator)
            place += len(operator)
        else:
            word, place = _word(text, place)
            found.append("w" + word)
    return found


def _word(text: str, place: int) -> tuple[str, int]:
    parts: list[str] = []
    while place < len(text) and text[place] not in " \t\n;|&()<>":
        char = text[place]
        if char == "\\":
            parts.append(text[place + 1 : place + 2].replace("\n", ""))
            place += 2
        elif char == "'":
            end = _until(text, "'", place + 1)
            parts.append(text[place + 1 : end])
            place = end + 1
        elif char == '"':
            inner, place = _quoted(text, place + 1)
            parts.append(inner)
        elif char == "`" or text.startswith("$(", place):
            end = _until(text, "`", place + 1) + 1 if char == "`" else _closing(text, place + 1)
            parts.append(text[place:end])
            place = end
        else:
            parts.append(char)
            place += 1
    return "".join(parts), place


def _quoted(text: str, place: int) -> tuple[str, int]:
    parts = []
    while place < len(text) and text[place] != '"':
        if text.startswith("$(", place):
            end = _closing(text, place + 1)
            parts.append(text[place:end])
            place = end
            continue
        if text[place] == "\\" and text[place + 1 : place + 2] in ('"', "\\", "$", "`"):
            place += 1
        parts.append(text[place : place + 1])
        place += 1
    return "".join(parts), place + 1


def _closing(text: str, place: int) -> int:
    """Behind the bracket that closes the one at ``place``."""
    depth = 0
    while place < len(text):
        if text[place] == "\\":
            place += 1
        elif text[place] == "'":
            place = _until(text, "'", place + 1)
        depth += {"(": 1, ")": -1}.get(text[place : place + 1], 0)
        place += 1
        if depth == 0:
            break
    return place


def _until(text: str, mark: str, place: int) -> int:
    found = text.find(mark, place)
    return len(text) if found < 0 else found


def _without_documents(text: str) -> str:
    """The text without its here-documents."""
    kept, end = [], ""
    for line in text.split("\n"):
        if end:
            end = "" if line.lstrip("\t") == end else end
            continue
        document = _HEREDOC.search(line) if "<<<" not in line and not line.lstrip().startswith("#") else None
        if document:
            end, line = document[2], line.replace(document[0], "")
        kept.append(line)
    return "\n".join(kept)
