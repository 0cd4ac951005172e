"""Scans of many hosts: one report, one finding for what one fix closes, and nobody silently absent."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sretoolkit.clock import FakeClock
from sretoolkit.config import Config
from sretoolkit.errors import ConfigError, HostError, Unreachable
from sretoolkit.hosts import Fleet
from sretoolkit.hosts.endpoint import Endpoint
from sretoolkit.hosts.result import Output
from sretoolkit.pid1.look import Look
from sretoolkit.pid1.overview import report
from sretoolkit.pid1.since import compare, load
from sretoolkit.pid1.survey import Survey, joined, survey, unanswered
from sretoolkit.pid1.workload import Workload
from tests.hosts.scripted import Scripted
from tests.pid1.facts import TERM, Scan

AT = datetime(2030, 1, 2, tzinfo=UTC)
CLOCK = FakeClock(AT)


def _look(host: str, images: Mapping[str, str], *, names: str = "web") -> Survey:
    """A host with a sleeping container of each image, by its name's end."""
    scan = Scan()
    containers = []
    for pid, (number, image) in enumerate(images.items(), start=500):
        scan.init(pid, name="sleep", levels=[(5, "100", 0)])
        name = f"{names}-{number}"
        containers.append(Workload(runtime="docker", name=name, pid=pid, image=image, owner="shop"))
    return Survey.of(Look.of(scan.done(), host, containers), CLOCK)


def test_one_finding_for_one_image_on_many_hosts() -> None:
    """It says how many containers on how many hosts, and names a few."""
    many = joined(_look(f"host-{number}", {"1": "web:1", "2": "web:1"}) for number in range(50))
    dropped = [finding for finding in report(many, "fleet").sorted if finding.rule == "stop-dropped"]
    assert [
        "web:1 of shop: 100 containers on 50 hosts (web-1 on host-0, web-2 on host-0, web-1 on host-1, web-2 on host-1 "
        "and 96 more)"
    ] == [finding.subject for finding in dropped]


def test_images_are_apart_and_the_most_frequent_comes_first() -> None:
    """Each image is a fix of its own; among equals the one that closes most is first."""
    many = joined([_look("a", {"1": "rare:1", "2": "often:1"}), _look("b", {"1": "often:1"})])
    made = report(many, "fleet")
    found = [finding.subject.split(":")[0] for finding in made.sorted if finding.rule == "stop-dropped"]
    assert ["often", "web-1 on a"] == found
    table = made.tables[0]
    assert [("often:1", "shop", "high", 2, 2), ("rare:1", "shop", "high", 1, 1)] == [row[:5] for row in table.rows]


def test_hosts_that_do_not_answer_are_findings() -> None:
    """One finding that names them, a row for each, and a fact."""
    lost = [unanswered(f"dead-{n}", Unreachable(f"dead-{n}: no route", host=f"dead-{n}"), AT) for n in range(6)]
    made = report(joined([_look("a", {"1": "web:1"}), *lost]), "fleet")
    finding = next(finding for finding in made.sorted if finding.rule == "host-unanswered")
    assert ("high", "6 hosts (dead-0, dead-1, dead-2, dead-3 and 2 more)") == (finding.severity, finding.subject)
    assert "dead-0: no route" in finding.evidence
    rows = [row[0] for row in made.tables[1].rows if row[1] == "did not answer"]
    assert (6, 7, 6) == (len(rows), made.facts["hosts"], made.facts["not answered"])


