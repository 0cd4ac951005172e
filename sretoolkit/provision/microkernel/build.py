"""Building the microkernel: a kernel, and an initramfs of busybox, modules and the files in ``root/``.

``build(Path("boot"))`` makes ``boot/x86_64/{kernel,initrd,manifest.json}``. The same inputs give the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sretoolkit.errors import ProvisionError
from sretoolkit.provision.microkernel.archive import FOLDER, Entry, link, pack, program
from sretoolkit.provision.microkernel.modules import Module, select, tables
from sretoolkit.provision.microkernel.packages import DEBIAN, Packages, unpack

ROOT = Path(__file__).parent / "root"
FLAVOURS = {"x86_64": ("amd64", "cloud-amd64"), "arm64": ("arm64", "cloud-arm64")}
MOST_BYTES = 40 * 1000 * 1000  # kernel and initrd together
_FOLDERS = ("dev", "proc", "sys", "run", "tmp", "mnt", "etc", "root")


@dataclass(frozen=True)
class Built:
    """What was built: its architecture, the kernel's version, the two files, and the manifest beside them."""

    arch: str
    version: str
    kernel: Path
    initrd: Path
    manifest: dict[str, Any]

    @property
    def bytes(self) -> int:
        """The size of kernel and initrd together."""
        return self.kernel.stat().st_size + self.initrd.stat().st_size


def build(
    out: Path,
    *,
    arch: str = "x86_64",
    flavour: str = "",
    kernel: Path | None = None,
    busybox: Path | None = None,
    root: Iterable[Path] = (),
    cache: Path | None = None,
) -> Built:
    """Make ``out/ARCH/{kernel,initrd,manifest.json}``.

    ``kernel``: a kernel package (.deb), or a folder with ``boot/vmlinuz-VERSION`` and ``lib/modules/VERSION``; without it
    Debian's newest of ``flavour`` is downloaded ("amd64": for any machine, the default; "cloud-amd64": smaller drivers,
    for virtual machines). ``busybox``: a statically linked busybox, or its package. ``root``: folders whose files are added,
    or replace those of the same name. ``cache``: where packages are kept. Raises `ProvisionError`.
    """
    if arch not in DEBIAN:
        raise ProvisionError(f"no microkernel is made for {arch!r}", subject=arch, hint=f"one of {', '.join(DEBIAN)}")
    with tempfile.TemporaryDirectory(prefix="microkernel-") as temporary:
        work = Path(temporary)
        packages = Packages((cache or work) / f"apt-{arch}", arch)
        if kernel is None:
            kernel = packages.download(packages.newest_kernel(flavour or FLAVOURS[arch][0]))
        busybox = busybox or packages.download("busybox-static")
        inputs = [kernel, busybox, *root]
        tree = kernel if kernel.is_dir() else unpack(kernel, work / "kernel")
        found = busybox if not _is_package(busybox) else unpack(busybox, work / "busybox") / "bin" / "busybox"
        version, image, modules = _kernel(tree)
        chosen = select(modules)
        initrd = pack(_entries(version, chosen, found, [ROOT, *root]))
        return _written(out / arch, arch, version, image.read_bytes(), initrd, inputs, chosen)


def _is_package(path: Path) -> bool:
    return path.suffix == ".deb"


def _kernel(tree: Path) -> tuple[str, Path, Path]:
    """Version, image and folder of modules of an unpacked kernel package."""
    images = sorted(tree.glob("boot/vmlinuz-*"))
    if len(images) != 1:
        hint = "give one kernel: boot/vmlinuz-VERSION beside lib/modules/VERSION"
        raise ProvisionError(f"{tree} holds {len(images)} kernels", subject=str(tree), hint=hint)
    version = images[0].name.removeprefix("vmlinuz-")
    folders = [tree / "lib" / "modules" / version, tree / "usr" / "lib" / "modules" / version]
    modules = next((folder for folder in folders if folder.is_dir()), folders[0])
    return version, images[0], modules


def _entries(version: str, modules: list[Module], busybox: Path, roots: list[Path]) -> dict[str, Entry]:
    entries = dict.fromkeys(_FOLDERS, FOLDER)
    entries["dev/console"] = Entry(mode=stat.S_IFCHR | 0o600, device=(5, 1))
    entries["dev/null"] = Entry(mode=stat.S_IFCHR | 0o666, device=(1, 3))
    entries["bin/busybox"] = program(busybox.read_bytes())
    entries["bin/sh"] = link("busybox")
    entries["sbin/modprobe"] = link("../bin/busybox")  # by this path the kernel asks for a file system's module
    for module in modules:
        entries[f"lib/modules/{version}/{module.name}.ko"] = Entry(module.content)
    for name, content in tables(modules).items():
        entries[f"lib/modules/{version}/{name}"] = Entry(content)
    for root in roots:
        for path in sorted(root.rglob("*")):
            if path.is_file():
                place = path.relative_to(root).as_posix()
                runs = place == "init" or path.suffix == ".sh"
                entries[place] = program(path.read_bytes()) if runs else Entry(path.read_bytes())
    return entries


def _written(
    out: Path, arch: str, version: str, kernel: bytes, initrd: bytes, inputs: list[Path], modules: list[Module]
) -> Built:
    """Write the files, each whole or not at all, and check their size."""
    if len(kernel) + len(initrd) > MOST_BYTES:
        what = f"kernel and initrd are {(len(kernel) + len(initrd)) / 1e6:.1f} MB, more than {MOST_BYTES / 1e6:.0f} MB"
        raise ProvisionError(what, subject=version, hint="take the cloud flavour, or fewer modules")
    manifest = {
        "arch": arch,
        "version": version,
        "inputs": [described for path in [*inputs, ROOT] for described in _described(path)],
        "outputs": {name: _of(content) for name, content in (("kernel", kernel), ("initrd", initrd))},
        "modules": [module.name for module in modules],
    }
    out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(manifest, indent=1, sort_keys=True) + "\n"
    for name, content in (("kernel", kernel), ("initrd", initrd), ("manifest.json", text.encode())):
        beside = out / f".{name}.new"
        beside.write_bytes(content)
        os.replace(beside, out / name)
    return Built(arch, version, out / "kernel", out / "initrd", manifest)


def _described(path: Path) -> list[dict[str, Any]]:
    """Name, sha256 and size of an input; of a folder, one of each file."""
    if path.is_dir():
        files = sorted(inner for inner in path.rglob("*") if inner.is_file())
        return [{"name": inner.relative_to(path).as_posix(), **_of(inner.read_bytes())} for inner in files]
    return [{"name": path.name, **_of(path.read_bytes())}]


def _of(content: bytes) -> dict[str, Any]:
    return {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
