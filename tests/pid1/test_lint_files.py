"""The linter on manifests, Compose files and image configurations."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from sretoolkit.errors import ConfigError
from sretoolkit.pid1.lint import lint, starts
from sretoolkit.pid1.sighting import Sighting


def _said(sightings: list[Sighting]) -> list[tuple[str, str, int]]:
    return [(each.finding.rule, each.finding.severity, each.line) for each in sightings]


def _pod(folder: Path, container: dict[str, Any], **pod: Any) -> list[Sighting]:
    path = folder / "pod.yaml"
    spec = {"containers": [{"name": "app", **container}], **pod}
    resource = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}, "spec": spec}
    path.write_text(yaml.safe_dump(resource))
    return lint(path)


POD: dict[str, tuple[dict[str, Any], dict[str, Any], list[str]]] = {
    "a shell": ({"image": "debian", "command": ["sh", "-c", "a; b"]}, {}, ["stop-dropped"]),
    "a shell in a shared namespace": (
        {"image": "debian", "command": ["sh", "-c", "a; b"]}, {"shareProcessNamespace": True}, ["stop-not-passed-on"]),
    "sleep": ({"command": ["sleep", "9"]}, {}, ["stop-dropped", "reaping-latent"]),
    "sleep in a shared namespace": ({"command": ["sleep", "9"]}, {"shareProcessNamespace": True}, []),
    "sleep in the host's namespace": ({"command": ["sleep", "9"]}, {"hostPID": True}, []),
    "tini that is not PID 1": ({"command": ["tini", "--", "x"]}, {"shareProcessNamespace": True}, ["init-useless"]),
    "tini as subreaper": ({"command": ["tini", "-s", "--", "x"]}, {"shareProcessNamespace": True}, []),
    "the image's own": ({"image": "x"}, {}, ["blind"]),
    "arguments alone": ({"image": "x", "args": ["-v"]}, {}, ["blind"]),
    "no time": ({"command": ["nginx"]}, {"terminationGracePeriodSeconds": 0}, ["grace-none"]),
    "a hook that takes all of it": (
        {"command": ["nginx"], "lifecycle": {"preStop": {"sleep": {"seconds": 30}}}}, {}, ["stop-deferred"]),
    "a hook of a command": (
        {"command": ["nginx"], "lifecycle": {"preStop": {"exec": {"command": ["sh", "-c", "sleep 40"]}}}}, {},
        ["stop-deferred"]),
    "a short hook": ({"command": ["nginx"], "lifecycle": {"preStop": {"exec": {"command": ["sleep", "5"]}}}}, {}, []),
    "an exec probe": (
        {"command": ["java"], "livenessProbe": {"exec": {"command": ["x"]}}}, {}, ["reaping-latent"]),
    "its own stop signal": (
        {"command": ["/sbin/init"], "lifecycle": {"stopSignal": "SIGRTMIN+3"}}, {"os": {"name": "linux"}}, []),
    "a stop signal without the system's name": (
        {"command": ["/sbin/init"], "lifecycle": {"stopSignal": "SIGRTMIN+3"}}, {}, ["stop-signal-invalid"]),
    "systemd": ({"command": ["/sbin/init"]}, {}, ["stop-uncertain"]),
    "nonsense": ({"command": "sh -c x", "lifecycle": "y"}, {"terminationGracePeriodSeconds": "soon"}, ["blind"]),
}  # fmt: skip


@pytest.mark.parametrize("case", POD)
def test_pods(case: str, tmp_path: Path) -> None:
    """Command, namespace, grace period, hooks and probes each have their say."""
    container, pod, rules = POD[case]
    assert rules == [each.finding.rule for each in _pod(tmp_path, container, **pod)]


MANIFEST = """\
apiVersion: v1
kind: List
items:
- apiVersion: apps/v1
  kind: Deployment
  metadata:
    name: web
    namespace: shop
    labels: {team: checkout}
  spec:
    template:
      spec:
        initContainers:
        - {name: once, command: [sleep, "5"]}
        - {name: side, restartPolicy: Always, command: [sleep, inf]}
        containers:
        - name: app
          image: registry.example/web:1
          command:
            - tail
            - -f
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: nightly}
spec:
  jobTemplate:
    spec:
      template:
        spec:
          containers:
          - {name: job, image: debian:12, command: [sh, -c, "dump | gzip"]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: c}
