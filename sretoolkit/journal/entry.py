"""One entry: canonical JSON whose hash is in the next one."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sretoolkit.errors import JournalError

FORMAT = 1
ZERO = "0" * 64


@dataclass(frozen=True)
class Entry:
    """An entry as it is stored: its body is the text that was hashed."""

    run: str
    seq: int
    kind: str
    body: str
    hash: str

    @property
    def row(self) -> dict[str, Any]:
        """Its columns."""
        return {"run": self.run, "seq": self.seq, "kind": self.kind, "body": self.body, "hash": self.hash}

    @cached_property
    def content(self) -> dict[str, Any]:
        """The body as data; raises `JournalError` when it is not what was written."""
        try:
            content = json.loads(self.body)
        except ValueError as error:
            raise JournalError(f"entry {self.seq} of run {self.run} is not JSON", run=self.run, seq=self.seq) from error
        if not isinstance(content, dict):
            raise JournalError(f"entry {self.seq} of run {self.run} is no object", run=self.run, seq=self.seq)
        return content

    @property
    def payload(self) -> dict[str, Any]:
        """What the entry says."""
        payload = self._part("payload")
        if not isinstance(payload, dict):
            raise JournalError(f"entry {self.seq} of run {self.run} has no payload", run=self.run, seq=self.seq)
        return payload

    @property
    def target(self) -> str:
        """What the entry is about; "" for the run itself."""
        return str(self._part("target"))

    @property
    def time(self) -> str:
        """Wall clock of the writer, ISO 8601, UTC."""
        return str(self._part("time"))

    @property
    def previous(self) -> str:
        """Hash of the entry before (for a run's first entry: of the first entry of the store's run before)."""
        return str(self._part("previous"))

    def _part(self, name: str) -> Any:
        if name not in self.content:
            raise JournalError(f"entry {self.seq} of run {self.run} has no {name}", run=self.run, seq=self.seq)
        return self.content[name]


def seal(content: Mapping[str, Any]) -> tuple[str, str]:
    """The canonical body of an entry and its SHA-256."""
    body = canonical(content)
    return body, hashlib.sha256(body.encode()).hexdigest()


def canonical(value: Any) -> str:
    """Canonical JSON: sorted keys, no spaces, ASCII, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def plain(value: Any) -> Any:
    """Any value as data that `canonical` takes: what JSON has no word for (NaN, a set, an object) becomes text."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if value is None or isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return str(value)


def digest(value: Any) -> str:
    """SHA-256 of the canonical JSON, in hexadecimal."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()
