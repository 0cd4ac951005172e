"""Tasks: every template that comes with us is made, hostile values stay values, and a new task needs no Python."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from sretoolkit.errors import ProvisionError
from sretoolkit.provision import seeds
from sretoolkit.provision.boot import checked_word
from sretoolkit.provision.commands import COMMANDS
from sretoolkit.provision.entries import Repo
from sretoolkit.provision.handlers import Desk
from sretoolkit.provision.node import Hardware, Node
from sretoolkit.provision.orders import Order
from sretoolkit.provision.registry import Registry, change
from sretoolkit.provision.task import task, tasks
from tests.provision.conftest import IMAGE, web
from tests.provision.machine import Machine, lines

EVIL = "\"; rm -rf / #'{{ 7*7 }}"
NODE = Node(id="n1", hardware=Hardware(serial="S1"), facts={"vendor": EVIL}, metadata={"owner": EVIL})
ORDER = Order(
    id="o1",
    node="n1",
    kind="install",
    policy="web",
    hostname="web1.example",
    disk={"name": "vda", "serial": "D1", "bytes": 10**9},
    repo="r",
)


def values(**options: Any) -> dict[str, Any]:
    """What templates are made with."""
    return dict(seeds.made(ORDER, NODE, web(**options), "http://10.0.0.1:8080").values)


@pytest.mark.parametrize("name", sorted(tasks()))
def test_every_template_is_made(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a password, with keys and without either; nothing is undefined, and nothing secret is among kernel arguments."""
    monkeypatch.setenv("ROOT_HASH", "$6$salt$hash")
    how = task(name)
    for options in ({}, {"root_password": "env:ROOT_HASH", "ssh_keys": ("ssh-ed25519 AAAA a@b",)}):
        made = values(**options)
        texts = {**how.files("seed", made), **how.files("inject", made)}
        whole = "\n".join(texts.values())
        assert not texts or (made["token"] in whole and "{{" not in whole)
        assert not options or not texts or "ssh-ed25519 AAAA a@b" in whole
        given = {key: made[key] for key in ("url", "hostname", "disk", "order")} | {"consoles": ["tty0", "ttyS0"]}
        arguments = how.kernel_arguments(given)
        assert (how.kind == "installer" and not how.fetched) == arguments.endswith(" console=tty0 console=ttyS0")
        assert [] == [secret for secret in (made["token"], "$6$salt") if secret in arguments]
        assert [checked_word(word) for word in arguments.split()] == arguments.split()


@pytest.mark.parametrize("name", ["image", "ubuntu"])
def test_cloud_init_reads_what_is_made(name: str) -> None:
    """It is YAML with the host key whole in it, whatever the values hold."""
    made = values(ssh_keys=(f"ssh-ed25519 AAAA {EVIL}",))
    how = task(name)
    text = (how.files("seed", made) | how.files("inject", made))["user-data"]
    content = yaml.safe_load(text)
    assert text.startswith("#cloud-config\n")
    if name == "image":
        assert made["host_key_private"].strip() == content["ssh_keys"]["ed25519_private"].strip()
        assert [f"ssh-ed25519 AAAA {EVIL}"] == content["users"][0]["ssh_authorized_keys"]
    else:
        assert made["host_key_private"].strip() in content["autoinstall"]["late-commands"][0]
        assert "D1" == content["autoinstall"]["storage"]["layout"]["match"]["serial"]


