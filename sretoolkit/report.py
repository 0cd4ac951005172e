"""What reading returns: findings, tables and charts under one title, drawn so that every record can show them.

The HTML is made of what survives an untrusted notebook and an offline export: tables with inline styles, ``<details>``
and ``<img>`` (see `sretoolkit.chart`). All text from outside is escaped, control characters included.
"""

from __future__ import annotations

import html
import math
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Protocol, get_args

Severity = Literal["critical", "high", "medium", "low", "info"]
Proof = Literal["certain", "inferred", "observed"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)

GLANCE = "application/vnd.sretoolkit.report+json"  # the output by which a record finds the reports in it
_FIRST = 3  # findings that it names
_COLOUR = {"critical": "#b00020", "high": "#c75000", "medium": "#8a6d00", "low": "#2f6f9f", "info": "#5f6b76"}
_CELL = "padding:4px 10px;text-align:left;vertical-align:top;border-bottom:1px solid #8884;white-space:pre-wrap"


class Drawable(Protocol):
    """Anything that draws itself in a record, such as `sretoolkit.chart.Chart`."""

    def _repr_html_(self) -> str: ...


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was seen: how bad, about what, by which evidence, how sure, and what to do.

    ``rule`` is the lasting name of what is found, the same for every subject, by which findings are compared, counted
    and suppressed; "" where nobody does.
    """

    severity: Severity
    subject: str
    summary: str
    evidence: str = ""
    proof: Proof = "observed"
    remedy: str = ""
    rule: str = ""


@dataclass(frozen=True)
class Table:
    """Rows under column names; cells are anything, shown as text, numbers to the right."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]

    def __post_init__(self) -> None:
        for number, row in enumerate(self.rows, start=1):
            if len(row) != len(self.columns):
                raise ValueError(
                    f"row {number} of the table {self.title!r} has {len(row)} cells, not {len(self.columns)} "
                    f"({', '.join(self.columns)})"
                )

    def _repr_html_(self) -> str:
        head = "".join(
            f'<th style="{_CELL};border-bottom-width:2px{self._aside(place)}">{escape(name)}</th>'
            for place, name in enumerate(self.columns)
        )
        body = "".join(
            "<tr>" + "".join(f'<td style="{_CELL}{_aside(cell)}">{escape(cell)}</td>' for cell in row) + "</tr>"
            for row in self.rows
        )
        caption = f'<p style="margin:12px 0 4px"><b>{escape(self.title)}</b></p>' if self.title else ""
        if not self.rows:
            return f"{caption}<p>nothing to show</p>"
        rows = f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody>"
        return f'{caption}<table style="border-collapse:collapse">{rows}</table>'

    def __str__(self) -> str:
        lines: list[Sequence[Any]] = [self.columns, *self.rows]
        widths = [max(_width(plain(line[place])) for line in lines) for place in range(len(self.columns))]
        text = ["  ".join(map(_padded, line, widths)).rstrip() for line in lines] if self.rows else ["nothing to show"]
        return "\n".join([plain(self.title), *text] if self.title else text)

    def _aside(self, place: int) -> str:
        """A name above nothing but numbers stands to the right as they do."""
        return _aside(0) if self.rows and all(_is_number(row[place]) for row in self.rows) else ""


