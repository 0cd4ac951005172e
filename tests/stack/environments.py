"""Virtual environments of their own for foreign Python programs, each made once, into the cache."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.stack.images import CACHE, made


def environment(name: str, *requirements: str) -> Path:
    """The folder of one with these packages; raises `RuntimeError` with pip's last words where it cannot be made."""
    with made(name, cache=CACHE.parent) as (place, missing):
        if missing:
            subprocess.run([sys.executable, "-m", "venv", str(missing)], check=True, timeout=300)
            # not by bin/pip: the folder gets another name afterwards
            pip = [str(missing / "bin/python"), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
            done = subprocess.run([*pip, *requirements], capture_output=True, text=True, timeout=1800)
            if done.returncode:
                raise RuntimeError(done.stderr.strip()[-2000:])
    return place
