"""Podman with a store of the tests' own; its image borrows this machine's programs, as that of `Docker` does."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Self

from tests.stack.docker import BORROWED, IMAGE, packed_root

# The limits are this machine's, which may allow less than Podman asks for.
_CONF = """[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
init_path = "/usr/bin/catatonit"
[containers]
netns = "none"
default_ulimits = ["nofile=1024:4096", "nproc=8192:8192"]
"""


class Podman:
    """Containers of its own, all gone at the end; ``environment``: what leads any podman command to them."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="podman-"))
        (self._folder / "containers.conf").write_text(_CONF)
        store = f'[storage]\ndriver = "vfs"\ngraphroot = "{self._folder}/store"\nrunroot = "{self._folder}/run"\n'
        (self._folder / "storage.conf").write_text(store)
        self.environment = {
            "CONTAINERS_CONF": f"{self._folder}/containers.conf",
            "CONTAINERS_STORAGE_CONF": f"{self._folder}/storage.conf",
        }

    def __enter__(self) -> Self:
        command = ["podman", "import", "-", IMAGE]
        packed = packed_root(self._folder / "root")
        subprocess.run(command, input=packed, env=self._all, capture_output=True, check=True)
        return self

    def __exit__(self, *_: object) -> None:
        self.call("rm", "-a", "-f", "-t", "0", check=False)
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def _all(self) -> dict[str, str]:
        return {**os.environ, **self.environment}

    def call(self, *arguments: str | Path, check: bool = True, timeout: float = 60) -> str:
        """What ``podman ARGUMENTS`` says."""
        done = subprocess.run(
            ["podman", *arguments], capture_output=True, text=True, timeout=timeout, env=self._all, check=False
        )
        if check and done.returncode:
            raise RuntimeError(f"podman {' '.join(map(str, arguments))}: {done.stderr}")
        return done.stdout

    def run(self, *command: str, options: tuple[str, ...] = (), name: str) -> str:
        """Start a container in the background; returns its name."""
        self.call("run", "-d", "--name", name, *BORROWED, *options, IMAGE, *command)
        return name
