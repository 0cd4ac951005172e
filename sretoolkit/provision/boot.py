"""What boot loaders are told: iPXE scripts, GRUB configurations, PXELINUX menus. Pure functions that give texts.

Every value is checked before it is put into a text: a loader's language has words that end a command or begin another,
and what comes from a policy, or from a machine, must never be one of them. Nothing secret stands in any of these texts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from sretoolkit.errors import ProvisionError

CONSOLES = ("tty0", "ttyS0,115200")  # the last one is where a rescue shell and the kernel's own words go first
CONSOLES_ARM64 = ("tty0", "ttyAMA0,115200")
_URL = re.compile(r"(https?|tftp)://[A-Za-z0-9._:\[\]-]+(/[A-Za-z0-9._:/+,=@%~?&-]*)?")
_WORD = re.compile(r"[A-Za-z0-9._:/+,=@%~?&;*\[\]()^!-]+")
_PATH = re.compile(r"/?[A-Za-z0-9._+@=:-]+(/[A-Za-z0-9._+@=:-]+)*")
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_TRIES = 3

# where installed systems keep a loader, the removable medium's one first
_LOADERS = {
    "x86_64": (
        "/EFI/BOOT/BOOTX64.EFI", "/EFI/debian/shimx64.efi", "/EFI/ubuntu/shimx64.efi", "/EFI/redhat/shimx64.efi",
        "/EFI/centos/shimx64.efi", "/EFI/rocky/shimx64.efi", "/EFI/almalinux/shimx64.efi", "/EFI/fedora/shimx64.efi",
        "/EFI/sles/shim.efi", "/EFI/opensuse/shim.efi", "/EFI/freebsd/loader.efi", "/EFI/Microsoft/Boot/bootmgfw.efi",
    ),
    "arm64": (
        "/EFI/BOOT/BOOTAA64.EFI", "/EFI/debian/shimaa64.efi", "/EFI/debian/grubaa64.efi", "/EFI/ubuntu/shimaa64.efi",
        "/EFI/redhat/shimaa64.efi", "/EFI/fedora/shimaa64.efi", "/EFI/freebsd/loader.efi",
    ),
}  # fmt: skip


def checked_url(url: str) -> str:
    """The address of something to load; raises `ProvisionError` when a loader could read more than an address in it."""
    return _checked(_URL, url, "address", "http, https or tftp; what is special is percent-encoded")


def checked_word(word: str) -> str:
    """One word of a kernel's command line; raises `ProvisionError` for blanks, quotes, $ and what else a loader reads."""
    return _checked(_WORD, word, "kernel argument", "one word a value; no blanks, quotes, braces, $ or #")


def checked_path(path: str) -> str:
    """A path of plain names, without ``..``; raises `ProvisionError`."""
    if ".." in path.split("/"):
        raise ProvisionError(
            f"{path!r} leads out of its folder", subject=path, hint="name the file from the folder down"
        )
    return _checked(_PATH, path, "path", "plain names between slashes")


def checked_mac(mac: str) -> str:
    """A card's address in the form 52:54:00:77:00:10; raises `ProvisionError`."""
    return _checked(_MAC, mac.lower().replace("-", ":"), "MAC address", "write it as 52:54:00:77:00:10")


def microkernel_arguments(api: str, *, arch: str = "x86_64", consoles: Sequence[str] = ()) -> list[str]:
    """The microkernel's command line: where it reports to, its consoles, and nothing secret."""
    usual = CONSOLES_ARM64 if arch == "arm64" else CONSOLES
    given = [f"sre.api={checked_url(api)}", *(f"console={name}" for name in consoles or usual), "panic=3", "loglevel=4"]
    return [checked_word(word) for word in given]


def first_script(api: str) -> str:
    """The script that every iPXE loads first, the same for all machines: it asks the server with what the machine is.

    When the server does not answer, the machine goes on to its next boot device: an installed machine still starts.
    """
    # the serial number as hexadecimal digits: iPXE leaves quotes, brackets and ampersands in an address as they are
    asked = "mac=${netX/mac}&uuid=${uuid}&serial_hex=${serial:hexraw}&arch=${buildarch}&platform=${platform}"
    # no loop: counting is a command that older builds of iPXE, Debian's among them, do not have
    again = [
        f"chain --replace {checked_url(api)}/svc/boot?{asked} ||",
        "echo sretoolkit: the server does not answer",
        "sleep 3",
    ]
    return _lines(["#!ipxe", *again * _TRIES, "exit 1"])


