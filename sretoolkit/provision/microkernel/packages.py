"""Debian's packages, downloaded for any architecture and unpacked, never installed; the system's own apt is not touched."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from sretoolkit.errors import ProvisionError

DEBIAN = {"x86_64": "amd64", "arm64": "arm64"}  # our names of architectures -> Debian's
_PATIENCE = 600  # seconds


class Packages:
    """An apt of one's own below ``folder``: the system's sources and keys, another architecture, no root needed."""

    def __init__(self, folder: Path, arch: str) -> None:
        self.folder = folder
        self.arch = arch
        self._ready = False

    def newest_kernel(self, flavour: str) -> str:
        """The name of the package that ``linux-image-FLAVOUR`` stands for; raises `ProvisionError` when there is none."""
        told = self._apt("apt-cache", "show", "--no-all-versions", f"linux-image-{flavour}")
        found = re.search(r"^Depends:.*?\b(linux-image-[0-9][^ ,]*)", told, re.MULTILINE)
        if not found:
            hint = "apt-cache search linux-image shows those there are"
            raise ProvisionError(f"linux-image-{flavour} names no kernel", subject=flavour, hint=hint)
        return found[1]

    def download(self, name: str) -> Path:
        """The file of a package, downloaded once; apt has checked its signature."""
        place = self.folder / "packages"
        place.mkdir(parents=True, exist_ok=True)
        if not (found := sorted(place.glob(f"{name}_*.deb"))):
            self._apt("apt-get", "download", name, cwd=place)
            found = sorted(place.glob(f"{name}_*.deb"))
        if not found:
            raise ProvisionError(f"the package {name} was not downloaded to {place}", subject=name)
        return found[-1]

    def _apt(self, program: str, *arguments: str, cwd: Path | None = None) -> str:
        if not self._ready:
            for part in ("lists/partial", "cache/archives/partial"):
                (self.folder / part).mkdir(parents=True, exist_ok=True)
            self._ready = True
            self._apt("apt-get", "update")
        own = {
            "APT::Architecture": DEBIAN[self.arch],
            "APT::Architectures": DEBIAN[self.arch],
            "Dir::State::lists": str((self.folder / "lists").absolute()),
            "Dir::State::status": "/dev/null",
            "Dir::Cache": str((self.folder / "cache").absolute()),
            "APT::Sandbox::User": "root",  # the folder is ours; apt's own user could not write to it
        }
        options = [word for key, value in own.items() for word in ("-o", f"{key}={value}")]
        return run([program, "-q", *options, *arguments], cwd=cwd)


def unpack(package: Path, folder: Path) -> Path:
    """Unpack a .deb file into ``folder``, without running anything of it; gives the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    run(["dpkg-deb", "-x", str(package), str(folder)])
    return folder


def run(command: list[str], *, cwd: Path | None = None) -> str:
    """What a command prints; raises `ProvisionError` with its last words when it is missing or fails."""
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            text=True,
            errors="replace",
            timeout=_PATIENCE,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        hint = "on a system without it give the kernel and busybox as files"
        raise ProvisionError(f"{command[0]} did not run: {error}", subject=command[0], hint=hint) from error
    if done.returncode:
        words = (done.stderr or done.stdout).strip().splitlines()[-3:]
        said = " / ".join(words) or f"exit {done.returncode}"
        raise ProvisionError(f"{' '.join(command[:2])} failed: {said}", subject=command[0])
    return done.stdout
