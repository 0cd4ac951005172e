"""What is suppressed, for how long, and what is said of suppressions themselves."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from sretoolkit.errors import ConfigError
from sretoolkit.pid1.overview import report
from sretoolkit.pid1.sighting import Sighting
from sretoolkit.pid1.suppressions import Suppression, load, sort
from sretoolkit.pid1.survey import Survey
from sretoolkit.report import Finding

TODAY = date(2030, 6, 1)
GOOD = """
[[suppress]]
rule = "ids-unlimited"
subject = "batch-*"
reason = "the node's own limit is enough"
owner = "team batch"
expires = 2030-06-01
"""


def _seen(container: str, *, rule: str = "ids-unlimited", image: str = "registry.example/batch:1") -> Sighting:
    finding = Finding(severity="medium", subject=container, summary="no limit", rule=rule)
    return Sighting(finding=finding, host="one", container=container, image=image)


def _decided(expires: date = TODAY, patterns: dict[str, str] | None = None) -> Suppression:
    given = patterns or {"subject": "batch-*"}
    return Suppression(rule="ids-unlimited", reason="why", owner="who", expires=expires, **given)


def test_a_file_is_read(tmp_path: Path) -> None:
    """TOML tables, each with all that makes a decision."""
    path = tmp_path / "pid1.toml"
    path.write_text(GOOD)
    (found,) = load(path)
    assert ("the node's own limit is enough (team batch, until 2030-06-01)", TODAY) == (found.why, found.expires)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('reason = "the node\'s own limit is enough"', "", "has no reason"),
        ('owner = "team batch"', 'owner = ""', "has no owner"),
        ("expires = 2030-06-01", "", "has no expires"),
        ("expires = 2030-06-01", 'expires = "2030-06-01"', "must be a day"),
        ("expires = 2030-06-01", "expires = 2030-06-01T10:00:00Z", "must be a day"),
        ('subject = "batch-*"', "", "has no subject, image or host"),
        ('subject = "batch-*"', "subject = 3", "must be text"),
        ('subject = "batch-*"', 'subjet = "x"', "unknown word 'subjet'"),
        ('rule = "ids-unlimited"', 'rule = "host-unanswered"', "cannot be suppressed"),
        ("[[suppress]]", "[suppress]", "something else"),
        ("[[suppress]]", "[[supress]]", "something else"),
        ("[[suppress]]", "[[[", "is no TOML"),
    ],
)
def test_what_is_missing_is_refused(old: str, new: str, message: str, tmp_path: Path) -> None:
    """Nothing is suppressed by half a decision, and never that a host is silent."""
    path = tmp_path / "pid1.toml"
    path.write_text(GOOD.replace(old, new))
    with pytest.raises(ConfigError, match=message):
        load(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path / "none")


@pytest.mark.parametrize(
    ("patterns", "matches"),
    [
        ({"subject": "batch-*"}, True),
        ({"subject": "web-*"}, False),
        ({"image": "registry.example/batch:*"}, True),
        ({"image": "registry.example/batch:*", "host": "two"}, False),
        ({"host": "on?"}, True),
    ],
)
def test_patterns(patterns: dict[str, str], matches: bool) -> None:
    """As in a shell; all that are given must match, and the rule."""
    assert (matches, False) == (
        _decided(patterns=patterns).matches(_seen("batch-1")),
        _decided(patterns=patterns).matches(_seen("batch-1", rule="ids-low")),
    )


def test_suppressed_findings_are_listed() -> None:
    """They do not count, and are shown with the reason."""
    survey = Survey(at=datetime(2030, 6, 1, tzinfo=UTC), active=(_seen("batch-1"), _seen("web")), hosts={"one": "root"})
    made = report(survey.sorted_out([_decided()]), "x")
    assert (["web"], 1) == ([finding.subject for finding in made.findings], made.facts["suppressed"])
    assert [("ids-unlimited", "batch-1 on one", "why (who, until 2030-06-01)")] == list(made.tables[-1].rows)


def test_an_expired_one_counts_no_longer() -> None:
    """The last day still counts; after it the finding is back, and the suppression is one itself."""
    kept = sort([_seen("batch-1")], [_decided()], today=TODAY)
    back = sort([_seen("batch-1")], [_decided(date(2030, 5, 31))], today=TODAY)
    assert ([], 1) == (list(kept.active), len(kept.suppressed))
    assert ["ids-unlimited", "suppression-expired"] == [each.finding.rule for each in back.active]
    assert "ask who" in back.active[1].finding.remedy


def test_an_unused_one_is_named_where_all_was_seen() -> None:
    """Where a host did not answer it may still be needed."""
    whole = sort([], [_decided()], today=TODAY)
    part = sort([], [_decided()], today=TODAY, whole=False)
    assert (["suppression-unused"], []) == ([each.finding.rule for each in whole.active], list(part.active))
    assert "ids-unlimited subject batch-*" == whole.active[0].finding.subject
