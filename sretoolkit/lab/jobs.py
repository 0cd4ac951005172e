"""Lab's own scheduler with our engine: a job is a run, with typed parameters, a journal and a status that is true."""

from __future__ import annotations

import shutil
from pathlib import Path

import nbformat
from jupyter_scheduler.executors import DefaultExecutionManager
from jupyter_scheduler.models import JobFeature

from sretoolkit.config import Config
from sretoolkit.errors import RunbookError, SREToolkitError
from sretoolkit.runbook.access import require_operator
from sretoolkit.runbook.notebook import Runbook
from sretoolkit.runbook.run import Order, Result, run_runbook
from sretoolkit.store import open_store


class RunbookJob(DefaultExecutionManager):
    """One job of jupyter-scheduler, in the process that it starts for it.

    The mode is that of ``run.mode``, as for stock papermill with our engine. Parameters come as texts, and are read by the
    types that the notebook declares; what does not fit fails the job before a kernel starts.
    """

    def execute(self) -> None:
        """Run it; raises what is wrong, so that the job is failed and says why."""
        config = Config.load()
        found = Runbook.read(Path(self.staging_paths["input"]))
        given = self.model.parameters or {}
        values = found.parameters.check(given, texts=set(given))
        with open_store(config) as store:
            require_operator(config, store, found.name)
        result = run_runbook(Order(found, values, mode=config["run.mode"], origin="jupyter-scheduler"), config)
        self._hand_out(result)
        if not result.ok:
            raise RunbookError(f"run {result.run} {result.state.replace('_', ' ')}: {result.error}")

    def _hand_out(self, result: Result) -> None:
        """Give the scheduler its copies of the record; the record itself stays where records are."""
        if result.notebook is None:
            return
        node = nbformat.read(result.notebook, as_version=4)
        self.create_output_files(self.model, node)
        if result.html and "html" in self.staging_paths:
            shutil.copyfile(result.html, self.staging_paths["html"])

    def validate(cls, input_path: str) -> bool:  # noqa: N805 - the scheduler calls it with the class, as a plain function
        """Whether it is a notebook that we can run."""
        try:
            return Runbook.read(Path(input_path)).language() == "python"
        except SREToolkitError:
            return False

    def supported_features(cls) -> dict[JobFeature, bool]:  # noqa: N805
        """What the dialog offers. A job is not killed by the scheduler: a run is aborted, and takes back what it did."""
        return {**DefaultExecutionManager.supported_features(cls), JobFeature.stop_job: False}