@dataclass(frozen=True)
class Report:
    """The answer of something that reads: worst finding first, then tables and charts."""

    title: str
    findings: Sequence[Finding] = ()
    tables: Sequence[Table] = ()
    charts: Sequence[Drawable] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def worst(self) -> Severity | None:
        """The worst severity among the findings; None when there are none."""
        found = {finding.severity for finding in self.findings}
        return next((severity for severity in SEVERITIES if severity in found), None)

    @property
    def ok(self) -> bool:
        """No finding of severity medium or worse."""
        return self.worst in (None, "low", "info")

    @property
    def sorted(self) -> list[Finding]:
        """The findings, worst first."""
        return sorted(self.findings, key=lambda finding: SEVERITIES.index(finding.severity))

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON: what JSON does not know is written as text, charts by their title only."""
        return {
            "title": self.title,
            "ok": self.ok,
            "worst": self.worst,
            "facts": {str(key): _json(value) for key, value in self.facts.items()},
            "findings": [asdict(finding) for finding in self.sorted],
            "tables": [
                {"title": table.title, "columns": list(table.columns), "rows": _json(table.rows)}
                for table in self.tables
            ],
            "charts": [getattr(chart, "title", "") for chart in self.charts],
        }

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        """What a record's head says of it: the worst and how many of each severity; the rest is drawn as ever."""
        counts = {severity: sum(finding.severity == severity for finding in self.findings) for severity in SEVERITIES}
        first = [[finding.severity, plain(finding.subject), plain(finding.summary)] for finding in self.sorted[:_FIRST]]
        found = {severity: count for severity, count in counts.items() if count}
        return {
            GLANCE: {"title": plain(self.title), "worst": self.worst, "ok": self.ok, "found": found, "first": first}
        }

    def _repr_html_(self) -> str:
        parts = [f'<h3 style="margin:8px 0">{badge(self.worst)} {escape(self.title)}</h3>']
        if self.facts:
            pairs = " · ".join(f"{escape(key)} <b>{escape(value)}</b>" for key, value in self.facts.items())
            parts.append(f'<p style="margin:4px 0">{pairs}</p>')
        parts += [_finding_html(finding) for finding in self.sorted]
        parts += [part._repr_html_() for part in (*self.charts, *self.tables)]
        return "".join(parts)

    def __str__(self) -> str:
        lines = [plain(self.title), "  ".join(f"{plain(key)}: {plain(value)}" for key, value in self.facts.items())]
        for finding in self.sorted:
            lines.append(f"{finding.severity.upper():8} {plain(finding.subject)}: {plain(finding.summary)}")
            for label, text in _details(finding):
                lines += [f"         {label}: {plain(line)}" for line in text.splitlines()]
        lines += [f"\n{part}" for part in (*self.charts, *self.tables)]
        return "\n".join(line for line in lines if line)

    __repr__ = __str__


def escape(value: Any) -> str:
    """Text for HTML, from anything: markup escaped, control characters made visible."""
    return html.escape(plain(value))


def plain(value: Any) -> str:
    """One line of text for a terminal, from anything: no escape sequence or newline of a hostile name gets through."""
    text = "" if value is None else str(value)
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def badge(severity: Severity | None, word: str = "") -> str:
    """A coloured word for a severity; "ok" for none, or a word of one's own."""
    colour, usual = (_COLOUR[severity], severity) if severity else ("#1b7f3b", "ok")
    return (
        f'<span style="background:{colour};color:#fff;border-radius:3px;padding:1px 7px;'
        f'font-size:85%;font-weight:600">{escape(word or usual)}</span>'
    )


def _details(finding: Finding) -> list[tuple[str, str]]:
    proof = "" if finding.severity == "info" else finding.proof
    details = [("evidence", finding.evidence), ("remedy", finding.remedy), ("proof", proof)]
    return [(label, text) for label, text in details if text]


def _lines_html(text: str) -> str:
    return "<br>".join(escape(line) for line in text.splitlines())


def _is_number(cell: Any) -> bool:
    return isinstance(cell, int | float) and not isinstance(cell, bool)


def _aside(cell: Any) -> str:
    return ";text-align:right" if _is_number(cell) else ""


def _padded(cell: Any, width: int) -> str:
    text = plain(cell)
    fill = " " * (width - _width(text))
    return fill + text if _is_number(cell) else text + fill


def _width(text: str) -> int:
    """Columns on a terminal: wide characters take two, combining ones none."""
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )


def _json(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return {str(key): _json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json(item) for item in value]
    return str(value)


def _finding_html(finding: Finding) -> str:
    details = " ".join(
        f'<div style="margin-left:1em"><span style="opacity:.7">{label}:</span> {_lines_html(text)}</div>'
        for label, text in _details(finding)
    )
    return (
        f'<div style="border-left:4px solid {_COLOUR[finding.severity]};padding:4px 12px;margin:8px 0">'
        f"{badge(finding.severity)} <b>{escape(finding.subject)}</b>: {escape(finding.summary)}{details}</div>"
    )
