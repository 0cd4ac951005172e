"""One scan of anything: hosts by the thousand, single containers, files; what was seen, and who did not answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import date, datetime
from typing import Any

from sretoolkit.clock import Clock
from sretoolkit.errors import ConfigError
from sretoolkit.hosts import Fleet, Host
from sretoolkit.pid1.ceilings import lowest
from sretoolkit.pid1.init import kind_of, reaps
from sretoolkit.pid1.look import AS_IT_IS, How, Look
from sretoolkit.pid1.outlook import watched
from sretoolkit.pid1.sighting import Sighting
from sretoolkit.pid1.signals import number
from sretoolkit.pid1.suppressions import Suppression, sort
from sretoolkit.pid1.verdict import Subject
from sretoolkit.report import Finding

_FORM = "sretoolkit-pid1-scan/1"
_WIDTH = 60  # characters of a command line


@dataclass(frozen=True, kw_only=True)
class Container:
    """One first process in a table or a metric; ``name`` is "" where no runtime knows it; ``used`` None = not known."""

    host: str
    pid: int
    process: str
    program: str
    kind: str
    stop: str
    reaps: str
    name: str = ""
    image: str = ""
    owner: str = ""
    zombies: int = 0
    zombies_of_others: int = 0
    used: int | None = None
    limit: int | None = None
    root: bool = False

    @classmethod
    def of(cls, subject: Subject) -> Container:
        """From what a look found."""
        init, workload = subject.init, subject.workload
        kind_name, kind = kind_of(init)
        word = subject.stop.word
        own = sum(group.stayed for group in init.zombies if group.parent == init.process)
        ceiling, own_level = lowest(init), next(iter(init.levels), None)
        name = f"{init.process.name} (the host's init)" if init.root else " ".join(init.arguments) or init.process.name
        return cls(
            host=subject.host,
            pid=init.process.pid,
            process=name if len(name) <= _WIDTH else name[: _WIDTH - 3] + "...",
            program=init.program,
            kind=kind_name,
            stop="not asked" if init.root else f"{subject.asked}{' (assumed)' if subject.assumed else ''}: {word}",
            reaps=reaps(init, kind)[0],
            name=workload.name if workload else "",
            image=workload.image if workload else "",
            owner=workload.owner if workload else "",
            zombies=own,
            zombies_of_others=sum(group.stayed for group in init.zombies) - own,
            used=ceiling.current if ceiling else own_level.current if own_level else None,
            limit=ceiling.limit if ceiling else None,
            root=init.root,
        )

    @property
    def ids(self) -> str:
        """How many process ids are used, of how many."""
        if self.used is None:
            return "unknown"
        return "no limit" if self.limit is None else f"{self.used} of {self.limit}"


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What one scan saw.

    ``hosts`` are those that were to be looked at, each with whom it was looked at as ("" = unknown); ``missing``: those
    that did not answer, with the reason; ``files``: the files that were read; ``strays``: zombies in no container.
    """

    at: datetime
    hosts: Mapping[str, str] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)
    files: tuple[str, ...] = ()
    containers: tuple[Container, ...] = ()
    strays: int = 0
    active: tuple[Sighting, ...] = ()
    suppressed: tuple[tuple[Sighting, str], ...] = ()

    @classmethod
    def of(cls, found: Look, clock: Clock | None = None, *, container: str = "") -> Survey:
        """One host that was looked at, or one container of it; raises `HostError` when that is not seen."""
        troubles = tuple(Sighting(finding=trouble, host=found.host) for trouble in found.troubles)
        rulings, subjects = found.rulings, found.subjects
        if container:
            subjects, rulings, troubles = (found.named(container),), tuple(found.about(container)), ()
        uid = found.machine.uid
        return cls(
            at=(clock or Clock()).now(),
            hosts={found.host: "root" if uid == 0 else f"user {uid}"},
            containers=tuple(Container.of(subject) for subject in subjects),
            strays=0 if container else sum(group.stayed for group in found.machine.zombies),
            active=(*troubles, *(Sighting.of(ruling) for ruling in rulings)),
        )

    @property
    def seen(self) -> tuple[Sighting, ...]:
        """All findings, those that are suppressed among them."""
        return (*self.active, *(sighting for sighting, _ in self.suppressed))

    def sorted_out(self, suppressions: Sequence[Suppression], *, today: date | None = None) -> Survey:
        """The same with the suppressed findings apart; ``today`` is the scan's day in UTC without it."""
        done = sort(self.active, suppressions, today=today or self.at.date(), whole=not self.missing)
        apart = tuple((sighting, suppression.why) for sighting, suppression in done.suppressed)
        return replace(self, active=done.active, suppressed=apart)

    def to_dict(self) -> dict[str, Any]:
        """JSON, for a later scan to be compared with."""
        data = {**asdict(self), "form": _FORM, "at": self.at.isoformat(), "files": list(self.files)}
        data["suppressed"] = [{"sighting": sighting.to_dict(), "why": why} for sighting, why in self.suppressed]
        return data

    @classmethod
    def from_dict(cls, data: Any) -> Survey:
        """Back from JSON; raises `ConfigError` for what is none."""
        try:
            if data["form"] != _FORM:
                raise ValueError(f"form {data['form']!r}")
            return cls(
                at=datetime.fromisoformat(data["at"]),
                hosts={str(host): str(told) for host, told in data["hosts"].items()},
                missing={str(host): str(why) for host, why in data["missing"].items()},
                files=tuple(map(str, data["files"])),
                containers=tuple(Container(**each) for each in data["containers"]),
                strays=int(data["strays"]),
                active=tuple(map(Sighting.from_dict, data["active"])),
                suppressed=tuple(
                    (Sighting.from_dict(each["sighting"]), str(each["why"])) for each in data["suppressed"]
                ),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            what = f"this is no scan that can be compared with ({type(error).__name__}: {str(error)[:100]})"
            raise ConfigError(what, hint="save one with sretoolkit pid1 ... --json > FILE") from error


def joined(parts: Iterable[Survey], clock: Clock | None = None) -> Survey:
    """Several scans as one; it is as old as the oldest of them."""
    every = list(parts)
    return Survey(
        at=min((each.at for each in every), default=(clock or Clock()).now()),
        hosts={host: told for each in every for host, told in each.hosts.items()},
        missing={host: why for each in every for host, why in each.missing.items()},
        files=tuple(dict.fromkeys(file for each in every for file in each.files)),
        containers=tuple(dict.fromkeys(row for each in every for row in each.containers)),
        strays=sum(each.strays for each in every),
        active=tuple(dict.fromkeys(sighting for each in every for sighting in each.active)),
        suppressed=tuple(pair for each in every for pair in each.suppressed),
    )


def survey(fleet: Fleet, how: How = AS_IT_IS, *, batch_size: int = 32, clock: Clock | None = None) -> Survey:
    """Look at every host of a fleet, ``batch_size`` at a time; reads only. One that does not answer is a finding."""
    number(how.stop_signal or "SIGTERM")
    clock = clock or Clock()
    began = clock.now()

    def task(host: Host) -> Survey:
        return Survey.of(watched(host, how), clock)

    outcome = fleet.map(task, batch_size=batch_size, max_failures="100%")
    lost = [unanswered(host, error, began) for host, error in outcome.errors.items()]
    whole = joined([*outcome.results.values(), *lost], clock)
    return replace(whole, at=began, hosts={host: whole.hosts.get(host, "") for host in fleet.hosts})


def unanswered(host: str, error: Exception, at: datetime) -> Survey:
    """What is said of a host that could not be looked at."""
    said = str(getattr(error, "message", "")) or f"{type(error).__name__}: {error}"
    why = said.removeprefix(f"{host}: ")
    finding = Finding(
        severity="high",
        subject=host,
        summary="did not answer, so nothing is known of it",
        evidence=f"{host}: {why}",
        proof="observed",
        remedy=str(getattr(error, "hint", "")) or "log in by hand: does it answer?",
        rule="host-unanswered",
    )
    return Survey(at=at, hosts={host: ""}, missing={host: why}, active=(Sighting(finding=finding, host=host),))
