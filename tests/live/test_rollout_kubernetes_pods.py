"""Rollouts of real pods behind a real Service, under real requests: each has its own connection, and each is counted."""

from __future__ import annotations

import json
import subprocess
import threading
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import pytest

from sretoolkit.clock import poll
from sretoolkit.config import Config
from sretoolkit.errors import HostError, StepFailed
from sretoolkit.metrics import connect
from sretoolkit.plan import Context
from sretoolkit.rollout.rollout import Rollout
from sretoolkit.rollout.routers.replicas import Replicas
from sretoolkit.rollout.routers.service import Service
from sretoolkit.rollout.workload import CANDIDATE, STABLE
from sretoolkit.rollout.workloads.kubernetes import Kubernetes as Workloads
from sretoolkit.store import open_store
from tests.live.conftest import ours
from tests.rollout.desk import Desk
from tests.stack.kubernetes import Cluster, Kubernetes
from tests.stack.prometheus import Prometheus

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]

ONE, TWO, NONE = "localhost/borrowed:1", "localhost/borrowed:2", "localhost/nowhere:1"
_SERVER = """
import http.server, itertools, os, signal
requests, counted = itertools.count(1), {200: 0, 500: 0}
bad = int(os.environ.get("BAD_CANARY" if os.environ["HOSTNAME"].startswith("web-canary-") else "BAD_STABLE", 0))
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/metrics":
            code, body = 200, "".join(f'requests_total{{code="{each}"}} {counted[each]}\\n' for each in counted).encode()
        else:
            code, body = 500 if bad and not next(requests) % bad else 200, os.environ["HOSTNAME"].encode()
            counted[code] += 1
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
http.server.ThreadingHTTPServer(("", 8080), Answer).serve_forever()
"""


class Customers:
    """Two that ask a Service again and again; ``answers`` by pod, ``lost`` with why.

    A connection to a pod that is just going is the Service's own loss until every node's proxy knows of it: it is asked once
    more, as clients of a Service do, and lost is what then has no answer either.
    """

    def __init__(self, url: str) -> None:
        self.answers: Counter[str] = Counter()
        self.lost: list[str] = []
        self._url = url
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(2)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def seen(self, count: int) -> Counter[str]:
        """The answers of the next so many requests, by track."""
        before, begun = self.answers.copy(), self.answers.total()
        assert poll(lambda: self.answers.total() - begun >= count, timeout=60), self.lost[-3:]
        tracks: Counter[str] = Counter()
        for pod, times in (self.answers.copy() - before).items():
            tracks[CANDIDATE if pod.startswith("web-canary-") else STABLE] += times
        return tracks

    def _ask(self) -> None:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        while not self._over.wait(0.005):
            told = ""
            for _ in range(2):
                try:
                    with opener.open(self._url, timeout=5) as answer:
                        self.answers[answer.read().decode()] += 1
                        break
                except urllib.error.HTTPError as error:
                    self.answers[error.read().decode()] += 1
                    break
                except (urllib.error.URLError, OSError) as error:
                    told = str(error)
            else:
                self.lost.append(told)


@pytest.fixture
def own(kube: Cluster) -> Iterator[Kubernetes]:
    """A cluster of our own, with a second version of the image."""
    found = ours(kube)
    with found.chosen():
        found.ctr("images", "tag", "--force", ONE, TWO)
        yield found


@pytest.fixture
def space(own: Kubernetes) -> Iterator[str]:
    """A namespace of the test's own."""
    with own.namespace("rollout") as name:
        yield name


@pytest.fixture
def ctx(ctx: Context) -> Context:
    """A context whose step has two minutes."""
    ctx.start(120)
    return ctx


