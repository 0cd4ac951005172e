"""Runs as Jobs of a real cluster, with a real PostgreSQL between: they come back whatever becomes of their pods."""

from __future__ import annotations

import base64
import json
import os
import signal
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from sretoolkit.actor import Actor
from sretoolkit.clock import poll
from sretoolkit.config import Config
from sretoolkit.errors import ConfigError
from sretoolkit.journal import Keys, find_runs, load_run, verify_run
from sretoolkit.plan.recovery import recover
from sretoolkit.runbook.comparison import files_of
from sretoolkit.runbook.dispatcher import Dispatcher
from sretoolkit.runbook.executor import executor_of
from sretoolkit.runbook.export import EXPORTS
from sretoolkit.runbook.notebook import Runbook
from sretoolkit.runbook.queue import Queue
from sretoolkit.runbook.request import Request
from sretoolkit.runbook.run import Order
from sretoolkit.runbook.schedules import Schedules
from sretoolkit.store import Store
from tests.conftest import REPOSITORY
from tests.live.conftest import ours
from tests.runbook.desk import Desk
from tests.runbook.test_schedules import schedule
from tests.stack.kubernetes import Cluster, Kubernetes
from tests.stack.postgres import Postgres

pytestmark = [pytest.mark.live, pytest.mark.timeout(3000)]

AT_ONCE, ALL = 6, 100 if os.environ.get("EVERY_FAULT") else 24
FANNED = (
    ("number: int  # which of them\nslow: bool = False", ["parameters"]),
    "import os, time\nif number % 10 == 3:\n    raise RuntimeError(f'number {number} fails on purpose')\n"
    "if number % 25 == 7:\n    os.kill(os.getpid(), 9)\nif slow:\n    time.sleep(600)\nprint('this is', number)",
)  # fmt: skip


@pytest.fixture(scope="module")
def own(kube: Cluster) -> Kubernetes:
    """A cluster whose pods share this machine's programs."""
    return ours(kube)


@pytest.fixture(scope="module")
def server(own: Kubernetes) -> Iterator[Postgres]:
    """A PostgreSQL that the pods reach, too."""
    with Postgres(address=own.place.outside, network="198.18.0.0/15") as started:
        yield started


@pytest.fixture
def space(own: Kubernetes) -> Iterator[str]:
    """A namespace of the test's own."""
    with own.namespace("runs") as name:
        yield name