@pytest.mark.parametrize("version", ["RHEL8", "RHEL9", "RHEL10", "F41"])
def test_the_rhel_family_reads_what_is_made(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its own parser: one disk is cleared and written, and what comes after is a script that a shell can read."""
    from pykickstart.parser import KickstartParser
    from pykickstart.version import makeVersion

    monkeypatch.setenv("ROOT_HASH", "$6$salt$hash")
    for options in ({}, {"root_password": "env:ROOT_HASH", "ssh_keys": ("ssh-ed25519 AAAA a@b", f"ssh-rsa B {EVIL}")}):
        kickstart = makeVersion(version)
        parser = KickstartParser(kickstart, errorsAreFatal=True)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            parser.readKickstartFromString(task("rhel").files("inject", values(**options))["ks.cfg"])
        disks = (kickstart.ignoredisk.onlyuse, kickstart.clearpart.drives, [kickstart.bootloader.bootDrive])
        assert (["vda"], ["vda"], ["vda"]) == disks
        password = (kickstart.rootpw.lock, kickstart.rootpw.isCrypted, kickstart.rootpw.password)
        assert ((False, True, "$6$salt$hash") if options else (True, False, "")) == password
        assert "web1.example" == kickstart.network.network[0].hostname
        (post,) = kickstart.scripts
        assert post.errorOnFail
        lines = post.script[: post.script.index("cat >")].replace("/root", "$HOME")
        assert 0 == subprocess.run(["sh", "-n"], input=post.script, text=True, timeout=30).returncode
        with tempfile.TemporaryDirectory() as home:
            subprocess.run(
                ["sh", "-euc", lines], env={"HOME": home, "PATH": os.environ["PATH"]}, check=True, timeout=30
            )
            keys = Path(home, ".ssh/authorized_keys")
            assert (keys.read_text().splitlines() if keys.exists() else []) == list(options.get("ssh_keys", ()))


def test_debian_reads_what_is_made(tmp_path: Path) -> None:
    """Debconf itself takes it, and its last command, run by a shell, leaves keys that are whole and calls home with the token."""
    program = shutil.which("debconf-set-selections")
    if not program:
        pytest.skip("debconf-set-selections is not here: it comes with Debian and Ubuntu")
    made = values(ssh_keys=("ssh-ed25519 AAAA a@b", 'ssh-ed25519 BBBB "; rm -rf / #{{ 7*7 }}'))
    text = task("debian").files("inject", made)["preseed.cfg"]
    done = subprocess.run([program, "--checkonly"], input=text, capture_output=True, text=True, timeout=60)
    assert (0, "", "") == (done.returncode, done.stdout, done.stderr)
    last = text.replace("\\\n", "").split("preseed/late_command string ")[1].replace("/target", str(tmp_path))
    (tmp_path / "etc/ssh").mkdir(parents=True)
    stub = 'in_target() { printf "%s\\n" "$@"; }\n'
    called = subprocess.run(
        ["sh", "-euc", stub + last.replace("in-target", "in_target")], capture_output=True, text=True, timeout=60
    )
    assert 0 == called.returncode, called.stderr
    assert [f"Authorization: Bearer {made['token']}", "{}"] == called.stdout.splitlines()[6:9:2]
    assert list(made["ssh_keys"]) == (tmp_path / "root/.ssh/authorized_keys").read_text().splitlines()
    key = tmp_path / "etc/ssh/ssh_host_ed25519_key"
    assert (made["host_key_private"].strip(), 0o600) == (key.read_text().strip(), key.stat().st_mode & 0o777)
    assert made["host_key_public"] == key.with_suffix(".pub").read_text().strip()


FREEBSD = """
set -e
sysctl() { echo ada0 ada1 vtbd0; }
geom() { case $3 in ada0) echo "   ident: D0" ;; ada1) echo "   ident: $SERIAL" ;; *) echo "   ident: (null)" ;; esac; }
diskinfo() { printf '/dev/%s\\t512\\t1000000000\\t1953125\\n' "$1"; }
fetch() { echo "$3" >>"$BSDINSTALL_DISTDIR/fetched"; }
"""


@pytest.mark.parametrize(
    ("serial", "chosen"), [("D1", "ada1"), ("D0", ""), (EVIL, "ada1"), ("", "vtbd0"), ("D2", "")], ids=range(5)
)
def test_freebsd_finds_the_disk_that_was_ordered(serial: str, chosen: str, tmp_path: Path) -> None:
    """By serial number and size, for FreeBSD names disks otherwise; none, or two, and the installer ends. A serial is a text."""
    order = replace(ORDER, disk={**ORDER.disk, "serial": serial})
    made = dict(seeds.made(order, NODE, web(), "http://10.0.0.1:8080").values)
    preamble, _, script = task("freebsd").files("inject", made)["installerconfig"].partition("#!/bin/sh\n")
    ident = "D1" if serial in ("", "D2") else serial
    given = {"PATH": os.environ["PATH"], "SERIAL": ident, "BSDINSTALL_DISTDIR": str(tmp_path)}
    told = f'{FREEBSD}{preamble}\necho "$PARTITIONS"'
    done = subprocess.run(["sh", "-c", told], env=given, capture_output=True, text=True, timeout=30)
    if chosen:
        assert (0, f"{chosen} gpt {{ auto freebsd-ufs / }}\n") == (done.returncode, done.stdout)
        files = [f"http://10.0.0.1:8080/svc/file/r/{name}" for name in ("MANIFEST", "base.txz", "kernel.txz")]
        assert files == (tmp_path / "fetched").read_text().split()
    else:
        assert (1, False) == (done.returncode, (tmp_path / "fetched").exists())
    assert 0 == subprocess.run(["sh", "-n"], input=script, text=True, timeout=30).returncode


@pytest.mark.parametrize(
    ("url", "peer"), [("http://10.0.0.1:8080", "10.0.0.1 8080"), ("http://boot.example", "boot.example 80")]
)
def test_freebsd_calls_home_without_curl(url: str, peer: str) -> None:
    """Its base system has nothing that posts but nc: what is sent is a whole request with the token of the order."""
    made = dict(seeds.made(ORDER, NODE, web(), url).values)
    script = task("freebsd").files("inject", made)["installerconfig"].partition("#!/bin/sh\n")[2]
    call = script[script.index("call_home()") :]
    stub = 'nc() { cat >&2; echo "$3 $4" >&2; echo "HTTP/1.0 200 OK"; }\n'
    done = subprocess.run(["sh", "-euc", stub + call], capture_output=True, text=True, timeout=30)
    head, _, body = done.stderr.partition("\n\n")
    assert (0, f"{{}}{peer}\n") == (done.returncode, body)
    host = url.removeprefix("http://")
    lines_of = [
        "POST /svc/installed HTTP/1.0",
        f"Host: {host}",
        f"Authorization: Bearer {made['token']}",
        "Content-Length: 2",
    ]
    assert lines_of == head.splitlines()


def sent_to_an_installer(
    desk: Desk, write: Any, order: Any, *, task: str = "debian", kernel: str = "linux", initrd: str = "initrd.gz"
) -> tuple[Machine, Any]:
    """A machine that has booted, and the order by which it is installed by an installer of its own."""
    write(Repo(name="tree", kernel=kernel, initrd=initrd), web(task=task, repo="tree"))
    machine = Machine(desk, 1)
    machine.boot()
    return machine, order(machine.node, kind="installer")


def test_an_installer_may_fetch_its_files_itself(
    machines_desk: Desk, registry: Registry, write: Any, order: Any
) -> None:
    """FreeBSD's runs from memory and knows nothing but the server: its address says whose file it wants, none is injected."""
    machine, _ = sent_to_an_installer(
        machines_desk, write, order, task="freebsd", kernel="memdisk", initrd="freebsd.iso"
    )
    assert 403 == machine.ask("GET", "inject/mine/installerconfig", token="").status  # it was not checked yet
    assert "reboot" == machine.poll()["action"]
    script = machine.script()
    assert ("memdisk initrd=initrd iso raw" in script, "inject" in script) == (True, False)
    config = machine.ask("GET", "inject/mine/installerconfig", token="")
    stranger = machine.twin(address="10.9.9.9").ask("GET", "inject/mine/installerconfig", token="")
    assert (200, 400) == (config.status, stranger.status)
    token = config.body.decode().split("{}' \\\n")[1].split()[1]
    assert 200 == machine.ask("POST", "installed", token=token, body={}).status
    assert "installed" == registry.node(machine.node).state


