"""``python -m sretoolkit.runbook.worker``: carries out one run that is told on its standard input.

It answers one line of JSON, ``{"opened": RUN}`` or ``{"error": ..., "hint": ...}``, and says no more: what comes of the
run is in the store. ``python -m sretoolkit.runbook.worker RUN`` reads what it is to do from the store.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from sretoolkit.config import Config, Value
from sretoolkit.errors import SREToolkitError
from sretoolkit.runbook.queue import Queue
from sretoolkit.runbook.request import Request
from sretoolkit.runbook.run import run_runbook
from sretoolkit.secrets import redaction
from sretoolkit.store import open_store


def main(arguments: list[str]) -> int:
    """Read the request, run it; returns the run's exit code."""
    return _from_store(arguments[0]) if arguments else _from_input()


def _from_store(run: str) -> int:
    """A request that lies in the store of this process's configuration; what is wrong with it is said there."""
    config = Config.load()
    with open_store(config) as store:
        queue = Queue(store)
        asked = queue.load(run)
        try:
            result = run_runbook(asked.request.order(config), config)
        except SREToolkitError as error:
            queue.say(run, "refused", error=str(error))
            print(f"error: {redaction(str(error))}", file=sys.stderr)
            return error.exit_code
    print(f"run {run}: {result.state} {redaction(result.error)}".rstrip())
    return result.exit_code


def _from_input() -> int:
    told = json.loads(sys.stdin.readline())
    config = Config({key: Value(key, value, origin) for key, value, origin in told["config"]})
    answered = False

    def on_event(kind: str, about: dict[str, Any]) -> None:
        """Answer when the run is open."""
        nonlocal answered
        if kind == "opened":
            answered = True
            _answer({"opened": about["run"]})

    try:
        return run_runbook(Request.from_dict(told["request"]).order(config), config, on_event=on_event).exit_code
    except SREToolkitError as error:
        if answered:
            raise
        _answer({"error": redaction(error.message), "hint": redaction(error.hint)})
        return error.exit_code


def _answer(line: dict[str, str]) -> None:
    """Say it, and let go of whoever listens: nothing written later may fail because nobody does."""
    print(json.dumps(line), flush=True)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1):
        os.dup2(nowhere, descriptor)
    os.close(nowhere)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
