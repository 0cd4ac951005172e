"""Tasks: every template that comes with us is made, hostile values stay values, and a new task needs no Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from sretoolkit.errors import ProvisionError
from sretoolkit.provision import seeds
from sretoolkit.provision.boot import checked_word
from sretoolkit.provision.handlers import Desk
from sretoolkit.provision.node import Hardware, Node
from sretoolkit.provision.orders import Order
from sretoolkit.provision.registry import Registry
from sretoolkit.provision.task import task, tasks
from tests.provision.conftest import web
from tests.provision.machine import Machine, lines

EVIL = "\"; rm -rf / #'{{ 7*7 }}"
NODE = Node(id="n1", hardware=Hardware(serial="S1"), facts={"vendor": EVIL}, metadata={"owner": EVIL})
ORDER = Order(
    id="o1",
    node="n1",
    kind="install",
    policy="web",
    hostname="web1.example",
    disk={"name": "vda", "serial": "D1"},
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
        arguments = how.kernel_arguments({key: made[key] for key in ("url", "hostname", "disk", "order")})
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
    from sretoolkit.provision.entries import Repo

    write(Repo(name="tree", kernel="linux", initrd="initrd.gz"), web(task="debian", repo="tree"))
    machine = Machine(machines_desk, 1)
    machine.boot()
    given = order(machine.node, kind="installer")
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


def test_an_installer_is_refused_when_the_disk_is_another_one(
    machines_desk: Desk, registry: Registry, write: Any, order: Any
) -> None:
    """Issue fault "disk swapped before install": found at the check-in before, nothing is booted."""
    from sretoolkit.provision.entries import Repo

    write(Repo(name="tree", kernel="linux", initrd="initrd.gz"), web(task="debian", repo="tree"))
    machine = Machine(machines_desk, 1)
    machine.boot()
    order(machine.node, kind="installer")
    machine.facts["disks"][0]["fingerprint"] = "other"
    machine.boot()
    assert ("wait", "") == (machine.poll()["action"], registry.node(machine.node).order)
    assert "microkernel" in machine.script()


def test_a_memory_test_is_booted_once(machines_desk: Desk, registry: Registry, write: Any, order: Any) -> None:
    """The boot after it is the microkernel's again, and no disk was in the order."""
    from sretoolkit.provision.entries import Repo

    write(Repo(name="memtest", kernel="memtest64.bin", initrd="none"), web(task="memtest", repo="memtest"))
    machine = Machine(machines_desk, 1)
    machine.boot()
    assert {} == order(machine.node, kind="boot").disk
    machine.poll()
    assert ["memtest64.bin" in machine.script() for _ in range(2)] == [True, False]
    assert "matched" == registry.node(machine.node).state


def test_a_rescue_shell_lasts_for_one_boot(machines_desk: Desk, registry: Registry, config: Any, write: Any) -> None:
    """Ordered for an installed machine as well; the boot after it is its own disk's again."""
    from sretoolkit.provision.commands import COMMANDS

    machine = Machine(machines_desk, 1)
    machine.boot()
    COMMANDS["rescue-node"].plan(registry, node=machine.node).run(apply=True, config=config)
    assert "rescue" == machine.poll()["action"]
    assert ("wait", "") == (lines(machine.boot())["action"], registry.node(machine.node).order)