data: {kind: Pod}
---
not a mapping
"""


def test_every_workload_of_every_document(tmp_path: Path) -> None:
    """Lists, templates and cron jobs; init containers that end by themselves are left out."""
    path = tmp_path / "all.yaml"
    path.write_text(MANIFEST)
    found = [each for each in lint(path) if each.finding.rule == "stop-dropped"]
    assert [
        ("shop/deployment/web/app", "checkout", "registry.example/web:1", 19),
        ("shop/deployment/web/side", "checkout", "", 15),
        ("cronjob/nightly/job", "", "debian:12", 32),
    ] == [(each.container, each.owner, each.image, each.line) for each in found]
    assert "spec.shareProcessNamespace: true" in found[0].finding.remedy


def test_a_template_is_refused_with_the_way_out(tmp_path: Path) -> None:
    """What Helm has not rendered is no YAML, and the error says what to do."""
    path = tmp_path / "deploy.yaml"
    path.write_text("apiVersion: v1\nkind: Pod\n{{ if .Values.x }}\nspec: {}\n{{ end }}\n")
    with pytest.raises(ConfigError, match="is no YAML") as caught:
        lint(path)
    assert "rendered first" in caught.value.hint


BOMB = "a: &a0 [x, x]\n" + "".join(f"b{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30))
MERGES = "a0: &a0 {x: 1, y: 2}\n" + "".join(
    f"b{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 30)
)


@pytest.mark.parametrize("text", [BOMB, MERGES, "a: &a [*a]\n", "[" * 5000, "a: !!python/object/apply:os.getcwd []\n"])
def test_no_yaml_takes_the_machine_down(text: str, tmp_path: Path) -> None:
    """Aliases that unfold without end, recursion and code are refused at once."""
    path = tmp_path / "x.yaml"
    path.write_text(f"apiVersion: v1\nkind: Pod\n{text}" if not text.startswith("[") else text)
    with pytest.raises(ConfigError):
        lint(path)


COMPOSE = """\
x-defaults: &defaults
  init: true
  pids_limit: 100
services:
  web:
    <<: *defaults
    image: debian:12
    command: sh -c "a; b"
  worker:
    build: {context: worker, target: run}
    pids_limit: 50
    stop_grace_period: 0s
  shell:
    image: debian:12
    entrypoint: ["/bin/sh", "-c"]
    command: ["a && exec $${PROGRAM:-b}"]
    deploy: {resources: {limits: {pids: 10}}}
  system:
    image: ${IMAGE:-debian}
    command: /sbin/init
    stop_signal: ${SIGNAL:-SIGRTMIN+3}
    pids_limit: -1
  other:
    image: registry.example/x
    command: sleep 9
    pid: host
    pids_limit: 1
"""


def test_compose_services(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Merged keys, builds with a stage, text that is split without a shell, variables with defaults."""
    monkeypatch.delenv("IMAGE", raising=False)
    monkeypatch.delenv("SIGNAL", raising=False)
    (tmp_path / "worker").mkdir()
    (tmp_path / "worker" / "Dockerfile").write_text('FROM debian AS run\nCMD gunicorn app\nFROM run\nCMD ["nginx"]\n')
    path = tmp_path / "compose.yaml"
    path.write_text(COMPOSE)
    found = {name: _said(lint(path, target=name)) for name in ("web", "worker", "shell", "system", "other")}
    assert {
        "web": [("stop-not-passed-on", "high", 8)],
        "worker": [("grace-none", "medium", 12), ("stop-dropped", "high", 10)],
        "shell": [("stop-uncertain", "low", 16)],
        "system": [("ids-unlimited", "medium", 22)],
        "other": [],
    } == found


