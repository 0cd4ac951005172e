"""A Dockerfile's instructions: parser directives, comments, continued lines, here-documents (BuildKit's own rules).

Source: docs.docker.com/reference/dockerfile, and BuildKit's parser, against which the tests hold it.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field

_DIRECTIVE = re.compile(r"#\s*([A-Za-z][A-Za-z0-9]*)\s*=\s*(.+?)\s*")
_HEREDOC = re.compile(r"(?:^|(?<=[\s;&|]))\d*<<(-?)(?:\"([^\"]+)\"|'([^']+)'|([^\s<>'\";&|]+))")
_WITH_DOCUMENTS = {"RUN", "COPY", "ADD"}
_FLAG = re.compile(r"--([a-z-]+)(?:=(\S*))?(?:\s+|$)")


@dataclass(frozen=True)
class Instruction:
    """One instruction: its word in capitals, what follows without flags, its first line, flags, here-documents by name."""

    word: str
    rest: str
    line: int
    flags: dict[str, str] = field(default_factory=dict)
    documents: dict[str, str] = field(default_factory=dict)

    @property
    def listed(self) -> list[str] | None:
        """The exec form's words; None in shell form."""
        if not self.rest.startswith("["):
            return None
        try:
            found = json.loads(self.rest)
        except ValueError:
            return None
        return found if isinstance(found, list) and all(isinstance(word, str) for word in found) else None


def parse(text: str) -> list[Instruction]:
    """All instructions in their order; a line that is none is left out, as its fault is the build's to tell."""
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").split("\n")
    escape = _escape(lines)
    found = []
    place = 0
    while place < len(lines):
        first, joined, place = place, *_joined(lines, place, escape)
        if joined.strip():
            instruction, place = _instruction(joined.strip(), first + 1, lines, place)
            found.append(instruction)
    return found


def _escape(lines: list[str]) -> str:
    for line in lines:
        directive = _DIRECTIVE.fullmatch(line.strip())
        if not directive:
            break
        if directive[1].lower() == "escape" and directive[2] in ("`", "\\"):
            return directive[2]
    return "\\"


def _joined(lines: list[str], place: int, escape: str) -> tuple[str, int]:
    """One line with all that continue it, and the place behind; comments and empty lines between them fall out."""
    parts: list[str] = []
    goes_on = re.compile(re.escape(escape) + r"[ \t]*$")
    while place < len(lines):
        line = lines[place]
        place += 1
        if line.lstrip().startswith("#") or (parts and not line.strip()):
            if not parts:
                return "", place
            continue
        ends = not goes_on.search(line)
        parts.append(line if ends else goes_on.sub("", line))
        if ends:
            break
    return "".join(parts), place


def _instruction(joined: str, line: int, lines: list[str], place: int) -> tuple[Instruction, int]:
    word, _, rest = joined.partition(joined[len(joined.split()[0])] if " " in joined or "\t" in joined else " ")
    word, rest = word.upper(), rest.strip()
    inner = rest.split(None, 1)[0].upper() if word == "ONBUILD" and rest else word
    documents = {}
    if inner in _WITH_DOCUMENTS:
        for mark in _HEREDOC.finditer(rest):
            name = mark[2] or mark[3] or mark[4]
            content = []
            while place < len(lines) and (lines[place].lstrip("\t") if mark[1] else lines[place]) != name:
                content.append(lines[place].lstrip("\t") if mark[1] else lines[place])
                place += 1
            place += 1
            documents[name] = "\n".join([*content, ""])
    flags = {}
    while word != "ONBUILD" and (flag := _FLAG.match(rest)):
        flags[flag[1]] = flag[2] or ""
        rest = rest[flag.end() :]
    return Instruction(word, rest, line, flags, documents), place


def triggered(instruction: Instruction) -> Instruction | None:
    """What an ONBUILD does in the image that is built on this one."""
    inner = parse(instruction.rest)
    if not inner:
        return None
    first = inner[0]
    return Instruction(first.word, first.rest, instruction.line, first.flags, instruction.documents)
