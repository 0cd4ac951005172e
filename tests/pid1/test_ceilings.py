"""The lowest of all ceilings of process ids, and what is said of it."""

from __future__ import annotations

import pytest

from sretoolkit.pid1 import report
from sretoolkit.pid1.ceilings import lowest, of_host, of_init, shortages
from tests.pid1.facts import TERM, Scan, only


def _look(**more: object) -> Scan:
    look = Scan()
    look.init(500, caught=TERM, **more)  # type: ignore[arg-type]
    return look


def test_every_ceiling_is_named() -> None:
    """pids.max of each cgroup, the user's RLIMIT_NPROC, the namespace's pid_max, and the host's two."""
    look = _look(uid=1000, nproc=60, pid_max=400, levels=[(10, "100", 0), (50, "max", 0), (90, "500", 0)])
    look.tasks(1000, 55)
    machine = look.done()
    assert [str(each) for each in of_init(only(machine)) + of_host(machine)] == [
        "pids.current 10, pids.max 100 in /box",
        "pids.current 90, pids.max 500 in /",
        "55 of RLIMIT_NPROC 60 of user 1000",
        "10 of pid_max 400 of its namespace",
        "100 of kernel.pid_max 32768 of the whole host",
        "100 of kernel.threads-max 65536 of the whole host",
    ]
    least = lowest(only(machine), machine)
    assert least is not None
    assert (least.name, least.left) == ("RLIMIT_NPROC", 5)


def test_a_users_processes_elsewhere_count() -> None:
    """A limit of 60 with 55 tasks of the same user in other containers leaves five, and the finding says so."""
    look = _look(uid=1000, nproc=60, levels=[(2, "100", 0)])
    look.tasks(1000, 55)
    finding = next(each for each in report(look.done(), "box").findings if each.rule == "ids-low")
    assert (finding.severity, finding.summary) == ("high", "5 process ids are left")
    assert finding.evidence == "55 of RLIMIT_NPROC 60 of user 1000"


def test_root_is_not_held_to_its_limit() -> None:
    """The kernel lets root's processes fork beyond RLIMIT_NPROC."""
    look = _look(uid=0, nproc=10, levels=[(2, "100", 0)])
    look.tasks(0, 500)
    assert [each.name for each in of_init(only(look.done()))] == ["pids.max"]


def test_a_child_of_another_user_counts() -> None:
    """Root's init with workers of a user: theirs is the limit."""
    look = _look(nproc=50, levels=[(2, "max", 0)])
    look.process(510, name="worker", parent=500, uid=33)
    look.tasks(33, 49)
    (found,) = of_init(only(look.done()))
    assert (found.name, found.where, found.left) == ("RLIMIT_NPROC", "of user 33", 1)


def test_the_namespace_may_have_the_lowest() -> None:
    """A pid_max of its own, of which its cgroup has taken nearly all."""
    machine = _look(pid_max=320, levels=[(310, "1000", 0)]).done()
    (shortage,) = shortages(only(machine), machine)
    assert (shortage.rule, shortage.evidence) == ("ids-low", "310 of pid_max 320 of its namespace")


@pytest.mark.parametrize(
    ("levels", "more", "rules"),
    [
        ([(5, "max", 0)], {}, ["ids-unlimited"]),
        ([(5, "max", 0)], {"pid_max": 4194304}, ["ids-unlimited"]),
        ([(5, "90000", 0)], {}, ["ids-unlimited"]),
        ([(5, "max", 0)], {"pid_max": 400}, []),
        ([(5, "100", 0)], {}, []),
        ([(5, "100", 2)], {}, ["forks-failed"]),
        ([], {}, []),
    ],
)
def test_what_is_no_limit_is_called_so(
    levels: list[tuple[int, str, int]], more: dict[str, object], rules: list[str]
) -> None:
    """A limit above the host's own limits nothing; without a cgroup that counts nothing is claimed."""
    machine = _look(levels=levels, **more).done()
    assert [each.rule for each in shortages(only(machine), machine)] == rules


def test_a_machine_that_cannot_count_says_so() -> None:
    """No pids controller: unknown, which is not the same as unlimited."""
    look = Scan(controller="")
    look.init(500, caught=TERM)
    assert any("cannot be counted" in each.summary for each in report(look.done(), "box").findings)


@pytest.mark.parametrize(
    ("facts", "rule", "severity"), [({"frozen": 1}, "frozen", "medium"), ({"state": "D"}, "stuck", "low"), ({}, "", "")]
)
def test_what_takes_no_signal_now_is_said(facts: dict[str, object], rule: str, severity: str) -> None:
    """A frozen cgroup, and a process that waits in the kernel."""
    found = [each for each in report(_look(**facts).done(), "box").findings if each.rule in ("frozen", "stuck")]
    assert [(each.rule, each.severity) for each in found] == ([(rule, severity)] if rule else [])