def test_a_file_without_a_token_leaves_the_token_good(machines_desk: Desk, write: Any, order: Any) -> None:
    """Ubuntu's installer fetches two files: the second one, whose text has no token, does not make the first one's invalid."""
    machine, given = sent_to_an_installer(machines_desk, write, order, task="ubuntu", kernel="linux", initrd="initrd")
    machine.poll()
    text = machine.ask("GET", f"inject/{given.id}/user-data", token="").body.decode()
    assert 200 == machine.ask("GET", f"inject/{given.id}/meta-data", token="").status
    assert 403 == machine.ask("GET", "inject/mine/user-data", token="").status
    token = text.split("Bearer ")[1].split("'")[0]
    assert 200 == machine.ask("POST", "installed", token=token, body={}).status


def test_a_folder_of_templates_is_a_task(tmp_path: Path) -> None:
    """Issue "a new one needs no Python"; ours of the same name gives way."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "task.toml").write_text('label = "mine"\nkind = "image"\n[seed]\n"motd" = "motd.j2"\n')
    (tmp_path / "mine" / "motd.j2").write_text("{{ hostname }} {{ metadata.owner }}")
    assert {"motd": f"web1.example {EVIL}"} == task("mine", [tmp_path]).files("seed", values())


@pytest.mark.parametrize(
    ("toml", "template", "words"),
    [
        ('label = "x"\nkind = "magic"\n', "", "kind cannot be"),
        ('kind = "image"\n', "", "cannot be read"),
        ('label = "x"\nkind = "image"\n[seed]\n"a" = "gone.j2"\n', "", "is not there"),
        ('label = "x"\nkind = "image"\n[seed]\n"../a" = "t.j2"\n', "x", "is no file name"),
        ('label = "x"\nkind = "image"\n[seed]\n"a" = "t.j2"\n', "{{ nothing }}", "UndefinedError"),
        ('label = "x"\nkind = "image"\n[seed]\n"a" = "t.j2"\n', "{{ ''.__class__.__mro__ }}", "SecurityError"),
    ],
)
def test_a_task_that_cannot_be_used_is_said(tmp_path: Path, toml: str, template: str, words: str) -> None:
    """In the file that has to be mended, or at the template; nothing of Python is reached from a template."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "task.toml").write_text(toml)
    if template:
        (tmp_path / "mine" / "t.j2").write_text(template)
    with pytest.raises(ProvisionError, match=words):
        task("mine", [tmp_path]).files("seed", values())


