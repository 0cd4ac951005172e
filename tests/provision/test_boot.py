"""What boot loaders are told, and that nothing else can be put into it."""

from __future__ import annotations

import shutil
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sretoolkit.errors import ProvisionError
from sretoolkit.provision import boot, dhcp
from sretoolkit.provision.tftp import TftpFolder
from tests.stack.dhcp_servers import checked

API = "http://10.77.0.1:8080"
HOSTILE = ("a\nboot", "a b", "${net0/mac}", "a'b", 'a"b', "a|b", "a#b", "a\\b", "a`b`", "", "a{b}", "a<b", "ä", "a\tb")


def site(**changes: object) -> dhcp.Site:
    """A site whose every value is as usual, but for these."""
    usual = {
        "api": API, "tftp": "10.77.0.1", "interface": "br0", "network": "10.77.0.0/24", "first": "10.77.0.100",
        "last": "10.77.0.200", "router": "10.77.0.1", "prefix6": "fd77::/64",
    }  # fmt: skip
    return dhcp.Site(**{**usual, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("word", HOSTILE)
def test_what_a_loader_could_read_as_more_than_a_value_is_refused(word: str) -> None:
    """Line breaks, blanks, quotes, expansions and separators end no command and begin none."""
    for check in (boot.checked_url, boot.checked_word, boot.checked_path, boot.checked_mac):
        with pytest.raises(ProvisionError):
            check(word)
    with pytest.raises(ProvisionError):
        boot.checked_url(f"http://server/{word}{' ' if not word else ''}")


@given(st.text(min_size=1))
def test_an_accepted_word_is_one_word_in_every_loader(word: str) -> None:
    """Whatever is accepted has no character that iPXE, GRUB or PXELINUX give a meaning of its own."""
    try:
        boot.checked_word(word)
    except ProvisionError:
        return
    assert set() == set(word) & set(" \t\r\n\"'\\$`{}|<>#")
    assert word.isascii()


def test_a_path_stays_in_its_folder() -> None:
    """`..` is refused, also in the middle."""
    for path in ("../etc/passwd", "a/../../b", "a/.."):
        with pytest.raises(ProvisionError, match="leads out"):
            boot.checked_path(path)
    assert "microkernel/x86_64/kernel" == boot.checked_path("microkernel/x86_64/kernel")


def test_the_first_script_goes_on_when_no_server_answers() -> None:
    """It asks with what the machine is, three times, then leaves the machine to its next boot device."""
    script = boot.first_script(API)
    assert script.startswith("#!ipxe\n")
    assert f"chain --replace {API}/svc/boot?mac=${{netX/mac}}&uuid=${{uuid}}&serial_hex=${{serial:hexraw}}" in script
    assert script.endswith("exit 1\n")
    assert 3 == script.count("chain --replace")


def test_the_microkernel_is_told_where_to_report_and_nothing_secret() -> None:
    """Its command line has the server's address and the consoles; the initrd is named, as UEFI wants it."""
    kernel = next(line for line in boot.microkernel_script(API).splitlines() if line.startswith("kernel"))
    words = kernel.removesuffix(" || goto failed").split()
    assert [
        "kernel", f"{API}/svc/microkernel/x86_64/kernel", "initrd=initrd", f"sre.api={API}", "console=tty0",
        "console=ttyS0,115200", "panic=3", "loglevel=4",
    ] == words  # fmt: skip


def test_an_installer_gets_its_files_injected() -> None:
    """A name with a slash appears at that path in the installer's first file system."""
    files = [(f"{API}/svc/file/d/initrd.gz", "initrd"), (f"{API}/svc/inject/o1/preseed.cfg", "/preseed.cfg")]
    script = boot.kernel_script(f"{API}/svc/file/d/linux", files, ["auto=true", "priority=critical"])
    assert f"kernel {API}/svc/file/d/linux initrd=initrd auto=true priority=critical || goto failed\n" in script
    assert f"initrd --name initrd {API}/svc/file/d/initrd.gz || goto failed\n" in script
    assert f"initrd --name preseed.cfg {API}/svc/inject/o1/preseed.cfg /preseed.cfg || goto failed\n" in script


def test_local_boot_differs_by_firmware() -> None:
    """BIOS goes back to its firmware (or boots the first disk); UEFI chains what looks for the installed loader."""
    assert boot.local_script("pcbios").endswith("exit 0\n")
    assert "sanboot --no-describe --drive 0x80 ||\n" in boot.local_script("pcbios", sanboot=True)
    image = f"{API}/svc/loader/local-x86_64.efi"
    assert boot.local_script("efi", image=image).endswith(f"chain {image} ||\nexit 1\n")


def test_grub_reads_a_nodes_own_file_first() -> None:
    """The signed GRUB cannot ask by HTTP: files by the card's address, the microkernel for everyone else."""
    lines = boot.grub_main().splitlines()
    assert "set own=/grub/node/${net_default_mac}.cfg" in lines
    assert "source /grub/microkernel-${grub_cpu}.cfg" == lines[-1]


@pytest.mark.skipif(not shutil.which("grub-script-check"), reason="needs grub-common")
@pytest.mark.parametrize(
    "text", [boot.grub_main(), boot.grub_local(), boot.grub_local("arm64"), boot.grub_microkernel(API, "arm64")]
)
def test_grub_understands_what_it_is_told(text: str) -> None:
    """GRUB's own checker parses every configuration."""
    done = subprocess.run(["grub-script-check"], input=text, capture_output=True, text=True, timeout=30)
    assert (0, "") == (done.returncode, done.stderr)


def dnsmasq_takes(text: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Dnsmasq's own check of a configuration."""
    path = folder / "dnsmasq.conf"
    path.write_text(text)
    command = ["dnsmasq", "--test", f"--conf-file={path}"]
    return subprocess.run(command, capture_output=True, text=True, timeout=30)


@pytest.mark.skipif(not shutil.which("dnsmasq"), reason="needs dnsmasq-base")
@pytest.mark.parametrize(
    "changes",
    [{}, {"secure_boot": True}, {"bios": "pxelinux"}, {"first": "", "last": "", "prefix6": "", "bios": "pxelinux"}],
)
def test_dnsmasq_understands_its_configuration(tmp_path: Path, changes: dict[str, object]) -> None:
    """For DHCP, with Secure Boot, and as proxyDHCP: dnsmasq itself says that the syntax is right."""
    (tmp_path / "tftp").mkdir()
    done = dnsmasq_takes(dhcp.dnsmasq(site(folder=str(tmp_path / "tftp"), state=str(tmp_path), **changes)), tmp_path)
    assert "dnsmasq: syntax check OK." == (done.stdout + done.stderr).strip()


@pytest.mark.parametrize("bios", ["ipxe", "pxelinux"])
@pytest.mark.parametrize(("kind", "program"), [("isc-dhcpd", "dhcpd"), ("kea", "kea-dhcp4")])
def test_other_dhcp_servers_understand_what_is_added(tmp_path: Path, kind: str, program: str, bios: str) -> None:
    """ISC dhcpd and Kea themselves check their configuration with our lines in it."""
    if not shutil.which(program):
        pytest.skip(f"needs {program}")
    added = {"isc-dhcpd": dhcp.isc_dhcpd, "kea": dhcp.kea}[kind](site(bios=bios))
    done = checked(kind, tmp_path, added)
    assert 0 == done.returncode, done.stdout + done.stderr


def test_bios_machines_may_load_pxelinux() -> None:
    """Also those whose firmware is an iPXE; UEFI machines, and the iPXE that they load, go their own way."""
    lines = dhcp.dnsmasq(site(bios="pxelinux")).splitlines()
    assert {
        "dhcp-boot=tag:ipxe,tag:!arch-0,boot.ipxe,,10.77.0.1", "dhcp-boot=tag:arch-0,pxelinux.0,,10.77.0.1",
        "dhcp-boot=tag:!ipxe,tag:arch-7,snponly.efi,,10.77.0.1",
    } == {line for line in lines if line.startswith("dhcp-boot") and "http" not in line and "arch-11" not in line}  # fmt: skip
    beside = dhcp.dnsmasq(site(bios="pxelinux", first="", last="", prefix6=""))
    assert 'pxe-service=x86PC,"sretoolkit",pxelinux.0,10.77.0.1\n' in beside
    assert "pxe-service=tag:ipxe,x86PC" not in beside


def test_each_kind_of_machine_is_led_to_its_loader() -> None:
    """By DHCP's number of the architecture: BIOS, UEFI, ARM64, and UEFI by HTTP with a whole address."""
    lines = dhcp.dnsmasq(site()).splitlines()
    for line in (
        "dhcp-boot=tag:ipxe,boot.ipxe,,10.77.0.1",
        "dhcp-boot=tag:!ipxe,tag:arch-0,undionly.kpxe,,10.77.0.1",
        "dhcp-boot=tag:!ipxe,tag:arch-7,snponly.efi,,10.77.0.1",
        "dhcp-boot=tag:!ipxe,tag:arch-11,grubaa64.efi,,10.77.0.1",
        f"dhcp-boot=tag:!ipxe,tag:arch-16,{API}/svc/loader/snponly.efi",
        "dhcp-option=tag:ipxe,encap:175,176,1b",
        "enable-ra",
        "no-ping",
    ):
        assert line in lines
    assert "dhcp-boot=tag:!ipxe,tag:arch-7,shimx64.efi,,10.77.0.1" in dhcp.dnsmasq(site(secure_boot=True))


def test_a_proxy_gives_out_no_address() -> None:
    """Beside another DHCP server no range and no router is named."""
    text = dhcp.dnsmasq(site(first="", last="", prefix6=""))
    assert "dhcp-range=10.77.0.0,proxy,255.255.255.0\n" in text
    assert [] == [line for line in text.splitlines() if line.startswith(("dhcp-boot", "dhcp-option=3"))]


def test_other_dhcp_servers_are_told_the_same() -> None:
    """ISC dhcpd and Kea lead the same machines to the same loaders."""
    import json

    isc = dhcp.isc_dhcpd(site())
    assert isc.count("{") == isc.count("}") == 6
    told = {one["boot-file-name"] for one in json.loads(dhcp.kea(site()))["client-classes"]}
    assert {"boot.ipxe", "undionly.kpxe", "snponly.efi", "grubaa64.efi"} < told
    assert all(f'filename "{name}";' in isc for name in told)


@pytest.mark.parametrize(
    "changes",
    [
        {"interface": "br0\nport=53"}, {"network": "10.77.0.0"}, {"first": "10.78.0.1"}, {"last": ""}, {"tftp": "here"},
        {"router": "10.77.0.1,6"}, {"prefix6": "10.0.0.0/8"}, {"folder": "/srv/../etc"}, {"bios": "grub"}, {"api": "http://a b"},
    ],
)  # fmt: skip
def test_a_site_that_makes_no_sense_is_refused(changes: dict[str, object]) -> None:
    """Every value is checked before it stands in any configuration."""
    with pytest.raises(ProvisionError):
        site(**changes)


def test_a_lease_is_a_duration() -> None:
    """Written in seconds."""
    assert "dhcp-range=10.77.0.100,10.77.0.200,255.255.255.0,600s\n" in dhcp.dnsmasq(site(lease=timedelta(minutes=10)))


def test_a_nodes_file_comes_and_goes_whole(tmp_path: Path) -> None:
    """It is replaced, never half written, readable by a TFTP server, and gone when the node is; a wrong MAC is refused."""
    folder = TftpFolder(tmp_path)
    folder.write_node("52-54-00-77-00-10".upper(), grub="one\n", pxelinux="two\n")
    grub, pxelinux = tmp_path / "grub/node/52:54:00:77:00:10.cfg", tmp_path / "pxelinux.cfg/01-52-54-00-77-00-10"
    assert ("one\n", "two\n", 0o644) == (grub.read_text(), pxelinux.read_text(), grub.stat().st_mode & 0o777)
    there = grub.stat().st_ino
    folder.write_node("52:54:00:77:00:10", grub="one\n", pxelinux="two\n")
    assert there == grub.stat().st_ino  # what is so already is not written
    folder.write_node("52:54:00:77:00:10", grub="three\n", pxelinux="four\n")
    assert (["three\n", "four\n"], 1) == ([grub.read_text(), pxelinux.read_text()], len(list(grub.parent.iterdir())))
    folder.remove_node("52:54:00:77:00:10")
    assert (False, False) == (grub.exists(), pxelinux.exists())
    with pytest.raises(ProvisionError):
        folder.write_node("../../etc/cron.d/x", grub="", pxelinux="")


def test_what_is_missing_is_named_with_its_package(tmp_path: Path) -> None:
    """A folder of packages that has nothing: each loader is told with the package that has it; the texts are there."""
    missing = TftpFolder(tmp_path / "tftp", [tmp_path]).make(API)
    assert {
        "undionly.kpxe": "ipxe",
        "shimx64.efi": "shim-signed",
        "grubaa64.efi": "grub-efi-arm64-bin",
    }.items() <= missing.items()
    assert boot.first_script(API) == (tmp_path / "tftp/boot.ipxe").read_text()
