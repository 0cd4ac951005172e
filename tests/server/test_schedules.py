"""Schedules in a browser: what is due, what became of it, and letting it rest."""

from __future__ import annotations

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
