"""Many hosts at once: batch after batch, no further than the failures allow, and what each one answered."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Generic, Self, TypeVar

from sretoolkit.config import Config
from sretoolkit.errors import ConfigError
from sretoolkit.hosts.host import Host, connect
from sretoolkit.hosts.inventory import INVENTORIES
from sretoolkit.hosts.result import Result
from sretoolkit.report import Finding, Report, Table

T = TypeVar("T")

_PERCENT = re.compile(r"(\d{1,3})%")


@dataclass(frozen=True)
class Outcome(Generic[T]):
    """What came of a fan-out: results and errors by host, and the hosts that were never begun."""

    results: dict[str, T] = field(default_factory=dict)
    errors: dict[str, Exception] = field(default_factory=dict)
    skipped: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Every host was done and none failed."""
        return not self.errors and not self.skipped

    def report(self, title: str) -> Report:
        """The same as a report: a finding for each error and for what was not begun."""
        findings = [_finding(name, error) for name, error in self.errors.items()]
        if self.skipped:
            why = f"{len(self.errors)} failed, more than allowed: {len(self.skipped)} were not begun"
            remedy = "mend the cause, then run it for these hosts"
            findings.append(Finding(severity="high", subject=", ".join(self.skipped), summary=why, remedy=remedy))
        rows = [(name, _shown(result)) for name, result in self.results.items()]
        facts = {"done": len(self.results), "failed": len(self.errors), "not begun": len(self.skipped)}
        return Report(title, findings, [Table("results", ("host", "result"), rows)], facts=facts)


class Fleet:
    """Hosts by name, as a context that closes them all. Connections are opened when first needed and kept."""

    def __init__(self, names: Sequence[str], *, config: Config | None = None) -> None:
        config = config or Config.load()
        self.hosts: dict[str, Host] = {name: connect(name, config) for name in dict.fromkeys(names)}

    @classmethod
    def of(cls, group: str = "all", *, inventory: str = "static", config: Config | None = None) -> Self:
        """The hosts of an inventory that have the tag ``group``; raises `ConfigError` when there are none."""
        config = config or Config.load()
        tags = INVENTORIES[inventory](config).hosts()
        names = sorted(name for name, own in tags.items() if group == "all" or group in own)
        if not names:
            known = ", ".join(sorted({tag for own in tags.values() for tag in own})) or "none"
            what = f"no host of the inventory {inventory!r} has the tag {group!r}"
            raise ConfigError(what, hint=f"there are the tags: {known}")
        return cls(names, config=config)

    def run(
        self,
        command: Sequence[str] | str,
        *,
        timeout: float,
        batch_size: int = 10,
        max_failures: int | str = 0,
        check: bool = True,
    ) -> Outcome[Result]:
        """`Host.run` on every host, see `map`."""

        def task(host: Host) -> Result:
            return host.run(command, timeout=timeout, check=check)

        return self.map(task, batch_size=batch_size, max_failures=max_failures)

    def map(self, task: Callable[[Host], T], *, batch_size: int = 10, max_failures: int | str = 0) -> Outcome[T]:
        """Call ``task`` for each host, ``batch_size`` at a time in threads.

        A batch is always finished; the next one is begun only while at most ``max_failures`` (a count, or a share of
        the fleet such as "20%") have failed. Never raises for a host's error: see the outcome.
        """
        allowed = _allowed(max_failures, len(self.hosts))
        if batch_size < 1:
            raise ConfigError(f"batch_size must be at least 1, not {batch_size}")
        waiting = list(self.hosts.values())
        results: dict[str, T] = {}
        errors: dict[str, Exception] = {}
        with ThreadPoolExecutor(max_workers=max(1, min(batch_size, len(waiting)))) as threads:
            while waiting and len(errors) <= allowed:
                batch, waiting = waiting[:batch_size], waiting[batch_size:]
                for host, future in [(host, threads.submit(task, host)) for host in batch]:
                    try:
                        results[host.name] = future.result()
                    except Exception as error:
                        errors[host.name] = error
        return Outcome(results, errors, tuple(host.name for host in waiting))

    def close(self) -> None:
        """Close every connection."""
        for host in self.hosts.values():
            host.close()

    def __len__(self) -> int:
        return len(self.hosts)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _allowed(limit: int | str, size: int) -> int:
    if isinstance(limit, int) and limit >= 0:
        return limit
    share = _PERCENT.fullmatch(limit) if isinstance(limit, str) else None
    if share is None or int(share[1]) > 100:
        raise ConfigError(f"max_failures must be a count or a percentage, not {limit!r}", hint='write 3 or "20%"')
    return size * int(share[1]) // 100


def _finding(name: str, error: Exception) -> Finding:
    summary, remedy = getattr(error, "message", repr(error)), getattr(error, "hint", "")
    return Finding(severity="high", subject=name, summary=summary, remedy=remedy)


def _shown(result: object) -> str:
    if isinstance(result, Result):
        return " ".join((result.stdout.strip() or f"exit code {result.exit_code}").splitlines()[-1:])
    return str(result)
