"""What virtual machines boot and install: packages, the microkernel, a small image for any firmware, and a real Debian.

Everything is made without a loop device or a mount, once, and kept in the cache; ``python -m tests.stack.images`` makes
all of it beforehand. Needs root for the real Debian (debootstrap).
"""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import lzma
import os
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sretoolkit.provision.microkernel import archive, modules
from sretoolkit.provision.microkernel.build import ROOT, build
from sretoolkit.provision.microkernel.packages import Packages, unpack

_CACHED = (
    os.environ.get("SRETOOLKIT_STACK_CACHE")
    or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sretoolkit-stack"
)
CACHE = Path(_CACHED) / "machines"
_HERE = Path(__file__).parent
_INSTALLED = _HERE / "installed"
_LOADERS = {
    "x86_64": ("shim-signed", "grub-efi-amd64-signed", "grub-efi-amd64-bin"),
    "arm64": ("grub-efi-arm64-bin",),
}
_SECTOR, _MIB = 512, 1 << 20
_MBR = Path("/usr/lib/syslinux/mbr/gptmbr.bin")


@dataclass(frozen=True)
class Image:
    """An image as it is served: a gzip file, with the sha256 and the length of what is in it."""

    path: Path
    sha256: str
    bytes: int

    def copy(self, place: Path, packing: str) -> None:
        """Its content at another place, packed as "gz" or "xz"."""
        if packing == "gz":
            shutil.copyfile(self.path, place)
            return
        with gzip.open(self.path) as content, lzma.open(place, "wb", preset=0) as packed:
            shutil.copyfileobj(content, packed, _MIB)


def loaders() -> list[Path]:
    """Folders of unpacked packages with signed and foreign boot loaders, for `TftpFolder`."""
    return [_tree(arch) for arch in _LOADERS]


def microkernel(arch: str = "x86_64", *, flavour: str = "") -> Path:
    """A folder with ``ARCH/{kernel,initrd}``, built from the sources as they are now; "amd64" has drivers for any server."""
    flavour = flavour or _cloud(arch)
    sources = digest(ROOT, Path(modules.__file__), Path(archive.__file__))
    with made(f"microkernel-{flavour}-{sources}") as (place, missing):
        if missing:
            build(missing, arch=arch, flavour=flavour, cache=CACHE)
    return place


def small(arch: str = "x86_64") -> Image:
    """64 MiB (arm64: 128): an ESP with a kernel, and an ext4 root for the seed. What it starts is `installed/init`."""
    with made(f"small-{arch}-{digest(ROOT, _INSTALLED, Path(__file__))}") as (place, missing):
        if missing:
            with tempfile.TemporaryDirectory(dir=CACHE) as temporary:
                work = Path(temporary)
                system = build(work, arch=arch, flavour=_cloud(arch), cache=CACHE, root=[_INSTALLED])
                root = work / "root"
                (root / "etc").mkdir(parents=True)
                (root / "etc/os-release").write_text('PRETTY_NAME="small test image"\n')
                console = "ttyAMA0" if arch == "arm64" else "ttyS0"
                loading = Loading(system.kernel, system.initrd, f"console={console} panic=3 loglevel=4")
                disk(missing, arch, root, loading, size=128 if arch == "arm64" else 64)
    return image_in(place)


@dataclass(frozen=True)
class Loading:
    """What an image's boot loaders start."""

    kernel: Path
    initrd: Path
    arguments: str