def test_an_installer_is_booted_by_the_machine_that_was_checked(
    machines_desk: Desk, registry: Registry, write: Any, order: Any
) -> None:
    """First the microkernel's check of machine and disk, then its installer, with its own file, at its own address."""
    machine, given = sent_to_an_installer(machines_desk, write, order)
    assert "microkernel" in machine.script()
    assert "reboot" == machine.poll()["action"]
    script = machine.script()
    assert ("/svc/file/tree/linux" in script, f"/svc/inject/{given.id}/preseed.cfg" in script) == (True, True)
    preseed = machine.ask("GET", f"inject/{given.id}/preseed.cfg", token="")
    stranger = machine.twin(address="10.9.9.9").ask("GET", f"inject/{given.id}/preseed.cfg", token="")
    assert (200, True, 403) == (preseed.status, b"partman-auto/disk string /dev/vda" in preseed.body, stranger.status)
    token = preseed.body.decode().split("Bearer ")[1].split("'")[0]
    assert (200, "installed") == (
        machine.ask("POST", "installed", token=token, body={}).status,
        registry.node(machine.node).state,
    )
    assert "linux" not in machine.script()


def test_an_installer_that_no_loader_boots_fails(
    machines_desk: Desk, registry: Registry, write: Any, order: Any
) -> None:
    """GRUB and PXELINUX bring the microkernel again: the order has failed, and the machine is not sent round for ever."""
    machine, _ = sent_to_an_installer(machines_desk, write, order)
    assert ["reboot", "reboot"] == [machine.poll()["action"], lines(machine.check_in())["action"]]
    assert "wait" == lines(machine.boot())["action"]
    (failed,) = [row["entry"] for row in registry.log(machine.node) if row["event"] == "failed"]
    assert "installers need iPXE" in failed["reason"]
    assert ("matched", "") == (registry.node(machine.node).state, registry.node(machine.node).order)


