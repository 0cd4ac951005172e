"""The watchdog in Kubernetes: its manifest."""

from __future__ import annotations

import pytest

from sretoolkit.errors import ConfigError
from sretoolkit.plan.watchdog import manifests


def test_the_manifest_is_a_cron_job_without_a_secret_in_it() -> None:
    """The password is a reference, the pod runs as nobody in particular, and never two at once."""
    claim, job = manifests("registry.example/sretoolkit:1", namespace="ops")

    assert ("PersistentVolumeClaim", "CronJob", "batch/v1") == (claim["kind"], job["kind"], job["apiVersion"])
    assert "Forbid" == job["spec"]["concurrencyPolicy"]
    pod = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert ["sretoolkit", "watchdog", "--once"] == pod["containers"][0]["command"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    environment = {each["name"]: each.get("value") for each in pod["containers"][0]["env"]}
    assert "file:/etc/sretoolkit/password" == environment["SRETOOLKIT_STORE_PASSWORD"]
    assert claim["metadata"]["name"] == pod["volumes"][1]["persistentVolumeClaim"]["claimName"]


def test_no_image_is_refused() -> None:
    """A manifest of an image that cannot be is not printed."""
    with pytest.raises(ConfigError, match="no image"):
        manifests("two words", namespace="ops")
