"""YAML and JSON of which each mapping knows the line of each of its keys."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from sretoolkit.errors import ConfigError

_MOST = 1_000_000  # values in a document


class Lined(dict[str, Any]):
    """A mapping; ``line`` is where it begins, ``lines`` where each of its keys stands, from 1."""

    line: int = 0
    lines: dict[str, int]

    def at(self, *keys: str) -> int:
        """The line of a key, of one in the mapping under it and so on; of the last one that is there."""
        here, line = self, self.line
        for key in keys:
            line = here.lines.get(key, line)
            inner = here.get(key)
            if not isinstance(inner, Lined):
                break
            here = inner
        return line

    def part(self, key: str) -> Lined:
        """The mapping under a key; an empty one where there is none."""
        found = self.get(key)
        if isinstance(found, Lined):
            return found
        empty = Lined()
        empty.line, empty.lines = self.at(key), {}
        return empty

    def parts(self, key: str) -> list[Lined]:
        """The mappings of a list under a key."""
        found = self.get(key)
        return [each for each in found if isinstance(each, Lined)] if isinstance(found, list) else []


class _Loader(yaml.SafeLoader):
    """Makes `Lined` of every mapping; a tag that nobody knows (Compose's !reset) leaves what it stands before."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> Iterator[Lined]:
    found = Lined()
    found.line, found.lines = node.start_mark.line + 1, {}
    yield found
    loader.flatten_mapping(node)
    for key, _ in node.value:
        found.lines[str(loader.construct_object(key, deep=True))] = key.start_mark.line + 1
    found.update({str(key): value for key, value in loader.construct_mapping(node, deep=True).items()})


def _unknown(loader: _Loader, _: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.MappingNode):
        return next(_mapping(loader, node))
    return loader.construct_sequence(node) if isinstance(node, yaml.SequenceNode) else node.value


_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)
_Loader.add_multi_constructor("!", _unknown)


def documents(text: str, path: object) -> list[Lined]:
    """The mappings among a file's documents; raises `ConfigError` for what is no YAML, or unfolds to very much."""
    try:
        loader = _Loader(text)
        found = []
        while loader.check_node():
            if (node := loader.get_node()) is not None:
                _weight(node, {})
                found.append(loader.construct_document(node))
    except (yaml.YAMLError, RecursionError, ValueError, TypeError) as error:
        said = " ".join(str(error).split())[:300]
        hint = "a template (Helm, Kustomize) must be rendered first: helm template ... > FILE"
        raise ConfigError(f"{path} is no YAML: {said}", hint=hint) from error
    return [each for each in found if isinstance(each, Lined)]


def _weight(node: yaml.Node, known: dict[int, int]) -> int:
    """Nodes under this one with every alias unfolded: a few lines of aliases can stand for more than any memory."""
    if id(node) not in known:
        known[id(node)] = _MOST + 1  # met again before it is done: it holds itself
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        inner = node.value if isinstance(node, yaml.SequenceNode) else [part for pair in pairs for part in pair]
        known[id(node)] = 1 + sum(_weight(part, known) for part in inner)
    if known[id(node)] > _MOST:
        raise ValueError(f"its aliases unfold to more than {_MOST} values")
    return known[id(node)]


def words(given: Any) -> tuple[str, ...] | None:
    """A list of words; None for anything else."""
    return tuple(str(word) for word in given) if isinstance(given, list) else None
