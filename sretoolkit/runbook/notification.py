"""Telling people, by the commands that they configured."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from sretoolkit.config import Config


def notify(config: Config, about: Mapping[str, Any]) -> None:
    """Give JSON to each of ``notify.commands``; one that fails is said, and keeps nobody from being told."""
    message = json.dumps(about)
    for command in config["notify.commands"]:
        try:
            subprocess.run(command, input=message, text=True, timeout=30, check=True, stdout=subprocess.DEVNULL)
        except (OSError, subprocess.SubprocessError) as error:
            print(f"sretoolkit: {command} was not told: {error}", file=sys.stderr)
