"""What is known of well-known base images by their names alone: the shell, ENTRYPOINT and how tini gets in."""

from __future__ import annotations

from dataclasses import dataclass

from sretoolkit.pid1.lint.start import Shell

_DEBIAN = {
    "debian",
    "ubuntu",
    "python",
    "node",
    "golang",
    "rust",
    "ruby",
    "perl",
    "gcc",
    "buildpack-deps",
    "bitnami/minideb",
}
_RED_HAT = {"fedora", "centos", "rockylinux", "almalinux", "amazonlinux", "oraclelinux", "redhat/ubi8", "redhat/ubi9", "ubi8/ubi",
            "ubi9/ubi", "ubi8/ubi-minimal", "ubi9/ubi-minimal", "archlinux"}  # fmt: skip
_PLAIN = {"scratch", "alpine", "busybox", *_DEBIAN, *_RED_HAT}
_INSTALL = {
    "dash": ("RUN apt-get update && apt-get install -y --no-install-recommends tini", "/usr/bin/tini"),
    "busybox": ("RUN apk add --no-cache tini", "/sbin/tini"),
}


@dataclass(frozen=True)
class Distribution:
    """``sh``: what /bin/sh is; ``plain``: it is known to set neither ENTRYPOINT (but one that execs) nor STOPSIGNAL."""

    sh: Shell
    plain: bool

    @property
    def install(self) -> tuple[str, str]:
        """The line that brings tini into the image, and where it is then."""
        return _INSTALL.get(self.sh, ("COPY tini-static /sbin/tini", "/sbin/tini"))


def distribution(image: str) -> Distribution:
    """By the image's name, without registry, digest and the official images' own folder."""
    name = image.partition("@")[0]
    head, slash, tail = name.rpartition("/")
    repository, _, tag = tail.partition(":")
    folders = [part for part in head.split("/") if part and "." not in part and ":" not in part and part != "library"]
    known = "/".join([*folders, repository]) if slash else repository
    sh: Shell = "unknown"
    if known in ("alpine", "busybox") or (known in _DEBIAN and "alpine" in tag):
        sh = "busybox"
    elif known in _DEBIAN:
        sh = "dash"
    elif known in _RED_HAT:
        sh = "bash"
    return Distribution(sh, known in _PLAIN)
