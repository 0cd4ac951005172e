"""Report: findings, tables and charts, for a record and for a terminal."""

from __future__ import annotations

import json
import math
from datetime import timedelta
from html.parser import HTMLParser

import pytest

from sretoolkit.chart import Chart
from sretoolkit.report import GLANCE, SEVERITIES, Finding, Report, Table, badge, escape, plain

HOSTILE = "<script>alert('x')</script>\"&\x1b[31m\r\n\u202e\x00"


def finding(severity: str = "low", **more: str) -> Finding:
    """A finding of that severity."""
    return Finding(severity=severity, subject="web1", summary="seen", **more)  # type: ignore[arg-type]


class Tags(HTMLParser):
    """Collects what a browser would make of a text: tags opened, tags left open, attribute names."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.open: list[str] = []
        self.attributes: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag; img and br have no end."""
        self.seen.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in ("img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Each end must close the last tag."""
        assert self.open.pop() == tag


def test_the_worst_finding_comes_first_and_decides() -> None:
    """Findings are ordered by severity; medium and worse make a report not ok."""
    report = Report("t", [finding("info"), finding("high"), finding("low")])
    assert ["high", "low", "info"] == [each.severity for each in report.sorted]
    assert ("high", False) == (report.worst, report.ok)
    assert (None, True) == (Report("t").worst, Report("t").ok)
    assert [False, False, False, True, True] == [Report("t", [finding(severity)]).ok for severity in SEVERITIES]


def test_hostile_text_is_harmless_in_html() -> None:
    """Whatever a name holds, only our own tags and attributes are in the page, and each is closed."""
    table = Table(HOSTILE, [HOSTILE], [[HOSTILE]])
    found = Finding(severity="high", subject=HOSTILE, summary=HOSTILE, evidence=HOSTILE, remedy=HOSTILE)
    page = Tags(Report(HOSTILE, [found], [table], [Chart(HOSTILE)], {HOSTILE: HOSTILE})._repr_html_())
    assert not page.open
    assert page.seen <= {"h3", "span", "p", "b", "div", "table", "thead", "tbody", "tr", "th", "td", "img", "br"}
    assert page.attributes <= {"style", "src", "alt"}


def test_hostile_text_is_harmless_in_a_terminal() -> None:
    """No control character gets through, and no line break forges a line of its own."""
    found = Finding(severity="low", subject=HOSTILE, summary=HOSTILE, evidence="one\nCRITICAL all lost", remedy=HOSTILE)
    text = str(Report(HOSTILE, [found], [Table(HOSTILE, [HOSTILE], [[HOSTILE]])], facts={HOSTILE: HOSTILE}))
    assert all(char.isprintable() for line in text.split("\n") for char in line)
    assert "         evidence: CRITICAL all lost" in text.split("\n")
    assert not any(line.startswith("CRITICAL") for line in text.split("\n"))


def test_evidence_keeps_its_lines() -> None:
    """The output of a command stays readable: one line each, in both forms."""
    report = Report("t", [finding(evidence="first\nsecond <b>")])
    assert "first<br>second &lt;b&gt;" in report._repr_html_()
    assert "         evidence: first\n         evidence: second <b>" in str(report)


def test_a_table_aligns_its_columns() -> None:
    """Text stands left and numbers right, and wide or combining characters do not shift what follows."""
    table = Table("t", ["name", "count", "note"], [["web", 5, "a"], ["東京", 1234, "b"], ["e\u0301", 1.5, "c"]])
    expected = ["t", "name  count  note", "web       5  a", "東京   1234  b", "e\u0301       1.5  c"]
    assert expected == str(table).splitlines()
    assert 'text-align:right">5</td>' in table._repr_html_()
    assert 'text-align:right">count</th>' in table._repr_html_()
    assert 'text-align:right">note</th>' not in table._repr_html_()
    assert 'text-align:right">True' not in Table("t", ["a"], [[True]])._repr_html_()


def test_an_empty_table_says_so() -> None:
    """A table without rows is not an empty line."""
    assert "t\nnothing to show" == str(Table("t", ["a"], []))
    assert "nothing to show" in Table("t", ["a"], [])._repr_html_()


def test_a_ragged_table_is_refused() -> None:
    """A row with too many or too few cells is found where it is made, not when the record is drawn."""
    with pytest.raises(ValueError, match=r"row 2 of the table 't' has 1 cells, not 2 \(a, b\)"):
        Table("t", ["a", "b"], [[1, 2], [3]])


def test_a_report_becomes_json() -> None:
    """Durations, infinities and other things that JSON does not know become text."""
    rows = [[timedelta(seconds=5), math.inf, {"k": (1, None)}]]
    report = Report("t", [finding("high")], [Table("x", ["a", "b", "c"], rows)], [Chart("c")], {"n": math.nan})
    told = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert [["0:00:05", "inf", {"k": [1, None]}]] == told["tables"][0]["rows"]
    assert ({"n": "nan"}, ["c"], "high", False) == (told["facts"], told["charts"], told["worst"], told["ok"])
    assert "seen" == told["findings"][0]["summary"]


def test_a_report_shows_everything_as_text() -> None:
    """Title, facts, findings, charts and tables are all in the terminal's form."""
    report = Report(
        "Health", [finding("high", remedy="restart")], [Table("", ["a"], [["cell"]])], [Chart("cpu")], {"n": 3}
    )
    expected = ["Health", "n: 3", "HIGH     web1: seen", "         remedy: restart", "         proof: observed"]
    assert expected == str(report).splitlines()[:5]
    assert "cpu" in str(report)
    assert "cell" in str(report)
    assert str(report) == repr(report)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(None, ""), (5, "5"), ("a\tb\x7f", "a\\tb\\x7f"), ("\ud800", "\\ud800"), ("ä 東", "ä 東"), ("\xa0", "\\xa0")],
)
def test_plain_shows_what_cannot_be_seen(value: object, expected: str) -> None:
    """Anything becomes one printable line."""
    assert expected == plain(value)


def test_escape_leaves_no_markup() -> None:
    """Quotes, too, are escaped, so that a value can stand in an attribute."""
    assert "&lt;a b=&quot;c&quot; d=&#x27;e&#x27;&gt;" == escape("<a b=\"c\" d='e'>")


def test_no_finding_is_a_green_word() -> None:
    """The badge of a report without findings says ok."""
    assert ">ok<" in badge(None)
    assert ">critical<" in badge("critical")


def test_a_record_finds_the_reports_in_it() -> None:
    """What a record's head needs stands beside the drawing: the worst, how many of each, the first few, made harmless."""
    findings = [
        Finding(severity="low", subject="a", summary="b"),
        Finding(severity="high", subject=HOSTILE, summary="c"),
    ]
    bundle = Report("t", findings)._repr_mimebundle_()[GLANCE]
    assert ("high", False, {"high": 1, "low": 1}) == (bundle["worst"], bundle["ok"], bundle["found"])
    assert [["high", plain(HOSTILE), "c"], ["low", "a", "b"]] == bundle["first"]
