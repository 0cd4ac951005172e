"""Schedules: when they are due, that each tick is asked for once, and what is done where a tick cannot be as it should."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from pathlib import Path
from zoneinfo import available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sretoolkit.clock import FakeClock, poll
from sretoolkit.config import Config
from sretoolkit.errors import ConfigError, RunbookError
from sretoolkit.journal import load_run
from sretoolkit.runbook.cron import Cron
from sretoolkit.runbook.dispatcher import Dispatcher
from sretoolkit.runbook.firing import fire
from sretoolkit.runbook.health import examine
from sretoolkit.runbook.notebook import Runbook
from sretoolkit.runbook.queue import Queue
from sretoolkit.runbook.schedule import Schedule
from sretoolkit.runbook.schedules import Schedules
from sretoolkit.runbook.ticker import MOST, Ticker
from sretoolkit.store import Store
from tests.conftest import REPOSITORY
from tests.runbook.desk import Desk

Write = Callable[..., Path]
NIGHT = datetime(2026, 1, 1, 2, 0, tzinfo=UTC)
WHO = {"user": "ann", "identity": "", "via": "local"}
ADDING = (("left: int = 40\nright: int = 2", ["parameters"]), "print(left + right)")


class Times:
    """A store with one schedule, a clock that is told the time, and a ticker that is told to look."""

    def __init__(self, store: Store, config: Config, schedule: Schedule, start: datetime = NIGHT) -> None:
        self.store = store
        self.clock = FakeClock(start)
        self.schedules = Schedules(store, clock=self.clock)
        self.ticker = Ticker(store, config, clock=self.clock)
        self.queue = Queue(store)
        self.schedules.add(schedule)

    def to(self, hour: int, minute: int = 0, *, day: int = 1, second: int = 0) -> None:
        """Look at that time of that day."""
        self.clock.jump(datetime(2026, 1, day, hour, minute, second, tzinfo=UTC) - self.clock.now())
        self.ticker.once()

    @property
    def states(self) -> list[str]:
        """What became of the ticks, oldest first."""
        return [tick.state for tick in reversed(self.schedules.history("book", limit=1000))]

    @property
    def asked(self) -> list[str]:
        """The runs that were asked for, oldest first."""
        return [asked.request.id for asked in reversed(self.queue.find(limit=1000))]

    def end(self, state: str, exit_code: int = 0) -> None:
        """The newest run ends so."""
        run = self.asked[-1]
        self.queue.say(run, "taken")
        self.queue.say(run, "begun")
        self.store.write(
            "INSERT INTO runs (id, runbook, parameters, actor, origin, process, mode, state, ticket, progress, error, "
            "exit_code, started, ended, heartbeat, bound) VALUES (:id, 'book', '{}', '{}', '', '{}', 'plan', :state, '', "
            "'{}', 'because', :code, {now}, {now}, {now}, 1)",
            id=run, state=state, code=exit_code,
        )  # fmt: skip


def schedule(**more: object) -> Schedule:
    """Every hour, in Ann's name."""
    return Schedule(**{"id": "s1", "name": "book", "runbook": "book", "cron": "0 * * * *", "actor": WHO, **more})  # type: ignore[arg-type]


@pytest.fixture
def times(store: Store, config: Config) -> Callable[..., Times]:
    """Makes `Times` of a schedule."""
    return lambda config=config, **more: Times(store, config, schedule(**more))


def local(cron: str, zone: str, start: str, count: int) -> list[str]:
    """The next ticks, as clocks of that zone show them."""
    times = Cron(cron, zone)
    found = islice(times.after(datetime.fromisoformat(start).replace(tzinfo=times.zone)), count)
    return [tick.astimezone(times.zone).strftime("%m-%d %H:%M %Z") for tick in found]


# ---------------------------------------------------------------------- when


