"""Commands in a pod of a real cluster: the contract, and what goes wrong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sretoolkit.config import Config
from sretoolkit.errors import ConfigError, HostError, Unreachable
from sretoolkit.hosts import Host, connect
from tests.contracts.connection_contract import ConnectionContract
from tests.stack.kubernetes import Cluster, Kubernetes

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]


@pytest.fixture(scope="module", autouse=True)
def _asked(kube: Cluster) -> Iterator[None]:
    """Contexts are those of the cluster."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KUBECONFIG", str(kube.kubeconfig))
        yield


@pytest.fixture(scope="module")
def here(kube: Cluster) -> str:
    """A pod that shares this machine's processes and /tmp, so that the suite can see from outside what is left."""
    if not isinstance(kube, Kubernetes):
        pytest.skip("the contract needs a pod on this machine")
    shared = {"volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}]}
    volumes = [{"name": "tmp", "hostPath": {"path": "/tmp"}}]
    _start(kube, "here", kube.pod(kube.container("app", ["sleep", "600"], **shared), hostPID=True, volumes=volumes))
    return "here"


def _start(kube: Cluster, name: str, spec: dict[str, Any]) -> None:
    kube.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"}, "spec": spec})
    kube.kubectl("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=60s")


@pytest.fixture
def host(here: str) -> Iterator[Host]:
    """It, as a host."""
    with connect(f"kubernetes://test/default/{here}/app", Config()) as host:
        yield host


class TestKubernetes(ConnectionContract):
    """The contract of connections, by the API server's exec."""


def _far(kube: Cluster, pod: str, container: str = "app") -> Host:
    return connect(f"kubernetes://{kube.context}/default/{pod}/{container}", Config())


def test_a_pod_without_a_shell_says_what_to_do(kube: Cluster) -> None:
    """It cannot help to try again; there are other ways to look at it."""
    _start(kube, "bare", kube.pod(kube.pause()))
    with pytest.raises(HostError, match="has no shell") as caught, _far(kube, "bare", "bare") as host:
        host.run("true", timeout=20)
    assert not caught.value.retryable
    assert "--target=bare" in caught.value.hint


def test_what_is_not_there_is_named(kube: Cluster, here: str) -> None:
    """A pod, a container, a context and a namespace that do not exist."""
    with pytest.raises(HostError, match='pods "none" not found'), _far(kube, "none") as host:
        host.run("true", timeout=20)
    with pytest.raises(ConfigError, match="no container 'none'") as caught, _far(kube, here, "none") as host:
        host.run("true", timeout=20)
    assert caught.value.hint == "it has: app"
    with pytest.raises(ConfigError, match="context 'none' cannot be used"), connect("kubernetes://none/a/b/c") as host:
        host.run("true", timeout=20)


def test_a_container_that_is_killed_leaves_the_command_in_doubt(kube: Cluster) -> None:
    """It may have done something before its container ended."""
    _start(kube, "ends", kube.pod(kube.container("app", ["tini", "--", "sleep", "600"])))
    with pytest.raises(Unreachable, match="in doubt"), _far(kube, "ends") as host:
        host.run("kill -TERM 1; sleep 60", timeout=50)


def test_whoever_may_not_execute_is_told_which_role_it_takes(kube: Cluster, here: str, tmp_path: Path) -> None:
    """A service account that may read pods, and no more."""
    if not isinstance(kube, Kubernetes):
        pytest.skip("needs a token of the cluster's own")
    kube.kubectl("create", "serviceaccount", "reader")
    kube.kubectl("create", "clusterrole", "pods", "--verb=get,list", "--resource=pods")
    kube.kubectl("create", "clusterrolebinding", "reader", "--clusterrole=pods", "--serviceaccount=default:reader")
    options = {"connection": "kubernetes", "kubeconfig": str(kube.account("reader")), "pod": here}
    with connect("far", Config.of(hosts={"far": options})) as host:
        with pytest.raises(HostError, match=r'cannot (create|get) resource "pods/exec') as caught:
            host.run("true", timeout=20)
    assert "can-i create pods/exec" in caught.value.hint


def test_a_server_that_is_down_says_that_nothing_ran(kube: Cluster, here: str) -> None:
    """Trying again can help, and does once it is back."""
    if not isinstance(kube, Kubernetes):
        pytest.skip("somebody else's API server is left alone")
    with _far(kube, here) as host:
        kube.stop_server()
        try:
            with pytest.raises(Unreachable, match="does not answer"):
                host.run("true", timeout=10)
        finally:
            kube.start_server()
        assert host.run("echo back", timeout=20).stdout == "back\n"


def test_what_a_person_types(kube: Cluster, here: str) -> None:
    """The command line is kubectl's own."""
    with _far(kube, here) as host:
        line = host.by_hand(["true"])
    assert line == f"kubectl --context {kube.context} -n default exec {here} -c app -- sh -c true"
