"""The kernel's side: a guard process, and in its child an IPython kernel that knows which run it works for.

``python -m sretoolkit.runbook.kernel CONNECTION_FILE GRANT_FD``. The grant (one line of JSON: run, store, mode,
secrets) comes through an inherited pipe, so it is in no argument list, environment or file. The pipe stays open as long
as the supervisor lives; when it ends, the guard kills the kernel and everything that descends from it.
"""

from __future__ import annotations

import atexit
import ctypes
import json
import logging
import os
import select
import signal
import sys
from typing import Any

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


def main(arguments: list[str]) -> None:
    """Read the grant, fork: the parent guards, the child is the kernel."""
    connection_file, pipe = arguments[0], int(arguments[1])
    grant = _read_line(pipe)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    me = os.getpid()
    kernel = os.fork()
    if kernel:
        guard(kernel, pipe)
    os.close(pipe)
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != me:
        sys.exit("sretoolkit: the guard ended before the kernel began")
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):  # sent to a whole service, they are the supervisor's to answer;
        signal.signal(number, lambda number, frame: None)  # a handler, for what is ignored stays so in children
    serve(connection_file, json.loads(grant))


def guard(kernel: int, pipe: int) -> None:
    """Wait for the kernel's end, or the supervisor's; leave no descendant behind; exit with the kernel's code."""
    end = os.pidfd_open(kernel)
    poller = select.poll()
    poller.register(end, select.POLLIN)
    poller.register(pipe, select.POLLIN)
    ready = {number for number, _ in poller.poll()}
    if end not in ready:
        os.kill(kernel, signal.SIGKILL)
    _, status = os.waitpid(kernel, 0)
    kill_children()
    code = os.waitstatus_to_exitcode(status)
    os._exit(code if code >= 0 else 128 - code)


def kill_children() -> None:
    """Kill this process's children until none is left; as a subreaper it inherits every orphan below it."""
    while True:
        with open(f"/proc/{os.getpid()}/task/{os.getpid()}/children") as file:
            children = [int(child) for child in file.read().split()]
        killed = [_kill(child) for child in children]
        if children and not any(killed):
            return  # what is left belongs to another user (sudo): the supervisor cannot end it either
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def _kill(child: int) -> bool:
    try:
        os.kill(child, signal.SIGKILL)
    except PermissionError:
        return False
    return True


def serve(connection_file: str, grant: dict[str, Any]) -> None:
    """Be the kernel until told to shut down."""
    _enter_session(grant)
    from ipykernel.kernelapp import IPKernelApp

    app: Any = IPKernelApp.instance()
    app.initialize(
        ["-f", connection_file, "--HistoryManager.enabled=False", "--IPKernelApp.parent_handle=1", "--colors=NoColor"]
    )
    atexit.register(_leave)
    app.start()


def _leave() -> None:
    """End at once when the notebook's own exit handlers have run (they were registered later, so they run earlier).

    What would come next is ipykernel closing its threads, which in every third run or so waits for ever for one another.
    """
    logging.shutdown()
    os._exit(0)


def _enter_session(grant: dict[str, Any]) -> None:
    """Make `sretoolkit.plan` know the run: plans in this process are journalled there, in its mode."""
    from sretoolkit import secrets
    from sretoolkit.actor import Actor
    from sretoolkit.config import Config, Value
    from sretoolkit.journal import Journal
    from sretoolkit.plan.session import Session, enter
    from sretoolkit.store import Store

    secrets.grant(grant["secrets"])
    config = Config({key: Value(key, value, origin) for key, value, origin in grant["config"]})
    store = Store(config["store.url"], password=grant["store_password"], timeout=config.seconds("store.timeout"))
    journal = Journal(store, grant["run"], actor=Actor(**grant["actor"]))
    enter(Session(config, store, journal, grant["mode"], supervised=True, **grant["session"]))


def _read_line(pipe: int) -> bytes:
    line = bytearray()
    while not line.endswith(b"\n"):
        if not (chunk := os.read(pipe, 65536)):
            sys.exit("sretoolkit: the supervisor ended before the kernel began")
        line += chunk
    return bytes(line)


def prctl(option: int, value: int) -> None:
    """The system call; raises `OSError` where the kernel refuses."""
    library = ctypes.CDLL(None, use_errno=True)
    if library.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option})")


if __name__ == "__main__":
    main(sys.argv[1:])
