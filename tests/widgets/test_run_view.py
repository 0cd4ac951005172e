"""One run in a view: what one sees of it, whoever began it, and what the buttons do."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sretoolkit.actor import Actor
from sretoolkit.clock import poll
from sretoolkit.config import Config
from sretoolkit.journal import Journal, load_run
from sretoolkit.runbook.executor import EXECUTORS
from sretoolkit.runbook.notebook import Runbook
from sretoolkit.runbook.request import Request
from sretoolkit.runbook.run import Order
from sretoolkit.store import Store
from sretoolkit.widgets import RunsBrowser, RunView
from tests.plan.steps import Folder
from tests.runbook.desk import CHANGING
from tests.widgets.watching import looked, shown, until

Write = Callable[..., Path]


def start(path: str | Path, config: Config, mode: str = "apply", **parameters: object) -> str:
    """Begin a run as somebody elsewhere would."""
    found = Runbook.read(Path(path))
    order = Order(found, found.parameters.check(parameters), mode=mode, origin="cli")  # type: ignore[arg-type]
    request = Request.of(order, config)
    EXECUTORS["local"](config).start(request)
    return request.id


def test_a_run_begun_elsewhere_is_seen_and_aborted(changing: str, config: Config, world: Folder) -> None:
    """Its step goes on while one presses; it is taken back as soon as that step has ended."""
    world.tell("b.do", "hang")
    view = RunView(start(changing, config, folder=str(world.path)), config=config, live=False)
    assert poll((world.path / "b.hanging").exists, timeout=60)
    view.look()
    seen = shown(view)
    view.buttons["abort"].click()
    view.join(10)
    (world.path / "b.do").unlink()
    until(view, "aborted")

    assert {"abort", "pause", "pass"} == seen
    assert "told it: abort" in view.said.value or view.said.value == ""
    assert ["old"] * 3 == [world[name] for name in "abc"]
    assert "abort by" in view.head.value


def test_a_cell_that_only_works_is_aborted_within_a_moment(
    write_notebook: Write, config: Config, store: Store, world: Folder
) -> None:
    """No plan listens, so the supervisor does: the cell is ended, and what it had said until then is in the log."""
    loop = "import pathlib, time\nprint('at work')\npathlib.Path('begun').touch()\ntime.sleep(600)"
    view = RunView(start(write_notebook(loop), config, mode="plan"), config=config, live=False)
    assert poll(Path("begun").exists, timeout=60)
    assert poll(lambda: "at work" in looked(view), timeout=30)
    pressed = time.time()
    view.buttons["abort"].click()
    view.join(10)
    until(view, "aborted")
    (told,) = Journal(store, view.run, actor=Actor("x")).entries(kind="control")

    assert "abort" == told.payload["verb"]
    assert 1.0 > _seconds(told.time) - pressed  # 0.25 s between two looks, and what a loaded machine adds
    assert "interrupted" in view.cells.children[-1].value


def test_a_pause_holds_before_the_next_step(changing: str, config: Config, world: Folder) -> None:
    """Paused is said; resume goes on to the end; buttons are there only when they make sense."""
    world.tell("a.do", "hang")
    view = RunView(start(changing, config, folder=str(world.path)), config=config, live=False)
    assert poll((world.path / "a.hanging").exists, timeout=60)
    view.look()
    view.buttons["pause"].click()
    view.join(10)
    (world.path / "a.do").unlink()
    assert poll(lambda: ">paused<" in looked(view), timeout=30)
    seen = shown(view)
    view.buttons["resume"].click()
    view.join(10)
    until(view, "completed")

    assert "resume" in seen
    assert "pause" not in seen
    assert {"undo", "record", "pass"} == shown(view)
    assert ["new"] * 3 == [world[name] for name in "abc"]


def test_the_next_run_says_how_long_it_usually_takes(write_notebook: Write, config: Config, world: Folder) -> None:
    """By the median of the good runs before it."""
    path = write_notebook("print(1)")
    until(RunView(start(path, config), config=config, live=False), "completed")
    again = RunView(start(path, config), config=config, live=False)

    assert "usually" in again.head.value
    until(again, "completed")


def test_a_run_that_waits_says_who_may_go_on(write_notebook: Write, config: Config, world: Folder) -> None:
    """Whoever asked for it cannot approve it, and is told so; Continue without an approval waits again."""
    path = write_notebook(*CHANGING, approval=True)
    view = until(RunView(start(path, config, folder=str(world.path)), config=config, live=False), "awaiting_approval")
    view.buttons["approve"].click()
    view.join(30)

    assert {"approve", "continue", "record", "pass"} == shown(view)
    assert "asked for this run and cannot approve it" in view.said.value
    assert ["old"] * 3 == [world[name] for name in "abc"]


def test_an_approved_run_goes_on(write_notebook: Write, config: Config, world: Folder) -> None:
    """Approve and Continue, where the runbook lets one person do both: the same run, carried out by a new process."""
    path = write_notebook(*CHANGING, approval=True, self_approval=True)
    view = until(RunView(start(path, config, folder=str(world.path)), config=config, live=False), "awaiting_approval")
    for name in ("approve", "continue"):
        view.buttons[name].click()
        view.join(60)
    until(view, "completed")

    assert ["new"] * 3 == [world[name] for name in "abc"]


def test_a_lost_run_is_taken_back(changing: str, config: Config, world: Folder) -> None:
    """Its process was killed in the middle: it is said, and one button undoes what it had begun."""
    world.tell("b.do", "hang")
    view = RunView(start(changing, config, folder=str(world.path)), config=config, live=False)
    assert poll((world.path / "b.hanging").exists, timeout=60)
    assert view.seen is not None
    os.kill(view.seen.run.process.pid, signal.SIGKILL)
    until(view, "lost")
    seen = shown(view)
    (world.path / "b.do").unlink()
    view.buttons["recover"].click()
    view.join(60)

    assert {"recover", "continue", "pass"} == seen
    assert "undone" in until(view, "undone").head.value
    assert ["old"] * 3 == [world[name] for name in "abc"]


def test_a_run_is_passed_on_and_the_record_opened(write_notebook: Write, config: Config, world: Folder) -> None:
    """Who has it now is said at its head and in the journal, which stays whole; the page is shown in a frame without rights."""
    view = until(RunView(start(write_notebook("print(1)"), config), config=config, live=False), "completed")
    view.buttons["pass"].click()
    view.to.value, view.note.value = "bob", "<i>watch the disk</i>"
    view.passing.children[-1].click()
    view.join(30)
    view.buttons["record"].click()
    view.join(30)
    browser = RunsBrowser(config=config, live=False)
    browser.verify.click()
    browser.join(30)

    assert "passed on to <b>bob</b>: &lt;i&gt;watch" in view.head.value
    assert "unchanged" in view.page.value
    assert "sandbox srcdoc=" in view.page.value
    assert "broken" not in browser.place.children[0].value
    assert "checked" in browser.place.children[0].value


def test_passing_to_nobody_is_refused(write_notebook: Write, config: Config, store: Store, world: Folder) -> None:
    """It is said what is missing, and nothing is written."""
    view = until(RunView(start(write_notebook("print(1)"), config), config=config, live=False), "completed")
    view.passing.children[-1].click()
    view.join(30)

    assert "write who is on call next" in view.said.value
    assert [] == Journal(store, view.run, actor=Actor("x")).entries(kind="passed-on")


def test_runs_are_searched_opened_and_compared(write_notebook: Write, config: Config, world: Folder) -> None:
    """By any word of theirs; two that are picked are compared by what they mean."""
    path = write_notebook(("number: int", ["parameters"]), "print(number)", name="count")
    one, other = (start(path, config, number=number) for number in (1, 2))
    for run in (one, other):
        until(RunView(run, config=config, live=False), "completed")
    browser = RunsBrowser(config=config, live=False)
    found = len(browser.list.options)
    browser.word.value = "'number': 2"
    browser.join(30)
    narrowed = [run for _, run in browser.list.options]
    browser.word.value = ""
    browser.join(30)
    browser.list.value = (one, other)
    browser.compare.click()
    browser.join(30)
    difference = browser.place.children[0].value
    browser.list.value = (other,)
    browser.show.click()
    browser.join(30)

    assert (2, [other]) == (found, narrowed)
    assert "parameter number" in difference
    assert (other, True) == (browser.place.children[0].run, browser.compare.disabled)
    assert "count" in str(browser.record())


def test_in_a_record_it_is_a_report(write_notebook: Write, config: Config, store: Store, world: Folder) -> None:
    """No empty box: state, mode, who, and the steps."""
    view = until(RunView(start(write_notebook("1/0"), config), config=config, live=False), "failed")
    data, _ = view._repr_mimebundle_()

    assert "ZeroDivisionError" in data["text/plain"]
    assert load_run(store, view.run).id in data["text/html"]


def _seconds(iso: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(iso).timestamp()


@pytest.fixture(autouse=True)
def _world(world: Folder) -> None:
    """Every run finds the tests' steps."""
