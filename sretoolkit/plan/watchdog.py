"""A watchdog in Kubernetes: the manifest of a CronJob that takes back what a runner began whose machine is gone."""

from __future__ import annotations

from typing import Any

from sretoolkit.errors import ConfigError

NAME = "sretoolkit"  # of the Secret with url, password and sretoolkit.toml, and of the claim that keeps the signing key


def manifests(image: str, *, namespace: str) -> list[dict[str, Any]]:
    """A batch/v1 CronJob (Kubernetes 1.21 and later) that runs ``sretoolkit watchdog --once`` every minute, and its claim.

    The store must be PostgreSQL: its address and password come from the Secret ``sretoolkit``, and so does the file
    ``sretoolkit.toml`` (hosts and clusters of the rollouts). Raises `ConfigError` without an image.
    """
    if not image or any(character.isspace() for character in image):
        raise ConfigError(f"{image!r} is no image", hint="name one that has sretoolkit[postgres] installed")
    container = {
        "name": "watchdog",
        "image": image,
        "command": ["sretoolkit", "watchdog", "--once"],
        "env": environment(),
        "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [
            {"name": "settings", "mountPath": "/etc/sretoolkit", "readOnly": True},
            {"name": "state", "mountPath": "/var/lib/sretoolkit"},
        ],
    }
    pod = {
        "restartPolicy": "Never",
        "shareProcessNamespace": True,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 10001, "fsGroup": 10001},
        "containers": [container],
        "volumes": [
            {"name": "settings", "secret": {"secretName": NAME, "defaultMode": 0o440}},
            {"name": "state", "persistentVolumeClaim": {"claimName": NAME}},
        ],
    }
    job = {"backoffLimit": 0, "activeDeadlineSeconds": 1800, "template": {"metadata": _about(), "spec": pod}}
    spec = {
        "schedule": "* * * * *",
        "concurrencyPolicy": "Forbid",
        "startingDeadlineSeconds": 120,
        "successfulJobsHistoryLimit": 1,
        "failedJobsHistoryLimit": 3,
        "jobTemplate": {"spec": job},
    }
    about = {"name": f"{NAME}-watchdog", "namespace": namespace, **_about()}
    return [_claim(namespace), {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": about, "spec": spec}]


def environment() -> list[dict[str, Any]]:
    """Where the store is; its password is read from a file, never from here."""
    return [
        {"name": "SRETOOLKIT_STORE_URL", "valueFrom": {"secretKeyRef": {"name": NAME, "key": "url"}}},
        {"name": "SRETOOLKIT_STORE_PASSWORD", "value": "file:/etc/sretoolkit/password"},
        {"name": "SRETOOLKIT_CONFIG", "value": "/etc/sretoolkit/sretoolkit.toml"},
        {"name": "SRETOOLKIT_JOURNAL_KEYS", "value": "/var/lib/sretoolkit/keys"},
    ]


def _claim(namespace: str) -> dict[str, Any]:
    """Where the key stays with which it signs: a new one each minute would be known to nobody."""
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "16Mi"}}}
    about = {"name": NAME, "namespace": namespace, **_about()}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": about, "spec": spec}


def _about() -> dict[str, Any]:
    return {"labels": {"app.kubernetes.io/name": NAME, "app.kubernetes.io/component": "watchdog"}}
