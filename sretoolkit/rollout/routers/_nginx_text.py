"""Reading what ``nginx -T`` prints: its directives, and the blocks in which each stands."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

_WORD = re.compile(r"""#[^\n]*|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|[{};]|(?:\$\{\w+\}|[^\s{};])+""")


class Directive(NamedTuple):
    """``blocks``: those around it, outermost first, each as its number in the text and its name; ``words``: the directive."""

    blocks: tuple[tuple[int, str], ...]
    words: tuple[str, ...]

    @property
    def server(self) -> int | None:
        """The number of the server block around it."""
        return next((number for number, name in self.blocks if name == "server"), None)


def directives(text: str) -> Iterator[Directive]:
    """Every directive that ends with a semicolon, in order; an included file begins outside of any block."""
    blocks: list[tuple[int, str]] = []
    words: list[str] = []
    for number, word in enumerate(found[0] for found in _WORD.finditer(text) if not found[0].startswith("#")):
        if word == "{":
            blocks.append((number, words[0] if words else ""))
        elif word == "}" and blocks:
            blocks.pop()
        elif word == ";":
            yield Directive(tuple(blocks), tuple(words))
        if word in "{};":
            words = []
        else:
            words.append(word)


def uncounted(text: str, variable: str) -> bool:
    """Whether a server that passes requests on by ``variable`` would not write to an access_log of the http block."""
    found = list(directives(text))
    passing = {
        each.server for each in found if each.words[0].endswith("_pass") and variable in " ".join(each.words[1:])
    }
    logs = [each for each in found if each.words[0] == "access_log"]
    return any(each.server in passing if each.server is not None else "off" in each.words for each in logs)
