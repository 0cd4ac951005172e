"""Which modules of a kernel a microkernel needs, with what they need, read from the modules themselves.

A kernel package has no modules.dep (depmod writes that when it is installed), so names, dependencies and aliases come
from each file's ``.modinfo`` section.
"""

from __future__ import annotations

import gzip
import lzma
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sretoolkit.errors import ProvisionError

# disks, networks, keyboards and file systems of usual servers and of virtual machines; what a kernel lacks is left out
WANTED = (
    # buses
    "virtio_pci", "virtio_mmio", "xhci_pci", "ehci_pci", "uhci_hcd", "usbhid", "hid_generic", "hv_vmbus", "virtio_rng",
    # disks
    "virtio_blk", "virtio_scsi", "nvme", "ahci", "ata_piix", "sd_mod", "mpt3sas", "mptspi", "megaraid_sas", "smartpqi",
    "hpsa", "aacraid", "vmw_pvscsi", "hv_storvsc", "xen_blkfront", "sdhci_pci", "mmc_block",
    # networks
    "virtio_net", "e1000", "e1000e", "igb", "igbvf", "igc", "ixgbe", "ixgbevf", "i40e", "iavf", "ice", "bnxt_en", "tg3",
    "bnx2x", "mlx4_en", "mlx5_core", "be2net", "qede", "cxgb4", "sfc", "r8169", "atlantic", "vmxnet3", "ena", "gve",
    "hv_netvsc", "xen_netfront", "hns3", "thunderx", "8139cp", "pcnet32",
    # what listens for neighbours
    "macvtap",
    # file systems into which a seed is written, and where firmware says whether Secure Boot is on
    "loop", "ext4", "xfs", "vfat", "nls_cp437", "nls_ascii", "nls_utf8", "nls_iso8859_1", "crc32c_generic", "crc32c_intel",
    "efivarfs",
)  # fmt: skip


@dataclass(frozen=True)
class Module:
    """One module: its name with underscores, its unpacked content, what it needs, and what asks for it."""

    name: str
    content: bytes
    needs: tuple[str, ...]
    aliases: tuple[str, ...]


def select(folder: Path, wanted: Iterable[str] = WANTED) -> list[Module]:
    """The wanted modules below ``folder`` (``lib/modules/VERSION``) and all they need, each after what it needs.

    Raises `ProvisionError` when there is none, or one that is needed is missing.
    """
    paths = {_name(path): path for path in sorted(folder.rglob("*.ko*"))}
    chosen: dict[str, Module] = {}
    for name in wanted:
        if _plain(name) in paths:
            _add(_plain(name), paths, chosen, built_in=_built_in(folder))
    if not chosen:
        raise ProvisionError(
            f"there are no kernel modules in {folder}", subject=str(folder), hint="give lib/modules/VERSION of a kernel"
        )
    return list(chosen.values())


def tables(modules: Iterable[Module]) -> dict[str, bytes]:
    """``modules.dep`` and ``modules.alias``, as modprobe reads them; every module lies in one folder as ``NAME.ko``."""
    modules = list(modules)
    known = {module.name: module for module in modules}
    lines = [f"{module.name}.ko:{''.join(f' {name}.ko' for name in _all_needs(module, known))}" for module in modules]
    aliases = [f"alias {alias} {module.name}" for module in modules for alias in module.aliases]
    dep, alias = ("".join(f"{line}\n" for line in part).encode() for part in (lines, aliases))
    return {"modules.dep": dep, "modules.alias": alias}


def _all_needs(module: Module, known: dict[str, Module]) -> list[str]:
    """What has to be loaded before a module, the nearest first, as depmod lists it."""
    found: list[str] = []
    for name in module.needs:
        if name in known:
            found += [name, *_all_needs(known[name], known)]
    return [name for place, name in enumerate(found) if name not in found[place + 1 :]]


def _add(name: str, paths: dict[str, Path], chosen: dict[str, Module], *, built_in: set[str]) -> None:
    if name in chosen or name in built_in:
        return
    if name not in paths:
        hint = "is the folder whole? unpack the kernel package again"
        raise ProvisionError(f"the kernel module {name} is missing", subject=name, hint=hint)
    content = _content(paths[name])
    info = _modinfo(content, paths[name])
    soft = [word for text in info.get("softdep", []) if text.startswith("pre:") for word in text[4:].split()]
    needs = [_plain(word) for text in info.get("depends", []) for word in text.split(",") if word]
    needs += [_plain(word) for word in soft if _plain(word) in paths and _plain(word) not in needs]
    for other in needs:
        _add(other, paths, chosen, built_in=built_in)
    chosen[name] = Module(name, content, tuple(needs), tuple(info.get("alias", [])))


def _built_in(folder: Path) -> set[str]:
    listed = folder / "modules.builtin"
    return {_name(Path(line)) for line in listed.read_text().split()} if listed.exists() else set()


def _name(path: Path) -> str:
    return _plain(path.name.partition(".ko")[0])


def _plain(name: str) -> str:
    return name.replace("-", "_")


def _content(path: Path) -> bytes:
    content = path.read_bytes()
    if path.suffix == ".xz":
        return lzma.decompress(content)
    if path.suffix == ".gz":
        return gzip.decompress(content)
    if path.suffix != ".ko":
        hint = "unpack the modules first (zstd -d), and give their folder"
        raise ProvisionError(f"{path} is packed in a way that is not read here", subject=path.name, hint=hint)
    return content


def _modinfo(content: bytes, path: Path) -> dict[str, list[str]]:
    """The ``key=value`` texts of an ELF file's section ``.modinfo``."""
    found: dict[str, list[str]] = {}
    try:
        for text in _section(content, b".modinfo").split(b"\0"):
            key, mark, value = text.decode("ascii", "replace").partition("=")
            if mark:
                found.setdefault(key, []).append(value)
    except (struct.error, IndexError, ValueError) as error:
        raise ProvisionError(f"{path} is no kernel module: {error}", subject=path.name) from error
    return found


def _section(content: bytes, wanted: bytes) -> bytes:
    if content[:6] != b"\x7fELF\x02\x01":
        raise ValueError("it is no 64-bit little-endian ELF file")
    (offset,) = struct.unpack_from("<Q", content, 0x28)
    size, count, names_at = struct.unpack_from("<HHH", content, 0x3A)
    headers = [struct.unpack_from("<IIQQQQ", content, offset + size * number) for number in range(count)]
    names = headers[names_at][4]
    for name, _, _, _, begin, length in headers:
        if content[names + name : content.index(b"\0", names + name)] == wanted:
            return content[begin : begin + length]
    raise ValueError("it has no .modinfo")
