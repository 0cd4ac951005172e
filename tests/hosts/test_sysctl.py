"""A kernel setting as a step, and TCP congestion control made of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sretoolkit.config import Config
from sretoolkit.errors import CommandFailed, HostError, PlanError
from sretoolkit.hosts import Host, SetSysctl, change_congestion, congestion
from sretoolkit.hosts.congestion import KEY
from sretoolkit.hosts.result import Output
from sretoolkit.plan import Context
from sretoolkit.plan.step import World
from tests.hosts.scripted import commands, scripted

PATH = "/proc/sys/net/ipv4/tcp_congestion_control"
SETTINGS = (
    f"{PATH}:cubic\n"
    "/proc/sys/net/ipv4/tcp_available_congestion_control:reno cubic bbr\n"
    "/proc/sys/net/ipv4/tcp_allowed_congestion_control:reno cubic\n"
)
SOCKETS = """\
ESTAB 0 0 10.0.0.1:22 10.0.0.2:5555
\t cubic wscale:7,7 rto:204 rtt:0.1/0.05
ESTAB 0 0 10.0.0.1:22 10.0.0.3:5555
\t ts sack ecn bbr wscale:7,7 rto:204 cubic
ESTAB 0 0 [::1]:22 [::1]:5555
\t ts sack vegas wscale:7,7 rto:204
"""


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch) -> Callable[[Host], None]:
    """Makes the module under test connect to a scripted host."""
    import sys

    def give(host: Host) -> None:
        monkeypatch.setattr(sys.modules["sretoolkit.hosts.congestion"], "connect", lambda name, config=None: host)

    return give


def _step(host: Host, value: str = "bbr") -> SetSysctl:
    return SetSysctl.on(host, KEY, value)


def test_a_step_is_data_and_comes_back() -> None:
    """A step survives JSON, knows its target, and says what it does in one line."""
    step = _step(scripted({"tcp_cong": f"{PATH}:cubic\n"}))
    assert SetSysctl.from_dict(step.to_dict()) == step
    assert step.target == "sysctl:web/net.ipv4.tcp_congestion_control"
    assert step.describe() == "on web set net.ipv4.tcp_congestion_control from cubic to bbr, until its next boot"


def test_the_way_back_by_hand_is_the_exact_command() -> None:
    """It goes by the host's own connection and network namespace; without a plan's host it names the host."""
    step = _step(scripted({"tcp_cong": f"{PATH}:cubic\n"}, netns="blue"))
    assert step.by_hand() == "ssh web ip netns exec blue sysctl -w net.ipv4.tcp_congestion_control=cubic"
    bare = SetSysctl(host="web", setting="vm.swappiness", before="60", after="10")
    assert bare.by_hand() == "on web: sysctl -w 'vm.swappiness=60'"


def test_white_space_of_a_setting_does_not_matter() -> None:
    """Tabs from the kernel and spaces from a person are the same value."""
    path = "/proc/sys/net/ipv4/tcp_rmem"
    step = SetSysctl.on(scripted({path: f"{path}:4096\t131072\t6291456\n"}), "net.ipv4.tcp_rmem", " 4096  131072 99 ")
    assert (step.before, step.after) == ("4096 131072 6291456", "4096 131072 99")


def test_a_setting_that_is_not_there_is_an_error() -> None:
    """It is neither empty nor zero."""
    with pytest.raises(HostError, match="there is no kernel setting"):
        _step(scripted({"tcp_cong": Output(2, b"", b"")}))


def test_do_and_undo_write_the_values_and_verify_reads_them() -> None:
    """The step writes after, undo writes before, verify compares with what the kernel has now."""
    host = scripted({"printf": "", "tcp_cong": f"{PATH}:cubic\n"})
    step, ctx = _step(host), Context(config=Config())
    ctx.use(("host", "web"), lambda: host)
    ctx.start(30)
    assert step.verify(ctx) == (World.BEFORE, "cubic")
    step.do(ctx)
    step.undo(ctx)
    assert commands(host)[-2:] == [f"printf '%s\\n' bbr > {PATH}", f"printf '%s\\n' cubic > {PATH}"]


def test_a_refused_write_says_what_it_needs() -> None:
    """The kernel's word comes with a hint."""
    host = scripted({"printf": Output(1, b"", b"sh: 1: cannot create: Read-only file system\n")})
    with pytest.raises(CommandFailed, match="Read-only file system") as caught:
        host.platform.set_sysctl(KEY, "bbr", timeout=5)
    assert "needs root" in caught.value.hint


