"""TCP congestion control for real, in a network namespace of the test's own, on this machine and over ssh."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sretoolkit.config import Config
from sretoolkit.errors import HostError, PlanError
from sretoolkit.hosts import change_congestion, congestion, connect
from sretoolkit.plan import Context
from sretoolkit.plan.step import World
from tests.stack.sshd import Sshd

pytestmark = [pytest.mark.live, pytest.mark.skipif(os.getuid() != 0, reason="a network namespace needs root")]

SETTING = "net.ipv4.tcp_congestion_control"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """One sshd for this file."""
    with Sshd(tmp_path_factory.mktemp("sshd")) as server:
        yield server


@pytest.fixture(params=["local", "ssh"])
def config(request: pytest.FixtureRequest, server: Sshd, netns: str, tmp_path: Path) -> Config:
    """The host "box": this machine inside the namespace, by either connection."""
    table = {"connection": "local"} if request.param == "local" else server.options()
    store = {"url": f"sqlite:///{tmp_path}/store.db"}
    keys = {"keys": str(tmp_path / "keys")}
    return Config.of(hosts={"box": {**table, "netns": netns}}, store=store, journal=keys)


def _now(netns: str) -> str:
    """What the kernel says, read without the toolkit."""
    command = ["ip", "netns", "exec", netns, "cat", "/proc/sys/net/ipv4/tcp_congestion_control"]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout.strip()


def test_the_report_is_the_namespaces_own(config: Config) -> None:
    """It shows the namespace's algorithm, not the machine's."""
    assert congestion("box", config).facts["new connections get"] == "reno"


def test_a_plan_changes_the_algorithm_of_the_namespace_alone(config: Config, netns: str, other: str) -> None:
    """After the run the kernel has the new algorithm there, the machine keeps its own, and nothing is left to do."""
    machine = Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text()
    plan = change_congestion("box", other, config)
    assert _now(netns) == "reno"
    plan.run(apply=True, config=config)
    assert _now(netns) == other
    assert Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text() == machine
    assert change_congestion("box", other, config).steps == []


def test_plan_mode_changes_nothing(config: Config, netns: str, other: str) -> None:
    """Without apply the plan is only shown and journalled."""
    change_congestion("box", other, config).run(config=config)
    assert _now(netns) == "reno"


def test_a_step_is_undone_and_verified(config: Config, netns: str, other: str) -> None:
    """Do and undo leave what verify then finds."""
    (step,) = change_congestion("box", other, config).steps
    ctx = Context(config=config)
    try:
        ctx.start(60)
        assert step.verify(ctx)[0] is World.BEFORE
        step.do(ctx)
        assert (step.verify(ctx)[0], _now(netns)) == (World.AFTER, other)
        step.undo(ctx)
        assert (step.verify(ctx)[0], _now(netns)) == (World.BEFORE, "reno")
    finally:
        ctx.close()


def test_the_command_by_hand_restores_the_value(config: Config, netns: str, other: str) -> None:
    """What is printed for a person is exact: run by a shell here it brings the old value back."""
    (step,) = change_congestion("box", other, config).steps
    step.do(_started(config))
    assert _now(netns) == other
    known = config["hosts.box.known_hosts"] if "hosts.box.known_hosts" in config.values else "/dev/null"
    command = step.by_hand().replace("ssh ", f"ssh -o BatchMode=yes -o UserKnownHostsFile={known} ", 1)
    subprocess.run(["sh", "-c", command], check=True, capture_output=True, timeout=60)
    assert _now(netns) == "reno"


def test_an_algorithm_that_the_kernel_lacks_is_refused(config: Config, netns: str) -> None:
    """Nothing is planned; the error names the module to load."""
    with pytest.raises(PlanError, match=r"available: .*reno") as caught:
        change_congestion("box", "lp", config)
    assert "modprobe tcp_lp" in caught.value.hint
    assert _now(netns) == "reno"


def test_an_algorithm_that_is_not_allowed_in_a_namespace_is_refused(config: Config, netns: str) -> None:
    """The kernel would refuse it there, so the plan is refused, with the command that allows it."""
    report = congestion("box", config)
    allowed = str(report.facts["allowed"]).split(", ")
    restricted = [name for name in str(report.facts["available"]).split(", ") if name not in allowed]
    if not restricted:
        pytest.skip("this kernel allows all its algorithms")
    with pytest.raises(PlanError, match="may only use an allowed algorithm") as caught:
        change_congestion("box", restricted[0], config)
    assert restricted[0] in caught.value.hint
    assert _now(netns) == "reno"


def test_a_namespace_that_is_gone_is_said(config: Config, netns: str) -> None:
    """The error names it."""
    subprocess.run(["ip", "netns", "del", netns], check=True, timeout=30)
    with pytest.raises(HostError, match="Cannot open network namespace"):
        congestion("box", config)


def test_open_connections_are_counted_by_their_algorithm(config: Config, other: str) -> None:
    """A connection keeps the algorithm that it began with, and the report says so after a change."""
    program = (
        "import socket, sys\n"
        "s = socket.create_server(('127.0.0.1', 0)); c = socket.create_connection(s.getsockname()); a, _ = s.accept()\n"
        "print('open', flush=True); sys.stdin.read()\n"
    )
    netns = config["hosts.box.netns"]
    subprocess.run(["ip", "-n", netns, "link", "set", "lo", "up"], check=True, timeout=30)
    command = ["ip", "netns", "exec", netns, sys.executable, "-c", program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"open\n"
        change_congestion("box", other, config).run(apply=True, config=config)
        report = congestion("box", config)
        holder.communicate(timeout=30)
    assert {row[0]: row[4] for row in report.tables[0].rows if row[4] != "0"} == {"reno": "2"}
    assert report.findings[0].summary.startswith("2 open connections use another algorithm")


def test_the_host_of_a_namespace_runs_inside_it(config: Config) -> None:
    """Only the loopback device is there."""
    with connect("box", config) as host:
        assert host.run("ls /sys/class/net", timeout=30).stdout.split() == ["lo"]


def _started(config: Config) -> Context:
    ctx = Context(config=config)
    ctx.start(60)
    return ctx
