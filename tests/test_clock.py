"""Time: durations as text, the fake clock, and waiting for a condition."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sretoolkit.clock import Clock, FakeClock, format_duration, parse_duration, poll
from sretoolkit.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("5m", 300),
        ("1h30m", 5400),
        ("250ms", 0.25),
        ("1.5h", 5400),
        ("2d", 172800),
        ("1w", 604800),
        (" 5m ", 300),
        ("0s", 0),
    ],
)
def test_durations_are_read(text: str, seconds: float) -> None:
    """Number and unit, once or several times, blanks around them allowed."""
    assert timedelta(seconds=seconds) == parse_duration(text)


@pytest.mark.parametrize(
    "text", ["", "5", "m", "-5m", "5 m", "5mm", "1e3s", "5M", "1h,30m", "٣s", "5m\n6x", "nan s", "s5"]
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    """Nothing is guessed; the message says how to write it."""
    with pytest.raises(ConfigError, match="is not a duration"):
        parse_duration(text)


def test_a_duration_beyond_all_bounds_is_refused() -> None:
    """A number that no timedelta holds is an error of the input, not of the program."""
    with pytest.raises(ConfigError, match="too long a duration"):
        parse_duration("99999999999999w")


@given(st.timedeltas(min_value=timedelta(), max_value=timedelta(days=30_000)))
def test_text_of_a_duration_is_read_back_exactly(duration: timedelta) -> None:
    """What format_duration writes parse_duration reads, to the microsecond."""
    assert duration == parse_duration(format_duration(duration))


def test_less_than_nothing_is_no_duration() -> None:
    """A negative duration has no text; it is refused instead of written as something else."""
    with pytest.raises(ConfigError, match="less than nothing"):
        format_duration(timedelta(seconds=-1))


def test_the_fake_clock_moves_when_told() -> None:
    """Sleeping moves both of its clocks; a jump moves the wall clock alone, as a correction does."""
    clock = FakeClock(datetime(2026, 3, 1, tzinfo=UTC))
    clock.sleep(2.5)
    clock.jump(timedelta(hours=-1))
    assert (datetime(2026, 2, 28, 23, 0, 2, 500_000, tzinfo=UTC), 2.5) == (clock.now(), clock.monotonic())


def test_the_real_clock_is_in_utc() -> None:
    """Times are UTC, whatever the machine's zone."""
    assert timedelta() == Clock().now().utcoffset()


def test_poll_returns_what_is_true_at_last() -> None:
    """The condition is asked until it gives something true, and that is returned."""
    clock = FakeClock()
    answers = iter([None, "", 0, "there"])
    assert "there" == poll(lambda: next(answers), timeout=10, interval=0.5, clock=clock)
    assert 1.5 == clock.monotonic()


def test_poll_gives_up_exactly_at_its_deadline() -> None:
    """It asks once more at the deadline and never sleeps past it, however long the interval."""
    clock = FakeClock()
    asked = []
    assert poll(lambda: asked.append(clock.monotonic()), timeout=1.0, interval=0.4, clock=clock) is None
    assert [0.0, 0.4, 0.8, 1.0] == asked


def test_poll_without_time_asks_once() -> None:
    """A timeout of nothing is one look."""
    assert "now" == poll(lambda: "now", timeout=0)
