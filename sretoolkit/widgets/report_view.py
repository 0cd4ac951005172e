"""A report to work with: only what is bad enough, only what has a word in it, and asked anew at a press."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import ipywidgets as widgets

from sretoolkit.report import SEVERITIES, Finding, Report, Table
from sretoolkit.widgets.panel import LONG, ROW, Panel, button, put, visible


class ReportView(Panel):
    """A report, or a function that makes one: that can be asked anew, in a thread, without blocking the notebook."""

    def __init__(self, report: Report | Callable[[], Report]) -> None:
        self._make = None if isinstance(report, Report) else report
        self.report = report if isinstance(report, Report) else Report("asking …")
        self.word = widgets.Text(description="search", placeholder="a word of a finding or a table's row", layout=LONG)
        self.least = widgets.Dropdown(description="at least", options=list(reversed(SEVERITIES)), value="info")
        self.again = button("Ask again", "refresh", "Ask for the report anew")
        self.said, self.shown = widgets.HTML(), widgets.HTML()
        visible(self.again, self._make is not None)
        form = widgets.HBox([self.word, self.least, self.again], layout=ROW)
        super().__init__([form, self.said, self.shown], name="report")
        self.word.observe(lambda _: self._show(), "value")
        self.least.observe(lambda _: self._show(), "value")
        self.again.on_click(lambda _: self.soon("report"))
        if self._make:
            self.soon("report")
        self._show()

    def answer(self, order: str) -> None:
        """Ask for the report."""
        assert self._make is not None
        self.say("asking …")
        self.report = self._make()
        self.say("")
        self._show()

    def record(self) -> Report:
        """The whole report."""
        self.join()
        return self.report

    def _show(self) -> None:
        word, worst = self.word.value.strip().lower(), SEVERITIES.index(self.least.value)
        findings = [
            each for each in self.report.findings if SEVERITIES.index(each.severity) <= worst and _has(each, word)
        ]
        tables = [
            Table(table.title, table.columns, [row for row in table.rows if word in " ".join(map(str, row)).lower()])
            for table in self.report.tables
        ]
        put(self.shown, replace(self.report, findings=findings, tables=tables)._repr_html_())


def _has(finding: Finding, word: str) -> bool:
    return word in " ".join([finding.subject, finding.summary, finding.evidence, finding.remedy]).lower()
