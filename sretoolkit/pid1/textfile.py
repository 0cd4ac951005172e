"""A scan as metrics for node_exporter's textfile collector, so that verdicts can be alerted on.

The number of series is bounded: findings by rule and severity, containers up to a limit, the rest are counted.
Source: prometheus.io/docs/instrumenting/exposition_formats.
"""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from sretoolkit.errors import ConfigError
from sretoolkit.pid1.survey import Container, Survey

MOST = 1000  # containers that get series of their own
_LONGEST = 120  # characters of a label's value
_HELP = {
    "findings": "What is wrong, by rule and severity, without what is suppressed.",
    "suppressed": "Findings that somebody has suppressed.",
    "zombies": "Zombies that stayed, in the PID namespace of a container.",
    "process_ids": "Process ids in use in the cgroup that is nearest to its limit.",
    "process_ids_limit": "The limit of that cgroup; no series = no limit, or not known.",
    "containers": "Containers and other PID namespaces that were seen.",
    "containers_left_out": "Containers without series of their own, because there are too many.",
    "host_up": "Whether a host answered.",
    "scan_timestamp_seconds": "When the scan began.",
    "scan_success": "Whether every target answered.",
}
Labels = dict[str, str]
Sample = tuple[Labels, float]


def textfile(survey: Survey) -> str:
    """The whole file."""
    found = Counter((each.finding.rule, each.finding.severity) for each in survey.active)
    named = _named(survey.containers)
    shown = named[:MOST]
    limited = [(labels, each) for labels, each in shown if each.limit is not None]
    samples: dict[str, list[Sample]] = {
        "findings": [
            ({"rule": rule, "severity": severity}, count) for (rule, severity), count in sorted(found.items())
        ],
        "suppressed": [({}, len(survey.suppressed))],
        "zombies": [
            ({**labels, "of": of}, count)
            for labels, each in shown
            for of, count in (("first process", each.zombies), ("others", each.zombies_of_others))
        ],
        "process_ids": [(labels, each.used) for labels, each in shown if each.used is not None],
        "process_ids_limit": [(labels, each.limit or 0) for labels, each in limited],
        "containers": [({}, len(survey.containers))],
        "containers_left_out": [({}, len(named) - len(shown))],
        "host_up": [({"host": host}, float(host not in survey.missing)) for host in survey.hosts][:MOST],
        "scan_timestamp_seconds": [({}, survey.at.timestamp())],
        "scan_success": [({}, float(not survey.missing))],
    }
    return "".join(line for name, each in samples.items() for line in _family(name, each))


def write(survey: Survey, path: Path) -> None:
    """Replace the file at once, so that a collector never reads half of it; raises `ConfigError` when it cannot."""
    temporary = ""
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(textfile(survey))
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)  # node_exporter is somebody else
        os.replace(temporary, path)
    except OSError as error:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        hint = "name a file in node_exporter's --collector.textfile.directory"
        raise ConfigError(f"{path} cannot be written: {error.strerror or error}", hint=hint) from error


def _named(containers: Sequence[Container]) -> list[tuple[Labels, Container]]:
    """Each once: those of one name on one host (no runtime knows them) are added up. The fullest come first."""
    merged: dict[tuple[str, str], Container] = {}
    for each in containers:
        key = (_cut(each.host), _cut(each.name or each.program))
        merged[key] = _added(each, merged[key]) if key in merged else each
    ordered = sorted(merged.items(), key=lambda item: (-item[1].zombies, -(item[1].used or 0), item[0]))
    return [({"host": host, "container": name, "image": _cut(each.image)}, each) for (host, name), each in ordered]


def _added(one: Container, other: Container) -> Container:
    """Zombies together; the process ids are those of the fuller one."""
    fuller = max(one, other, key=lambda each: each.used or 0)
    others = one.zombies_of_others + other.zombies_of_others
    return replace(fuller, zombies=one.zombies + other.zombies, zombies_of_others=others)


def _family(name: str, samples: Iterable[Sample]) -> Iterator[str]:
    full = f"sretoolkit_pid1_{name}"
    yield f"# HELP {full} {_HELP[name]}\n# TYPE {full} gauge\n"
    for labels, value in samples:
        pairs = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
        yield f"{full}{{{pairs}}} {value:.15g}\n" if pairs else f"{full} {value:.15g}\n"


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


def _escaped(text: str) -> str:
    """As the format wants it; what is no Unicode text (a lone surrogate) is shown by its escape."""
    safe = text.encode("utf-8", "backslashreplace").decode()
    return safe.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
