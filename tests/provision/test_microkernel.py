"""The microkernel: built from its inputs alone, and its shell files, which hostile texts and disks must not confuse."""

from __future__ import annotations

import gzip
import json
import shutil
import stat
import struct
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sretoolkit.errors import ProvisionError
from sretoolkit.provision.microkernel.archive import Entry, link, pack
from sretoolkit.provision.microkernel.build import ROOT, build
from sretoolkit.provision.microkernel.modules import select, tables
from tests.provision.answers import Answers

BUSYBOX = shutil.which("busybox")
NEEDS_BUSYBOX = pytest.mark.skipif(not BUSYBOX, reason="needs busybox-static")
HOSTILE = (
    'a "quoted" \\ name', "$(reboot)", "`reboot`", "<script>alert(1)</script>", "'; rm -rf / #", "x" * 5000, "a\tb\x01c\x7f",
    "tab\there", "new\nline", "Ünïcödé ☃ 𝄞", "%s%n%d", "&amp;", "\\u0041", "-n", "=", "a=b", "  two  blanks  ",
)  # fmt: skip


def module(folder: Path, name: str, *, depends: str = "", alias: str = "", softdep: str = "") -> None:
    """Write the smallest ELF file that has a .modinfo."""
    info = b"".join(f"{key}={value}\0".encode() for key, value in
                    (("depends", depends), ("alias", alias), ("softdep", softdep)) if value or key == "depends")  # fmt: skip
    names = b"\0.modinfo\0.shstrtab\0"
    begin = 64
    headers = begin + len(info) + len(names)
    elf = b"\x7fELF\x02\x01" + bytes(10) + struct.pack("<HHIQQQIHHHHHH", 1, 62, 1, 0, 0, headers, 0, 64, 0, 0, 64, 3, 2)
    rows = [(0, 0, 0, 0), (1, 1, begin, len(info)), (10, 3, begin + len(info), len(names))]
    table = b"".join(
        struct.pack("<IIQQQQIIQQ", name_, kind, 0, 0, at, size, 0, 0, 1, 0) for name_, kind, at, size in rows
    )
    path = folder / "kernel" / f"{name}.ko"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(elf + info + names + table)


@pytest.fixture
def kernel(tmp_path: Path) -> Path:
    """An unpacked kernel package with three modules of which two are wanted."""
    tree = tmp_path / "linux"
    modules = tree / "lib/modules/6.1.0-test"
    module(modules, "virtio_net", depends="net_failover,virtio", alias="virtio:d00000001v*")
    module(modules, "net-failover", depends="failover")
    for name in ("failover", "virtio", "never_wanted"):
        module(modules, name)
    (modules / "modules.builtin").write_text("kernel/fs/ext4/ext4.ko\n")
    (tree / "boot").mkdir()
    (tree / "boot/vmlinuz-6.1.0-test").write_bytes(b"a kernel")
    (tmp_path / "busybox").write_bytes(b"a busybox")
    return tree


