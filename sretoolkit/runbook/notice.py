"""Telling people: the configured commands, each with one line of JSON on its standard input."""

from __future__ import annotations

import subprocess
import sys

from sretoolkit.config import Config


def notify(config: Config, message: str) -> None:
    """Tell everyone configured; one who cannot be told is said on standard error, and keeps nobody else from it."""
    for command in config["notify.commands"]:
        try:
            subprocess.run(command, input=message, text=True, timeout=30, check=True, stdout=subprocess.DEVNULL)
        except (OSError, subprocess.SubprocessError) as error:
            print(f"sretoolkit: {command} was not told: {error}", file=sys.stderr)