def test_a_time_that_does_not_exist_is_due_at_the_end_of_the_gap() -> None:
    """Berlin skips from 2 to 3 on 29 March 2026: what is due at 2:30 is due at 3, once, and the next day as ever."""
    assert ["03-28 02:30 CET", "03-29 03:00 CEST", "03-30 02:30 CEST"] == local(
        "30 2 * * *", "Europe/Berlin", "2026-03-27 12:00", 3
    )
    assert ["03-29 03:00 CEST", "03-30 02:15 CEST"] == local("15,45 2 * * *", "Europe/Berlin", "2026-03-28 12:00", 2)


def test_a_time_that_comes_twice_is_due_the_first_time() -> None:
    """Berlin has 2 to 3 twice on 25 October 2026; also for whoever looks between the two."""
    assert ["10-25 02:30 CEST", "10-26 02:30 CET"] == local("30 2 * * *", "Europe/Berlin", "2026-10-24 12:00", 2)
    between = datetime(2026, 10, 25, 1, 10, tzinfo=UTC)  # 2:10, the second time
    assert datetime(2026, 10, 26, 1, 30, tzinfo=UTC) == next(Cron("30 2 * * *", "Europe/Berlin").after(between))


def test_what_comes_every_few_minutes_keeps_its_distance_when_clocks_change() -> None:
    """Every half an hour is every half an hour, in both hours of the same name."""
    for start in ("2026-10-24 22:00", "2026-03-28 22:00"):
        berlin = Cron("*/30 * * * *", "Europe/Berlin")
        ticks = list(islice(berlin.after(datetime.fromisoformat(start).replace(tzinfo=berlin.zone)), 40))
        assert {timedelta(minutes=30)} == {later - sooner for sooner, later in pairwise(ticks)}


FIELDS = st.tuples(
    st.sampled_from(["0", "30", "*/20", "7,59", "*"]), st.sampled_from(["*", "1", "2", "0-3", "23"]),
    st.sampled_from(["*", "1", "31", "29"]), st.sampled_from(["*", "3", "10"]), st.sampled_from(["*", "0", "1-5", "7"]),
)  # fmt: skip
ZONES = st.sampled_from(sorted(available_timezones() & {
    "UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "America/St_Johns", "Africa/Casablanca",
}))  # fmt: skip


@given(FIELDS, ZONES, st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1)))
@settings(max_examples=100)
def test_ticks_are_later_and_later_and_do_not_depend_on_where_one_begins(
    fields: tuple[str, ...], zone: str, start: datetime
) -> None:
    """So a ticker that is started anew neither repeats a tick nor leaves one out, also where clocks change."""
    cron = Cron(" ".join(fields), zone)
    ticks = list(islice(cron.after(start.replace(tzinfo=UTC)), 12))
    assert ticks == sorted(set(ticks))
    for number, tick in enumerate(ticks[:-1]):
        assert ticks[number + 1] == next(cron.after(tick))