def test_an_installer_is_refused_when_the_disk_is_another_one(
    machines_desk: Desk, registry: Registry, write: Any, order: Any
) -> None:
    """Issue fault "disk swapped before install": found at the check-in before, nothing is booted."""
    machine, _ = sent_to_an_installer(machines_desk, write, order)
    machine.facts["disks"][0]["fingerprint"] = "other"
    machine.boot()
    assert ("wait", "") == (machine.poll()["action"], registry.node(machine.node).order)
    assert "microkernel" in machine.script()


def test_a_memory_test_is_booted_once(machines_desk: Desk, registry: Registry, write: Any, order: Any) -> None:
    """The boot after it is the microkernel's again, and no disk was in the order."""
    write(Repo(name="memtest", kernel="memtest64.bin", initrd="none"), web(task="memtest", repo="memtest"))
    machine = Machine(machines_desk, 1)
    machine.boot()
    assert {} == order(machine.node, kind="boot").disk
    machine.poll()
    assert ["memtest64.bin" in machine.script() for _ in range(2)] == [True, False]
    assert "matched" == registry.node(machine.node).state


def rescued(desk: Desk, machine: Machine, config: Any) -> None:
    """An installed machine is ordered into a rescue shell, and boots into it."""
    COMMANDS["rescue-node"].plan(desk.registry, node=machine.node).run(apply=True, config=config)
    assert "microkernel" in machine.script()
    assert "rescue" == lines(machine.boot())["action"]


@pytest.fixture
def installed(machines_desk: Desk, registry: Registry, write: Any) -> Machine:
    """A machine that is installed by the policy web."""
    write(IMAGE, web())
    machine = Machine(machines_desk, 1)
    machine.boot()
    with registry.store.transaction() as tx:
        change(tx, machine.node, state="installed", installed="web")
    return machine


@pytest.mark.parametrize("loader", ["asks", "reads a file"])
def test_a_rescue_shell_lasts_for_one_boot(machines_desk: Desk, installed: Machine, config: Any, loader: str) -> None:
    """Ordered for an installed machine as well; the boot after it is its own disk's again, and it counts as installed.

    A loader that cannot ask (GRUB, PXELINUX) brings the microkernel once more, which is told to reboot. To check in again
    in the same boot ends nothing.
    """
    machine, registry = installed, machines_desk.registry
    rescued(machines_desk, machine, config)
    assert "rescue" == lines(machine.check_in())["action"] == machine.poll()["action"]
    if loader == "asks":
        assert "microkernel" not in machine.script()
    else:
        assert "reboot" == lines(machine.boot())["action"]
        assert "microkernel" not in machine.script()
    node = registry.node(machine.node)
    assert ("installed", "web", "") == (node.state, node.installed, node.order)
    assert 1 == [row["event"] for row in registry.log(machine.node)].count("rescued")


def test_a_rescue_takes_nobodys_place(
    machines_desk: Desk, installed: Machine, registry: Registry, config: Any, order: Any
) -> None:
    """It waits for no turn among the installs, and leaves them theirs; revoked, the machine is what it was before."""
    rescued(machines_desk, installed, config)
    desk = Desk(registry, type(config).of(store={"url": config["store.url"]}, provision={"most_installs": 1}))
    other = Machine(desk, 2)
    other.boot()
    given = order(other.node)
    assert ("install", 200) == (other.poll()["action"], other.stage(given.id, "accepted").status)
    rescue = registry.node(installed.node).order
    COMMANDS["revoke"].plan(registry, order=rescue).run(apply=True, config=config, irreversible=True)
    assert ("wait", "installed") == (installed.poll()["action"], registry.node(installed.node).state)
