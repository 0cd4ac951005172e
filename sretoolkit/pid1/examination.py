"""Looking at anything that has a PID 1, with what was seen before and what is lived with: for runbooks and the command."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, timedelta
from pathlib import Path

from sretoolkit.clock import Clock
from sretoolkit.config import Config
from sretoolkit.pid1 import overview, since, suppressions
from sretoolkit.pid1.look import How
from sretoolkit.pid1.survey import Survey
from sretoolkit.pid1.targets import scan
from sretoolkit.report import Report


def examine(
    targets: Sequence[str] = (),
    *,
    stop_signal: str = "",
    before: str | Path = "",
    lived_with: str | Path = "",
    watch: timedelta = timedelta(0),
    execute: bool = False,
    config: Config | None = None,
) -> Report:
    """The report on hosts, tags, containers, images, files, or Kubernetes namespaces; this machine without any.

    ``before`` is a scan that `sretoolkit pid1 --json` saved, to compare with; ``lived_with`` a file of suppressions;
    ``watch``: count the process ids of hosts and containers for so long, and say when they run out; ``execute``: look inside
    pods too, by exec. Raises `ConfigError` for what is none of these; who does not answer is a finding.
    """
    return examined(
        targets,
        stop_signal=stop_signal,
        before=before,
        lived_with=lived_with,
        watch=watch,
        execute=execute,
        config=config,
    )[1]


def examined(
    targets: Sequence[str] = (),
    *,
    stop_signal: str = "",
    before: str | Path = "",
    lived_with: str | Path = "",
    watch: timedelta = timedelta(0),
    execute: bool = False,
    config: Config | None = None,
) -> tuple[Survey, Report]:
    """The same, with all that was seen."""
    earlier = since.load(Path(before)) if before else None
    decided = suppressions.load(Path(lived_with)) if lived_with else []
    found = scan(targets, config, How(stop_signal or None, watch, execute))
    found = found.sorted_out(decided, today=Clock().now().astimezone(UTC).date())
    compared = since.compare(earlier, found) if earlier else None
    title = f"PID 1 health of {', '.join(targets) or 'localhost'}"
    return found, overview.report(found, title, compared=compared)
