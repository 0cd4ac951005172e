"""What is asked of any system: selectors, windows, objectives, many sources at once, and what is written to them."""

from __future__ import annotations

import math
import socket
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from sretoolkit.cli.main import root
from sretoolkit.clock import FakeClock
from sretoolkit.config import Config
from sretoolkit.errors import ConfigError
from sretoolkit.metrics import SLI, SLO, CheckState, Event, Grid, Selector, annotate, connect, survey
from sretoolkit.metrics.matcher import Matcher
from sretoolkit.metrics.sources._local_database import Database
from sretoolkit.metrics.states import perfdata
from sretoolkit.metrics.troubles import host_name, suspects, troubles
from sretoolkit.metrics.windows import Samples, Values, increases, ratio
from sretoolkit.plan import Context

NOW = datetime(2026, 11, 1, tzinfo=UTC)


def ms(seconds: float) -> int:
    """Milliseconds of a moment that many seconds after NOW."""
    return int((NOW.timestamp() + seconds) * 1000)


@pytest.fixture
def here(tmp_path: Path) -> tuple[Config, Database]:
    """A configured source over a file."""
    database = Database(tmp_path / "m.db", timeout=timedelta(seconds=5))
    database.create()
    return Config.of(sources={"here": {"kind": "local", "url": database.path.as_uri()}}), database


@given(st.lists(st.tuples(st.from_regex(r"[a-z_]+", fullmatch=True), st.sampled_from(["=", "!="]), st.text())))
def test_a_selector_is_read_back_as_it_was_written(conditions: list[tuple[str, str, str]]) -> None:
    """Whatever a label's value holds, the text of a selector means the same selector."""
    selector = Selector("requests", tuple(Matcher(*condition) for condition in conditions))  # type: ignore[arg-type]
    assert selector == Selector.parse(str(selector))


@pytest.mark.parametrize(
    "text", ["", "{}", "m{", "m{a}", 'm{a="b}', 'm{a=b"}', 'm{a="b" c="d"}', r'm{a="\q"}', 'm{a=~"("}']
)
def test_a_bad_selector_is_refused(text: str) -> None:
    """A typing error is an error with a hint, never another selector."""
    with pytest.raises(ConfigError) as caught:
        Selector.parse(text)
    assert caught.value.message


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 1000)), max_size=40), st.integers(1, 30), st.booleans())
def test_an_increase_is_the_sum_of_its_steps(points: list[tuple[int, int]], width: int, cumulative: bool) -> None:
    """Over any samples (unordered, twice at a time, restarting) the increase in (t - width, t] is that of a slow count."""
    one = Samples.of({}, [time for time, _ in points], [float(value) for _, value in points])
    grid = Grid(5, 5, 12)
    found = increases(one, grid, width, cumulative=cumulative)
    last = dict(points)
    ordered = sorted(last)
    for moment, value in zip(grid.moments.tolist(), found.tolist(), strict=True):
        steps = []
        for before, at in zip([None, *ordered], ordered, strict=False):
            if moment - width < at <= moment and (not cumulative or before is not None):
                old = last[before] if cumulative and before is not None else 0
                steps.append(last[at] - old if last[at] >= old else last[at])
        assert (math.isnan(value) and not steps) or value == sum(steps)


def test_a_ratio_knows_a_true_zero_from_no_data() -> None:
    """An absent part is 0 only where it is selected from the whole; 0/0 and a missing whole stay unknown."""
    whole: dict[tuple[str, ...], Values] = {("a",): np.array([10.0, 0.0, np.nan])}
    np.testing.assert_array_equal([0.0, np.nan, np.nan], ratio({}, whole, absent_is_zero=True)["a",])
    np.testing.assert_array_equal([np.nan] * 3, ratio({}, whole, absent_is_zero=False)["a",])


def test_large_counters_keep_small_steps() -> None:
    """A counter near 1e15 that grows by one is seen to grow by one."""
    one = Samples.of({}, range(0, 1000, 10), [1e15 + number for number in range(100)])
    assert [5.0] == increases(one, Grid(990, 1, 1), 50, cumulative=True).tolist()


@pytest.mark.parametrize(("bad", "urgency"), [(5.0, "page"), (0.0, "")], ids=["burning", "quiet"])
def test_the_rules_of_an_objective(here: tuple[Config, Database], bad: float, urgency: str) -> None:
    """What burns over an hour and still does is a page; a quiet service is none; a period without a beginning is told."""
    config, database = here
    for code, count in (("200", 5.0), ("500", bad)):
        counts = [(ms(second), count) for second in range(-7200, 1, 10)]
        database.append("requests", {"code": code}, counts, kind="delta")
    sli = SLI.error_ratio("errors", bad='requests{code="500"}', total="requests", counter="delta")
    slo = SLO(name="shop", sli=sli, source="here", objective=0.99)
    with connect("here", config, clock=FakeClock(NOW)) as source:
        (budget,) = slo.budgets(source)
    assert urgency == budget.urgency
    assert (budget.left < 0) is bool(urgency)
    assert any("no data of the first" in text for text in budget.warnings)


