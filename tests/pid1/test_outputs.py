"""SARIF and metrics: valid for those who read them, whatever containers are called."""

from __future__ import annotations

import json
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sretoolkit.errors import ConfigError
from sretoolkit.pid1 import textfile
from sretoolkit.pid1.sarif import RULES, sarif
from sretoolkit.pid1.sighting import Sighting
from sretoolkit.pid1.survey import Container, Survey
from sretoolkit.report import Finding, Severity

AT = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
EVIL = 'a"b\\c\n# TYPE x counter\x1b[31m\x00é\ud800'


def _sighting(rule: str = "stop-dropped", severity: Severity = "high", **place: str) -> Sighting:
    finding = Finding(severity=severity, subject=place.get("container", "web"), summary="s", rule=rule)
    return Sighting(finding=finding, line=7 if place.get("path") else 0, **place)


def _container(name: str, host: str = "one", **more: int | None) -> Container:
    words = {"process": "p", "program": "p", "kind": "plain", "stop": "x", "reaps": "no"}
    return Container(host=host, pid=1, name=name, image="i", **words, **more)  # type: ignore[arg-type]


def test_sarif_has_all_that_the_format_demands() -> None:
    """Version, driver, rules, results with message, level and place; suppressed ones with their reason."""
    active = [
        _sighting(path="/srv/Docker file", container="x"),
        _sighting("ids-low", "medium", host="h", container="c"),
    ]
    log = json.loads(json.dumps(sarif(active, suppressed=[(_sighting("blind", "info", host="h"), "why")])))
    assert ("2.1.0", {"$schema", "version", "runs"}) == (log["version"], set(log))
    (run,) = log["runs"]
    driver = run["tool"]["driver"]
    assert ["blind", "ids-low", "stop-dropped"] == [rule["id"] for rule in driver["rules"]]
    assert all(rule["shortDescription"]["text"] == RULES[rule["id"]] for rule in driver["rules"])
    for result in run["results"]:
        assert driver["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["message"]["text"]
        assert result["level"] in ("none", "note", "warning", "error")
    assert ["error", "warning", "note"] == [result["level"] for result in run["results"]]
    first = run["results"][0]["locations"][0]["physicalLocation"]
    assert ("file:///srv/Docker%20file", 7) == (first["artifactLocation"]["uri"], first["region"]["startLine"])
    second = run["results"][1]["locations"][0]["logicalLocations"][0]
    assert "h/c" == second["fullyQualifiedName"]
    assert [{"kind": "external", "justification": "why"}] == run["results"][2]["suppressions"]


def test_a_result_keeps_its_fingerprint() -> None:
    """Another line or count does not make it another alert; another container does."""

    def prints(container: str, line: int) -> str:
        finding = Finding(severity="high", subject=container, summary=f"{line} zombies", rule="zombies-of-init")
        log = sarif([Sighting(finding=finding, host="h", container=container, line=line)])
        return str(log["runs"][0]["results"][0]["partialFingerprints"])

    assert (True, False) == (prints("a", 1) == prints("a", 2), prints("a", 1) == prints("b", 1))


def test_sarif_shows_no_escape() -> None:
    """A hostile name is in it as text."""
    text = json.dumps(sarif([_sighting(host=EVIL, container=EVIL)]), ensure_ascii=False)
    assert ("\x1b" in text, "\\u001b" in text) == (False, False)


def _promtool(text: str) -> str:
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not installed (apt install prometheus)")
    done = subprocess.run(
        [program, "check", "metrics"], input=text.encode(), capture_output=True, check=False, timeout=60
    )
    said = (done.stdout + done.stderr).decode()
    assert 0 == done.returncode or "error while linting" not in said, said
    return said


def test_metrics_are_what_prometheus_reads() -> None:
    """Promtool finds nothing wrong, and each figure is there."""
    survey = Survey(
        at=AT,
        hosts={"one": "root", "two": ""},
        missing={"two": "gone"},
        containers=(
            _container("web", zombies=3, zombies_of_others=1, used=9, limit=100),
            _container(EVIL, used=5, limit=None),
        ),
        active=(_sighting(), _sighting(), _sighting("ids-low", "medium")),
    )
    text = textfile.textfile(survey)
    assert "" == _promtool(text)
    assert {
        'sretoolkit_pid1_findings{rule="stop-dropped",severity="high"} 2',
        'sretoolkit_pid1_zombies{host="one",container="web",image="i",of="first process"} 3',
        'sretoolkit_pid1_zombies{host="one",container="web",image="i",of="others"} 1',
        'sretoolkit_pid1_process_ids{host="one",container="web",image="i"} 9',
        'sretoolkit_pid1_process_ids_limit{host="one",container="web",image="i"} 100',
        'sretoolkit_pid1_host_up{host="two"} 0',
        "sretoolkit_pid1_scan_success 0",
        f"sretoolkit_pid1_scan_timestamp_seconds {AT.timestamp():.0f}",
    } <= set(text.splitlines())
    assert 1 == text.count("process_ids_limit{")


def test_a_label_is_read_back_as_it_was() -> None:
    """Quotes, backslashes and newlines of a hostile name neither end the label nor begin a line."""
    text = textfile.textfile(Survey(at=AT, containers=(_container('a"} 1\nx{y="\\'),)))
    assert "" == _promtool(text)
    assert [] == [line for line in text.splitlines() if not line.startswith(("sretoolkit_pid1_", "# "))]


@given(st.text(), st.text())
def test_no_name_breaks_the_file(name: str, host: str) -> None:
    """Whatever they are called, each line is one of ours."""
    text = textfile.textfile(Survey(at=AT, containers=(_container(name, host),)))
    text.encode("utf-8")
    lines = text.split("\n")
    assert [] == [line for line in lines if line and not line.startswith(("sretoolkit_pid1_", "# HELP", "# TYPE"))]


def test_the_number_of_series_is_bounded() -> None:
    """The fullest containers have series of their own, the others are counted; long names are cut."""
    many = tuple(_container(f"c{number}", zombies=number) for number in range(textfile.MOST + 20))
    text = textfile.textfile(Survey(at=AT, containers=(*many, _container("x" * 5000, zombies=9999))))
    assert textfile.MOST == text.count('of="first process"')
    assert "sretoolkit_pid1_containers_left_out 21" in text.splitlines()
    assert 300 > max(map(len, text.splitlines()))


def test_containers_of_one_name_are_one_series() -> None:
    """Two processes that no runtime knows and that are called alike are added up: a duplicate would spoil the file."""
    text = textfile.textfile(Survey(at=AT, containers=(_container("", zombies=1), _container("", zombies=2, used=4))))
    assert "" == _promtool(text)
    assert 'sretoolkit_pid1_zombies{host="one",container="p",image="i",of="first process"} 3' in text.splitlines()


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    """The file is replaced at once, is readable by all, and nothing is left behind when it cannot be written."""
    folder = tmp_path / "metrics"
    folder.mkdir()
    path = folder / "pid1.prom"
    path.write_text("old")
    textfile.write(Survey(at=AT), path)
    assert (0o644, ["pid1.prom"]) == (path.stat().st_mode & 0o777, [each.name for each in folder.iterdir()])
    with pytest.raises(ConfigError, match="cannot be written"):
        textfile.write(Survey(at=AT), folder / "none" / "pid1.prom")
    (folder / "folder").mkdir()
    with pytest.raises(ConfigError, match="cannot be written"):
        textfile.write(Survey(at=AT), folder / "folder")
    assert ["folder", "pid1.prom"] == sorted(each.name for each in folder.iterdir())
