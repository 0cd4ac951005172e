"""What a machine says of itself, made fit to keep: bounded, and nothing in it that a table or a terminal could trip over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sretoolkit.errors import ProvisionError

MOST_BYTES = 256 * 1024
_LONGEST, _MOST_DEEP, _MOST_ITEMS = 4096, 12, 2000
_HARMLESS = bytes(char for char in range(0x20, 0x7F) if char != ord("\\")) + b"\n"
_AS_BRACES, _NO_BRACKETS = bytes.maketrans(b"[]", b"{}"), bytes(set(range(256)) - set(b"[]{}"))

Fields = dict[str, Any]


def cleaned(facts: Any) -> Fields:
    """The facts with texts of at most 4,096 characters (longer ones are cut, and end in "..."), at most 12 deep.

    Raises `ProvisionError` for what is no table, nested deeper, or has more than 2,000 entries.
    """
    if not isinstance(facts, Mapping):
        raise ProvisionError(f"facts must be a table, not a {type(facts).__name__}")
    count = [0]
    found = _clean(facts, 0, count)
    assert isinstance(found, dict)
    return found


def is_plain(body: bytes, facts: Any) -> bool:
    """Whether `cleaned` would change nothing of these facts: then they are kept as they came, which takes a third of the time.

    The JSON that they came in is printable ASCII without escapes, and neither they nor a text in them are long or deep.
    """
    if type(facts) is not dict or body.count(b",") >= _MOST_ITEMS or body.translate(None, _HARMLESS):
        return False
    pieces = body.split(b'"')  # without escapes each quote begins or ends a text: every other piece is between texts
    short = len(body) < _LONGEST or max(map(len, pieces)) < _LONGEST
    return short and _is_shallow(b"".join(pieces[::2]))


def without_moments(facts: Mapping[str, Any]) -> Fields:
    """The facts that stay from one boot to the next: those by which one sees whether a machine was changed."""
    return {name: value for name, value in facts.items() if name not in ("uptime", "boot_id", "ip", "kernel")}


def disk_of(disks: list[Mapping[str, Any]], wanted: str) -> Mapping[str, Any]:
    """The disk with that serial number or name; the only one when nothing is wanted.

    Raises `ProvisionError` when there is none, or several: which one is written is never guessed.
    """
    shown = ", ".join(f"{disk.get('name')} ({disk.get('serial') or 'no serial'}, {size_of(disk)})" for disk in disks)
    hint = f"there are: {shown or 'none'}; name one by its serial number"
    found = [disk for disk in disks if wanted in (disk.get("serial"), disk.get("name"))] if wanted else disks
    if len(found) != 1:
        what = f"no disk {wanted!r}" if wanted and not found else f"{len(found)} disks it could be"
        raise ProvisionError(f"there is {what}" if not found else f"there are {what}", hint=hint)
    return found[0]


def size_of(disk: Mapping[str, Any]) -> str:
    """A disk's size as people say it."""
    size = disk.get("bytes")
    return f"{size / 1e9:.1f} GB" if isinstance(size, int | float) else "size unknown"


def _clean(value: Any, deep: int, count: list[int]) -> Any:
    """JSON data, so that every value is a dict, list, text, number, boolean or None."""
    count[0] += 1
    if deep > _MOST_DEEP or count[0] > _MOST_ITEMS:
        raise ProvisionError(f"facts are nested more than {_MOST_DEEP} deep or have more than {_MOST_ITEMS} entries")
    kind = type(value)
    if kind is str:
        return _text(value)
    if kind is dict:
        return {_text(name)[:128]: _clean(item, deep + 1, count) for name, item in value.items()}
    if kind is list:
        return [_clean(item, deep + 1, count) for item in value]
    return value


def _is_shallow(outside: bytes) -> bool:
    """Whether what stands outside of texts is nested at most so deep, and the whole around it: a level goes a round."""
    brackets = outside.translate(_AS_BRACES, _NO_BRACKETS)
    for _ in range(_MOST_DEEP + 1):
        brackets = brackets.replace(b"{}", b"")
    return not brackets


def _text(text: str) -> str:
    if len(text) <= _LONGEST and text.isprintable():
        return text
    clean = "".join(char if char.isprintable() else " " for char in text[: _LONGEST + 1])
    return clean if len(clean) <= _LONGEST else clean[: _LONGEST - 3] + "..."
