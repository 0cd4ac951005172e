"""This machine: a run is a process of its own, which goes on when the one that began it ends."""

from __future__ import annotations

import json
import threading

from sretoolkit.errors import RunbookError
from sretoolkit.runbook.executor import Executor
from sretoolkit.runbook.forked import PIPE, start
from sretoolkit.runbook.request import Request


class LocalExecutor(Executor):
    """Starts `sretoolkit.runbook.worker`, in a session of its own."""

    def start(self, request: Request) -> str:
        """Returns once the run is open in the store; raises `RunbookError` with what the worker says is wrong."""
        told = {"request": request.to_dict(), "config": [[each.key, each.value, each.origin] for each in self.config]}
        worker = start("worker", stdin=PIPE, stdout=PIPE)
        assert worker.stdin is not None
        assert worker.stdout is not None
        threading.Thread(target=worker.wait, name=f"run-{request.id}", daemon=True).start()
        try:
            worker.stdin.write(json.dumps(told).encode() + b"\n")
            worker.stdin.close()
        except BrokenPipeError:
            pass  # it ended at once: its answer, or that there is none, says why
        with worker.stdout as stream:
            line = stream.readline()
        if not line:
            raise RunbookError(f"the process of run {request.id} ended before it began", hint="`sretoolkit doctor`")
        answer = json.loads(line)
        if "error" in answer:
            raise RunbookError(answer["error"], hint=answer["hint"])
        return f"process {worker.pid}"