@contextmanager
def made(name: str, *, cache: Path = CACHE) -> Iterator[tuple[Path, Path | None]]:
    """The place of something in the cache, and where to make it if it is not there yet; one process makes it."""
    cache.mkdir(parents=True, exist_ok=True)
    place = cache / name
    with (cache / f".{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if place.is_dir():
            yield place, None
            return
        work = Path(tempfile.mkdtemp(dir=cache, prefix=".making-"))
        try:
            yield place, work
            work.rename(place)
        finally:
            shutil.rmtree(work, ignore_errors=True)


def digest(*parts: Path) -> str:
    """Of the names and contents of files, also below folders."""
    whole = hashlib.sha256()
    for part in parts:
        for path in sorted(part.rglob("*")) if part.is_dir() else [part]:
            if path.is_file():
                whole.update(f"{path.name}\0".encode() + path.read_bytes())
    return whole.hexdigest()[:12]


def _cloud(arch: str) -> str:
    return "cloud-amd64" if arch == "x86_64" else "cloud-arm64"


def _tree(arch: str) -> Path:
    with made(f"loaders-{arch}") as (place, missing):
        if missing:
            packages = Packages(CACHE / f"apt-{arch}", arch)
            for name in _LOADERS[arch]:
                unpack(packages.download(name), missing)
    return place


def disk(out: Path, arch: str, root: Path, loading: Loading, *, size: int) -> None:
    """``out/image.gz`` and what `image_in` reads: GPT, an ESP that BIOS, UEFI and Secure Boot start from, an ext4 root."""
    work = out / "work"
    work.mkdir()
    esp_size = max(
        40, (loading.kernel.stat().st_size + loading.initrd.stat().st_size) // _MIB + 16
    )  # 40: the least of FAT32
    image, esp, ext4 = work / "disk", work / "esp", work / "ext4"
    _sized(image, size * _MIB)
    first = 1 + esp_size  # MiB at which the root begins
    parts = [f"-n1:2048:+{esp_size}M", "-t1:ef00", "-c1:ESP", f"-n2:{first * 2048}:0", "-t2:8300", "-c2:root"]
    run("sgdisk", *parts, "-A1:set:2", str(image))
    _sized(esp, esp_size * _MIB)
    run("mkfs.vfat", "-F", "32", "-n", "ESP", str(esp))
    _fill_esp(esp, arch, loading, work)
    last = int(next(line for line in run("sgdisk", "-i2", str(image)).splitlines() if "Last sector" in line).split()[2])
    _sized(ext4, (last + 1) * _SECTOR - first * _MIB)
    run("mkfs.ext4", "-q", "-F", "-L", "root", "-m", "0", "-d", str(root), str(ext4))
    for part, at in ((esp, 1), (ext4, first)):
        run("dd", f"if={part}", f"of={image}", "bs=1M", f"seek={at}", "conv=notrunc,sparse")
    if arch == "x86_64":
        run("dd", f"if={_MBR}", f"of={image}", "bs=440", "count=1", "conv=notrunc")
    _packed(image, out)
    shutil.rmtree(work)


def _fill_esp(esp: Path, arch: str, loading: Loading, work: Path) -> None:
    files: dict[str, Path] = {"vmlinuz": loading.kernel, "initrd": loading.initrd}
    tree = _tree(arch)
    grub = f"set timeout=0\nsearch --no-floppy --set=root --label ESP\nlinux /vmlinuz {loading.arguments}\ninitrd /initrd\nboot\n"
    (work / "grub.cfg").write_text(grub)
    if arch == "arm64":
        made = ["-d", str(tree / "usr/lib/grub/arm64-efi"), "-O", "arm64-efi", "-p", "/", "-c", str(work / "grub.cfg")]
        wanted = ["part_gpt", "fat", "linux", "search", "search_label", "normal", "boot"]
        run("grub-mkimage", *made, "-o", str(work / "BOOTAA64.EFI"), *wanted)
        files["EFI/BOOT/BOOTAA64.EFI"] = work / "BOOTAA64.EFI"
    else:
        # signed by Microsoft, then by Debian; this GRUB's folder is burnt in
        files["EFI/BOOT/BOOTX64.EFI"] = tree / "usr/lib/shim/shimx64.efi.signed"
        files["EFI/BOOT/grubx64.efi"] = tree / "usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed"
        files["EFI/debian/grub.cfg"] = work / "grub.cfg"
        words = [
            "DEFAULT l",
            "TIMEOUT 1",
            "LABEL l",
            "KERNEL /vmlinuz",
            "INITRD /initrd",
            f"APPEND {loading.arguments}",
        ]
        (work / "syslinux.cfg").write_text("\n".join(words) + "\n")
        files["syslinux.cfg"] = work / "syslinux.cfg"
    _copy(esp, files)
    if arch == "x86_64":
        run("syslinux", "--install", str(esp))
        with esp.open("r+b") as made_esp:
            for sector in (0, 6):  # the boot sector and its copy say where the partition begins; BIOS needs it right
                made_esp.seek(sector * _SECTOR + 28)
                made_esp.write(struct.pack("<I", 2048))


def _copy(esp: Path, files: Mapping[str, Path]) -> None:
    """Files into a FAT image that is not mounted."""
    folders = {str(parent) for name in files for parent in Path(name).parents if str(parent) != "."}
    for folder in sorted(folders):
        run("mmd", "-i", str(esp), f"::/{folder}")
    for name, source in files.items():
        run("mcopy", "-i", str(esp), str(source), f"::/{name}")


def _packed(image: Path, out: Path) -> None:
    with image.open("rb") as raw, gzip.GzipFile(out / "image.gz", "wb", compresslevel=1, mtime=0) as packed:
        shutil.copyfileobj(raw, packed, _MIB)
    (out / "image.sha256").write_text(run("sha256sum", str(image)).split()[0])
    (out / "image.bytes").write_text(str(image.stat().st_size))


def image_in(place: Path) -> Image:
    """The image that `disk` made there."""
    return Image(place / "image.gz", (place / "image.sha256").read_text(), int((place / "image.bytes").read_text()))


def _sized(path: Path, size: int) -> None:
    with path.open("wb") as made:
        made.truncate(size)


def run(*command: str, environment: Mapping[str, str] | None = None) -> str:
    """What a command prints; raises `RuntimeError` with its last words when it fails."""
    own = {**os.environ, "MTOOLS_SKIP_CHECK": "1", **(environment or {})}
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800, stdin=subprocess.DEVNULL, env=own)
    if done.returncode:
        raise RuntimeError(
            f"{' '.join(command)}: exit {done.returncode}: {(done.stderr or done.stdout).strip()[-2000:]}"
        )
    return done.stdout


def main() -> None:
    """Make everything that is not there yet."""
    from tests.stack.debian import debian
    from tests.stack.debian_packages import cloud_config_schema, installer

    for arch in _LOADERS:
        print(microkernel(arch), small(arch).path, sep="\n")
    print(microkernel(flavour="amd64"), *loaders(), installer(), sep="\n")
    cloud_config_schema()
    if os.getuid() == 0:
        print(debian().path)
    else:
        print("the real Debian is made by root; its test needs root too", file=sys.stderr)


if __name__ == "__main__":
    main()
