"""The folder from which boot loaders are fetched by TFTP: made from Debian's packages, with a file a node where needed."""

from __future__ import annotations

import os
import shutil
import tarfile
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sretoolkit.errors import ProvisionError
from sretoolkit.provision.boot import (
    checked_mac,
    first_script,
    grub_local,
    grub_main,
    grub_microkernel,
    pxelinux_menu,
)
from sretoolkit.provision.microkernel.packages import run

# what is copied: name in the folder -> path in its package; and the packages, in which order they are looked for
_COPIED = {
    "undionly.kpxe": ("usr/lib/ipxe/undionly.kpxe", "ipxe"),
    "snponly.efi": ("usr/lib/ipxe/snponly.efi", "ipxe"),
    "ipxe.efi": ("usr/lib/ipxe/ipxe.efi", "ipxe"),
    "shimx64.efi": ("usr/lib/shim/shimx64.efi.signed", "shim-signed"),
    "grubx64.efi": ("usr/lib/grub/x86_64-efi-signed/grubnetx64.efi.signed", "grub-efi-amd64-signed"),
    "pxelinux.0": ("usr/lib/PXELINUX/pxelinux.0", "pxelinux"),
    "ldlinux.c32": ("usr/lib/syslinux/modules/bios/ldlinux.c32", "syslinux-common"),
}
_GRUB = {"x86_64": ("x86_64-efi", "grub-efi-amd64-bin"), "arm64": ("arm64-efi", "grub-efi-arm64-bin")}
_CPU = {"x86_64": "x86_64", "arm64": "arm64"}  # as GRUB names them
_LOCAL = (
    "part_gpt",
    "part_msdos",
    "fat",
    "ext2",
    "search",
    "search_fs_file",
    "chain",
    "boot",
    "normal",
    "echo",
    "test",
)
_NET = (*_LOCAL, "efinet", "net", "tftp", "linux", "configfile", "sleep", "reboot")
_FROM_TFTP = "set root=(tftp,$net_default_server)\nset prefix=($root)/grub\nconfigfile /grub/grub.cfg\n"


@dataclass(frozen=True)
class TftpFolder:
    """The TFTP server's folder. ``packages``: where Debian's packages are unpacked; "/" where they are installed."""

    path: Path
    packages: Sequence[Path] = (Path("/"),)

    def make(self, api: str, *, microkernels: Path | None = None, consoles: Sequence[str] = ()) -> dict[str, str]:
        """Copy and make all that can be; gives what is missing, with the package that has it.

        ``microkernels``: the folder of `microkernel.build`, whose kernels GRUB and PXELINUX fetch from here. What BIOS and
        UEFI machines need alike is always made. Raises `ProvisionError` for an address that cannot be used.
        """
        missing = {name: package for name, (_, package) in _COPIED.items() if not self._copied(name)}
        for arch in _GRUB:
            missing |= self._grub(arch)
        self._write("boot.ipxe", first_script(api))
        self._write("grub/grub.cfg", grub_main())
        self._write("pxelinux.cfg/default", pxelinux_menu(api, consoles=consoles))
        for arch, cpu in _CPU.items():
            self._write(f"grub/microkernel-{cpu}.cfg", grub_microkernel(api, arch, consoles=consoles))
            for name in ("kernel", "initrd"):
                source = (microkernels or self.path) / arch / name
                if source.exists():
                    self._put(f"microkernel/{arch}/{name}", source)
        return missing

    def write_node(self, mac: str, *, grub: str, pxelinux: str) -> None:
        """What the machine with that card is told by GRUB, and by PXELINUX; each file changes from one whole to the next."""
        mac = checked_mac(mac)
        self._write(f"grub/node/{mac}.cfg", grub)
        self._write(f"pxelinux.cfg/01-{mac.replace(':', '-')}", pxelinux)

    def remove_node(self, mac: str) -> None:
        """The machine with that card is told what every unknown one is."""
        mac = checked_mac(mac)
        (self.path / f"grub/node/{mac}.cfg").unlink(missing_ok=True)
        (self.path / f"pxelinux.cfg/01-{mac.replace(':', '-')}").unlink(missing_ok=True)

    def _copied(self, name: str) -> bool:
        found = self._found(_COPIED[name][0])
        if found:
            self._put(name, found)
        return bool(found)

    def _found(self, inside: str) -> Path | None:
        return next((root / inside for root in self.packages if (root / inside).exists()), None)

    def _grub(self, arch: str) -> dict[str, str]:
        """The GRUB images of an architecture: from the network, and from the local disk; gives what is missing."""
        folder, package = _GRUB[arch]
        modules = self._found(f"usr/lib/grub/{folder}")
        names = {"net": "grubaa64.efi" if arch == "arm64" else "", "local": f"local-{arch}.efi"}
        if not modules or not shutil.which("grub-mkimage"):
            lacking = package if not modules else "grub-common"
            return {name: lacking for name in names.values() if name}
        self._image(names["local"], modules, grub_local(arch), (*_LOCAL, "memdisk", "tar"))
        if names["net"]:
            self._image(names["net"], modules, _FROM_TFTP, _NET, simple=True)
        return {}

    def _image(self, name: str, modules: Path, config: str, wanted: Sequence[str], *, simple: bool = False) -> None:
        """A GRUB image with its configuration in it; what is not ``simple`` (if, for) lies in a small archive inside."""
        with tempfile.TemporaryDirectory(prefix="grub-") as temporary:
            work = Path(temporary)
            (work / "grub.cfg").write_text(config)
            where = ["-p", "/grub", "-c", str(work / "grub.cfg")]
            if not simple:
                with tarfile.open(work / "archive", "w", format=tarfile.USTAR_FORMAT) as archive:
                    archive.add(work / "grub.cfg", "boot/grub/grub.cfg", filter=_of_no_time)
                where = ["-p", "(memdisk)/boot/grub", "-m", str(work / "archive")]
            command = ["grub-mkimage", "-d", str(modules), "-O", modules.name, *where, "-o", str(work / "image")]
            run([*command, *wanted])
            self._put(name, work / "image")

    def _put(self, name: str, source: Path) -> None:
        place = self.path / name
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=place.parent, prefix=".", delete=False) as beside:
            try:
                with source.open("rb") as content:
                    shutil.copyfileobj(content, beside)
                beside.flush()
                os.fchmod(beside.fileno(), 0o644)  # a TFTP server serves only what everybody may read
                os.replace(beside.name, place)
            except OSError as error:
                Path(beside.name).unlink(missing_ok=True)
                raise ProvisionError(f"{place} cannot be written: {error}", subject=name) from error

    def _write(self, name: str, text: str) -> None:
        """A text that is there already is left alone: most of what happens to a machine changes nothing of it."""
        place = self.path / name
        if place.is_file() and place.read_bytes() == text.encode():
            return
        with tempfile.TemporaryDirectory(prefix="tftp-") as temporary:
            source = Path(temporary) / "text"
            source.write_text(text)
            self._put(name, source)


def _of_no_time(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.mtime = entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry
