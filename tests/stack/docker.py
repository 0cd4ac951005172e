"""A Docker Engine of the tests' own: its own socket, folders and network namespace; its image borrows this machine's programs."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Self

from sretoolkit.clock import poll

IMAGE = "borrowed"
# The machine's own programs and libraries, read-only: nothing is downloaded or built.
BORROWED = ("-v", "/usr:/usr:ro", "-v", "/etc:/etc:ro")


class Docker:
    """A running engine; everything that it started is gone at the end. ``url`` is for DOCKER_HOST."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="docker-"))
        self.url = f"unix://{self._folder}/socket"
        self._count = 0

    def __enter__(self) -> Self:
        folder = self._folder
        command: list[str | Path] = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh", "dockerd"]
        command += ["-H", self.url, "--data-root", folder / "data", "--exec-root", folder / "exec"]
        command += ["--pidfile", folder / "pid", "--iptables=false", "--ip6tables=false"]
        with (folder / "log").open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        if not poll(lambda: self._process.poll() is not None or self._answers(), timeout=60) or self._process.poll():
            raise RuntimeError(f"dockerd did not start: {(folder / 'log').read_text(errors='replace')[-2000:]}")
        self._import()
        return self

    def __exit__(self, *_: object) -> None:
        listed = self.call("ps", "-aq", check=False).split()
        if listed:
            self.call("rm", "-f", *listed, check=False)
        self._process.terminate()
        self._process.wait(30)
        shutil.rmtree(self._folder, ignore_errors=True)

    def call(self, *arguments: str | Path, check: bool = True, timeout: float = 60) -> str:
        """What ``docker ARGUMENTS`` says."""
        environment = {**os.environ, "DOCKER_HOST": self.url}
        done = subprocess.run(
            ["docker", *arguments], capture_output=True, text=True, timeout=timeout, env=environment, check=False
        )
        if check and done.returncode:
            raise RuntimeError(f"docker {' '.join(map(str, arguments))}: {done.stderr}")
        return done.stdout

    def run(
        self, *command: str, options: tuple[str, ...] = (), image: str = IMAGE, name: str = "", network: str = "none"
    ) -> str:
        """Start a container in the background, without network unless one is named; returns its name."""
        self._count += 1
        name = name or f"case-{os.getpid()}-{self._count}"
        self.call("run", "-d", "--name", name, "--network", network, *BORROWED, *options, image, *command)
        return name

    def pid(self, name: str) -> int:
        """Its first process, as this machine sees it."""
        return int(self.call("inspect", "--format", "{{.State.Pid}}", name))

    def _answers(self) -> bool:
        return bool(self.call("version", "--format", "{{.Server.Version}}", check=False).strip())

    def _import(self) -> None:
        packed = packed_root(self._folder / "root")
        environment = {**os.environ, "DOCKER_HOST": self.url}
        subprocess.run(["docker", "import", "-", IMAGE], input=packed, env=environment, capture_output=True, check=True)


def packed_root(root: Path) -> bytes:
    """An image that is folders only, as a tar; /sbin is one of its own, since the engine puts its init there."""
    for name in ("sbin", "tmp", "proc", "sys", "dev", "run", "root", "usr", "etc", "var"):
        (root / name).mkdir(parents=True)
    for name in ("bin", "lib", "lib64"):
        (root / name).symlink_to(f"usr/{name}")
    return subprocess.run(["tar", "-C", root, "-c", "."], capture_output=True, check=True).stdout
