"""A plan that one reads and runs; a report that one searches; hosts that one picks."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sretoolkit.clock import poll
from sretoolkit.config import Config
from sretoolkit.plan import Plan
from sretoolkit.report import Finding, Report, Table
from sretoolkit.widgets import FleetPicker, PlanView, ReportView
from tests.plan.steps import Folder, SetFileForGood
from tests.widgets.watching import shown, until

Write = Callable[..., Path]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """Files that steps change."""
    return Folder(tmp_path / "files")


def test_a_plan_is_read_run_and_taken_back(folder: Folder, config: Config) -> None:
    """Its hash is shown; Run works once; the undo is a plan that is read as well."""
    plan = Plan("change", [folder.step("a"), folder.step("b")])
    view = PlanView(plan, config=config, live=False)
    view.run.click()
    view.join(30)
    run = until(view.view, "completed")
    run.buttons["undo"].click()
    run.join(30)
    (undo,) = run.aside.children

    assert plan.hash[:12] in view.shown.value
    assert view.run.disabled
    assert "undo: write new into b" in undo.shown.value
    assert ["new", "new"] == [folder[name] for name in "ab"]


def test_an_abort_acts_while_the_plan_goes_on(folder: Folder, config: Config) -> None:
    """A gate waits; the abort is obeyed within 0.3 s of the press, and all is taken back."""
    view = PlanView(Plan("change", [folder.step("a"), folder.gate()]), config=config, live=False)
    view.run.click()
    assert poll(lambda: view.view is not None and (folder.path / "gate.looks").exists(), timeout=30)
    run = view.view
    assert run is not None
    run.look()
    seen = shown(run)
    pressed = time.monotonic()
    run.buttons["abort"].click()
    assert poll(lambda: folder["a"] == "old", timeout=30, interval=0.005)
    took = time.monotonic() - pressed
    view.join(30)

    assert {"abort", "pause", "promote", "pass"} == seen
    assert took < 1.0  # 0.3 s on a machine that does nothing else
    assert "aborted" in until(run, "aborted").head.value


def test_a_step_is_skipped_where_the_plan_allows_it(folder: Folder, config: Config) -> None:
    """The button is there for such a plan alone."""
    folder.tell("a.do", "hang")
    view = PlanView(Plan("change", [folder.step("a"), folder.step("b")], allow_skip=True), config=config, live=False)
    view.run.click()
    assert poll((folder.path / "a.hanging").exists, timeout=30)
    run = view.view
    assert run is not None
    run.look()
    run.buttons["skip"].click()
    run.join(10)
    (folder.path / "a.do").unlink()
    view.join(30)

    assert ("new", "old") == (folder["a"], folder["b"])
    assert "skipped" in until(run, "completed").plans.value


def test_what_cannot_be_taken_back_needs_a_tick(folder: Folder, config: Config) -> None:
    """Run sleeps until one says yes to that."""
    view = PlanView(Plan("for good", [folder.step("a", SetFileForGood)]), config=config, live=False)
    before = view.run.disabled
    view.yes.value = True
    view.run.click()
    view.join(30)

    assert (True, "new") == (before, folder["a"])


def test_a_plan_without_steps_has_nothing_to_press(config: Config) -> None:
    """It says so; in a record it is the plan itself."""
    view = PlanView(Plan("nothing"), config=config, live=False)

    assert view.run not in view.children
    assert "nothing to change" in view._repr_mimebundle_()[0]["text/plain"]


def test_a_report_is_narrowed_and_asked_anew() -> None:
    """By severity and by a word; a function is asked in a thread, and what it raises is told."""
    answers = [
        Report("r", [
            Finding(severity="high", subject="web1", summary="full"), Finding(severity="info", subject="db", summary="ok"),
        ], [Table("t", ("host",), [("web1",), ("db",)])]),
    ]  # fmt: skip
    view = ReportView(lambda: answers.pop())
    view.join(10)
    view.least.value = "medium"
    severe = view.shown.value
    view.least.value, view.word.value = "info", "DB"
    word = view.shown.value
    view.again.click()
    view.join(10)

    assert ("full" in severe, "ok" in severe.split("<table")[0].split("</h3>")[1]) == (True, False)
    assert ("web1" in word, "db" in word) == (False, True)
    assert "IndexError" in view.said.value
    assert "web1" in str(view.record())


def test_hosts_are_picked_by_tag_and_name(config: Config) -> None:
    """None picked means all that are shown; the fleet is of those; another inventory's trouble leaves no list."""
    whole = Config.of(hosts={
        "web1": {"connection": "local", "tags": ["web"]}, "web2": {"connection": "local", "tags": ["web"]},
        "db1": {"connection": "local", "tags": ["db"]},
    }, sources={"prod": {"kind": "prometheus", "url": "http://127.0.0.1:9"}})  # fmt: skip
    picker = FleetPicker(config=whole)
    everything = picker.names
    picker.tag.value = "web"
    web = picker.names
    picker.list.value = ("web2",)
    with picker.fleet as fleet:
        picked = list(fleet.hosts)
    table = picker.record()._repr_html_()
    picker.inventory.value = "discovered"
    picker.join(30)

    assert (["db1", "web1", "web2"], ["web1", "web2"], ["web2"]) == (everything, web, picked)
    assert "web2" in table
    assert [] == picker.names
    assert "prod" in picker.said.value
