"""``sretoolkit pid1 kubernetes:...`` on a real API server: judged, and not called well when it is silent."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

import pytest

from sretoolkit.cli.main import main
from tests.stack.kubernetes import Cluster, Kubernetes, cluster

pytestmark = [
    pytest.mark.live,
    pytest.mark.xdist_group("kubernetes"),
    pytest.mark.timeout(300),
    pytest.mark.skipif(os.getuid() != 0, reason="a cluster of one's own needs root"),
]


@pytest.fixture(scope="module")
def kube() -> Iterator[Cluster]:
    """One cluster for this file."""
    try:
        running = cluster()
        started = running.__enter__()
    except RuntimeError as error:
        pytest.skip(str(error))
    try:
        yield started
    finally:
        running.__exit__(None, None, None)


def _run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as caught:
        main(["pid1", *words])
    return int(caught.value.code or 0), capsys.readouterr().out


def test_a_namespace(kube: Cluster, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A pod without time to stop is named; that nobody looked inside is said, or it is done; a silent server ends with 3."""
    monkeypatch.setenv("KUBECONFIG", str(kube.kubeconfig))
    spec = kube.pod(kube.container("app", ["sleep", "600"]), terminationGracePeriodSeconds=0)
    meta = {"name": "hasty", "namespace": "default"}
    kube.apply({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec})
    kube.kubectl("wait", "--for=condition=Ready", "pod/hasty", "--timeout=60s")
    target = f"kubernetes:{kube.context}/default"
    code, out = _run(capsys, target, "--json", "--fail-on", "medium")
    found = json.loads(out)["scan"]["active"]
    hasty = [each for each in found if "hasty" in each["container"]]
    assert (1, True) == (code, any("grace period is 0" in each["finding"]["summary"] for each in hasty))
    assert any("nobody looked inside" in each["finding"]["summary"] for each in found)
    assert "by image" in _run(capsys, target)[1]
    inside = json.loads(_run(capsys, target, "--json", "--execute")[1])["scan"]["active"]
    rules = {each["finding"]["rule"] for each in inside if "hasty" in each["container"]}
    assert (True, False) == (
        "stop-dropped" in rules,
        any("nobody looked" in each["finding"]["summary"] for each in inside),
    )
    kube.kubectl("delete", "pod", "hasty", "--now")
    if isinstance(kube, Kubernetes):
        kube.stop_server()
        try:
            assert 3 == _run(capsys, target)[0]
        finally:
            kube.start_server()
