"""Findings that somebody has decided to live with: each with a reason, an owner and a day on which it ends.

```toml
[[suppress]]
rule = "ids-unlimited"          # a rule's name
subject = "batch-*"             # container, file or host by pattern; or image = "registry.example/batch:*"
reason = "the node's own limit is enough until the move"
owner = "team batch"
expires = 2030-01-31            # the last day on which it counts
```
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from sretoolkit.errors import ConfigError
from sretoolkit.pid1.sighting import Sighting
from sretoolkit.report import Finding

_NEEDED = ("rule", "reason", "owner", "expires")
_PATTERNS = ("subject", "image", "host")
_NEVER = ("host-unanswered", "suppression-expired", "suppression-unused")


@dataclass(frozen=True, kw_only=True)
class Suppression:
    """One decision; the patterns are as in a shell, and all that are given must match."""

    rule: str
    reason: str
    owner: str
    expires: date
    subject: str = "*"
    image: str = "*"
    host: str = "*"

    def matches(self, sighting: Sighting) -> bool:
        """Whether it is about that finding, whatever the day."""
        names = (sighting.container, sighting.finding.subject, sighting.path)
        return (
            self.rule == sighting.finding.rule
            and any(fnmatchcase(name, self.subject) for name in names)
            and fnmatchcase(sighting.image, self.image)
            and fnmatchcase(sighting.host, self.host)
        )

    @property
    def why(self) -> str:
        """For people, in one line."""
        return f"{self.reason} ({self.owner}, until {self.expires})"

    @property
    def about(self) -> str:
        """The rule and the patterns that say something."""
        return " ".join(
            [self.rule, *(f"{name} {getattr(self, name)}" for name in _PATTERNS if getattr(self, name) != "*")]
        )


@dataclass(frozen=True)
class Sorted:
    """Findings apart from those that are suppressed, and what is to be said of the suppressions themselves."""

    active: tuple[Sighting, ...]
    suppressed: tuple[tuple[Sighting, Suppression], ...]


def load(path: Path) -> list[Suppression]:
    """The suppressions of a TOML file; raises `ConfigError` that names the entry and what is wrong with it."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}", hint="name a file of suppressions") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is no TOML: {error}", hint="write [[suppress]] tables") from error
    entries = data.get("suppress", [])
    if set(data) - {"suppress"} or not isinstance(entries, list):
        raise ConfigError(f"{path} has something else than [[suppress]] tables", hint="write [[suppress]] tables")
    return [_one(entry, f"{path}, suppression {place}") for place, entry in enumerate(entries, start=1)]


def sort(
    sightings: Iterable[Sighting], suppressions: Sequence[Suppression], *, today: date, whole: bool = True
) -> Sorted:
    """Apply them; the last day counts still. ``whole``: all was looked at, so that one that matches nothing is unused."""
    active: list[Sighting] = []
    suppressed: list[tuple[Sighting, Suppression]] = []
    used: set[Suppression] = set()
    for sighting in sightings:
        matching = [each for each in suppressions if each.matches(sighting)]
        used.update(matching)
        good = next((each for each in matching if today <= each.expires), None)
        if good is None:
            active.append(sighting)
        else:
            suppressed.append((sighting, good))
    active += [_expired(each, each in used) for each in suppressions if each.expires < today]
    if whole:
        active += [_unused(each) for each in suppressions if each not in used and each.expires >= today]
    return Sorted(tuple(active), tuple(suppressed))


def _expired(suppression: Suppression, used: bool) -> Sighting:
    finding = Finding(
        severity="medium",
        subject=suppression.about,
        summary=f"this suppression ended on {suppression.expires} and no longer counts",
        evidence=f"{suppression.why}; it {'would still match' if used else 'matches nothing now'}",
        proof="certain",
        remedy=f"ask {suppression.owner}: mend the cause, or decide anew with another day" if used else "remove it",
        rule="suppression-expired",
    )
    return Sighting(finding=finding, owner=suppression.owner)


def _unused(suppression: Suppression) -> Sighting:
    finding = Finding(
        severity="info",
        subject=suppression.about,
        summary="this suppression matches nothing: what it was for is gone, or its pattern is wrong",
        evidence=suppression.why,
        proof="certain",
        remedy="remove it",
        rule="suppression-unused",
    )
    return Sighting(finding=finding, owner=suppression.owner)


def _one(entry: Any, where: str) -> Suppression:
    known = (*_NEEDED, *_PATTERNS)
    if not isinstance(entry, Mapping):
        raise ConfigError(f"{where} is no table", hint="write [[suppress]]")
    for name in entry:
        if name not in known:
            near = get_close_matches(str(name), known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"it has: {', '.join(known)}"
            raise ConfigError(f"{where} has an unknown word {name!r}", hint=hint)
    missing = [name for name in _NEEDED if not entry.get(name)]
    if missing or not any(entry.get(name) for name in _PATTERNS):
        lacks = ", ".join(missing) or "subject, image or host"
        raise ConfigError(f"{where} has no {lacks}", hint="each has a rule, a pattern, a reason, an owner and an end")
    expires = entry["expires"]
    if isinstance(expires, datetime) or not isinstance(expires, date):
        raise ConfigError(
            f"{where}: expires must be a day, not {expires!r}", hint="write expires = 2030-01-31, no quotes"
        )
    texts = {str(name): value for name, value in entry.items() if name != "expires"}
    if wrong := [name for name, value in texts.items() if not isinstance(value, str)]:
        raise ConfigError(f"{where}: {', '.join(wrong)} must be text", hint="write it in quotes")
    if entry["rule"] in _NEVER:
        raise ConfigError(f"{where}: {entry['rule']} cannot be suppressed", hint="mend what it says")
    return Suppression(expires=expires, **texts)