@pytest.mark.parametrize("cron", ["", "* * *", "60 * * * *", "* * * * * *", "x * * * *", "*/0 * * * *"])
def test_what_is_no_cron_expression_is_refused(cron: str) -> None:
    """With how one is written."""
    with pytest.raises(ConfigError, match="is no cron expression") as caught:
        Cron(cron)
    assert "minute hour day month weekday" in caught.value.hint


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"cron": "0 0 30 2 *"}, "cron expression"),
        ({"zone": "Mars/Olympus"}, "no time zone"),
        ({"zone": "../etc/passwd"}, "no time zone"),
        ({"name": "a; rm -rf /"}, "no name for a schedule"),
        ({"excluded": ("25 December",)}, "neither a date nor a weekday"),
        ({"missed": "perhaps"}, "is no policy"),
        ({"jitter": -1.0}, "not less than 0"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused(store: Store, more: dict[str, object], why: str) -> None:
    """Before it is kept."""
    with pytest.raises(ConfigError, match=why):
        Schedules(store).add(schedule(**more))
    assert [] == Schedules(store).find()


def test_jitter_is_the_same_for_everybody_and_spreads_schedules(times: Callable[..., Times]) -> None:
    """Two servers agree when a tick is due; a hundred schedules of one time are not due at once."""
    late = [schedule(id=f"s{number}", jitter=600.0).due(NIGHT) - NIGHT for number in range(100)]
    assert late == [schedule(id=f"s{number}", jitter=600.0).due(NIGHT) - NIGHT for number in range(100)]
    assert timedelta() <= min(late) < timedelta(minutes=1)
    assert timedelta(minutes=9) < max(late) < timedelta(minutes=10)

    at = times(jitter=600.0)
    delay = schedule(jitter=600.0).due(datetime(2026, 1, 1, 3, tzinfo=UTC)).replace(microsecond=0)
    at.to(delay.hour, delay.minute, second=delay.second)
    assert [] == at.asked
    at.to(delay.hour, delay.minute + 1)
    assert 1 == len(at.asked)


# ---------------------------------------------------------------------- what is asked for


def test_a_tick_is_asked_for_in_the_name_of_who_made_the_schedule(times: Callable[..., Times]) -> None:
    """Once, when it is due, and not before."""
    at = times(ticket="OPS-7", parameters={"left": 1})
    at.to(2, 59)
    assert [] == at.asked
    at.to(3)
    at.to(3, 0, second=1)
    (found,) = at.queue.find()
    request = found.request
    assert ("schedule book", WHO, "OPS-7", {"left": 1}, "plan") == (
        request.origin, request.actor, request.ticket, request.parameters, request.mode,
    )  # fmt: skip
    assert ["asked"] == at.states


def test_a_schedule_that_cannot_be_read_holds_up_no_other(store: Store, times: Callable[..., Times]) -> None:
    """It was written by a newer sretoolkit, say."""
    at = times()
    at.schedules.add(schedule(id="s0", name="newer"))
    store.write("UPDATE schedules SET document = '{\"newer\": 1}', due = due - 1 WHERE name = 'newer'")
    at.to(3)
    assert ["asked"] == at.states


def test_the_history_is_kept_as_long_as_the_journal(store: Store, times: Callable[..., Times]) -> None:
    """And no year of ticks that nobody was there for is written down one by one."""
    at = times(cron="* * * * *")
    store.write("UPDATE schedules SET ticked = :past, due = :past", past=(NIGHT - timedelta(days=400)).timestamp())
    at.to(2, 0, second=30)
    assert (MOST, 1) == (at.states.count("missed"), at.states.count("asked"))
    store.write("UPDATE schedule_ticks SET tick = tick - 366 * 86400 WHERE state = 'missed'")
    at.to(2, 1)
    assert {"asked", "skipped"} == set(at.states)


def test_many_tickers_ask_once(store: Store, config: Config, times: Callable[..., Times]) -> None:
    """Eight at once, for twenty ticks."""
    at = times(overlap="queue", cron="* * * * *")
    clocks = [FakeClock(NIGHT) for _ in range(8)]
    tickers = [Ticker(store, config, clock=clock) for clock in clocks]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(20):
            for clock in clocks:
                clock.sleep(60)
            list(pool.map(lambda ticker: ticker.once(), tickers))
            at.end("planned")
    assert 20 == len(at.asked) == len(at.schedules.history("book", limit=1000))


@pytest.mark.parametrize(
    ("missed", "expected"),
    [("skip", ["missed"] * 5), ("once", ["missed"] * 4 + ["asked"]), ("all", ["asked"] + ["queued"] * 4)],
)
def test_ticks_that_nobody_was_there_for(times: Callable[..., Times], missed: str, expected: list[str]) -> None:
    """The server was away for five hours: none is run, one for all, or all, one after another."""
    at = times(missed=missed)
    at.to(7, 30)
    assert expected == at.states
    for _ in range(expected.count("queued")):
        at.end("planned")
        at.to(7, 30)
    assert len(expected) - expected.count("missed") == len(at.asked)


def test_what_is_made_up_for_is_bounded(times: Callable[..., Times]) -> None:
    """A year without a server is no half a million runs."""
    at = times(missed="all", cron="* * * * *")
    at.to(2, 0, day=31)
    assert (1, MOST) == (at.states.count("asked"), at.states.count("queued"))


@pytest.mark.parametrize(("overlap", "expected"), [("skip", ["asked", "skipped"]), ("queue", ["asked", "queued"])])
def test_a_tick_whose_earlier_run_goes_on(times: Callable[..., Times], overlap: str, expected: list[str]) -> None:
    """It is left out, or waits until that one has ended."""
    at = times(overlap=overlap)
    at.to(3)
    at.to(4)
    assert expected == at.states
    at.end("planned")
    at.to(4, 1)
    assert (2 if overlap == "queue" else 1) == len(at.asked)


def test_a_tick_can_abort_its_earlier_run(store: Store, times: Callable[..., Times]) -> None:
    """A run that goes on is told so, once, and the new one begins when it has taken back what it did."""
    at = times(overlap="abort")
    at.to(3)
    at.queue.take(1)
    at.to(4)
    at.to(4, 0, second=5)
    told = store.read("SELECT run, verb, reason FROM controls")
    assert [(at.asked[0], "abort", "the next tick of schedule book is due")] == [tuple(row.values()) for row in told]
    assert ["asked", "queued"] == at.states
    at.end("aborted", 1)
    at.to(4, 1)
    assert (["aborted", "asked"], "active") == (at.states, at.schedules.load("book").state)


def test_a_run_that_still_waits_is_replaced_at_once(times: Callable[..., Times]) -> None:
    """Nobody had begun it: there is nothing to take back."""
    at = times(overlap="abort")
    at.to(3)
    at.to(4)
    at.to(4, 0, second=1)
    assert (["cancelled", "asked"], 2) == (at.states, len(at.asked))


def test_excluded_days_are_left_out(times: Callable[..., Times]) -> None:
    """Dates and weekdays are those of the schedule's zone."""
    at = times(cron="30 22 * * *", zone="America/New_York", excluded=("2026-01-02", "sun"))
    for day in range(1, 7):
        at.to(3, 30, day=day)  # half past ten the evening before, over there
        if at.states[-1] == "asked":
            at.end("planned")
    assert ["planned", "planned", "skipped", "planned", "skipped", "asked"] == at.states
    assert ["sun is excluded", "2026-01-02 is excluded"] == [
        tick.why for tick in at.schedules.history("book") if tick.state == "skipped"
    ]


def test_a_freeze_holds_what_changes_something(store: Store, config: Config) -> None:
    """And lets through what only looks."""
    window = {"from": "2026-01-01T02:30:00+00:00", "to": "2026-01-01T03:30:00+00:00", "reason": "holidays"}
    frozen = Config.of(store={"url": config["store.url"]}, freeze=[window])
    at = Times(store, frozen, schedule(mode="apply", runbook_hash="x"))
    at.schedules.add(schedule(id="s2", name="looks"))
    at.to(3)
    assert (["skipped"], "asked") == (at.states, at.schedules.history("looks")[0].state)
    assert "change freeze: holidays" in at.schedules.history("book")[0].why
    at.to(4)
    assert ["skipped", "asked"] == at.states


# ---------------------------------------------------------------------- failures, pauses


def test_failures_in_a_row_pause_it_and_people_are_told(store: Store, config: Config, own_home: Path) -> None:
    """After three; one that goes well in between begins the count anew, and so does a person who resumes it."""
    told = own_home / "told.json"
    commands = [[sys.executable, "-c", f"import sys; open({str(told)!r}, 'a').write(sys.stdin.read() + '\\n')"]]
    loud = Config.of(store={"url": config["store.url"]}, notify={"commands": commands})
    at = Times(store, loud, schedule(failures=3))
    ends = ["failed", "failed", "planned", "killed", "failed", "gate_failed"]
    for hour, state in enumerate(ends, start=3):
        at.to(hour)
        at.end(state, int(state != "planned"))
        at.to(hour, 30)
    found = at.schedules.load("book")
    assert (ends, "paused") == (at.states, found.state)
    assert found.why.startswith("3 runs in a row went wrong; the last: run ")
    (line,) = told.read_text().splitlines()
    assert ("book", "paused") == (json.loads(line)["schedule"], json.loads(line)["state"])

    at.to(9)
    at.schedules.resume("book")
    at.to(10)
    at.end("failed", 1)
    at.to(10, 30)
    assert ([*ends, "failed"], "active") == (at.states, at.schedules.load("book").state)


def test_ticks_pass_in_a_pause(times: Callable[..., Times]) -> None:
    """They are not made up for when it goes on."""
    at = times(missed="all")
    at.schedules.pause("book", "by bob")
    at.to(6, 30)
    at.schedules.resume("book")
    at.to(6, 31)
    assert [] == at.states
    at.to(7)
    assert ["asked"] == at.states


def test_what_is_removed_is_gone_and_its_name_is_free(times: Callable[..., Times]) -> None:
    """A name is of one schedule at a time; what is not there is said with the nearest name."""
    at = times()
    with pytest.raises(RunbookError, match="there is a schedule 'book'"):
        at.schedules.add(schedule(id="s2"))
    at.schedules.remove("book")
    at.schedules.add(schedule(id="s2"))
    with pytest.raises(RunbookError, match="there is no schedule 'bok'") as caught:
        at.schedules.load("bok")
    assert caught.value.hint == "did you mean 'book'?"


# ---------------------------------------------------------------------- whole


def test_a_scheduled_run_is_carried_out(store: Store, config: Config, write_notebook: Write) -> None:
    """From the tick to the record, and its end is in the schedule's history."""
    path = write_notebook(*ADDING)
    at = Times(store, config, schedule(runbook=str(path), parameters={"left": 1}))
    at.to(3)
    assert 1 == Dispatcher(store, config).once()
    assert poll(lambda: load_run(store, at.asked[0]).closed, timeout=60)
    at.to(3, 1)
    run = load_run(store, at.asked[0])
    assert (["completed"], "ann", "schedule book", {"left": 1, "right": 2}) == (
        at.states, run.who, run.origin, run.parameters,
    )  # fmt: skip


def test_what_changes_something_is_refused_when_its_runbook_changed(
    store: Store, config: Config, write_notebook: Write
) -> None:
    """What only plans follows the file; what applies was agreed on as it was."""
    path = write_notebook(*ADDING)
    at = Times(store, config, schedule(runbook=str(path), mode="apply", runbook_hash=Runbook.read(path).hash))
    write_notebook(ADDING[0], "print(left - right)")
    at.to(3)
    Dispatcher(store, config).once()
    at.to(3, 1)
    (tick,) = at.schedules.history("book")
    assert ("refused", True) == (tick.state, "was changed since" in tick.why)
    assert [] == store.read("SELECT id FROM runs")


def test_a_dispatcher_begins_no_more_than_are_allowed(store: Store, config: Config, write_notebook: Write) -> None:
    """The others wait for their turn; what cannot be begun is said, and holds nobody up."""
    path = write_notebook(*ADDING)
    few = Config({**config.values, **Config.of(serve={"most_runs": 1}).values})
    at = Times(store, few, schedule(runbook=str(path)))
    queue, first = Queue(store), schedule(runbook=str(path)).request()
    queue.ask(replace(first, id="none", runbook="nowhere"))
    for name in ("one", "two"):
        queue.ask(replace(first, id=name))
    queue.ask(replace(first, id="far"), executor="moon")
    dispatcher = Dispatcher(store, few)
    dispatcher.once()
    states = {asked.request.id: asked.state for asked in at.queue.find()}
    assert {"none": "refused", "one": "begun", "two": "waiting", "far": "refused"} == states
    assert "no executor named 'moon'" in next(each.error for each in queue.find() if each.request.id == "far")
    assert poll(lambda: load_run(store, "one").closed, timeout=60)
    dispatcher.once()
    assert poll(lambda: load_run(store, "two").closed, timeout=60)


def test_another_program_may_keep_the_times(store: Store, config: Config, times: Callable[..., Times]) -> None:
    """It fires the tick that is due; a tick that a server has asked for is not run again, nor the other way round."""
    at = times()
    at.clock.jump(timedelta(hours=1, seconds=20))
    first = fire(store, config, "book", clock=at.clock)
    assert first.asked is not None
    assert "no tick is due" in fire(store, config, "book", clock=at.clock).why
    at.ticker.once()
    assert 1 == len(at.asked)
    at.end("planned")
    at.to(4)
    assert "no tick is due" in fire(store, config, "book", clock=at.clock).why
    assert 2 == len(at.asked)


@pytest.mark.parametrize("overlap", ["queue", "abort"])
def test_what_another_program_fires_waits_for_the_earlier_run(
    store: Store, config: Config, times: Callable[..., Times], overlap: str
) -> None:
    """Until that has ended, or after it was told to abort; where ticks are left out, it says so and runs nothing."""
    at = times(overlap=overlap)
    at.to(3)
    at.queue.take(1)
    first, waited = at.asked[0], []

    class Ending(FakeClock):
        def sleep(self, seconds: float) -> None:
            waited.append(store.read("SELECT verb FROM controls WHERE run = :run", run=first))
            super().sleep(seconds)
            if len(waited) == 3:
                at.end("aborted", 1)

    fired = fire(store, config, "book", clock=Ending(datetime(2026, 1, 1, 4, 0, 5, tzinfo=UTC)))
    assert fired.asked is not None
    assert (3, overlap == "abort") == (len(waited), bool(waited[-1]))

    at.schedules.remove("book")
    at.schedules.add(schedule(id="s9"))
    at.to(5)
    at.clock.jump(timedelta(hours=1))
    assert "goes on" in fire(store, config, "book", clock=at.clock).why


def test_tickers_that_are_killed_neither_repeat_nor_leave_out_a_tick(store: Store) -> None:
    """Real processes on one store, killed again and again in the middle; a hundred ticks are a hundred runs."""
    kill_tickers(store)


def kill_tickers(store: Store) -> None:
    """Two at a time for a hundred ticks, and each killed in the middle; asserts that each tick was asked for once."""
    Schedules(store, clock=FakeClock(NIGHT)).add(schedule(cron="* * * * *", missed="all", overlap="queue"))
    for turn in range(4):
        ones = [_ticking(store.url) for _ in range(2)]
        _count(store, 25 * (turn + 1))
        for one in ones:
            os.kill(one.pid, signal.SIGKILL)
            one.communicate()
    rows = store.read("SELECT once FROM requests ORDER BY number")
    minutes = [(NIGHT + timedelta(minutes=number)).isoformat() for number in range(1, len(rows) + 1)]
    assert [f"schedule:s1:{minute}" for minute in minutes] == sorted(str(row["once"]) for row in rows)
    assert len(rows) == len(store.read("SELECT run FROM schedule_ticks WHERE run <> ''"))


_TICKING = """
import sys
from sretoolkit.clock import FakeClock
from sretoolkit.config import Config
from sretoolkit.runbook.ticker import Ticker
from sretoolkit.store import Store
from tests.runbook.test_schedules import NIGHT
store, clock = Store(sys.argv[1]), FakeClock(NIGHT)
ticker = Ticker(store, Config(), clock=clock)
print("ready", flush=True)
while True:
    clock.sleep(60)
    ticker.once()
    store.write("UPDATE requests SET state = 'cancelled' WHERE state = 'waiting'")  # its run has ended
"""


def _count(store: Store, wanted: int) -> None:
    """Wait until so many runs were asked for."""
    sql = "SELECT count(*) AS count FROM requests"
    assert poll(lambda: store.read(sql)[0]["count"] >= wanted, timeout=60, interval=0.001)


def _ticking(url: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", _TICKING, url], stdout=subprocess.PIPE, text=True, cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )  # fmt: skip
    assert process.stdout is not None
    assert "ready\n" == process.stdout.readline()
    return process


def test_the_command_line(desk: Desk, write_notebook: Write) -> None:
    """Add, list, show, next, pause, resume, history, fire, remove."""
    path = write_notebook(*ADDING)
    added = desk.run("schedule", "add", str(path), "--cron", "* * * * *", "--tz", "Europe/Berlin", "-p", "left=1")
    assert (0, True) == (added.returncode, "schedule book: active" in added.stdout)
    assert "left: 1" in added.stdout
    wrong = desk.run("schedule", "add", str(path), "--cron", "* * * * *", "-p", "left=x", "--name", "b")
    assert (2, True) == (wrong.returncode, "'x' is no int" in wrong.stdout)
    (shown,) = json.loads(desk.run("schedule", "list", "--json").stdout)
    assert ("book", {"left": 1}, "active") == (shown["name"], shown["parameters"], shown["state"])
    assert 3 == len(json.loads(desk.run("schedule", "next", "book", "-n", "3", "--json").stdout))
    desk.run("schedule", "pause", "book", "--reason", "holidays")
    assert "holidays" in desk.run("schedule", "show", "book").stdout
    desk.run("schedule", "resume", "book")
    with Store(desk.config["store.url"]) as store:
        store.write("UPDATE schedules SET ticked = ticked - 60, due = due - 60")
    fired = desk.run("schedule", "fire", "book")
    assert (0, True) == (fired.returncode, "completed" in fired.stdout), fired.stdout
    (tick,) = json.loads(desk.run("schedule", "history", "book", "--json").stdout)
    assert ("completed", desk.last.id) == (tick["state"], tick["run"])
    desk.run("schedule", "remove", "book")
    assert "there is no schedule 'book'" in desk.run("schedule", "show", "book").stdout


def test_what_waits_and_what_was_refused_is_shown(desk: Desk, store: Store, write_notebook: Write) -> None:
    """`runs` lists what has begun; `runs --waiting` the rest, with why."""
    path = write_notebook(*ADDING)
    begun = desk.run("run", str(path), "--executor", "local", "--follow", "--json")
    assert (0, "completed") == (begun.returncode, json.loads(begun.stdout)["state"]), begun.stdout
    first = schedule(runbook=str(path)).request()
    queue = Queue(store)
    for name, executor in (("waits", "local"), ("refused", "moon")):
        queue.ask(replace(first, id=name), executor=executor)
    queue.say("refused", "refused", error="no such executor\n  next: look")
    shown = {row["run"]: row for row in json.loads(desk.run("runs", "--waiting", "--json").stdout)}
    assert {"waits", "refused"} == set(shown)
    assert ("refused", "moon", "ann") == tuple(shown["refused"][key] for key in ("state", "executor", "who"))
    assert "no such executor" in desk.run("runs", "--waiting").stdout


def test_times_that_nobody_keeps_are_said(desk: Desk, store: Store, config: Config) -> None:
    """In the list, and by `doctor`; so is what was paused."""
    schedules = Schedules(store)
    for name in ("late", "resting", "well"):
        schedules.add(schedule(id=name, name=name))
    store.write("UPDATE schedules SET due = due - 7200 WHERE name = 'late'")
    schedules.pause("resting", "by bob")
    listed = desk.run("schedule", "list").stdout
    assert ("overdue", "paused", "active") == tuple(
        next(line.split()[9] for line in listed.splitlines() if line.startswith(name))
        for name in ("late", "resting", "well")
    )
    assert "nobody keeps the times" in listed
    found = {each.subject: each.severity for each in examine(config).findings}
    assert ("high", "medium", None) == tuple(found.get(f"schedule {name}") for name in ("late", "resting", "well"))


def test_what_is_fired_elsewhere_is_followed(desk: Desk, store: Store, write_notebook: Write) -> None:
    """The command ends as the run does, wherever that is carried out."""
    path = write_notebook(*ADDING)
    (desk.home / "sretoolkit.toml").write_text('[executors.beside]\nkind = "local"\n')
    for name, parameters, state in (("good", {}, "completed"), ("bad", {"no": 1}, "refused")):
        made = schedule(
            id=name, name=name, runbook=str(path), cron="* * * * *", executor="beside", parameters=parameters
        )
        Schedules(store).add(made)
        store.write("UPDATE schedules SET ticked = ticked - 60, due = due - 60 WHERE name = :name", name=name)
        fired = desk.run("schedule", "fire", name)
        assert (int(state == "refused"), True) == (fired.returncode, state in fired.stdout), fired.stdout
        assert state == Schedules(store).history(name)[0].state
