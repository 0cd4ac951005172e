"""An API server that is overloaded, faulty or away: asked again while there is patience, and never for ever."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from sretoolkit.errors import Unreachable
from sretoolkit.hosts import cluster
from sretoolkit.hosts.cluster import Cluster, ClusterError
from sretoolkit.hosts.cluster_watches import Watched, Watches
from tests.stack.process import free_port
from tests.stack.replay import reply, serve

Answers = list[tuple[int, Any]]
NewCluster = Callable[..., Cluster]
PATH = "/apis/apps/v1/namespaces/shop/deployments/web"


@pytest.fixture
def said() -> list[str]:
    """What was asked, in order."""
    return []


@pytest.fixture
def answering(tmp_path: Path, said: list[str]) -> Iterator[NewCluster]:
    """A cluster whose server gives these answers, the last of them for ever; ``url`` is one that is not served here."""
    with ExitStack() as stack:

        def make(answers: Answers, *, patience: float | None = None, url: str = "", **headers: str) -> Cluster:
            def handle(request: BaseHTTPRequestHandler) -> None:
                request.rfile.read(int(request.headers.get("Content-Length") or 0))
                said.append(f"{request.command} {request.path}")
                status, body = answers.pop(0) if len(answers) > 1 else answers[0]
                reply(request, status, json.dumps(body).encode(), **(headers if status == 429 else {}))

            server = url or stack.enter_context(serve(handle))
            file = tmp_path / "kubeconfig"
            context = {"name": "c", "context": {"cluster": "c", "user": "u"}}
            there = {"clusters": [{"name": "c", "cluster": {"server": server}}], "users": [{"name": "u", "user": {}}]}
            file.write_text(json.dumps({**there, "contexts": [context], "current-context": "c"}))
            waits = None if patience is None else lambda: patience
            return stack.enter_context(Cluster(kubeconfig=str(file), patience=waits))

        yield make


def refusal(text: str) -> dict[str, str]:
    """The body of an answer that is none."""
    return {"kind": "Status", "message": text}


def test_a_write_that_cannot_be_taken_is_sent_again(answering: NewCluster, said: list[str]) -> None:
    """429, 500 and 503 pass by; the server's Retry-After is kept to."""
    answers: Answers = [(429, refusal("too many")), (500, refusal("etcd")), (503, refusal("off")), (200, {"kind": "x"})]
    there = answering(answers, patience=20, Retry_After="1")
    began = time.monotonic()
    assert {"kind": "x"} == there.patch(PATH, {"spec": {"replicas": 2}})
    assert time.monotonic() - began >= 1
    assert [f"PATCH {PATH}?fieldManager=sretoolkit"] * 4 == said


def test_without_patience_it_is_said_at_once(answering: NewCluster, said: list[str]) -> None:
    """Who only looks is not kept waiting by a write; the words are the server's."""
    with pytest.raises(ClusterError, match="too many") as caught:
        answering([(429, refusal("too many"))]).patch(PATH, {})
    assert (429, 1) == (caught.value.status, len(said))


@pytest.mark.parametrize("status", [403, 404, 409, 422])
def test_a_refusal_is_final(answering: NewCluster, said: list[str], status: int) -> None:
    """What is refused is not asked again: another time it would be refused as well."""
    with pytest.raises(ClusterError, match="no") as caught:
        answering([(status, refusal("no"))], patience=20).create(PATH, {})
    assert (status, 1) == (caught.value.status, len(said))


def test_patience_has_an_end(answering: NewCluster, said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The step's own time, or for the server's own errors a few seconds: then its words are told."""
    began = time.monotonic()
    with pytest.raises(ClusterError, match="off"):
        answering([(503, refusal("off"))], patience=0.6).patch(PATH, {})
    monkeypatch.setattr(cluster, "_FAULTY", 0.5)
    with pytest.raises(ClusterError, match="webhook"):
        answering([(500, refusal("webhook"))], patience=60).patch(PATH, {})
    assert time.monotonic() - began < 5
    assert 4 < len(said) < 12


def test_one_that_is_away_is_waited_for_as_long(answering: NewCluster) -> None:
    """A refused connection is tried again until the time is over."""
    nowhere = f"http://127.0.0.1:{free_port()}"
    began = time.monotonic()
    with pytest.raises(Unreachable, match="does not answer"):
        answering([], patience=0.7, url=nowhere).delete(PATH)
    assert 0.3 < time.monotonic() - began < 5


def test_versions_are_those_that_are_served(answering: NewCluster, said: list[str]) -> None:
    """The newest of them first, asked once; a group that is not there has none."""
    versions = [{"version": name} for name in ("v1beta1", "v2alpha1", "v1", "v2beta2")]
    there = answering([(200, {"versions": versions}), (404, refusal("none"))])
    assert ("v1", "v2beta2", "v1beta1", "v2alpha1") == there.served("autoscaling") == there.served("autoscaling")
    assert "/apis/autoscaling/v1/namespaces/a%20b/x" == there.collection("autoscaling", "x", "a b")
    assert ((), "") == (there.served("policy"), there.collection("policy", "x", "a"))
    assert 2 == len(said)


def test_a_watch_that_is_refused_says_so(answering: NewCluster) -> None:
    """What happens in one of the threads that watch reaches who waits for it."""
    there = answering([(403, refusal("you may not"))], patience=20)
    with (
        Watches(there, [Watched(path="/api/v1/pods", version="1")]) as watches,
        pytest.raises(ClusterError, match="may not"),
    ):
        watches.next(20)


def test_watches_that_end_are_known(answering: NewCluster) -> None:
    """Events of a list come with its place; an outdated version ends it."""
    there = answering(
        [(200, {"type": "ADDED", "object": {"n": 1}}), (200, {"type": "ERROR", "object": {}})], patience=20
    )
    with Watches(there, [Watched(path="/api/v1/pods", version="1")]) as watches:
        assert (0, {"type": "ADDED", "object": {"n": 1}}) == watches.next(20)
        assert (None, True) == (watches.next(20), watches.ended)
    with Watches(there, [Watched(path="/api/v1/pods", version="1")]) as watches:
        assert (None, True) == (watches.next(20), watches.ended)