def kernel_script(kernel: str, initrds: Iterable[tuple[str, str]], arguments: Iterable[str]) -> str:
    """An iPXE script that boots ``kernel`` (its address) with ``initrds``: pairs of address and name.

    A name with a slash is a path: the file then appears there in the kernel's first file system (a preseed, a kickstart);
    a plain one is an initial file system of its own. Raises `ProvisionError`.
    """
    initrds = [(checked_url(url), checked_path(name)) for url, name in initrds]
    words = [checked_word(word) for word in arguments]
    whole = [name for _, name in initrds if "/" not in name]
    named = [f"initrd={name}" for name in whole]  # how a kernel started by UEFI finds them
    lines = ["#!ipxe", " ".join(["kernel", checked_url(kernel), *named, *words]) + " || goto failed"]
    for url, name in initrds:
        inject = "" if name in whole else f" {name if name.startswith('/') else f'/{name}'}"
        lines.append(f"initrd --name {name.rpartition('/')[2]} {url}{inject} || goto failed")
    lines += ["boot || goto failed", ":failed", "echo sretoolkit: it could not be loaded; trying again in 10 s"]
    lines += ["sleep 10", "exit 1"]
    return _lines(lines)


def microkernel_script(api: str, arch: str = "x86_64", *, consoles: Sequence[str] = ()) -> str:
    """The iPXE script that boots the microkernel."""
    at = f"{api}/svc/microkernel/{arch}"
    arguments = microkernel_arguments(api, arch=arch, consoles=consoles)
    return kernel_script(f"{at}/kernel", [(f"{at}/initrd", "initrd")], arguments)


def local_script(platform: str, *, image: str = "", sanboot: bool = False) -> str:
    """The iPXE script that lets the machine boot from its own disk.

    BIOS: back to the firmware, which goes on to the next device of its order; with ``sanboot`` the first disk at once, for
    machines whose order has the network alone. UEFI: the firmware's own way on may take minutes, so ``image``, the address
    of the loader that `TftpFolder` makes, looks for the installed system's.
    """
    if platform == "efi":
        chain = [f"chain {checked_url(image)} ||"] if image else []
        return _lines(["#!ipxe", "echo sretoolkit: booting from the local disk", *chain, "exit 1"])
    disk = ["sanboot --no-describe --drive 0x80 ||"] if sanboot else []
    return _lines(["#!ipxe", "echo sretoolkit: booting from the local disk", *disk, "exit 0"])


def grub_main() -> str:
    """GRUB's first configuration, the same for all machines: a node's own file where there is one, else the microkernel."""
    return _lines(
        [
            "set timeout=0",
            "set own=/grub/node/${net_default_mac}.cfg",
            "if [ -s $own ]; then",
            "  source $own",
            "fi",
            "source /grub/microkernel-${grub_cpu}.cfg",
        ]
    )


def grub_kernel(kernel: str, initrds: Iterable[str], arguments: Iterable[str]) -> str:
    """A GRUB configuration that boots a kernel; the paths are those of the TFTP folder."""
    quoted = " ".join(f"'{checked_word(word)}'" for word in arguments)
    files = " ".join(checked_path(path) for path in initrds)
    lines = ["echo 'sretoolkit: loading'", f"linux {checked_path(kernel)} {quoted}", f"initrd {files}", "boot"]
    return _lines([*lines, "echo 'sretoolkit: it could not be loaded'", "sleep 10", "reboot"])


def grub_microkernel(api: str, arch: str = "x86_64", *, consoles: Sequence[str] = ()) -> str:
    """The GRUB configuration that boots the microkernel from the TFTP folder."""
    at = f"/microkernel/{arch}"
    return grub_kernel(f"{at}/kernel", [f"{at}/initrd"], microkernel_arguments(api, arch=arch, consoles=consoles))


def grub_local(arch: str = "x86_64") -> str:
    """The GRUB configuration that starts the installed system's own loader, wherever on the disks it is."""
    if arch not in _LOADERS:
        raise ProvisionError(f"no loaders are known of {arch!r}", subject=arch, hint=f"one of {', '.join(_LOADERS)}")
    lines = ["echo 'sretoolkit: booting from the local disk'", f"for loader in {' '.join(_LOADERS[arch])}; do"]
    lines += ["  if search --no-floppy --file --set=disk $loader; then", "    set root=$disk"]
    lines += ["    chainloader $loader", "    boot", "  fi", "done", "echo 'sretoolkit: no disk has a loader'", "exit"]
    return _lines(lines)


def pxelinux_menu(api: str, *, local: bool = False, consoles: Sequence[str] = ()) -> str:
    """A PXELINUX configuration: microkernel and local disk, the latter first where ``local``."""
    arguments = " ".join(microkernel_arguments(api, consoles=consoles))
    return _lines(
        [
            f"DEFAULT {'local' if local else 'microkernel'}",
            "PROMPT 0",
            "TIMEOUT 10",
            "LABEL microkernel",
            "  KERNEL /microkernel/x86_64/kernel",
            "  INITRD /microkernel/x86_64/initrd",
            f"  APPEND {arguments}",
            "LABEL local",
            "  LOCALBOOT 0",
        ]
    )


def _checked(pattern: re.Pattern[str], value: str, what: str, hint: str) -> str:
    if not pattern.fullmatch(value):
        raise ProvisionError(f"{value[:200]!r} is no {what} that a boot loader can be given", subject=what, hint=hint)
    return value


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
