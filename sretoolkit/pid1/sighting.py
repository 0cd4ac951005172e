"""A finding with where it was seen, in fields: what scans, files, suppressions and every output format have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, get_args

from sretoolkit.errors import ConfigError
from sretoolkit.pid1.verdict import Ruling
from sretoolkit.report import SEVERITIES, Finding, Proof

_PLACES = ("host", "container", "image", "owner", "path")


@dataclass(frozen=True, kw_only=True)
class Sighting:
    """One finding; ``path`` and ``line`` for what is written in a file, ``host`` for what runs; "" = none or not known."""

    finding: Finding
    host: str = ""
    container: str = ""
    image: str = ""
    owner: str = ""
    path: str = ""
    line: int = 0

    @classmethod
    def of(cls, ruling: Ruling) -> Sighting:
        """What a look at a host says; a first process that no runtime knows goes by its name, since its pid is not lasting."""
        subject = ruling.subject
        workload = subject.workload if subject else None
        if subject is None or workload is None:
            name = subject.init.program if subject else ""
            return cls(finding=ruling.finding, host=ruling.host, container=name)
        return cls(
            finding=ruling.finding,
            host=ruling.host,
            container=workload.name,
            image=workload.image,
            owner=workload.owner,
        )

    @property
    def key(self) -> tuple[str, ...]:
        """What stays the same from scan to scan: rule, place and subject, not counts, lines or pids."""
        about = self.container or ("" if self.host else self.finding.subject)
        return (self.finding.rule, self.host, self.path, about)

    @property
    def name(self) -> str:
        """The finding's subject, with its host where that is not the same."""
        return (
            self.finding.subject
            if self.host in ("", self.finding.subject)
            else f"{self.finding.subject} on {self.host}"
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Sighting:
        """Back from JSON; raises `ConfigError` for what is none."""
        try:
            finding = Finding(**{str(key): str(value) for key, value in data["finding"].items()})  # type: ignore[arg-type]
            places = {name: str(data.get(name, "")) for name in _PLACES}
            found = cls(finding=finding, line=int(data.get("line", 0)), **places)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ConfigError(f"this is no finding of a scan ({type(error).__name__}): {str(data)[:100]}") from error
        if finding.severity not in SEVERITIES or finding.proof not in get_args(Proof):
            raise ConfigError(f"a finding of severity {finding.severity!r}, proof {finding.proof!r} is none of ours")
        return found
