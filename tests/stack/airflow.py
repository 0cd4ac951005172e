"""A real Apache Airflow in a virtual environment of its own: its commands, with a home and a database below a folder.

Nothing of it listens, and nothing is left running: each command ends by itself. It is built once, into the cache.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.stack.environments import environment

VERSION = "3.3.2"
_QUIET = {
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
    "DO_NOT_TRACK": "1",
    "NO_COLOR": "1",
}


class Airflow:
    """``variables`` are what its tasks see besides; its DAGs are in ``dags``."""

    def __init__(self, folder: Path, variables: Mapping[str, str]) -> None:
        self.dags = folder / "dags"
        self.dags.mkdir(parents=True)
        self.environment = {**variables, **_QUIET, "AIRFLOW_HOME": str(folder), "PYTHONPATH": ""}
        self._python = str(environment(f"airflow-{VERSION}", f"apache-airflow=={VERSION}") / "bin/python")

    def migrate(self) -> None:
        """Make its database, an SQLite one."""
        self.run("db", "migrate")

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start one of its commands, in a session of its own."""
        return self._start("-m", "airflow", *arguments)

    def run(self, *arguments: str) -> str:
        """What one of its commands prints; raises `RuntimeError` with that when it fails."""
        return self._said(self.start(*arguments))

    def python(self, text: str, *arguments: str) -> str:
        """What a program prints in its interpreter."""
        return self._said(self._start("-c", text, *arguments))

    def end(self, process: subprocess.Popen[str]) -> None:
        """Kill one of its commands, and what its task began, if it still goes on."""
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()

    def _start(self, *arguments: str) -> subprocess.Popen[str]:
        heard = ["env", "--default-signal=INT"]  # whoever runs the tests in the background may have it ignored
        return subprocess.Popen(
            [*heard, self._python, *arguments], cwd=self.dags.parent, env={**os.environ, **self.environment}, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip

    def _said(self, process: subprocess.Popen[str]) -> str:
        try:
            output, _ = process.communicate(timeout=120)
        finally:
            self.end(process)
        if process.returncode:
            raise RuntimeError(f"{process.args!r} ended with {process.returncode}:\n{output[-6000:]}")
        return output
