"""An answer of the query API read while it comes: series after series, so that it is never held as a whole."""

from __future__ import annotations

import gc
import json
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sretoolkit.metrics.sources._prometheus_numbers import Reader

Labels = tuple[tuple[str, str], ...]
_HEAD = re.compile(
    rb'\{"status":"success",(?:"isPartial":(?:true|false),)?"data":\{"resultType":"matrix","result":\[(?=\{"metric":\{)'
)
_LONGEST_HEAD = 160
_VALUES, _END = b'},"values":[[', b"]]}"  # neither can stand inside a JSON string, where a quote is escaped
_MANY = 6_000  # bytes of a series from which on columns of digits are faster than the JSON library


@dataclass(frozen=True)
class Piece:
    """The samples of one series in one answer: milliseconds, values."""

    labels: Labels
    times: NDArray[np.int64]
    values: NDArray[np.float64]

    @classmethod
    def of(cls, labels: Mapping[str, str], points: Sequence[Sequence[float | str]]) -> Piece:
        """From JSON's ``[[seconds, "value"], ...]``."""
        times = np.rint(np.array([point[0] for point in points], dtype=np.float64) * 1000).astype(np.int64)
        values = np.array([point[1] for point in points], dtype=np.float64)
        return cls(tuple(sorted(labels.items())), times, values)


class Result(list[Piece]):
    """A query's result with its type and the server's remarks, which prometheus-api-client would drop."""

    def __init__(self, pieces: Sequence[Piece], body: Mapping[str, Any]) -> None:
        super().__init__(pieces)
        data = body["data"]
        self.kind: str = str(data.get("resultType") or "")
        self.has_histograms = False
        self.warnings: list[str] = [str(text) for text in body.get("warnings") or ()]
        if body.get("isPartial"):
            self.warnings.append("the answer is partial: a part of the storage did not answer")
        self.infos: list[str] = [str(text) for text in body.get("infos") or ()]
        self._take(data["result"])

    def _take(self, found: Any) -> None:
        if self.kind == "scalar":
            self.append(Piece.of({}, [found]))
        for series in found if self.kind in ("matrix", "vector") else ():
            if "histogram" in series or "histograms" in series:
                self.has_histograms = True
            else:
                self.append(Piece.of(series["metric"], series["values"] if "values" in series else [series["value"]]))


class Body:
    """Takes an answer in, piece by piece; `finish` gives what it was."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.samples = 0
        self._rest = bytearray()
        self._head = b""
        self._collects = False
        self._looked, self._values = 0, -1
        self._comma = False
        self._pieces: list[Piece] = []
        self._reader = Reader()

    def __call__(self, piece: bytes) -> bool:
        """Take some bytes; False once there are more than ``most`` samples."""
        self._rest += piece
        while not self._collects and self._advanced():
            pass
        return self.samples <= self.most

    def finish(self) -> dict[str, Any]:
        """The whole answer as JSON says it, a result of numbers as a `Result`; raises `ValueError` when it is none."""
        text = self._head + (b"null," if self._comma else b"") + self._rest
        with uncollected():
            try:
                body = json.loads(text)
            except RecursionError as error:
                raise ValueError("the JSON is nested too deeply") from error
        if not isinstance(body, dict):
            raise ValueError("the answer is no JSON object")
        data = body.get("data")
        if not isinstance(data, dict) or "result" not in data:
            return body
        if self._comma:
            del data["result"][0]
        try:
            result = Result(self._pieces, body)
        except (TypeError, KeyError, IndexError, AttributeError) as error:
            raise ValueError("the result is none of the query API") from error
        return {**body, "data": {**data, "result": result}}

    def _advanced(self) -> bool:
        if not self._head:
            return self._begun()
        if self._values < 0:
            self._values = self._rest.find(_VALUES, self._looked)
            self._looked = max(0, len(self._rest) - len(_VALUES)) if self._values < 0 else self._values
            if self._values < 0:
                return False
        end = self._rest.find(_END, self._looked)
        if end < 0 or end + len(_END) == len(self._rest):
            self._looked = max(self._values, len(self._rest) - len(_END))
            return False
        return self._cut(self._values, end + len(_END))

    def _begun(self) -> bool:
        match = _HEAD.match(self._rest)
        if match:
            self._head = match[0]
            del self._rest[: match.end()]
            return True
        self._collects = len(self._rest) > _LONGEST_HEAD
        return False

    def _cut(self, start: int, end: int) -> bool:
        """Take the first series, if it ends there and another or the list's end follows."""
        after = self._rest[end]
        piece = self._read(bytes(self._rest[:end]), start) if after in b",]" else None
        if piece is None:
            self._collects = True
            return False
        self._pieces.append(piece)
        self.samples += len(piece.times)
        self._comma, self._collects = after == ord(","), after == ord("]")
        self._looked, self._values = 0, -1
        del self._rest[: end + self._comma]
        return True

    def _read(self, text: bytes, start: int) -> Piece | None:
        try:
            if len(text) > _MANY and text.startswith(b'{"metric":{'):
                found = self._reader.read(text, start + len(_VALUES) - 2)
                labels = json.loads(text[len(b'{"metric":') : start + 1])
                if found and isinstance(labels, dict) and all(isinstance(value, str) for value in labels.values()):
                    return Piece(tuple(sorted(labels.items())), *found)
            series = json.loads(text)
            if isinstance(series, dict) and series.keys() == {"metric", "values"}:
                return Piece.of(series["metric"], series["values"])
        except (ValueError, TypeError, AttributeError, IndexError, RecursionError):
            pass  # what it is, is said when all of it is there
        return None


_lock = threading.Lock()
_pausing = 0
_was = False


@contextmanager
def uncollected() -> Iterator[None]:
    """No garbage collection meanwhile: looking through millions of new, living objects takes longer than making them."""
    global _pausing, _was
    with _lock:
        _was = _was if _pausing else gc.isenabled()
        _pausing += 1
        gc.disable()
    try:
        yield
    finally:
        with _lock:
            _pausing -= 1
            if _was and not _pausing:
                gc.enable()
