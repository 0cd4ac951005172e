"""The smallest JSON patch (RFC 6902) between two objects, and whether a server kept what was written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Operation = dict[str, Any]


def operations(old: Any, new: Any, at: str = "") -> list[Operation]:
    """The operations that make ``new`` of ``old``; lists of another length are replaced as a whole."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        return list(_of_mapping(old, new, at))
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        pairs = enumerate(zip(old, new, strict=True))
        return [each for place, (was, now) in pairs for each in operations(was, now, f"{at}/{place}")]
    return [] if old == new else [{"op": "replace", "path": at, "value": new}]


def _of_mapping(old: Mapping[str, Any], new: Mapping[str, Any], at: str) -> Iterator[Operation]:
    for key in [*old, *(key for key in new if key not in old)]:
        path = f"{at}/{key.replace('~', '~0').replace('/', '~1')}"
        if key not in new:
            yield {"op": "remove", "path": path}
        elif key not in old:
            yield {"op": "add", "path": path, "value": new[key]}
        else:
            yield from operations(old[key], new[key], path)


def dropped(meant: Any, got: Any, at: str = "") -> str:
    """Where ``got`` lacks something of ``meant``, as a path; "" when all is there. What a server adds is no matter."""
    if isinstance(meant, Mapping) and isinstance(got, Mapping):
        return next(filter(None, (dropped(meant[key], got.get(key), f"{at}.{key}") for key in meant)), "")
    if isinstance(meant, list) and isinstance(got, list) and len(meant) == len(got):
        return next(
            filter(None, (dropped(*pair, f"{at}[{n}]") for n, pair in enumerate(zip(meant, got, strict=True)))), ""
        )
    return "" if meant == got else at.removeprefix(".")
