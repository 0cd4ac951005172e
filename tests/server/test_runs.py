"""What people do in the browser, all the way: real server, real store, real runs in processes of their own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from sretoolkit.actor import Actor
from sretoolkit.clock import poll
from sretoolkit.journal import Keys, verify_run
from sretoolkit.runbook.queue import Queue
from sretoolkit.runbook.request import Request
from sretoolkit.store import Store
from tests.plan.steps import Folder
from tests.server.serving import Served, Visitor


def test_a_run_is_asked_for_carried_out_and_shown(served: Served) -> None:
    """The form's values reach the cell; the page says state, values, output and proof; the run is in the list."""
    ann = served.local()
    run = ann.start("adding", left="40", note="so it is")
    ended = served.ended(run)

    assert ("completed", {"left": 40, "right": 2, "note": "so it is"}, "server", "INC-7", "token") == (
        ended.state, ended.parameters, ended.origin, ended.ticket, ended.actor["via"],
    )  # fmt: skip
    assert 200 == ann.get(f"/runs/{run}").status
    assert [] == [
        word
        for word in ("completed", "It read, and changed nothing", "42 so it is", "whole", "INC-7")
        if word not in ann.page
    ]
    assert 200 == ann.get("/?ticket=INC-7").status
    assert f'href="/runs/{run}"' in ann.page
    assert 200 == ann.get("/?ticket=other").status
    assert f'href="/runs/{run}"' not in ann.page


def test_what_was_planned_is_applied_from_its_page(served: Served, world: Folder) -> None:
    """Plan shows before and after and changes nothing; Apply is a run of its own that does it."""
    ann = served.local()
    planned = ann.start("change", folder=str(world.path))
    assert "planned" == served.ended(planned).state
    ann.get(f"/runs/{planned}")
    assert "write new into a" in ann.page
    assert ["old"] * 3 == [world[name] for name in "abc"]

    answer = ann.post(f"/runs/{planned}/apply", {})
    applied = answer.headers["location"].rpartition("/")[2]
    assert "completed" == served.ended(applied).state
    assert ["new"] * 3 == [world[name] for name in "abc"]
    with Store(served.config["store.url"]) as store:
        assert poll(lambda: verify_run(store, Keys.of(served.config), applied).state == "whole", timeout=10)


def test_a_fault_is_shown_beside_its_field_and_nothing_is_begun(served: Served) -> None:
    """What was typed stays; each fault is at its field, and in a list that leads there."""
    ann = served.local()
    ann.get("/runbooks/adding")
    hashed = ann.page.partition('name="hash" value="')[2].partition('"')[0]
    answer = ann.post(
        "/runbooks/adding", {"hash": hashed, "mode": "plan", "p.left": "many", "p.right": "3", "p.note": "kept"}
    )

    assert (422, True, True, True) == (
        answer.status, 'href="#p.left"' in ann.page, "is no int" in ann.page, 'value="kept"' in ann.page
    )  # fmt: skip
    assert 200 == ann.get("/?runbook=adding").status
    assert "No run that you may see fits" in ann.page


def test_a_secret_typed_in_the_wrong_field_is_not_shown_again(
    served: Served, write_notebook: Callable[..., Path]
) -> None:
    """Only references are taken; what was typed instead may be the secret itself."""
    write_notebook(
        ("from sretoolkit.secrets import Secret\nkey: Secret = Secret('env:KEY')", ["parameters"]), "1", name="keyed"
    )
    ann = served.local()
    ann.get("/runbooks/keyed")
    hashed = ann.page.partition('name="hash" value="')[2].partition('"')[0]
    answer = ann.post("/runbooks/keyed", {"hash": hashed, "mode": "plan", "p.key": "hunter2hunter2"})

    assert (422, False, False) == (answer.status, "hunter2hunter2" in ann.page, "hunter2hunter2" in served.log)


def test_a_running_run_is_aborted_from_its_page_and_undone(served: Served, world: Folder) -> None:
    """The button's word is on record with its reason, and everything is as it was."""
    world.step("b")
    world.tell("b.do", "hang")
    ann = served.local()
    run = ann.start("change", mode="apply", folder=str(world.path))
    assert _wait((world.path / "b.hanging").exists)
    ann.get(f"/runs/{run}")
    assert "Abort and undo" in ann.page
    assert 303 == ann.post(f"/runs/{run}/control", {"verb": "abort", "reason": "it smells"}).status
    (world.path / "b.do").unlink()

    assert "aborted" == served.ended(run).state
    assert ["old"] * 3 == [world[name] for name in "abc"]
    ann.get(f"/runs/{run}")
    assert "it smells" in ann.page


def test_a_run_survives_the_server(served: Served, world: Folder) -> None:
    """The server is killed while a run goes on: the run ends well, and the next server shows it."""
    world.step("b")
    world.tell("b.do", "hang")
    run = served.local().start("change", mode="apply", folder=str(world.path))
    assert _wait((world.path / "b.hanging").exists)
    served.stop()
    (world.path / "b.do").unlink()

    assert "completed" == served.ended(run).state


def test_what_cannot_be_begun_says_why(served: Served) -> None:
    """A runbook that changed between asking and beginning is not run; the page of the request says so."""
    ann = served.local()
    asked = Request(
        id="20260101-000000-abcdef", runbook="adding", parameters={"left": 1}, actor=Actor("x").to_dict(),
        runbook_hash="0" * 64,
    )  # fmt: skip
    with Store(served.config["store.url"]) as store:
        Queue(store).ask(asked)
    assert _wait(lambda: "It was not begun" in _page(ann, f"/runs/{asked.id}"))
    assert "was changed since" in ann.page


def test_lists_go_on_by_key(served: Served) -> None:
    """More runs than a page holds: each is on one page, newest first, and the last page says so."""
    with Store(served.config["store.url"]) as store:
        many(store, 120)
    ann = served.local()
    seen: list[str] = []
    path = "/?runbook=old"
    while path:
        ann.get(path)
        seen += ann.page.split('href="/runs/')[1:]
        path = ann.page.partition('class="more" href="')[2].partition('"')[0].replace("&amp;", "&")
    ids = [part.partition('"')[0] for part in seen]
    assert (120, 120) == (len(ids), len(set(ids)))
    assert sorted(ids, reverse=True) == ids


def many(store: Store, count: int, *, runbook: str = "old") -> None:
    """Rows of runs that ended long ago."""
    row = (
        "INSERT INTO runs (id, runbook, parameters, actor, origin, process, mode, state, ticket, progress, error, exit_code, "
        "started, ended, heartbeat, bound) VALUES (:id, :runbook, '{}', :actor, 'cli', :process, 'plan', 'completed', '', "
        "'{}', '', 0, :at, :at, :at, 1)"
    )
    actor = json.dumps({"user": "ann", "identity": "", "via": "local"})
    process = json.dumps({"host": "h", "boot": "", "pid": 1, "started": "1"})
    with store.transaction() as tx:
        for number in range(count):
            tx.execute(
                row,
                id=f"20200101-{number:06}-aaaaaa",
                runbook=runbook,
                actor=actor,
                process=process,
                at=1577836800.0 + number,
            )


def _wait(condition: Callable[[], bool]) -> bool:
    return bool(poll(condition, timeout=60))


def _page(visitor: Visitor, path: str) -> str:
    visitor.get(path)
    return visitor.page
