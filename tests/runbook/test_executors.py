"""Places where runs are carried out: what they are told, and what comes back through the store."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sretoolkit.actor import Actor
from sretoolkit.clock import poll
from sretoolkit.config import Config
from sretoolkit.errors import ConfigError, RunbookError, UnknownPlugin
from sretoolkit.journal import Keys, load_run
from sretoolkit.journal.retention import prune
from sretoolkit.runbook.comparison import files_of
from sretoolkit.runbook.executor import executor_of
from sretoolkit.runbook.executors.kubernetes import HOME, KubernetesExecutor
from sretoolkit.runbook.notebook import Runbook
from sretoolkit.runbook.queue import Queue
from sretoolkit.runbook.run import Order, run_runbook
from sretoolkit.runbook.schedules import Schedules
from sretoolkit.runbook.shared_record import fetch, keep
from sretoolkit.store import Store
from sretoolkit.store.dialects.sqlite import Sqlite
from tests.conftest import REPOSITORY
from tests.provision.test_server import start, stop
from tests.runbook.desk import Desk
from tests.runbook.test_schedules import ADDING, schedule

Write = Callable[..., Path]


def executor(**options: Any) -> KubernetesExecutor:
    """One of an endpoint with these options."""
    made = executor_of("prod", Config.of(executors={"prod": {"kind": "kubernetes", "image": "sre:1", **options}}))
    assert isinstance(made, KubernetesExecutor)
    return made


def test_a_manifest_holds_the_runs_id_and_nothing_else_of_it() -> None:
    """Run once, never by itself again; the store's address and password by reference."""
    job = executor(keys="keys", runbooks="books", environment=["tokens"], service_account="runner").job("20270101-1")
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert (0, "Never", "sretoolkit-20270101-1", "runner") == (
        job["spec"]["backoffLimit"], pod["restartPolicy"], job["metadata"]["name"], pod["serviceAccountName"],
    )  # fmt: skip
    assert ["python", "-m", "sretoolkit.runbook.worker", "20270101-1"] == container["command"][-4:]
    given_openly = {each["name"]: each.get("value") for each in container["env"]}
    assert (None, "file:/etc/sretoolkit/password") == (
        given_openly["SRETOOLKIT_STORE_URL"], given_openly["SRETOOLKIT_STORE_PASSWORD"],
    )  # fmt: skip
    assert [{"secretRef": {"name": "tokens"}}] == container["envFrom"]
    assert f"{HOME}/runbooks" in [each["mountPath"] for each in container["volumeMounts"]]
    assert (True, False) == (
        pod["securityContext"]["runAsNonRoot"], container["securityContext"]["allowPrivilegeEscalation"],
    )  # fmt: skip


def test_a_template_is_added_and_wins(tmp_path: Path) -> None:
    """Where pods go, what they mount, another container beside ours; what is ours stays but for what it says."""
    template = tmp_path / "pod.yaml"
    template.write_text(
        json.dumps({
            "nodeSelector": {"pool": "sre"},
            "terminationGracePeriodSeconds": 30,
            "volumes": [{"name": "ca", "configMap": {"name": "ca"}}],
            "containers": [{"name": "run", "env": [{"name": "A", "value": "b"}]}, {"name": "proxy", "image": "proxy:1"}],
        })
    )  # fmt: skip
    pod = executor(template=str(template)).pod(["true"])
    assert ({"pool": "sre"}, 30, ["run", "proxy"]) == (
        pod["nodeSelector"], pod["terminationGracePeriodSeconds"], [each["name"] for each in pod["containers"]],
    )  # fmt: skip
    assert ["state", "settings", "ca"] == [each["name"] for each in pod["volumes"]]
    assert ("sre:1", {"name": "A", "value": "b"}) == (pod["containers"][0]["image"], pod["containers"][0]["env"][-1])
    template.write_text("- no\n- spec")
    with pytest.raises(ConfigError, match="is no pod's spec"):
        executor(template=str(template)).pod(["true"])


def test_what_is_wrong_with_an_executor_is_said() -> None:
    """No such place, no such option, no image."""
    with pytest.raises(UnknownPlugin, match="no executor named 'moon'"):
        executor_of("moon", Config())
    with pytest.raises(ConfigError, match="cannot be made") as caught:
        executor(imgae="sre:2")
    assert "image" in caught.value.hint
    with pytest.raises(ConfigError, match="is no image") as caught:
        executor(image="").job("1")
    assert "docs/schedules.md" in caught.value.hint


def test_a_store_that_no_pod_reaches_is_refused(config: Config, write_notebook: Write, desk: Desk) -> None:
    """Before anything is asked for or kept."""
    path = write_notebook(*ADDING)
    (path.parent / "sretoolkit.toml").write_text('[executors.kubernetes]\nimage = "sre:1"\n')
    for command in (("run", str(path)), ("schedule", "add", str(path), "--cron", "@daily")):
        done = desk.run(*command, "--executor", "kubernetes")
        assert (2, True) == (done.returncode, "needs a store that its pod reaches" in done.stdout), done.stdout
    with Store(config["store.url"]) as store:
        assert ([], []) == (Queue(store).find(), Schedules(store).find())
    done = desk.run("run", "--resume", "last", "--executor", "kubernetes")
    assert (2, True) == (done.returncode, "--resume goes without --executor" in done.stdout), done.stdout


