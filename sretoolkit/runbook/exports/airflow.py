"""Airflow: a DAG of one task."""

from __future__ import annotations

from sretoolkit.runbook.export import Export, expression


class AirflowExport(Export):
    """A file for Airflow's DAG folder (2.4 and later); the worker needs sretoolkit and its configuration."""

    def files(self) -> dict[str, str]:
        """A Python file whose every word that is not ours is a literal; nothing of it is a template of Jinja's."""
        schedule = self.schedule
        text = f'''"""Runs a tick of a schedule of sretoolkit. Made by `sretoolkit schedule export`; do not edit."""

import subprocess

import pendulum

try:
    from airflow.sdk import dag, task
except ImportError:  # Airflow 2
    from airflow.decorators import dag, task


@dag(
    dag_id={f"sretoolkit-{schedule.name}"!r},
    description={self.title!r},
    schedule={expression(schedule)!r},
    start_date=pendulum.datetime(2024, 1, 1, tz={schedule.times.zone.key!r}),
    catchup=False,
    max_active_runs={1 if schedule.overlap == "skip" else 16},
    tags=["sretoolkit"],
)
def scheduled():
    """The whole of it."""

    @task(retries=0)
    def fire():
        """A run is begun once; what becomes of it is in sretoolkit's own record."""
        command = {self.command!r}
        process = subprocess.Popen(command)
        try:
            code = process.wait()
        except BaseException:  # whoever ends the task ends the run, which takes back what it did
            process.terminate()
            process.wait()
            raise
        if code:
            raise subprocess.CalledProcessError(code, command)

    fire()


scheduled()
'''
        return {f"sretoolkit_{schedule.name.replace('-', '_')}.py": text}
