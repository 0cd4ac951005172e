"""A real Debian 12 with systemd, cloud-init and an SSH server, as an image: made once by debootstrap, without a mount.

Its kernel is Debian's signed one, so that Secure Boot starts it too. The seed goes into ``/var/lib/cloud/seed/nocloud`` of
its second partition. Making it takes some minutes; ``python -m tests.stack.images`` does it beforehand.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.stack.images import CACHE, Image, Loading, digest, disk, image_in, made, run

_SUITE = "bookworm"
_FIRST = "systemd-sysv,udev,dbus,linux-image-cloud-amd64,ifupdown,isc-dhcp-client,iproute2,curl,ca-certificates"
_THEN = ("cloud-init", "openssh-server")  # debootstrap cannot resolve what cloud-init needs
_LEFT_OUT = (
    "usr/share/doc",
    "usr/share/man",
    "usr/share/locale",
    "usr/share/info",
    "var/cache/apt",
    "var/lib/apt/lists",
)
# a mount namespace of its own: what debootstrap mounts is gone with it
_ALONE = ("unshare", "--mount", "--pid", "--fork", "--kill-child")
_ARGUMENTS = "root=LABEL=root ro console=ttyS0 net.ifnames=0 panic=10"


def debian() -> Image:
    """The image; made when it is not there yet, which needs root."""
    with made(f"debian-12-{digest(Path(__file__))}") as (place, missing):
        if missing:
            with tempfile.TemporaryDirectory(dir=CACHE) as temporary:
                root = Path(temporary) / "root"
                _bootstrapped(root)
                _set_up(root)
                kernel, initrd = (next((root / "boot").glob(f"{name}-*")) for name in ("vmlinuz", "initrd.img"))
                size = int(run("du", "-sm", str(root)).split()[0]) * 5 // 4 + 160
                disk(missing, "x86_64", root, Loading(kernel, initrd, _ARGUMENTS), size=size)
    return image_in(place)


def _bootstrapped(root: Path) -> None:
    mirror = subprocess.run(
        ["sh", "-c", "apt-get indextargets --format '$(LABEL) $(REPO_URI)' | awk '$1 == \"Debian\" { print $2; exit }'"],
        capture_output=True, text=True, check=True, timeout=60,
    ).stdout.strip()  # fmt: skip
    words = ["debootstrap", "--variant=minbase", f"--include={_FIRST}", _SUITE, str(root), mirror]
    run(*_ALONE, *words)
    environment = {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
    policy = root / "usr/sbin/policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    for proxy in Path("/etc/apt/apt.conf.d").glob("*proxy*"):  # this machine's way to its mirror
        shutil.copy(proxy, root / "etc/apt/apt.conf.d/")
    shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
    inside = ["sh", "-ec", 'mount -t proc proc "$0/proc"; exec chroot "$0" "$@"', str(root)]
    for command in (["update", "-q"], ["install", "-y", "-q", "--no-install-recommends", *_THEN]):
        run(*_ALONE, *inside, "apt-get", *command, environment=environment)
    policy.unlink()
    for proxy in (root / "etc/apt/apt.conf.d").glob("*proxy*"):
        proxy.unlink()


def _set_up(root: Path) -> None:
    """Nothing that two machines may not share, nothing that only takes room, and where the seed is looked for."""
    for name in _LEFT_OUT:
        shutil.rmtree(root / name, ignore_errors=True)
        (root / name).mkdir(parents=True)
    for key in (root / "etc/ssh").glob("ssh_host_*"):
        key.unlink()
    (root / "etc/machine-id").write_text("")
    (root / "etc/resolv.conf").unlink()
    (root / "etc/fstab").write_text("LABEL=root / ext4 errors=remount-ro 0 1\n")
    (root / "etc/cloud/cloud.cfg.d/90_sretoolkit.cfg").write_text("datasource_list: [ NoCloud, None ]\n")
    os.sync()