def test_compose_remedies_are_compose(tmp_path: Path) -> None:
    """``init: true`` and ``pids_limit``, each with the line it is about."""
    path = tmp_path / "docker-compose.yml"
    path.write_text("services:\n  db:\n    image: debian\n    command: sleep inf\n")
    found = lint(path)
    assert [("stop-dropped", "init: true"), ("reaping-latent", "init: true"), ("ids-unlimited", "pids_limit: 512")] == [
        (each.finding.rule, each.finding.remedy) for each in found
    ]


CONFIG = {"Entrypoint": ["/bin/sh", "-c"], "Cmd": ["a; b"], "StopSignal": "SIGQUIT", "Labels": {"owner": "db"}}


def _archive(path: Path, files: dict[str, Any]) -> None:
    with tarfile.open(path, "w") as archive:
        for name, content in files.items():
            data = json.dumps(content).encode()
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


LAYOUT: dict[str, Any] = {
    "oci-layout": {"imageLayoutVersion": "1.0.0"},
    "index.json": {"manifests": [{"digest": "sha256:1", "annotations": {"org.opencontainers.image.ref.name": "x:1"}}]},
    "blobs/sha256/1": {"manifests": [{"digest": "sha256:2"}, {"digest": "sha256:9", "platform": {"os": "unknown"}}]},
    "blobs/sha256/2": {"config": {"digest": "sha256:3"}},
    "blobs/sha256/3": {"config": CONFIG},
}


@pytest.mark.parametrize("how", ["inspect", "oci", "save", "layout", "layout folder"])
def test_image_configurations(how: str, tmp_path: Path) -> None:
    """However an image's configuration is written down, the same is said."""
    path = tmp_path / ("image.json" if how in ("inspect", "oci") else "image.tar")
    if how == "inspect":
        path.write_text(json.dumps([{"Id": "sha256:1", "RepoTags": ["x:1"], "Config": CONFIG}]))
    elif how == "oci":
        path.write_text(json.dumps({"architecture": "amd64", "config": CONFIG}))
    elif how == "save":
        _archive(path, {"manifest.json": [{"Config": "c.json", "RepoTags": ["x:1"]}], "c.json": {"config": CONFIG}})
    elif how == "layout":
        _archive(path, LAYOUT)
    else:
        path = tmp_path / "layout"
        for name, content in LAYOUT.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_text(json.dumps(content))
    (found,) = lint(path)
    assert ("stop-dropped", "db", "SIGQUIT will be dropped") == (
        found.finding.rule,
        found.owner,
        found.finding.summary[:23],
    )
    assert ("image.json" if how == "oci" else "x:1") == found.image


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"manifest.json": [{"Config": "missing.json"}]},
        {"manifest.json": {"a": 1}},
        {"index.json": {"manifests": [{"digest": "sha256:../../etc/passwd"}]}},
        {"index.json": {"manifests": [{"digest": "sha256:1"}]}, "blobs/sha256/1": {"manifests": [{"digest": "sha256:1"}]}},
    ],
)  # fmt: skip
def test_a_damaged_archive_is_an_error(files: dict[str, Any], tmp_path: Path) -> None:
    """No image, a missing part, paths instead of digests, an index that names itself: none is an image without faults."""
    _archive(tmp_path / "image.tar", files)
    with pytest.raises(ConfigError, match="image"):
        lint(tmp_path / "image.tar")


def test_a_folder_is_walked(tmp_path: Path) -> None:
    """All files of a known kind, in order; a folder without any is an error."""
    with pytest.raises(ConfigError, match="no file in"):
        lint(tmp_path)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "Dockerfile").write_text("FROM debian\nCMD x y\n")
    (tmp_path / "b.yml").write_text("services: {x: {image: nginx}}\n")
    (tmp_path / "other.txt").write_text("CMD x")
    assert ["Dockerfile", "b.yml"] == [Path(start.path).name for start in starts(tmp_path)]
    (tmp_path / "c.yml").write_text("{{ broken }}: [")
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "Dockerfile").write_text("no from")
    assert [("c.yml", "blind"), ("Dockerfile", "blind")] == [
        (each.container, each.finding.rule) for each in lint(tmp_path) if each.path.endswith(("c.yml", "d/Dockerfile"))
    ]
    with pytest.raises(ConfigError, match="there is no file"):
        lint(tmp_path / "none")
