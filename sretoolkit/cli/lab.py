"""``lab`` and ``panel``."""

from __future__ import annotations

import click


@click.command("lab", context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def lab_command(arguments: tuple[str, ...]) -> None:
    """Open JupyterLab: runbooks in the launcher, loopback only, token on. Further arguments go to `jupyter lab`."""
    import os

    from sretoolkit.lab.commands import environment, lab_command

    command = lab_command(arguments)
    os.execve(command[0], command, environment())  # noqa: S606 - this process becomes JupyterLab


@click.command("panel", context_settings={"ignore_unknown_options": True})
@click.argument("name", metavar="NOTEBOOK|RUNBOOK")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def panel_command(name: str, arguments: tuple[str, ...]) -> None:
    """Serve a notebook's panels, or a runbook's form, as a page of buttons: no code, loopback only, token on.

    Further arguments go to `voila`: --port=8867, --no-browser.
    """
    import os

    from sretoolkit.config import Config
    from sretoolkit.lab.commands import environment, panel_command

    command = panel_command(name, arguments, Config.load())
    os.execve(command[0], command, environment())  # noqa: S606 - this process becomes Voilà