def test_a_silent_window_is_unknown(here: tuple[Config, Database]) -> None:
    """With data of yesterday only, the burn of the last hour is not 0 but unknown, and said."""
    config, database = here
    for code, count in (("200", 9.0), ("500", 1.0)):
        database.append(
            "requests", {"code": code}, [(ms(-86_000 + at), count) for at in range(0, 600, 10)], kind="delta"
        )
    sli = SLI.error_ratio("errors", bad='requests{code="500"}', total="requests")
    with connect("here", config, clock=FakeClock(NOW)) as source:
        (budget,) = SLO(name="shop", sli=sli, source="here", objective=0.5).budgets(source)
    assert math.isnan(budget.burn[timedelta(hours=1)])
    assert pytest.approx(0.1) == budget.errors
    assert any(text.startswith("no data in the last") for text in budget.warnings)


def test_one_that_hangs_is_named_and_holds_nobody_up(here: tuple[Config, Database]) -> None:
    """The others' answers are there when patience ends; the silent one is a finding."""
    config, _ = here
    with socket.create_server(("127.0.0.1", 0)) as silent:
        sources = {"here": config.endpoint("sources", "here")}
        sources["mute"] = {"kind": "graphite", "url": f"http://127.0.0.1:{silent.getsockname()[1]}"}
        began = time.monotonic()
        report = survey(config=Config.of(sources=sources), patience=timedelta(milliseconds=700))
    assert time.monotonic() - began < 5
    assert {"here", "mute"} == {row[0] for row in report.tables[0].rows}
    assert any("mute did not answer within 700ms" in finding.summary for finding in report.findings)


def test_the_same_trouble_is_shown_once_with_what_changed_before() -> None:
    """One host under three names is one trouble; a deploy before it that names the host comes first."""
    states = [
        CheckState(entity="web1.example.org:9100", check="Disk full", state="warning", since=NOW, source="a"),
        CheckState(entity="WEB1", check="disk-full", state="critical", since=NOW + timedelta(minutes=1), source="b"),
        CheckState(entity="web2", check="disk full", state="ok", source="b"),
        CheckState(entity="web3", check="load", state="critical", acknowledged=True, source="b"),
    ]
    first, second = troubles(states)
    assert ("web1", "critical", NOW, "") == (first.entity, first.worst.state, first.since, first.handled)
    assert "acknowledged" == second.handled
    near = Event(start=NOW - timedelta(minutes=1), title="release of something")
    named = Event(start=NOW - timedelta(minutes=20), title="deploy", tags=("web1",))
    late = Event(start=NOW + timedelta(minutes=5), title="deploy")
    assert [named, near] == suspects(first, [near, late, named])
    assert ("10.0.0.1", "::1") == (host_name("10.0.0.1:9100"), host_name("::1"))


def test_a_marker_is_written_once_and_taken_back(here: tuple[Config, Database]) -> None:
    """The plan's step finds what it wrote by its word, in whichever process, and undo leaves nothing."""
    config, _ = here
    (step,) = annotate("here", Event(start=NOW, title="deploy 1.2", tags=("web",)), config=config).steps
    ctx = Context(config=config)
    ctx.start(30)
    assert not step.observe(ctx)
    step.do(ctx)
    assert step.observe(ctx)
    again = type(step).from_dict(step.to_dict())
    again.undo(ctx)
    assert not step.observe(ctx)
    ctx.close()


@given(st.text())
def test_perfdata_never_raises(text: str) -> None:
    """Whatever a plug-in prints, it is read or left out."""
    assert all(one.label for one in perfdata(text))


def test_perfdata_is_read() -> None:
    """Quoted labels, units, ranges and an undetermined value."""
    found = perfdata("'it''s /'=5.5GB;@5:10;~:20;0;100 load=U c=3c")
    assert ("it's /", 5.5, "GB", "@5:10", "~:20", 0.0, 100.0) == found[0]
    assert math.isnan(found[1].value)
    assert ("c", 3.0, "c") == found[2][:3]


def test_the_commands_answer_and_exit(here: tuple[Config, Database], monkeypatch: pytest.MonkeyPatch) -> None:
    """`sources` is 1 when one is down; `query` of nothing is an error; JSON has null for no sample."""
    _, database = here
    database.append("load", {"host": "\x1b[31m"}, [(int(time.time() * 1000) - 60_000, 1.5)])
    text = f'[sources.here]\nkind = "local"\nurl = "{database.path.as_uri()}"\n'
    path = database.path.with_name("sretoolkit.toml")
    path.write_text(text)
    monkeypatch.setenv("SRETOOLKIT_CONFIG", str(path))
    run = CliRunner().invoke
    assert 0 == run(root, ["sources"]).exit_code
    shown = run(root, ["query", "here", "load", "--range", "5m"])
    assert (0, False) == (shown.exit_code, "\x1b" in shown.output)
    assert "null" in run(root, ["query", "here", "load", "--range", "5m", "--json"]).output
    assert "has no data for nope" in str(run(root, ["query", "here", "nope"]).exception)
    assert 2 == run(root, ["query", "here"]).exit_code
    assert 1 == run(root, ["alerts"]).exit_code
