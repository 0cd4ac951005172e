"""Kubernetes: a CronJob whose pod runs the tick."""

from __future__ import annotations

from sretoolkit.errors import ConfigError
from sretoolkit.runbook.executor import executor_of
from sretoolkit.runbook.executors.kubernetes import KubernetesExecutor
from sretoolkit.runbook.export import Export, expression

_FORBID = {"skip": "Forbid", "queue": "Allow", "abort": "Allow"}  # what waits or aborts is seen to by the run itself


class KubernetesExport(Export):
    """A batch/v1 CronJob (Kubernetes 1.21 and later; before that the same is a batch/v1beta1).

    Its pod is that of the schedule's executor, or of ``[executors.kubernetes]``.
    """

    def files(self) -> dict[str, str]:
        """The manifest; raises `ConfigError` where no executor says in which image and namespace."""
        import yaml

        schedule = self.schedule
        executor = executor_of(schedule.executor if schedule.executor != "local" else "kubernetes", self.config)
        if not isinstance(executor, KubernetesExecutor):
            raise ConfigError(f"{schedule.executor!r} is no executor of kind kubernetes", hint="[executors.kubernetes]")
        command = [executor.python, "-m", "sretoolkit", *self.command[1:]]
        about = {"labels": {"app.kubernetes.io/name": "sretoolkit", "app.kubernetes.io/component": "schedule"}}
        job = {"backoffLimit": 0, "template": {"metadata": about, "spec": executor.pod(command)}}
        spec = {
            "schedule": expression(schedule),
            "concurrencyPolicy": _FORBID[schedule.overlap],
            "startingDeadlineSeconds": 300,
            "successfulJobsHistoryLimit": 1,
            "failedJobsHistoryLimit": 3,
            "jobTemplate": {"metadata": about, "spec": job},
        }
        zone, head = schedule.times.zone.key, ""
        if zone != "UTC":
            spec["timeZone"] = zone
            head = "# timeZone: Kubernetes 1.27 and later; before, these are times of the controller manager's zone\n"
        metadata = {"name": schedule.name, "namespace": executor.namespace, **about}
        manifest = {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": metadata, "spec": spec}
        return {f"{schedule.name}.yaml": head + yaml.safe_dump(manifest, sort_keys=False)}
