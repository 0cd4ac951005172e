"""What the live tests share: network namespaces of their own, a cluster. In CI nothing may be skipped."""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.live.rack import Lab
from tests.stack.kubernetes import Cluster, Kubernetes, KubernetesMissingError, cluster
from tests.stack.kubernetes import control_plane as plane

CONGESTION = "net.ipv4.tcp_congestion_control"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI a live test that skips has failed: its system could not be started."""
    report = yield
    if report.skipped and os.environ.get("CI") == "true" and item.get_closest_marker("live"):
        report.outcome = "failed"
    return report


@pytest.fixture(scope="session")
def kube() -> Iterator[Cluster]:
    """One Kubernetes cluster for all files that need one; skipped where it is not built."""
    with ExitStack() as stack:
        try:
            started = stack.enter_context(cluster())
        except KubernetesMissingError as error:
            pytest.skip(str(error))
        yield started


@pytest.fixture(scope="session")
def control_plane() -> Iterator[Cluster]:
    """One API server with its controllers and pods that are only told of; skipped where it is not built."""
    with ExitStack() as stack:
        try:
            started = stack.enter_context(plane())
        except KubernetesMissingError as error:
            pytest.skip(str(error))
        yield started


def ours(found: Cluster) -> Kubernetes:
    """The cluster, where it is one of our own; else the test is skipped."""
    if not isinstance(found, Kubernetes):
        pytest.skip("somebody else's cluster is not disturbed")
    return found


@pytest.fixture(scope="session")
def other() -> str:
    """A congestion control algorithm besides reno that this kernel allows in a namespace."""
    allowed = Path("/proc/sys/net/ipv4/tcp_allowed_congestion_control").read_text().split()
    found = next((name for name in allowed if name != "reno"), None)
    if found is None:
        pytest.skip("this kernel allows only reno in network namespaces")
    return found


@pytest.fixture
def netns() -> Iterator[str]:
    """A network namespace that nobody else uses, with reno to begin with."""
    if os.getuid() != 0:
        pytest.skip("a network namespace needs root")
    name = f"srt-{uuid.uuid4().hex[:8]}"
    subprocess.run(["ip", "netns", "add", name], check=True, timeout=30)
    try:
        subprocess.run(["ip", "netns", "exec", name, "sysctl", "-qw", f"{CONGESTION}=reno"], check=True, timeout=30)
        yield name
    finally:
        subprocess.run(["ip", "netns", "del", name], check=False, timeout=30)


@pytest.fixture
def lab() -> Iterator[Lab]:
    """A rack of the test's own, in a network that nobody else sees."""
    with ExitStack() as stack:
        yield Lab(stack)


def algorithm_of(netns: str) -> str:
    """The congestion control that new connections get in a namespace, as the kernel says it."""
    command = ["ip", "netns", "exec", netns, "sysctl", "-n", CONGESTION]
    return subprocess.run(command, check=True, timeout=30, capture_output=True, text=True).stdout.strip()