def entries(packed: bytes) -> dict[str, tuple[int, bytes]]:
    """What is in an archive, read as the kernel reads it: path -> mode and content."""
    rest, found = gzip.decompress(packed), {}
    while rest:
        assert b"070701" == rest[:6]
        fields = [int(rest[at : at + 8], 16) for at in range(6, 110, 8)]
        mode, owner, group, changed, size, name_size = fields[1], fields[2], fields[3], fields[5], fields[6], fields[11]
        assert (0, 0, 0) == (owner, group, changed)
        name = rest[110 : 110 + name_size - 1].decode()
        at = (110 + name_size + 3) // 4 * 4
        found[name] = (mode, rest[at : at + size])
        rest = rest[(at + size + 3) // 4 * 4 :]
    return found


def test_a_module_comes_after_what_it_needs(kernel: Path) -> None:
    """Dependencies are read from the modules; what is not wanted stays out; dashes and underscores are one."""
    chosen = select(kernel / "lib/modules/6.1.0-test")
    assert ["failover", "net_failover", "virtio", "virtio_net"] == [one.name for one in chosen]
    written = tables(chosen)
    assert b"virtio_net.ko: net_failover.ko failover.ko virtio.ko\n" in written["modules.dep"]
    assert b"alias virtio:d00000001v* virtio_net\n" == written["modules.alias"]


def test_a_module_that_is_missing_is_named(kernel: Path) -> None:
    """A folder that is not whole is refused, with the module's name."""
    (kernel / "lib/modules/6.1.0-test/kernel/failover.ko").unlink()
    with pytest.raises(ProvisionError, match="module failover is missing"):
        select(kernel / "lib/modules/6.1.0-test")


def test_what_is_no_module_is_refused(kernel: Path) -> None:
    """A broken file is told with its path instead of being put into the archive."""
    (kernel / "lib/modules/6.1.0-test/kernel/virtio_net.ko").write_bytes(b"no ELF at all")
    with pytest.raises(ProvisionError, match=r"virtio_net\.ko is no kernel module"):
        select(kernel / "lib/modules/6.1.0-test")


def test_the_same_inputs_give_the_same_bytes(kernel: Path, tmp_path: Path) -> None:
    """Issue "reproducible": two builds are equal byte for byte, and the manifest holds the digests of all that went in."""
    first, second = (build(tmp_path / name, kernel=kernel, busybox=tmp_path / "busybox") for name in ("one", "two"))
    assert first.initrd.read_bytes() == second.initrd.read_bytes()
    assert first.manifest == second.manifest == json.loads((tmp_path / "one/x86_64/manifest.json").read_text())
    assert "6.1.0-test" == first.version
    assert {"kernel", "initrd", "manifest.json"} == {path.name for path in first.initrd.parent.iterdir()}
    assert {"init", "busybox", "vmlinuz-6.1.0-test"} <= {Path(one["name"]).name for one in first.manifest["inputs"]}


def test_the_archive_has_what_the_kernel_looks_for(kernel: Path, tmp_path: Path) -> None:
    """A runnable /init, the console's device, busybox, modprobe where the kernel calls it, and our files."""
    (tmp_path / "more/etc").mkdir(parents=True)
    (tmp_path / "more/etc/site").write_text("ours")
    built = build(tmp_path / "out", kernel=kernel, busybox=tmp_path / "busybox", root=[tmp_path / "more"])
    found = entries(built.initrd.read_bytes())
    assert stat.S_IFREG | 0o755 == found["init"][0]
    assert stat.S_IFCHR | 0o600 == found["dev/console"][0]
    assert (stat.S_IFLNK | 0o777, b"../bin/busybox") == found["sbin/modprobe"]
    assert b"a busybox" == found["bin/busybox"][1]
    assert b"ours" == found["etc/site"][1]
    assert (ROOT / "lib/sre/main.sh").read_bytes() == found["lib/sre/main.sh"][1]
    assert "lib/modules/6.1.0-test/virtio_net.ko" in found
    assert ["TRAILER!!!"] == list(found)[-1:]


def test_a_microkernel_that_is_too_large_is_refused(kernel: Path, tmp_path: Path) -> None:
    """Issue "under 40 MB": it says how large it is."""
    with (kernel / "boot/vmlinuz-6.1.0-test").open("wb") as image:
        image.truncate(41_000_000)
    with pytest.raises(ProvisionError, match=r"41\.0 MB, more than 40"):
        build(tmp_path / "out", kernel=kernel, busybox=tmp_path / "busybox")
    assert not (tmp_path / "out/x86_64").exists()


def test_an_architecture_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    """The known ones are named."""
    with pytest.raises(ProvisionError) as refused:
        build(tmp_path, arch="sparc")
    assert "one of x86_64, arm64" == refused.value.hint


@pytest.mark.skipif(not shutil.which("cpio"), reason="needs cpio")
def test_another_reader_reads_the_archive(tmp_path: Path) -> None:
    """GNU cpio lists what was packed, folders first."""
    packed = gzip.decompress(pack({"a/b/file": Entry(b"text"), "a/link": link("b/file")}))
    done = subprocess.run(["cpio", "-t", "--quiet"], input=packed, capture_output=True, timeout=30, check=True)
    assert ["a", "a/b", "a/b/file", "a/link"] == done.stdout.decode().split()


@pytest.fixture(scope="module")
def applets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with busybox's own programs, which are not those of this machine."""
    folder = tmp_path_factory.mktemp("applets")
    subprocess.run([str(BUSYBOX), "--install", "-s", str(folder)], check=True, timeout=30)
    return folder


def awk(applets: Path, mode: str, *words: str, data: bytes = b"") -> bytes:
    """What facts.awk prints, run by busybox as in the microkernel."""
    command = [str(applets / "awk"), "-f", str(ROOT / "lib/sre/facts.awk"), "-v", f"mode={mode}", "--", *words]
    return subprocess.run(command, input=data, capture_output=True, timeout=30, check=True, env={"LC_ALL": "C"}).stdout


def shell(applets: Path, script: str, *words: str, files: Sequence[str] = ("disks", "install")) -> str:
    """What a line of shell prints that uses the microkernel's own functions, run by busybox."""
    sources = "".join(f". {ROOT}/lib/sre/{name}.sh\n" for name in files)
    command = [str(applets / "sh"), "-c", sources + script, "sh", *words]
    environment = {"PATH": str(applets), "LC_ALL": "C"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
    assert "" == done.stderr
    return done.stdout.strip()


@NEEDS_BUSYBOX
@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_text_is_just_a_text(applets: Path, text: str) -> None:
    """Issue "hostile facts": quotes, shell words, markup, control characters and very long ones arrive as JSON texts."""
    sent = json.loads(awk(applets, "object", f"reason={text}", "bytes:=12"))
    assert {"reason": text.encode()[:1024].decode(errors="ignore").rstrip(" \t\r\n"), "bytes": 12} == sent


@NEEDS_BUSYBOX
@settings(max_examples=60)
@given(raw=st.binary(max_size=200).filter(lambda raw: b"\0" not in raw))
def test_any_bytes_become_well_formed_text(applets: Path, raw: bytes) -> None:
    """Whatever a vendor wrote into the firmware can be decoded; what was well-formed is unchanged, but for its end."""
    sent = awk(applets, "clean", data=raw).decode()
    try:
        assert raw.decode().rstrip(" \t\r\n") == sent
    except UnicodeDecodeError:
        assert "\ufffd" in sent


@NEEDS_BUSYBOX
def test_a_number_is_a_number_or_nothing(applets: Path) -> None:
    """What is no number is null, never a word of JSON of its own."""
    words = ["a:=1", "b:=-2.50", "c:=", "d:=1e5", "e:=01", "f:=true"]
    assert {"a": 1, "b": -2.5, "c": None, "d": None, "e": None, "f": None} == json.loads(awk(applets, "object", *words))


CONTENTS: Mapping[str, tuple[int, bytes]] = {
    "xfs": (0, b"XFSB"), "luks": (0, b"LUKS\xba\xbe"), "gpt": (512, b"EFI PART"), "lvm": (512, b"LABELONE"),
    "ext4": (1080, b"\x53\xef"), "swap": (4086, b"SWAPSPACE2"), "md": (4096, b"\xfc\x4e\x2b\xa9"), "ntfs": (3, b"NTFS    "),
    "vfat": (82, b"FAT32   "), "btrfs": (65600, b"_BHRfS_M"), "iso9660": (32769, b"CD001"), "mbr": (510, b"\x55\xaa"),
    "unknown": (7, b"something"),
}  # fmt: skip


@NEEDS_BUSYBOX
@pytest.mark.parametrize("kind", CONTENTS)
def test_what_is_on_a_disk_is_recognised(applets: Path, tmp_path: Path, kind: str) -> None:
    """By the words that each writes at its place; what nobody knows is unknown, never empty."""
    at, magic = CONTENTS[kind]
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(at) + magic + bytes(1 << 20))
    assert kind == shell(applets, 'content "$1"', str(disk))


@NEEDS_BUSYBOX
def test_a_marked_disk_names_its_order(applets: Path, tmp_path: Path) -> None:
    """The mark is a whole MiB without anything that firmware boots, and says half-written."""
    command = [str(applets / "sh"), "-c", f". {ROOT}/lib/sre/disks.sh\nmark o123 >{tmp_path}/disk"]
    subprocess.run(command, check=True, timeout=30, env={"PATH": str(applets)})
    marked = (tmp_path / "disk").read_bytes()
    assert b"sretoolkit half-written order=o123\n" + bytes((1 << 20) - 35) == marked
    assert "half-written" == shell(applets, 'content "$1"', str(tmp_path / "disk"))


@NEEDS_BUSYBOX
@pytest.mark.skipif(not shutil.which("sgdisk"), reason="needs gdisk")
def test_a_partition_is_found_by_its_table(applets: Path, tmp_path: Path) -> None:
    """In GPT and in MBR, by number; one that is not there is nothing."""
    disk = tmp_path / "disk"
    with disk.open("wb") as made:
        made.truncate(64 << 20)
    command = ["sgdisk", "-n1:2048:+8M", "-n3:20480:+8M", str(disk)]
    subprocess.run(command, check=True, timeout=30, capture_output=True)
    script = 'for n in 1 2 3; do echo "$n:$(partition_offset "$1" $n)"; done'
    assert ["1:1048576", "2:", "3:10485760"] == shell(applets, script, str(disk)).split()
    table = bytearray(disk.read_bytes()[: 1 << 20])
    table[446:512] = bytes(8) + struct.pack("<II", 63, 1000) + bytes(48) + b"\x55\xaa"
    table[512:520] = bytes(8)
    disk.write_bytes(table)
    assert ["1:32256", "2:", "3:"] == shell(applets, script, str(disk)).split()


@NEEDS_BUSYBOX
def test_the_last_mount_is_read_from_an_ext_file_system(applets: Path, tmp_path: Path) -> None:
    """A superblock's time of mounting, little-endian."""
    assert "1700000000" == shell(applets, "little 00f15365")
    assert "0" == shell(applets, "little ''")


@NEEDS_BUSYBOX
def test_a_value_of_an_order_is_decoded_and_never_run(applets: Path, tmp_path: Path) -> None:
    """Percent-encoded values come out as they were, plus signs and shell words included."""
    (tmp_path / "order").write_text("a=x%20y+z%22%24%28reboot%29\naa=other\na=second\nempty=\n")
    for name, value in (("a", 'x y+z"$(reboot)'), ("aa", "other"), ("empty", ""), ("missing", "")):
        assert value == shell(applets, f'word {name} "$1"', str(tmp_path / "order"), files=("http",))


@pytest.fixture
def asking(applets: Path, tmp_path: Path) -> Callable[..., list[str]]:
    """Ask a server with the microkernel's own functions; gives the words that the line of shell prints."""
    source = tmp_path / "http.sh"
    source.write_text((ROOT / "lib/sre/http.sh").read_text().replace("/run/", f"{tmp_path}/"))

    def ask(port: int, script: str) -> list[str]:
        setup = f"API=http://127.0.0.1:{port}/at; TOKEN=secret\n"
        setup += "say() { echo $*; }\nstart_dhcp() { :; }\npause() { echo pause $1; }\n"
        command = [str(applets / "sh"), "-c", f". {source}\n{setup}{script}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, env={"PATH": str(applets)})
        assert "" == done.stderr
        return done.stdout.splitlines()

    return ask


@NEEDS_BUSYBOX
def test_the_server_is_asked_and_its_answer_kept(asking: Callable[..., list[str]], tmp_path: Path) -> None:
    """Path, body and token arrive as they are; the answer's bytes are kept, also those that are no text."""
    body = bytes(range(256)) * 300
    (tmp_path / "facts").write_bytes(body)
    with Answers([(200, {}, b"\n\r\n\0" + body)]) as server:
        words = asking(server.port, f'ask "/svc/x?a=1&b=2" {tmp_path}/facts text/plain; echo "$STATUS"')
    assert (["200"], b"\n\r\n\0" + body) == (words, (tmp_path / "answer").read_bytes())
    assert [("POST", "/at/svc/x?a=1&b=2", "Bearer secret", body)] == server.asked


@NEEDS_BUSYBOX
@pytest.mark.parametrize(
    ("status", "headers", "seconds"),
    [
        (429, {"Retry-After": "7"}, "7"), (503, {"retry-after": "7"}, "7"), (429, {"Retry-After": "86400"}, "300"),
        (429, {}, "10"), (503, {}, "1"), (429, {"Retry-After": "Fri, 31 Dec 1999 23:59:59 GMT"}, "10"),
        (429, {"Retry-After": "9" * 30}, "10"), (503, {"Retry-After": "0"}, "0"),
    ],
)  # fmt: skip
def test_a_machine_comes_back_when_it_is_told_to(
    asking: Callable[..., list[str]], status: int, headers: dict[str, str], seconds: str
) -> None:
    """Retry-After counts, five minutes at most; a date, or nothing, leaves what is usual. Then it asks the same again."""
    with Answers([(status, headers, b"later\n"), (200, {}, b"")]) as server:
        said = asking(server.port, 'persist /svc/checkin; echo "$STATUS"')
    assert [f"pause {seconds}", "200"] == said[1:]
    assert [("GET", "/at/svc/checkin", "Bearer secret", b"")] * 2 == server.asked


@NEEDS_BUSYBOX
def test_a_rack_does_not_come_back_as_one(applets: Path) -> None:
    """Whoever is told the same number of seconds waits so long, and up to half as much again."""
    script = "sleep() { echo $1; }; for machine in 1 2 3 4 5 6 7 8; do pause 60; done"
    waits = [float(word) for word in shell(applets, script, files=("http",)).split()]
    assert 60 <= min(waits) < max(waits) <= 90


@NEEDS_BUSYBOX
def test_what_is_cut_off_or_absent_is_no_answer(asking: Callable[..., list[str]]) -> None:
    """Nobody listens, a head without its end, a body shorter than it was to be: 000, so that it is asked again."""
    with Answers([b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcd", b"HTTP/1.1 200 OK\r\nServer: x", b""]) as server:
        words = asking(server.port, 'for n in 1 2 3; do ask /svc/x; echo "$STATUS"; done')
    assert ["000"] * 3 == words
    assert ["000"] == asking(server.port, 'ask /svc/x; echo "$STATUS"')


@NEEDS_BUSYBOX
@pytest.mark.parametrize(
    ("api", "peer"),
    [
        ("http://10.0.0.1:8080", "10.0.0.1 8080"),
        ("http://boot.example/at", "boot.example"),
        ("http://[fd77::1]:80", "fd77::1 80"),
    ],
)
def test_the_servers_address_is_taken_apart(applets: Path, api: str, peer: str) -> None:
    """Host and port, as nc wants them."""
    assert peer == shell(applets, f"API={api}; set -- $(peer); echo $*", files=("http",))


@NEEDS_BUSYBOX
@pytest.mark.parametrize(
    "file", ["init", *(f"lib/sre/{path.name}" for path in sorted((ROOT / "lib/sre").glob("*.sh")))]
)
def test_the_shell_understands_each_file(applets: Path, file: str) -> None:
    """Busybox's own shell parses it."""
    subprocess.run([str(applets / "sh"), "-n", str(ROOT / file)], check=True, timeout=30)
