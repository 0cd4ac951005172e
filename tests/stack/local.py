"""Files of local measurements for tests."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sretoolkit.metrics.events import Event
from sretoolkit.metrics.sources._local_database import Database
from tests.stack.dataset import METRIC, Dataset


@contextmanager
def written(contents: list[Any]) -> Iterator[str]:
    """A file with the recorded content: ``{"name", "text"}``, or ``{"series", "events"}`` for a database; yields its URL."""
    (content,) = contents
    with tempfile.TemporaryDirectory(prefix="local-") as folder:
        if "text" in content:
            path = Path(folder) / content["name"]
            path.write_text(content["text"], encoding="utf-8")
        else:
            path = Path(folder) / "measured.db"
            database = Database(path, timeout=timedelta(seconds=5))
            database.create()
            for series in content["series"]:
                database.append(
                    series["metric"],
                    series["labels"],
                    series["samples"],
                    kind=series.get("kind", "gauge"),
                    unit=series.get("unit", ""),
                )
            for event in content.get("events", []):
                database.annotate(
                    Event(
                        **{**event, "start": datetime.fromtimestamp(event["start"], UTC), "tags": tuple(event["tags"])}
                    )
                )
        yield path.as_uri()


class Local:
    """A database in a folder of its own, as the real servers are started."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="local-")
        self.path = Path(self._folder.name) / "measured.db"
        self.secrets: dict[str, str] = {}

    @property
    def options(self) -> dict[str, Any]:
        """As a configured source."""
        return {"kind": "local", "url": self.path.as_uri()}

    def __enter__(self) -> Local:
        Database(self.path, timeout=timedelta(seconds=5)).create()
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    def load(self, dataset: Dataset) -> None:
        """Write the data set as cumulative counters."""
        database = Database(self.path, timeout=timedelta(seconds=5))
        for labels, points in dataset.labelled():
            database.append(METRIC, labels, [(point.time * 1000, point.total) for point in points], kind="cumulative")
