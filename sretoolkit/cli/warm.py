"""``warm``, and handing a run over to the process that it keeps."""

from __future__ import annotations

import os
import signal
from typing import Any

import click

from sretoolkit.runbook.forked import warm, warm_pid, warm_up


@click.command("warm")
@click.option("--stop", is_flag=True, help="End it.")
def warm_command(stop: bool) -> None:
    """Keep a process that has everything loaded: runs start in a fraction of the time.

    One for a login; it ends by itself after half an hour without a run, and when sretoolkit is upgraded.
    """
    from sretoolkit.clock import poll
    from sretoolkit.errors import RunbookError

    pid = warm_pid()
    if stop:
        if pid is not None:
            os.kill(pid, signal.SIGTERM)
        click.echo("there is none" if pid is None else f"process {pid} was ended")
        return
    if pid is None:
        process, _ = warm_up()
        if not poll(lambda: warm_pid() is not None or process.poll() is not None, timeout=60) or warm_pid() is None:
            raise RunbookError(
                "the warm process did not come up", hint="`python -m sretoolkit.runbook.warm /tmp/x` says why"
            )
    click.echo(f"process {warm_pid()} is warm: `sretoolkit run` starts its runs from it")


def handed_over(arguments: list[str]) -> int | None:
    """The exit code of the command, carried out by a fork of the warm process; None when there is none.

    Signals to us are passed on; if we are killed, the fork is hung up on, and takes back what it has done.
    """
    fork = warm("command", arguments, None, None, bound=True, environment=os.environ)
    if fork is None:
        return None

    def pass_on(number: int, frame: Any) -> None:
        """Pass the signal on."""
        fork.send_signal(number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, pass_on)
    code = fork.wait()
    return code if code >= 0 else 128 - code
