"""Schedules in a browser: what is due, what became of it, and letting it rest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.server.provider import OpenIdProvider
from tests.server.serving import Served, Visitor
from tests.server.test_people import person


def test_a_schedule_is_seen_paused_and_resumed_by_who_may(team: Served, provider: OpenIdProvider) -> None:
    """Its runbook's roles hold: viewers look, operators pause, others find nothing; its runs are linked."""
    from sretoolkit.clock import poll
    from sretoolkit.runbook.schedule import Schedule
    from sretoolkit.runbook.schedules import Schedules
    from sretoolkit.store import Store

    with Store(team.config["store.url"]) as store:
        schedules = Schedules(store)
        schedules.add(
            Schedule(id="s1", name="sums", runbook="adding", cron="* * * * *", parameters={"left": 1},
                     actor={"user": "ann", "identity": "", "via": "local"}, missed="once")
        )  # fmt: skip
        store.write("UPDATE schedules SET ticked = ticked - 61, due = due - 61")
        assert poll(lambda: schedules.history("sums"), timeout=30)
        run = schedules.history("sums")[-1].run
        team.ended(run)
        ann, vic, eve = (person(team, provider, name) for name in ("ann", "vic", "eve"))

        assert 200 == ann.get("/schedules").status
        assert [] == [word for word in ("sums", "* * * * *", run, "Next:", "Pause") if word not in ann.page]
        assert (403, 403) == (
            vic.post("/schedules/sums/pause", {}).status,
            vic.post("/schedules/sums/resume", {}).status,
        )
        vic.get("/schedules")
        assert ("sums" in vic.page, "Pause" in vic.page) == (True, False)
        eve.get("/schedules")
        assert "sums" not in eve.page
        assert 404 == eve.post("/schedules/sums/pause", {}).status == eve.post("/schedules/none/pause", {}).status

        assert 303 == ann.post("/schedules/sums/pause", {}).status
        assert ("paused", "paused by ann@example.com") == (schedules.load("sums").state, schedules.load("sums").why)
        ann.get("/schedules")
        assert "Resume" in ann.page
        assert 303 == ann.post("/schedules/sums/resume", {}).status
        assert "active" == schedules.load("sums").state


def test_nothing_is_told_to_a_schedule_from_another_site(team: Served, provider: OpenIdProvider) -> None:
    """Without the form's own token it is refused."""
    ann: Visitor = person(team, provider, "ann")
    assert 403 == ann.send("POST", "/schedules/sums/pause", body="").status


def test_a_schedule_is_added_from_the_form_of_its_runbook(team: Served, provider: OpenIdProvider) -> None:
    """An operator's times and values are kept; what is wrong is said with all that was typed still there."""
    from sretoolkit.runbook.schedules import Schedules
    from sretoolkit.store import Store

    ann, vic = person(team, provider, "ann"), person(team, provider, "vic")
    typed = {
        "hash": ann.hash_of("adding"), "p.left": "41", "cron": "30 2 * * 1-5", "zone": "Europe/Berlin",
        "schedule": "nightly-sum", "mode": "schedule-apply", "ticket": "INC-9",
    }  # fmt: skip
    for wrong, said in {"30 2 * *": "30 2 * *", "61 * * * *": "61", "": "cron"}.items():
        assert 422 == ann.post("/runbooks/adding", {**typed, "cron": wrong}).status
        assert [] == [word for word in (said, 'value="41"', "Europe/Berlin", "nightly-sum") if word not in ann.page]
    assert 422 == ann.post("/runbooks/adding", {**typed, "zone": "Mars/Olympus"}).status
    assert 403 == vic.post("/runbooks/adding", typed).status
    with Store(team.config["store.url"]) as store:
        schedules = Schedules(store)
        assert [] == schedules.find()

        assert 303 == ann.post("/runbooks/adding", typed).status
        kept = schedules.load("nightly-sum").schedule
        assert ("30 2 * * 1-5", "Europe/Berlin", "apply", "INC-9") == (kept.cron, kept.zone, kept.mode, kept.ticket)
        assert (41, "ann@example.com") == (kept.parameters["left"], kept.actor["identity"])
        assert typed["hash"] == kept.runbook_hash
        assert 422 == ann.post("/runbooks/adding", typed).status
        assert "there is a schedule" in ann.page


def test_what_was_typed_beside_wrong_times_is_still_there(served: Served, write_notebook: Callable[..., Path]) -> None:
    """Values of every kind, as they were typed."""
    parameters = "from datetime import timedelta\nhosts: list[str]\nwatch: timedelta"
    write_notebook((parameters, ["parameters"]), "1", name="timed", title="Timed")
    ann = served.local()
    typed = {
        "hash": ann.hash_of("timed"),
        "p.hosts": "web1\nweb2",
        "p.watch": "90s",
        "cron": "x",
        "mode": "schedule-plan",
    }
    assert 422 == ann.post("/runbooks/timed", typed).status
    assert [] == [word for word in ("web1\nweb2", 'value="90s"', 'value="x"', "Not begun") if word not in ann.page]