@pytest.fixture
def far(own: Kubernetes, server: Postgres, space: str, own_home: Path, keys: Keys) -> Config:
    """The configuration of who asks; the pods' own is in a Secret, and their image is the machine's programs."""
    keys.key_id()
    database = f"t{uuid.uuid4().hex}"  # of the test's own: limits are of a store
    with psycopg.connect(server.url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {database}")
    url = server.url.removesuffix(server.database) + database
    store = url.replace("127.0.0.1", own.place.outside)
    toml = f'[store]\nurl = "{store}"\n'
    settings = {"url": store, "password": "unused", "sretoolkit.toml": toml}
    own.apply(
        _secret("sretoolkit", space, {name: text.encode() for name, text in settings.items()}),
        _secret(
            "keys", space, {path.name: path.read_bytes() for path in keys.folder.glob("*.*") if path.suffix != ".json"}
        ),
    )
    return Config.of(
        store={"url": url}, journal={"keys": str(keys.folder)}, records={"folder": str(own_home / "back")},
        runbooks={"folders": [str(own_home)]},
        executors={"cluster": {
            "kind": "kubernetes", "kubeconfig": str(own.kubeconfig), "namespace": space, "image": own.image, "keys": "keys",
            "runbooks": "runbooks", "python": str(REPOSITORY / ".venv/bin/python"), "most_runs": AT_ONCE,
            "template": str(_template(own, own_home)), "startup": "4m",
        }},
    )  # fmt: skip


def _secret(name: str, space: str, data: dict[str, bytes]) -> dict[str, Any]:
    encoded = {key: base64.b64encode(value).decode() for key, value in data.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": space}, "data": encoded}


def _template(own: Kubernetes, home: Path) -> Path:
    """No registry is at hand: interpreter and checkout are mounted from this machine, whose root owns them."""
    folders = {"usr": "/usr", "etc": "/etc", "python": sys.base_prefix, "checkout": str(REPOSITORY)}
    # /etc of the machine is laid below the Secrets that are mounted into it, so that of all of it only what is needed
    needed = {name: place for name, place in folders.items() if name != "etc"}
    mounts = [{"name": name, "mountPath": place, "readOnly": True} for name, place in needed.items()]
    spec = {
        "securityContext": {"runAsNonRoot": False, "runAsUser": 0, "fsGroup": 0},
        "containers": [{
            "name": "run", "imagePullPolicy": "Never", "volumeMounts": mounts,
            "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}},
            "env": [{"name": "PYTHONPATH", "value": str(REPOSITORY)}, {"name": "PYTHONDONTWRITEBYTECODE", "value": "1"}],
        }],
        "volumes": [{"name": name, "hostPath": {"path": place}} for name, place in needed.items()],
    }  # fmt: skip
    path = home / "pod.yaml"
    path.write_text(yaml.safe_dump(spec))
    return path


@pytest.fixture
def fanned(own: Kubernetes, space: str, write_notebook: Callable[..., Path]) -> Runbook:
    """A runbook that is in the pods, too, by a ConfigMap."""
    path = write_notebook(*FANNED, name="fanned")
    own.apply(
        {
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "runbooks", "namespace": space},
            "data": {path.name: path.read_text()},
        }
    )  # fmt: skip
    return Runbook.read(path)


def _request(runbook: Runbook, far: Config, **given: Any) -> Request:
    values = runbook.parameters.check(given)
    return Request.of(Order(runbook, values, origin="test", actor=Actor("ann")), far)


def _over(store: Store, run: str) -> bool:
    rows = store.read("SELECT ended FROM runs WHERE id = :run", run=run)
    return bool(rows) and rows[0]["ended"] is not None


def test_one_run_comes_back_whole(far: Config, fanned: Runbook, own: Kubernetes, space: str) -> None:
    """Its journal verifies with the key that its pod was given, its files are what the journal says, no manifest has a value."""
    request = _request(fanned, far, number=1)
    with Store(far["store.url"]) as store:
        queue, dispatcher = Queue(store), Dispatcher(store, far)
        queue.ask(request, executor="cluster")
        assert 1 == dispatcher.once()
        manifest = own.kubectl("get", "jobs,pods", "-n", space, "-o", "json")
        assert poll(lambda: _over(store, request.id), timeout=120), own.kubectl(
            "logs", "-n", space, f"job/sretoolkit-{request.id}", check=False
        ) + json.dumps([each.error for each in queue.find()])
        run = load_run(store, request.id)
        assert ("completed", "ann", {"number": 1, "slow": False}) == (run.state, run.who, run.parameters)
        assert "whole" == verify_run(store, Keys.of(far), run.id).state
        files = files_of(store, run.id, far)
        assert {"unchanged"} == {file["state"] for file in files}
        assert 2 == len(files)
        assert "this is 1" in Path(files[1]["path"]).read_text()
    assert [] == [word for word in (far["store.url"], "number", "postgresql") if word in manifest]


def test_the_command_line_returns_at_once_or_follows(
    far: Config, fanned: Runbook, own: Kubernetes, own_home: Path
) -> None:
    """`run --executor`: the run's id now, or its end and exit code."""
    options = "".join(f"{key} = {json.dumps(value)}\n" for key, value in far.endpoint("executors", "cluster").items())
    (own_home / "sretoolkit.toml").write_text(f"[executors.cluster]\n{options}")
    desk = Desk(own_home, far, SRETOOLKIT_RUNBOOKS_FOLDERS=json.dumps([str(own_home)]))
    began = desk.run("run", "fanned", "-p", "number=3", "--executor", "cluster", "--json")
    assert 0 == began.returncode, began.stdout
    run = json.loads(began.stdout)["run"]
    done = desk.run("run", "fanned", "-p", "number=1", "--executor", "cluster", "--follow")
    assert (0, True) == (done.returncode, done.stdout.endswith("completed\n")), done.stdout
    with Store(far["store.url"]) as store:
        assert poll(lambda: _over(store, run), timeout=60)
    assert run in desk.run("runs", "--state", "failed").stdout


def test_a_pod_that_is_killed_leaves_a_run_that_anybody_can_recover(
    far: Config, fanned: Runbook, own: Kubernetes, space: str
) -> None:
    """Without warning in the middle: lost, and never begun again by itself; another machine ends it from the store."""
    request = _request(fanned, far, number=1, slow=True)
    with Store(far["store.url"]) as store:
        Queue(store).ask(request, executor="cluster")
        Dispatcher(store, far).once()
        assert poll(lambda: _progress(store, request.id), timeout=90)
        _kill(request.id)
        own.kubectl("delete", "pods", "-n", space, "-l", f"sretoolkit/run={request.id}", "--grace-period=0", "--force")
        assert poll(lambda: load_run(store, request.id).state == "lost", timeout=90)
        recover(store, request.id, config=far)
        assert load_run(store, request.id).closed
        assert 1 == len(store.read("SELECT 1 FROM entries WHERE run = :run AND kind = 'run-opened'", run=request.id))


def _kill(run: str) -> None:
    """Kill what carries a run out, as a node without memory does: a pod that is deleted is told so first."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            words = path.read_bytes().split(b"\0")
            if words[-2:-1] == [run.encode()] and b"sretoolkit.runbook.worker" in words:
                os.kill(int(path.parent.name), signal.SIGKILL)


def _progress(store: Store, run: str) -> bool:
    rows = store.read("SELECT progress FROM runs WHERE id = :run", run=run)
    return bool(rows) and rows[0]["progress"] != "{}"


def test_an_evicted_run_ends_in_order(far: Config, fanned: Runbook, own: Kubernetes, space: str) -> None:
    """Its node wants the pod gone: it is told so, takes back what it did, and its record comes back."""
    request = _request(fanned, far, number=1, slow=True)
    with Store(far["store.url"]) as store:
        Queue(store).ask(request, executor="cluster")
        Dispatcher(store, far).once()
        assert poll(lambda: _progress(store, request.id), timeout=90)
        own.kubectl("delete", "pods", "-n", space, "-l", f"sretoolkit/run={request.id}", "--wait=false")
        assert poll(lambda: _over(store, request.id), timeout=60)
        assert "interrupted" == load_run(store, request.id).state
        assert 2 == len(files_of(store, request.id, far))


@pytest.mark.parametrize(
    ("option", "why"),
    [({"image": "localhost/nowhere:1"}, "ErrImageNeverPull"), ({"python": "/nowhere/python"}, "nowhere/python"),
     ({"settings": "none"}, 'secret "none" not found')],
)  # fmt: skip
def test_a_pod_that_never_begins_is_said(far: Config, fanned: Runbook, option: dict[str, str], why: str) -> None:
    """The request is refused with what the cluster knows; nothing hangs for ever."""
    options = {**far.endpoint("executors", "cluster"), "startup": "8s", "keys": "", **option}
    wrong = Config({**far.values, **Config.of(executors={"cluster": options}).values})
    request = _request(fanned, wrong, number=1)
    with Store(far["store.url"]) as store:
        queue, dispatcher = Queue(store), Dispatcher(store, wrong)
        queue.ask(request, executor="cluster")
        dispatcher.start()
        try:
            assert poll(lambda: queue.load(request.id).state == "refused", timeout=60)
        finally:
            dispatcher.close()
        assert why in queue.load(request.id).error
        assert [] == [run for run in find_runs(store) if run.id == request.id]


def test_what_a_pod_refuses_is_said(far: Config, fanned: Runbook) -> None:
    """The runbook there is another one than was looked at here."""
    request = replace(_request(fanned, far, number=1), runbook_hash="0" * 64)
    with Store(far["store.url"]) as store:
        queue = Queue(store)
        queue.ask(request, executor="cluster")
        Dispatcher(store, far).once()
        assert poll(lambda: queue.load(request.id).state == "refused", timeout=60)
        assert "was changed since run" in queue.load(request.id).error


def test_a_cluster_that_is_away_holds_up_its_own_runs_alone(
    far: Config, fanned: Runbook, own: Kubernetes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is asked for meanwhile waits, others have their turn, and it is begun when the API server is back."""
    monkeypatch.setattr("sretoolkit.runbook.dispatcher._AWAY", 3.0)
    here, there = (_request(fanned, far, number=number) for number in (1, 2))
    with Store(far["store.url"]) as store:
        queue, dispatcher = Queue(store), Dispatcher(store, far)
        queue.ask(there, executor="cluster")
        queue.ask(here, executor="local")
        own.stop_server()
        try:
            dispatcher.start()
            assert poll(lambda: _over(store, here.id), timeout=90)
            assert "taken" == queue.load(there.id).state
        finally:
            own.start_server()
        store.write("UPDATE requests SET changed = changed - 61 WHERE state = 'taken'")
        assert poll(lambda: _over(store, there.id), timeout=90)
        dispatcher.close()
        assert ("completed", "completed") == (load_run(store, here.id).state, load_run(store, there.id).state)


def test_a_store_that_no_pod_reaches_is_refused(far: Config, config: Config, fanned: Runbook) -> None:
    """With what to do."""
    here = Config({**far.values, **Config.of(store={"url": config["store.url"]}).values})
    with pytest.raises(ConfigError, match="a store that its pod reaches") as caught:
        executor_of("cluster", here).start(_request(fanned, far, number=1))
    assert "postgresql" in caught.value.hint


def test_runs_are_fanned_out(far: Config, fanned: Runbook, capsys: pytest.CaptureFixture[str]) -> None:
    """So many at once and no more; those that fail, and whose kernels are killed, hold nobody up; all records come back."""
    requests = {number: _request(fanned, far, number=number) for number in range(ALL)}
    began = time.monotonic()
    with Store(far["store.url"]) as store:
        queue, dispatcher = Queue(store), Dispatcher(store, far)
        for request in requests.values():
            queue.ask(request, executor="cluster")
        most = 0
        dispatcher.start()
        try:
            while not all(_over(store, request.id) for request in requests.values()):
                most = max(most, queue.active("cluster"))
                assert time.monotonic() - began < 2400
                assert [] == [each.error for each in queue.find(state="refused")]
                time.sleep(1)
        finally:
            dispatcher.close()
        spent = time.monotonic() - began
        states = Counter(load_run(store, request.id).state for request in requests.values())
        keys = Keys.of(far)
        proofs = Counter(verify_run(store, keys, request.id).state for request in requests.values())
        files = [file for request in requests.values() for file in files_of(store, request.id, far)]
        packed = store.read("SELECT sum(length(body)) AS bytes FROM record_files")[0]["bytes"]
        took = [run.ended - run.started for run in find_runs(store, limit=ALL) if run.ended]
    with capsys.disabled():
        print(
            f"\n{ALL} runs as Jobs, {most} at once at the most: {spent:.0f} s; a run {sorted(took)[len(took) // 2]:.1f} s in "
            f"the middle; {dict(states)}; {len(files)} files of records back, {int(packed) >> 10} KiB packed in the store"
        )
    expected = Counter(
        "failed" if number % 10 == 3 else "killed" if number % 25 == 7 else "completed" for number in requests
    )
    assert expected == states
    assert {"whole": ALL} == proofs
    assert (2 * ALL, {"unchanged"}) == (len(files), {file["state"] for file in files})
    assert AT_ONCE == most


def test_a_cron_job_keeps_the_times_of_a_schedule(
    far: Config, fanned: Runbook, own: Kubernetes, space: str, own_home: Path
) -> None:
    """Exported, and given to a real cluster: at the next minute its pod runs the tick, in the name of who made the schedule."""
    options = {**far.endpoint("executors", "cluster"), "most_runs": 1}
    there = Config({**far.values, **Config.of(executors={"kubernetes": options}).values})
    made = schedule(runbook="fanned", cron="* * * * *", parameters={"number": 1}, id=space)
    (text,) = EXPORTS["kubernetes"](made, there).files().values()
    manifest = yaml.safe_load(text)
    served = own.kubectl("get", "--raw", "/apis/batch/v1")
    manifest["apiVersion"] = "batch/v1" if '"cronjobs"' in served else "batch/v1beta1"
    with Store(far["store.url"]) as store:
        schedules = Schedules(store)
        schedules.add(made)
        own.apply(manifest)
        try:
            assert poll(lambda: [each for each in find_runs(store) if each.origin == "schedule book"], timeout=120)
            (run,) = [each for each in find_runs(store) if each.origin == "schedule book"]
            assert poll(lambda: _over(store, run.id), timeout=60)
            assert poll(lambda: schedules.history("book")[-1].state == "completed", timeout=30)
        finally:
            own.kubectl("delete", "cronjob", "book", "-n", space)
            schedules.remove("book")
        assert ("completed", "ann", "whole") == (
            load_run(store, run.id).state, run.who, verify_run(store, Keys.of(far), run.id).state,
        )  # fmt: skip
        assert {"unchanged"} == {file["state"] for file in files_of(store, run.id, far)}