def test_a_fleet_is_looked_at_with_partial_results(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is down, one that answers garbage, one that is well: all three are in the report."""
    scan = Scan()
    scan.init(500, name="sleep")
    good = scan.text
    config = Config.of(hosts={name: {"address": "192.0.2.1"} for name in ("good", "garbage", "broken", "down")})
    with Fleet(["good", "garbage", "broken", "down"], config=config) as fleet:
        for host in fleet.hosts.values():
            answer: str | Output = good
            if host.name == "garbage":
                answer = "\x00<html>\nhost\t?\x1b[31m\nend\n"
            elif host.name == "broken":
                answer = Output(1, b"", b"disk full")
            connection = Scripted({"sh -c": answer}, Endpoint(host.name, "scripted"))
            if host.name == "down":

                def refuse(*_: object, **__: object) -> Output:
                    raise Unreachable("down: connection refused", host="down")

                monkeypatch.setattr(connection, "execute", refuse)
            host.connection = connection
        found = survey(fleet, clock=CLOCK)
    assert {"garbage", "broken", "down"} == set(found.missing)
    assert ["good", "garbage", "broken", "down"] == list(found.hosts)
    assert "disk full" in found.missing["broken"]
    assert "\x1b" not in str(report(found, "fleet"))


def test_a_scan_survives_json(tmp_path: Path) -> None:
    """What is saved is read back the same."""
    found = joined([_look("a", {"1": "web:1"}), unanswered("b", HostError("b: x", host="b"), AT)]).sorted_out([])
    path = tmp_path / "scan.json"
    path.write_text(json.dumps({"scan": found.to_dict()}))
    assert found == load(path)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"scan": {}}', '{"scan": {"form": "other/9"}}', "nonsense", "[" * 9999]
)
def test_what_is_no_scan_is_refused(text: str, tmp_path: Path) -> None:
    """Comparing with it would call everything new."""
    path = tmp_path / "scan.json"
    path.write_text(text)
    with pytest.raises(ConfigError):
        load(path)


def test_two_scans_are_compared() -> None:
    """New, gone and still there; a host that does not answer now has nothing gone, one not seen before nothing new."""
    before = joined([_look("a", {"1": "x", "2": "x"}), _look("silent", {"1": "x"})])
    lost = unanswered("silent", HostError("silent: x", host="silent"), AT)
    now = joined([_look("a", {"2": "x", "3": "x"}), _look("later", {"1": "x"}), lost])
    found = compare(before, now)

    def names(part: str) -> set[str]:
        return {each.name for each in getattr(found, part)}

    assert ({"web-3 on a", "silent"}, {"web-1 on a"}, {"web-2 on a"}) == (names("new"), names("gone"), names("still"))
    assert ({"web-1 on later"}, {"web-1 on silent"}) == (names("first"), names("unknown"))
    made = report(now, "x", compared=found)
    assert "since 2030-01-02T00:00:00+00:00" == made.tables[-1].title
    assert len(found.new) == made.facts["new"]


def test_another_pid_or_count_is_no_news() -> None:
    """A process that was started again, with more zombies, is the same trouble."""

    def look(pid: int, zombies: int) -> Survey:
        scan = Scan()
        scan.init(pid, name="app", caught=TERM)
        scan.zombies(pid, seen=zombies, stayed=zombies, init=pid)
        return Survey.of(Look.of(scan.done(), "a"), CLOCK)

    found = compare(look(500, 3), look(900, 7))
    assert ((), ()) == (found.new, found.gone)


def test_one_container_of_a_host() -> None:
    """Only what is about it, and its row."""
    scan = Scan()
    scan.init(500, name="sleep")
    scan.init(501, name="tail")
    known = [
        Workload(runtime="docker", name=name, pid=pid, id=f"{pid}abc") for name, pid in (("one", 500), ("two", 501))
    ]
    look = Look.of(scan.done(), "a", known)
    found = Survey.of(look, CLOCK, container="two")
    assert ({"two"}, {"two"}) == ({row.name for row in found.containers}, {each.container for each in found.active})
    assert found == Survey.of(look, CLOCK, container="501a")
    with pytest.raises(HostError, match="no container 'three'"):
        Survey.of(look, CLOCK, container="three")


def test_a_large_fleet_stays_readable() -> None:
    """2,000 hosts with 5 containers each make a report of a few lines, and quickly."""
    one = _look("a", {str(number): f"image-{number}:1" for number in range(5)})
    parts = [
        replace(
            one,
            hosts={host: "root"},
            containers=tuple(replace(row, host=host) for row in one.containers),
            active=tuple(replace(each, host=host) for each in one.active),
        )
        for host in (f"host-{number}" for number in range(2000))
    ]
    text = str(report(joined(parts), "fleet"))
    assert 150 > len(text.splitlines())
    assert "10" + "000" in text
