"""Runs that somebody asks for: data in the store, begun once by whoever takes them, in processes of their own."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from sretoolkit.actor import Actor
from sretoolkit.clock import poll
from sretoolkit.config import Config
from sretoolkit.errors import RunbookError
from sretoolkit.journal import Run, load_run
from sretoolkit.runbook.executor import EXECUTORS
from sretoolkit.runbook.notebook import Runbook
from sretoolkit.runbook.queue import Queue
from sretoolkit.runbook.request import Request
from sretoolkit.runbook.run import Order
from sretoolkit.store import Store

Write = Callable[..., Path]
ADDING = (("left: int\nright: int = 2", ["parameters"]), "print(left + right)")


def request(path: Path, config: Config, **options: object) -> Request:
    """A request for a notebook that adds 40 and 2."""
    found = Runbook.read(path)
    order = Order(found, found.parameters.check({"left": 40}), actor=Actor("web", "ann@example.com", "oidc"))
    return Request.of(replace(order, **options), config)  # type: ignore[arg-type]


def ended(store: Store, run: str) -> Run:
    """The run when it has ended."""
    assert poll(lambda: load_run(store, run).closed, timeout=60)
    return load_run(store, run)


def test_a_request_is_carried_out_by_a_process_of_its_own_under_its_id(
    config: Config, store: Store, write_notebook: Write
) -> None:
    """The id is known before the run begins; who asked is the actor, not who runs the process."""
    asked = request(write_notebook(*ADDING), config, ticket="INC-1", origin="server")
    EXECUTORS["local"](config).start(asked)

    run = ended(store, asked.id)
    expected = ("completed", "ann@example.com (web)", "server", "INC-1", {"left": 40, "right": 2})
    assert expected == (run.state, run.who, run.origin, run.ticket, run.parameters)
    assert "42" in Path(str(run.notebook)).read_text()


def test_a_request_survives_being_written_down(config: Config, write_notebook: Write) -> None:
    """As JSON data, and back to an order with the same values."""
    asked = request(write_notebook(*ADDING), config)

    again = Request.from_dict(asked.to_dict())
    assert asked == again
    assert {"left": 40, "right": 2} == again.order(config).parameters


def test_a_shipped_runbook_is_asked_for_by_its_name(config: Config) -> None:
    """Its folder may be another one where it is carried out."""
    found = Runbook.find("pid1_health", config)
    assert "pid1_health" == Request.of(Order(found, found.parameters.check({})), config).runbook


def test_what_changed_since_it_was_asked_for_is_not_run(config: Config, store: Store, write_notebook: Write) -> None:
    """Somebody looked at another notebook than would be run: refused, with no run opened."""
    path = write_notebook(*ADDING)
    asked = request(path, config)
    write_notebook(ADDING[0], "print(left - right)")

    with pytest.raises(RunbookError, match=f"{path} was changed since run {asked.id} was asked for"):
        EXECUTORS["local"](config).start(asked)
    assert [] == store.read("SELECT id FROM runs")


def test_a_run_is_begun_once(config: Config, store: Store, write_notebook: Write) -> None:
    """A second process with the same request is refused: its id is taken."""
    asked = request(write_notebook(*ADDING), config)
    EXECUTORS["local"](config).start(asked)

    with pytest.raises(RunbookError, match=f"run {asked.id} was begun already"):
        EXECUTORS["local"](config).start(asked)
    ended(store, asked.id)


def test_each_request_is_taken_by_one(config: Config, store: Store, write_notebook: Write) -> None:
    """Ten servers at once take a hundred requests: each goes to one of them, the oldest first."""
    first = request(write_notebook(*ADDING), config)
    queue = Queue(store)
    names = [f"run-{number:03}" for number in range(100)]
    for name in names:
        assert queue.ask(replace(first, id=name))

    with ThreadPoolExecutor(10) as pool:
        taken = list(pool.map(lambda _: Queue(store).take(10), range(10)))
    assert names == sorted(asked.request.id for part in taken for asked in part)
    assert [] == queue.take(10)
    assert 100 == queue.active("local")


def test_what_may_be_asked_for_once_is_asked_for_once(config: Config, store: Store, write_notebook: Write) -> None:
    """A tick of a schedule or an alert, told by two servers, is one run."""
    first = request(write_notebook(*ADDING), config)
    queue = Queue(store)

    assert [True, False] == [queue.ask(replace(first, id=name), once="tick 1") for name in ("a", "b")]
    assert [True, True] == [queue.ask(replace(first, id=name)) for name in ("c", "d")]
    assert ["d", "c", "a"] == [asked.request.id for asked in queue.find()]


def test_a_request_whose_taker_died_is_taken_again(config: Config, store: Store, write_notebook: Write) -> None:
    """After a minute, and only when its run was not begun."""
    queue = Queue(store)
    queue.ask(request(write_notebook(*ADDING), config))
    (asked,) = queue.take(1)
    assert [] == queue.take(1)
    store.write("UPDATE requests SET changed = changed - 61")

    assert [asked.request.id] == [again.request.id for again in queue.take(1)]
    EXECUTORS["local"](config).start(asked.request)
    store.write("UPDATE requests SET changed = changed - 61")
    assert [] == queue.take(1)
    ended(store, asked.request.id)


def test_what_waits_can_be_cancelled_and_what_was_taken_cannot(
    config: Config, store: Store, write_notebook: Write
) -> None:
    """A begun run is ended by `control`, which undoes it."""
    queue = Queue(store)
    asked = request(write_notebook(*ADDING), config)
    queue.ask(asked)
    queue.cancel(asked.id)

    assert ("cancelled", []) == (queue.find()[0].state, queue.take(1))
    with pytest.raises(RunbookError, match="does not wait"):
        queue.cancel(asked.id)
    queue.say(asked.id, "refused", error="no such host")
    assert "no such host" == queue.find(state="refused")[0].error