def shop(
    own: Kubernetes,
    space: str,
    *,
    kind: str = "Deployment",
    selects: dict[str, str] | None = None,
    bad: dict[str, int] | None = None,
    **more: Any,
) -> str:
    """Three pods that answer with their names, behind a Service; gives its URL.

    ``bad``: every how many-th request fails, by ``BAD_STABLE`` and ``BAD_CANARY``.
    A pod that is told to go still answers for six seconds, while the proxies learn of it: as every real service must.
    """
    probe = {"httpGet": {"path": "/metrics", "port": 8080}, "periodSeconds": 1}
    going = {"preStop": {"exec": {"command": ["sleep", "6"]}}}
    command = ["python3", "-c", _SERVER]
    environment = [{"name": name, "value": str(every)} for name, every in (bad or {}).items()]
    container = own.container("app", command, readinessProbe=probe, lifecycle=going, env=environment)
    spec = own.pod(container, terminationGracePeriodSeconds=15)
    labels = {"app": "web", "track": "stable"}
    meta = {"name": "web", "namespace": space}
    body = {
        "replicas": 3,
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": spec},
        **({"serviceName": "web"} if kind == "StatefulSet" else {}),
        **more,
    }
    service = {"selector": selects or {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}
    own.apply(
        {"apiVersion": "apps/v1", "kind": kind, "metadata": meta, "spec": body},
        {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": service},
    )
    own.kubectl("-n", space, "rollout", "status", f"{kind.lower()}/web", "--timeout=90s")
    address = own.kubectl("-n", space, "get", "service", "web", "-o", "jsonpath={.spec.clusterIP}")
    return f"http://{address}/"


def parts(own: Kubernetes, space: str) -> dict[str, Any]:
    """What names the workload, for every part."""
    return {"name": "web", "context": own.context, "namespace": space}


def test_a_canary_by_replicas_loses_no_request(own: Kubernetes, space: str, ctx: Context) -> None:
    """From none to all and back to the stable track in its new version; at 1/3 the split that is seen is about that."""
    url = shop(own, space)
    part, share = Workloads(**parts(own, space)), Replicas(service="web", **parts(own, space))
    with Customers(url) as customers:
        part.set_track(ctx, CANDIDATE, {"version": TWO, "replicas": 0})
        share.set_weight(ctx, 33)
        customers.seen(50)  # proxies may still use what they knew
        seen = customers.seen(600)
        share.set_weight(ctx, 100)
        part.set_track(ctx, STABLE, {"version": TWO})
        share.set_weight(ctx, 0)
        part.set_track(ctx, CANDIDATE, None)
        last = customers.seen(50)
    assert 0.2 < seen[CANDIDATE] / seen.total() < 0.47, seen
    assert STABLE in last
    assert [] == customers.lost
    assert {"version": TWO, "replicas": 3} == part.track(ctx, STABLE)


def test_blue_green_flips_without_a_lost_request(own: Kubernetes, space: str, ctx: Context) -> None:
    """After it has returned every new connection leads to the other colour; and the way back is one flip."""
    url = shop(own, space, selects={"app": "web", "track": "stable"})
    part, turn = Workloads(**parts(own, space)), Service(service="web", **parts(own, space))
    part.set_track(ctx, CANDIDATE, {"version": TWO, "replicas": 3})
    with Customers(url) as customers:
        assert {STABLE} == set(customers.seen(50))
        turn.set_weight(ctx, 100)
        assert poll(lambda: set(customers.seen(20)) == {CANDIDATE}, timeout=10)
        turn.set_weight(ctx, 0)
        assert poll(lambda: set(customers.seen(20)) == {STABLE}, timeout=10)
    assert [] == customers.lost


def test_a_rolling_stateful_set_loses_no_request(own: Kubernetes, space: str, ctx: Context) -> None:
    """One pod after the other, each ready before the next one goes."""
    url = shop(own, space, kind="StatefulSet")
    part = Workloads(object="StatefulSet", **parts(own, space))
    with Customers(url) as customers:
        for batch in part.batches(ctx, 1):
            part.set_track(ctx, batch, {"version": TWO})
    assert [] == customers.lost
    images = own.kubectl("-n", space, "get", "pods", "-o", "jsonpath={.items[*].spec.containers[0].image}").split()
    assert [TWO] * 3 == images


@pytest.mark.parametrize("image", [NONE, "localhost/pause:1"])
def test_a_real_kubelet_says_why(own: Kubernetes, space: str, ctx: Context, image: str) -> None:
    """An image that is not there, and one without the program: told in its own words; the stable pods go on."""
    url = shop(own, space)
    part = Workloads(**parts(own, space))
    with Customers(url) as customers:
        with pytest.raises(HostError, match=r"container app: (Err|Run|Create|Crash)"):
            part.set_track(ctx, STABLE, {"version": image})
        part.set_track(ctx, STABLE, {"version": ONE})
    assert [] == customers.lost


@pytest.mark.parametrize(("image", "ends"), [(TWO, TWO), (NONE, ONE)])
def test_a_whole_canary_is_promoted_or_taken_back(
    own: Kubernetes, space: str, config: Config, image: str, ends: str
) -> None:
    """As one plan with its journal: the good version serves in the end, of the bad one nothing is left; none is lost."""
    url = shop(own, space)
    strategy = {"kind": "canary", "steps": [33, 66], "bake": "1s"}
    named = parts(own, space)
    rollout = Rollout.of(
        "shop",
        {
            "workload": {"kind": "kubernetes", **named},
            "router": {"kind": "replicas", "service": "web", **named},
            "strategy": strategy,
        },
    )
    plan = rollout.plan(image, config=config)
    with Customers(url) as customers, open_store(config) as store:
        if image == TWO:
            assert plan.run(apply=True, config=config, store=store).ok
        else:
            with pytest.raises(StepFailed, match="container app: Err"):
                plan.run(apply=True, config=config, store=store)
        customers.seen(20)
    assert [] == customers.lost
    assert [("web", ends, 3)] == deployments(own, space)


@pytest.fixture
def metrics(own: Kubernetes, space: str, tmp_path: Path) -> Iterator[Prometheus]:
    """A Prometheus that scrapes every pod of the namespace, from when it has an address."""
    targets = tmp_path / "pods.json"
    targets.write_text("[]")
    shown = 'jsonpath={.metadata.name} {.status.podIP}{"\\n"}'
    command = [*own.command, "-n", space, "get", "pods", "--watch", "-o", shown]
    watch = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    writer = threading.Thread(target=_told, args=(watch, targets))
    writer.start()
    try:
        found = [{"files": [str(targets)], "refresh_interval": "1s"}]
        with Prometheus(scrapes=[{"job_name": "pods", "file_sd_configs": found}]) as started:
            yield started
    finally:
        watch.terminate()
        writer.join()
        watch.wait()


def _told(watch: subprocess.Popen[str], targets: Path) -> None:
    """The pods that there are or were, as Prometheus reads them."""
    assert watch.stdout is not None
    pods: dict[str, str] = {}
    with watch.stdout as lines:
        for line in lines:
            name, _, address = line.strip().partition(" ")
            if address and pods.get(name) != address:
                pods[name] = address
                beside = targets.with_suffix(".new")
                beside.write_text(
                    json.dumps([{"targets": [f"{at}:8080"], "labels": {"pod": pod}} for pod, at in pods.items()])
                )
                beside.replace(targets)


@pytest.fixture
def desk(own: Kubernetes, space: str, metrics: Prometheus, tmp_path: Path) -> Desk:
    """An engineer with that cluster and that Prometheus."""
    named = parts(own, space)
    measure = {
        "name": "errors", "source": "prod", "by": "pod", "candidate": "web-canary-.*", "interval": "2s", "history": "1m",
        "bad": 'requests_total{code="500"}', "total": "requests_total", "worth": 5.0,
    }  # fmt: skip
    service = {
        "workload": {"kind": "kubernetes", **named},
        "router": {"kind": "replicas", "service": "web", **named},
        "strategy": {"kind": "canary", "steps": [50], "bake": "60s"},
        "measures": [measure],
        "look": "1s",
        "patience": "20s",
    }
    configuration = {"sources": {"prod": metrics.options}, "rollouts": {"shop": service}}
    return Desk(tmp_path / "engineer", configuration, {"KUBECONFIG": str(own.kubeconfig)})


def deployments(own: Kubernetes, space: str) -> list[tuple[str, str, int]]:
    """Name, image and wanted pods of each."""
    found = json.loads(own.kubectl("-n", space, "get", "deployments", "-o", "json"))["items"]
    return [
        (
            each["metadata"]["name"],
            each["spec"]["template"]["spec"]["containers"][0]["image"],
            each["spec"]["replicas"],
        )
        for each in found
    ]


def known(metrics: Prometheus, pods: int = 3) -> bool:
    """Whether Prometheus has seen the requests of so many pods."""
    with connect(metrics.source) as source:
        asked = "count(sum by (pod) (increase(requests_total[10s])) > 0) or vector(0)"
        return poll(lambda: source.instant(asked).values[0, 0] >= pods, timeout=60) is not None


def audited(own: Kubernetes, space: str) -> list[tuple[float, str]]:
    """What sretoolkit wrote in a namespace, by the API server's own log: when (epoch seconds), and what."""
    lines = (own.place.folder / "audit.log").read_text().splitlines()
    entries = [json.loads(line) for line in lines]
    return [
        (
            datetime.fromisoformat(each["requestReceivedTimestamp"]).timestamp(),
            f"{each['verb']} {each['objectRef']['resource']}",
        )
        for each in entries
        if each.get("objectRef", {}).get("namespace") == space and each["userAgent"] == "sretoolkit"
    ]


def agrees(desk: Desk, writes: list[tuple[float, str]]) -> None:
    """Each change that the journal has was written by then, and nothing was written that is no such change."""
    written = desk.written()
    for each in written:
        assert [what for at, what in writes if each.start <= at <= each.end], (each, writes)
    for at, what in writes:
        assert 1 == len([each for each in written if each.start <= at <= each.end]), (at, what, written)


@pytest.mark.parametrize(("every", "code", "ends"), [(50, 0, TWO), (4, 3, ONE)], ids=["good", "bad"])
def test_the_runbook_is_judged_by_metrics(
    own: Kubernetes, space: str, metrics: Prometheus, desk: Desk, every: int, code: int, ends: str
) -> None:
    """As a command: the good one serves, the bad one is taken back; the cluster's audit log has what the journal has."""
    url = shop(own, space, bad={"BAD_STABLE": 50, "BAD_CANARY": every})
    with Customers(url) as customers:
        assert known(metrics)
        ended, said = desk.roll_out(TWO)
        customers.seen(20)

    assert code == ended, said
    assert [] == customers.lost
    assert [("web", ends, 3)] == deployments(own, space)
    agrees(desk, audited(own, space))


def test_a_killed_runner_is_taken_back_by_the_watchdog(
    own: Kubernetes, space: str, metrics: Prometheus, desk: Desk
) -> None:
    """It dies with the candidate in the requests; nobody does anything, and the old version serves alone."""
    url = shop(own, space, bad={"BAD_STABLE": 50, "BAD_CANARY": 50})
    with Customers(url) as customers:
        assert known(metrics)
        desk.killed_at(50, TWO)
        desk.taken_back(lambda: deployments(own, space) == [("web", ONE, 3)])
        customers.seen(20)
    assert [] == customers.lost
    agrees(desk, audited(own, space))