def test_a_worker_reads_what_it_is_to_do_from_the_store(
    store: Store, config: Config, desk: Desk, write_notebook: Write
) -> None:
    """By the run's id, in an environment that has only the configuration; a second one begins nothing."""
    path = write_notebook(*ADDING)
    queue = Queue(store)
    asked, wrong = schedule(runbook=str(path)).request(), schedule(runbook=str(path), parameters={"no": 1}).request()
    for each in (asked, wrong):
        queue.ask(each, executor="kubernetes")

    def worker(run: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "sretoolkit.runbook.worker", run]
        return subprocess.run(
            command, cwd=desk.home, env=desk.environment, capture_output=True, text=True, check=False, timeout=100
        )

    first, second = worker(asked.id), worker(asked.id)
    assert (0, f"run {asked.id}: completed\n") == (first.returncode, first.stdout)
    assert (1, True) == (second.returncode, "was begun already" in second.stderr)
    assert ("completed", "waiting") == (load_run(store, asked.id).state, queue.load(asked.id).state)
    assert 2 == worker(wrong.id).returncode
    assert ("refused", True) == (queue.load(wrong.id).state, "no such parameter" in queue.load(wrong.id).error)
    assert "nobody asked for run none" in worker("none").stderr


def test_records_come_back_through_a_shared_store(
    config: Config, keys: Keys, actor: Actor, write_notebook: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Where the run was its files are gone; they are made anew where somebody looks, checked by the journal, and pruned."""
    monkeypatch.setattr(Sqlite, "shared", True)
    runbook = Runbook.read(write_notebook(*ADDING))
    result = run_runbook(Order(runbook, runbook.parameters.check({})), config)
    for path in (result.notebook, result.html):
        assert path is not None
        path.unlink()

    def elsewhere(name: str) -> Config:
        """The same, with another folder of records."""
        return Config({**config.values, **Config.of(records={"folder": str(tmp_path / name)}).values})

    with Store(config["store.url"]) as store:
        files = files_of(store, result.run, elsewhere("here"))
        assert [("unchanged", str(tmp_path / "here"))] * 2 == [
            (file["state"], str(Path(file["path"]).parent)) for file in files
        ]
        Path(files[0]["path"]).write_text("other")
        assert "CHANGED since the run" == files_of(store, result.run, elsewhere("here"))[0]["state"]
        store.write("UPDATE record_files SET body = :body", body=b"x\x9c\x03\x00\x00\x00\x00\x01")  # empty, packed
        assert {"CHANGED since the run"} == {file["state"] for file in files_of(store, result.run, elsewhere("there"))}
        assert [result.run] == [run.id for run in prune(store, keys, actor=actor, older_than=1e12)]
        assert [] == store.read("SELECT name FROM record_files")
        assert [] == files_of(store, result.run, elsewhere("elsewhere"))


@given(
    st.binary(max_size=2000), st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0/"), min_size=1)
)
def test_a_file_comes_back_as_it_was(content: bytes, name: str) -> None:
    """Any bytes, whatever the file is called; and never outside of the folder that was named."""
    name = f"{name}.ipynb"[-100:]
    with tempfile.TemporaryDirectory() as folder:
        there, here = Path(folder, "there"), Path(folder, "here")
        there.mkdir()
        (there / name).write_bytes(content)
        with Store(f"sqlite:///{folder}/store.db") as store:
            keep(store, "run", there, [name])
            keep(store, "run", there, [name])  # a run that is resumed writes its record anew
            found = fetch(store, "run", name, here)
            store.write("UPDATE record_files SET name = '../../' || name")
            fetch(store, "run", f"../../{name}", here)
        assert found is not None
        assert (content, here, [name]) == (found.read_bytes(), found.parent, [path.name for path in here.iterdir()])


def test_a_file_that_is_too_large_for_the_store_is_said(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With where it is."""
    monkeypatch.setattr("sretoolkit.runbook.shared_record.MOST", 100)
    (tmp_path / "big.html").write_bytes(bytes(range(256)) * 10)
    with pytest.raises(RunbookError, match=r"big\.html is too large for the store") as caught:
        keep(store, "run", tmp_path, ["big.html"])
    assert str(tmp_path) in caught.value.hint


def test_a_server_keeps_the_times_and_begins_what_is_asked_for(
    store: Store, config: Config, own_home: Path, write_notebook: Write
) -> None:
    """`sretoolkit serve`, beside all else that it does; a run goes on when the server ends."""
    path = write_notebook(*ADDING)
    Schedules(store).add(schedule(runbook=str(path), cron="* * * * *", missed="once"))
    store.write("UPDATE schedules SET ticked = ticked - 70, due = due - 70")
    server = start(own_home, config, SRETOOLKIT_RECORDS_FOLDER=config["records.folder"])
    try:
        assert poll(lambda: store.read("SELECT id FROM runs WHERE origin = 'schedule book'"), timeout=60)
    finally:
        stop(server)
    run = store.read("SELECT id FROM runs WHERE origin = 'schedule book' ORDER BY started")[0]["id"]
    assert poll(lambda: load_run(store, run).closed, timeout=60)
    assert "completed" == load_run(store, run).state


def test_the_image_is_described(tmp_path: Path) -> None:
    """The recipe that the documents name has what a pod calls for, made of nothing but the files that it copies."""
    recipe = (REPOSITORY / "docs" / "kubernetes" / "Dockerfile").read_text()
    assert "'/src[postgres,server]'" in recipe
    assert "kubernetes/Dockerfile" in (REPOSITORY / "docs" / "schedules.md").read_text()
    for *names, into in (line.split()[1:] for line in recipe.splitlines() if line.startswith("COPY ")):
        for name in names:
            assert into in ("/src/", f"/src/{name}")
            copy = shutil.copytree if (REPOSITORY / name).is_dir() else shutil.copy
            copy(REPOSITORY / name, tmp_path / name)
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "made")]
    subprocess.run(build, cwd=tmp_path, check=True, capture_output=True, timeout=100)
    (wheel,) = (tmp_path / "made").glob("*.whl")
    assert [name for name in zipfile.ZipFile(wheel).namelist() if name.endswith("runbooks/pid1_health.ipynb")]
