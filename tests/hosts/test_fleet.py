"""Fleets: batches, thresholds, partial results."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from sretoolkit.config import Config
from sretoolkit.errors import CommandFailed, ConfigError, HostError
from sretoolkit.hosts import Fleet, Host

NAMES = [f"h{i}" for i in range(6)]


def _config() -> Config:
    tables: dict[str, Any] = {
        name: {"connection": "local", "tags": ["even" if i % 2 == 0 else "odd"]} for i, name in enumerate(NAMES)
    }
    return Config.of(hosts=tables)


def _fails_on(*names: str) -> Any:
    def task(host: Host) -> str:
        if host.name in names:
            raise HostError(f"{host.name} is broken", host=host.name, hint="mend it")
        return host.name.upper()

    return task


def test_every_host_answers_under_its_name() -> None:
    """All results are there, in the fleet's order, and the outcome is ok."""
    with Fleet(NAMES, config=_config()) as fleet:
        outcome = fleet.run(["echo", "hello"], timeout=20, batch_size=3)
    assert [(name, result.stdout) for name, result in outcome.results.items()] == [(name, "hello\n") for name in NAMES]
    assert (outcome.ok, outcome.errors, outcome.skipped) == (True, {}, ())


def test_failures_beyond_the_limit_stop_further_batches() -> None:
    """The batch in which it happens is finished; the rest is never begun and listed."""
    outcome = Fleet(NAMES, config=_config()).map(_fails_on("h1"), batch_size=2)
    assert (outcome.results, list(outcome.errors), outcome.skipped) == ({"h0": "H0"}, ["h1"], ("h2", "h3", "h4", "h5"))


@pytest.mark.parametrize(("limit", "done"), [(0, 2), (1, 4), (2, 6), ("0%", 2), ("17%", 4), ("34%", 6), ("100%", 6)])
def test_the_limit_is_a_count_or_a_share(limit: int | str, done: int) -> None:
    """Two failures among six hosts: "17%" of six is one host, "34%" two."""
    outcome = Fleet(NAMES, config=_config()).map(_fails_on("h1", "h3"), batch_size=2, max_failures=limit)
    assert len(outcome.results) + len(outcome.errors) == done


def test_a_batch_runs_at_once_and_no_wider() -> None:
    """Three at a time means that three are inside together, and never a fourth."""
    together, inside, most = threading.Barrier(3, timeout=20), [0], [0]
    lock = threading.Lock()

    def task(host: Host) -> None:
        with lock:
            inside[0] += 1
            most[0] = max(most[0], inside[0])
        together.wait()
        with lock:
            inside[0] -= 1

    assert Fleet(NAMES, config=_config()).map(task, batch_size=3).ok
    assert most == [3]


def test_a_command_that_fails_is_an_error_of_its_host() -> None:
    """A checked command's failure counts; with check off it is a result."""
    fleet = Fleet(NAMES[:1], config=_config())
    assert isinstance(fleet.run("exit 3", timeout=20).errors["h0"], CommandFailed)
    assert fleet.run("exit 3", timeout=20, check=False).results["h0"].exit_code == 3


def test_a_mistake_in_the_task_keeps_the_other_results() -> None:
    """Even an error that is none of ours is kept by host."""

    def task(host: Host) -> int:
        return 1 // NAMES.index(host.name)

    outcome = Fleet(NAMES, config=_config()).map(task, max_failures=6)
    assert (list(outcome.errors), len(outcome.results)) == (["h0"], 5)
    assert isinstance(outcome.errors["h0"], ZeroDivisionError)


def test_the_report_tells_what_is_left_to_do() -> None:
    """Errors and hosts that were not begun are findings with a remedy."""
    report = Fleet(NAMES, config=_config()).map(_fails_on("h0"), batch_size=1).report("restart")
    assert (report.ok, report.facts) == (False, {"done": 0, "failed": 1, "not begun": 5})
    assert (report.findings[0].subject, report.findings[0].remedy) == ("h0", "mend it")
    assert report.findings[1].subject == "h1, h2, h3, h4, h5"


@pytest.mark.parametrize("limit", ["5", "101%", "-1%", -1, "half"])
def test_a_limit_that_makes_no_sense_is_refused(limit: int | str) -> None:
    """A wrong limit is refused before any host is touched."""
    with pytest.raises(ConfigError, match="count or a percentage"):
        Fleet(NAMES, config=_config()).map(_fails_on(), max_failures=limit)


def test_a_batch_of_nothing_is_refused() -> None:
    """batch_size starts at one."""
    with pytest.raises(ConfigError, match="at least 1"):
        Fleet(NAMES, config=_config()).map(_fails_on(), batch_size=0)


def test_a_group_is_those_with_the_tag() -> None:
    """The static inventory groups the configuration's hosts by their tags."""
    assert list(Fleet.of("odd", config=_config()).hosts) == ["h1", "h3", "h5"]
    assert len(Fleet.of(config=_config())) == 6


def test_a_group_without_hosts_is_refused() -> None:
    """An empty fleet would succeed at nothing; the error lists the tags there are."""
    with pytest.raises(ConfigError) as caught:
        Fleet.of("web", config=_config())
    assert "even, odd" in caught.value.hint
