"""Looking back: search the runs of the store, open one, compare two, prove the journal."""

from __future__ import annotations

from typing import Any

import ipywidgets as widgets

from sretoolkit.config import Config
from sretoolkit.journal import Keys, Run, find_runs, load_run, verify_run, verify_store
from sretoolkit.plan.session import configuration
from sretoolkit.report import Finding, Report, Table, escape
from sretoolkit.runbook.comparison import compare
from sretoolkit.runbook.progress import began
from sretoolkit.store import open_store
from sretoolkit.widgets.panel import LONG, ROW, WIDE, Panel, button, put
from sretoolkit.widgets.run_view import RunView

_EVERY = 2.0  # seconds between two looks at the list
_STATES = (
    "", "running", "awaiting_approval", "lost", "held", "stopped", "planned", "completed", "failed", "gate_failed", "aborted",
    "refused", "interrupted", "killed", "timed_out", "undone",
)  # fmt: skip


class RunsBrowser(Panel):
    """All runs, newest first; those that are picked (two with Ctrl or Shift) are opened, compared or proved.

    ``live`` False looks only when asked to; None looks who is there.
    """

    def __init__(self, *, config: Config | None = None, limit: int = 200, live: bool | None = None) -> None:
        self._config = config or configuration()
        self._limit = limit
        self._live = live
        self._store = open_store(self._config)
        self.word = widgets.Text(
            description="search", placeholder="runbook, run, person, ticket, parameter, error", layout=LONG
        )
        self.state = widgets.Dropdown(
            description="state", options=[(name.replace("_", " ") or "any", name) for name in _STATES]
        )
        self.target = widgets.Text(
            description="touched", placeholder="part of a target's name", continuous_update=False
        )
        self.list = widgets.SelectMultiple(description="runs", rows=10, layout=WIDE)
        self.show = button("Open", "folder-open", "Show the run that is picked", "primary")
        self.compare = button("Compare", "exchange", "What differs between the two that are picked")
        self.verify = button(
            "Verify", "check-square-o", "Prove the journal of what is picked; of everything, if nothing is"
        )
        self.said, self.count, self.place = widgets.HTML(), widgets.HTML(), widgets.VBox()
        search = widgets.HBox([self.word, self.state, self.target], layout=ROW)
        row = widgets.HBox([self.show, self.compare, self.verify], layout=ROW)
        super().__init__([search, self.list, self.count, row, self.said, self.place], name="runs")
        for field in (self.word, self.state, self.target):
            field.observe(lambda _: self.soon("list", who="list"), "value")
        self.list.observe(lambda _: self._enable(), "value")
        for each, order in ((self.show, "open"), (self.compare, "compare"), (self.verify, "verify")):
            each.on_click(lambda _, order=order: self.soon(order))
        self.look()
        if self.live(live):
            self.follow("list", every=_EVERY)

    def look(self) -> None:
        """Read the list anew; what is picked stays so."""
        runs = find_runs(self._store, state=self.state.value, target=self.target.value.strip(), limit=self._limit)
        word = self.word.value.strip().lower()
        most = f"the newest {self._limit} are searched: narrow by state or target" if len(runs) == self._limit else ""
        put(self.count, escape(most))
        options = [(_line(run), run.id) for run in runs if word in _words(run)]
        if tuple(options) != self.list.options:
            kept = [run for run in self.list.value if run in {name for _, name in options}]
            self.list.options = options
            self.list.value = kept
        self._enable()

    def answer(self, order: str) -> None:
        """The list, or what was asked about those that are picked."""
        if order == "list":
            self.look()
            return
        picked = list(self.list.value)
        if order == "open":
            self._put(RunView(picked[0], config=self._config, live=self._live))
        else:
            report = self._compared(*picked) if order == "compare" else self._verified(picked)
            shown = widgets.HTML()
            put(shown, report._repr_html_())
            self._put(shown)
        self.say("")

    def record(self) -> Report:
        """The list as it is now."""
        return Report("Runs", [], [Table("", ("run",), [(line,) for line, _ in self.list.options])])

    def close(self) -> None:
        """End looking."""
        super().close()
        self.join(10)
        self._store.close()

    def _put(self, part: widgets.Widget) -> None:
        before = self.place.children
        self.place.children = (part,)
        for each in before:
            each.close()

    def _enable(self) -> None:
        count = len(self.list.value)
        self.show.disabled, self.compare.disabled = count != 1, count != 2

    def _compared(self, one: str, other: str) -> Report:
        rows = [(row["what"], row["one"], row["other"]) for row in compare(self._store, one, other)]
        seen = [] if rows else [Finding(severity="info", subject=one, summary=f"means the same as {other}")]
        return Report("What differs", seen, [Table("", ("what", one, other), rows)] if rows else [])

    def _verified(self, picked: list[str]) -> Report:
        keys = Keys.of(self._config)
        names = [load_run(self._store, run).id for run in picked]
        proofs = [verify_run(self._store, keys, name) for name in names] if names else verify_store(self._store, keys)
        findings = [_proof(each) for each in proofs if each.state != "whole"]
        return Report("The journal", findings, facts={"checked": len(proofs), "whole": len(proofs) - len(findings)})


def _proof(proof: Any) -> Finding:
    severity: Any = "critical" if proof.state == "broken" else "low"
    return Finding(severity=severity, subject=proof.run or "chain of runs", summary=str(proof), proof="certain")


def _line(run: Run) -> str:
    mode = "" if run.mode == "apply" else " (plan)"
    parts = [began(run), run.state.replace("_", " "), f"{run.runbook}{mode}", run.who, run.ticket, run.id[-6:]]
    return " · ".join(part for part in parts if part)


def _words(run: Run) -> str:
    return " ".join([run.id, run.runbook, run.who, run.ticket, run.error, str(run.parameters)]).lower()
