"""Kubernetes: a run is a Job of one pod, which reads what it is to do from the store by the run's id.

The manifest holds the id and nothing else of the run. What comes of it (journal, record) is in the store, which must be
PostgreSQL; so the run goes on without whoever began it, and any machine can recover it when its pod is gone.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sretoolkit.clock import parse_duration
from sretoolkit.errors import ConfigError, HostError
from sretoolkit.hosts.cluster import Cluster, ClusterError
from sretoolkit.plan.watchdog import NAME, environment
from sretoolkit.runbook.executor import Executor
from sretoolkit.runbook.request import Request
from sretoolkit.store import open_store

HOME = "/var/lib/sretoolkit"
_KEYS = "/etc/sretoolkit-keys"
_KEEP = 3600  # seconds that a Job that ended is kept, by servers that clear up (1.21 and later)
_COPY_KEYS = f'umask 077 && mkdir -p {HOME}/keys && cp {_KEYS}/* {HOME}/keys/ && exec "$@"'


@dataclass(frozen=True)
class KubernetesExecutor(Executor):
    """``[executors.NAME]`` with ``kind = "kubernetes"``.

    ``image`` has sretoolkit[postgres]. ``settings`` is a Secret with url, password and sretoolkit.toml, as of the watchdog;
    ``keys`` one with signing.key (without it each pod signs with a key of its own, and its runs show as unknown-key);
    ``environment`` are Secrets whose keys become variables, for references such as "env:TOKEN"; ``runbooks`` a ConfigMap of
    notebooks. ``template`` is a YAML file with a pod's spec, which is added to ours and wins. ``startup``: a pod that has
    not begun its run by then is given up.
    """

    image: str = ""
    context: str = ""
    kubeconfig: str = ""
    namespace: str = NAME
    settings: str = NAME
    keys: str = ""
    runbooks: str = ""
    environment: list[str] = field(default_factory=list)
    service_account: str = ""
    resources: dict[str, Any] = field(default_factory=dict)
    template: str = ""
    python: str = "python"
    startup: str = "10m"

    def check(self) -> None:
        """The store must be one that a pod reaches, too, and there must be an image."""
        with open_store(self.config) as store:
            if not store.shared:
                raise ConfigError(
                    "a run in Kubernetes needs a store that its pod reaches, and this one is a file of this machine",
                    hint="set store.url to postgresql+psycopg://..., for the pods in the Secret that they are given",
                )
        self.pod([])

    def start(self, request: Request) -> str:
        """Make the Job; one that is there already is this run's, for its name is. Raises as `check` does."""
        self.check()
        job = self.job(request.id)
        with self._cluster() as cluster:
            try:
                cluster.create(self._jobs, job)
            except ClusterError as error:
                if error.status != 409:
                    raise
        return f"job {self.namespace}/{job['metadata']['name']}"

    def lost(self, run: str) -> str:
        """What became of a Job whose run is not open: "" while its pod may still begin it."""
        name = _name(run)
        with self._cluster() as cluster:
            try:
                job = cluster.get(f"{self._jobs}/{name}")
            except ClusterError as error:
                if error.status != 404:
                    raise
                return f"its job {self.namespace}/{name} is gone, and had not begun it"
            status = job.get("status") or {}
            ended = [each for each in status.get("conditions") or () if each.get("status") == "True"]
            age = time.time() - _seconds(job["metadata"]["creationTimestamp"])
            if not ended and age < parse_duration(self.startup).total_seconds():
                return ""
            why = self._why(cluster, name) or next((str(each.get("message", "")) for each in ended), "")
            if not ended:
                cluster.delete(f"{self._jobs}/{name}", uid=job["metadata"]["uid"])
                return f"its pod had not begun it after {self.startup}, and was given up: {why}"
            return f"its pod ended before it began it: {why}"

    def job(self, run: str) -> dict[str, Any]:
        """The manifest: run once, never again by itself."""
        command = [self.python, "-m", "sretoolkit.runbook.worker", run]
        about = {"labels": {**_LABELS, "sretoolkit/run": run}}
        template = {"metadata": about, "spec": self.pod(command)}
        spec = {"backoffLimit": 0, "ttlSecondsAfterFinished": _KEEP, "template": template}
        metadata = {"name": _name(run), "namespace": self.namespace, **about}
        return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}

    def pod(self, command: list[str]) -> dict[str, Any]:
        """The specification of a pod that runs a command of ours; raises `ConfigError` without an image."""
        if not self.image or any(character.isspace() for character in self.image):
            hint = "set image in [executors.kubernetes]; docs/schedules.md says how one is made"
            raise ConfigError(f"{self.image!r} is no image for runs in Kubernetes", hint=hint)
        container = {
            "name": "run",
            "image": self.image,
            "command": ["sh", "-c", _COPY_KEYS, "sh", *command] if self.keys else command,
            "workingDir": HOME,
            "env": [*environment(), {"name": "HOME", "value": HOME}],
            "envFrom": [{"secretRef": {"name": name}} for name in self.environment],
            "resources": self.resources
            or {"requests": {"cpu": "250m", "memory": "512Mi"}, "limits": {"memory": "2Gi"}},
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
            "volumeMounts": [{"name": name, "mountPath": path} for name, path, _ in self._volumes()],
        }
        pod = {
            "restartPolicy": "Never",
            "shareProcessNamespace": True,  # whoever a kernel leaves behind is reaped
            "terminationGracePeriodSeconds": 120,  # an evicted run undoes what it began
            "securityContext": {"runAsNonRoot": True, "runAsUser": 10001, "fsGroup": 10001},
            "containers": [container],
            "volumes": [{"name": name, **source} for name, _, source in self._volumes()],
        }
        pod |= {"serviceAccountName": self.service_account} if self.service_account else {}
        whole: dict[str, Any] = _merged(pod, self._template())
        return whole

    def _volumes(self) -> list[tuple[str, str, dict[str, Any]]]:
        """Name, place and source of each."""
        found: list[tuple[str, str, dict[str, Any]]] = [
            ("state", HOME, {"emptyDir": {}}),
            ("settings", "/etc/sretoolkit", {"secret": {"secretName": self.settings, "defaultMode": 0o440}}),
        ]
        if self.keys:
            found.append(("keys", _KEYS, {"secret": {"secretName": self.keys, "defaultMode": 0o440}}))
        if self.runbooks:
            found.append(("runbooks", f"{HOME}/runbooks", {"configMap": {"name": self.runbooks}}))
        return found

    def _template(self) -> dict[str, Any]:
        if not self.template:
            return {}
        import yaml

        try:
            content = yaml.safe_load(Path(self.template).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise ConfigError(
                f"{self.template} cannot be read: {error}", hint="it is the spec of a pod, YAML"
            ) from error
        if not isinstance(content, dict):
            raise ConfigError(f"{self.template} is no pod's spec", hint="nodeSelector, volumes, containers and so on")
        return content

    def _cluster(self) -> Cluster:
        return Cluster(self.context, kubeconfig=self.kubeconfig, patience=lambda: 20.0)

    @property
    def _jobs(self) -> str:
        return f"/apis/batch/v1/namespaces/{self.namespace}/jobs"

    def _why(self, cluster: Cluster, job: str) -> str:
        """What is known of the newest pod of a Job, and its last words."""
        path = f"/api/v1/namespaces/{self.namespace}/pods"
        pods = cluster.items(path, labelSelector=f"job-name={job}")
        if not pods:
            return "there is no pod"
        pod = max(pods, key=lambda each: str(each["metadata"]["creationTimestamp"]))
        name, status = pod["metadata"]["name"], pod.get("status") or {}
        said = [status.get("reason"), status.get("message")]
        for container in status.get("containerStatuses") or ():
            for state in (container.get("state") or {}).values():
                said += [state.get("reason"), state.get("message")]
                said += [f"exit code {state['exitCode']}"] if "exitCode" in state else []
        said += [each.get("message") for each in status.get("conditions") or () if each.get("status") == "False"]
        with suppress(HostError):  # whoever may not list events has the rest
            events = cluster.items(
                f"/api/v1/namespaces/{self.namespace}/events", fieldSelector=f"involvedObject.name={name},type=Warning"
            )
            said += [each.get("message") for each in events[-3:]]
        log = ""
        with suppress(HostError):  # its node is gone, or nothing ran
            log = cluster.text(f"{path}/{name}/log", tailLines=20, container="run").strip()
        words = list(dict.fromkeys(str(word) for word in said if word))
        return f"pod {name}: {', '.join(words)}" + (f"; its log ends: {log[-1000:]}" if log else "")


_LABELS = {"app.kubernetes.io/name": NAME, "app.kubernetes.io/component": "run"}


def _name(run: str) -> str:
    return f"{NAME}-{run}"


def _seconds(iso: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(iso).timestamp()


def _merged(ours: Any, given: Any) -> Any:
    """The given value wins; tables are merged, and lists joined, but for ``containers``, of which each has a name."""
    if isinstance(ours, Mapping) and isinstance(given, Mapping):
        merged = {key: _merged(ours[key], given[key]) if key in given else ours[key] for key in ours}
        return {**merged, **{key: value for key, value in given.items() if key not in ours}}
    if isinstance(ours, list) and isinstance(given, list):
        if any(isinstance(each, Mapping) and each.get("name") == "run" for each in ours):
            named = {each.get("name"): each for each in given}
            rest = [each for each in given if each.get("name") != "run"]
            return [_merged(each, named.get(each["name"], {})) for each in ours] + rest
        return [*ours, *given]
    return given