def test_the_report_shows_settings_and_open_connections(on: Callable[[Host], None]) -> None:
    """Each algorithm has a line: what it does, whether it is the default or allowed, and who uses it now."""
    on(scripted({"grep": SETTINGS, "ss -H": SOCKETS}))
    report = congestion("web")
    rows = {row[0]: row[2:] for row in report.tables[0].rows}
    assert rows == {
        "reno": ("", "yes", "0"),
        "cubic": ("default", "yes", "1"),
        "bbr": ("", "", "1"),
        "vegas": ("", "", "1"),
    }
    assert (report.ok, report.facts["new connections get"]) == (True, "cubic")
    assert report.findings[0].summary == "2 open connections use another algorithm than new ones will (cubic)"


def test_without_ss_the_connections_are_unknown_and_not_zero(on: Callable[[Host], None]) -> None:
    """A host without iproute2 shows "unknown"."""
    on(scripted({"grep": SETTINGS}))
    report = congestion("web")
    assert {row[4] for row in report.tables[0].rows} == {"unknown"}
    assert "not counted" in report.findings[0].summary


def test_a_change_is_one_step(on: Callable[[Host], None]) -> None:
    """The plan holds the step from the present to the asked algorithm."""
    host = scripted({"grep -Hs '' /proc/sys/net/ipv4/tcp_congestion_control /": SETTINGS, "grep": f"{PATH}:cubic\n"})
    on(host)
    plan = change_congestion("web", "bbr")
    assert [(step.before, step.after) for step in plan.steps] == [("cubic", "bbr")]
    assert plan.targets == ["sysctl:web/net.ipv4.tcp_congestion_control"]


def test_no_change_is_a_plan_without_steps(on: Callable[[Host], None]) -> None:
    """Asking for what is there already changes nothing."""
    on(scripted({"grep": SETTINGS}))
    assert change_congestion("web", "cubic").steps == []


@pytest.mark.parametrize(
    ("algorithm", "modinfo", "hint"),
    [
        ("htcp", Output(0, b"", b""), "its kernel has the module: ssh web modprobe tcp_htcp"),
        ("htcp", Output(1, b"", b""), "load its module, if that kernel has one: ssh web modprobe tcp_htcp"),
        ("cubik", Output(1, b"", b""), "did you mean 'cubic'?"),
        ("$(reboot)", Output(1, b"", b""), "write one of the available ones"),
    ],
)
def test_an_algorithm_that_is_not_there_is_refused(
    on: Callable[[Host], None], algorithm: str, modinfo: Output, hint: str
) -> None:
    """The error lists those there are and says what to do next; what is no name is never put into a command."""
    host = scripted({"grep": SETTINGS, "modinfo": modinfo})
    on(host)
    with pytest.raises(PlanError, match="available: reno, cubic, bbr") as caught:
        change_congestion("web", algorithm)
    assert caught.value.hint == hint
    assert not any("reboot" in command for command in commands(host))


def test_a_kernel_without_the_setting_is_an_error(on: Callable[[Host], None]) -> None:
    """Nothing is reported where nothing can be read."""
    on(scripted({"grep": Output(2, b"", b"")}))
    with pytest.raises(HostError, match="cannot be read"):
        congestion("web")
