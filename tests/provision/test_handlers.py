"""What machines are told: recognised, matched, ordered, checked, and left alone where it is not known who they are."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sretoolkit.actor import Actor
from sretoolkit.errors import ProvisionError
from sretoolkit.plan.control import EVERY_RUN, tell
from sretoolkit.provision import orders
from sretoolkit.provision.entries import Policy, Tag
from sretoolkit.provision.facts import cleaned, is_plain
from sretoolkit.provision.handlers import Desk, Request
from sretoolkit.provision.orders import Order
from sretoolkit.provision.registry import Registry
from tests.provision.conftest import IMAGE, web
from tests.provision.machine import Machine, files_of, lines

Write = Callable[..., None]
Give = Callable[..., Order]


@pytest.fixture
def desk(machines_desk: Desk) -> Desk:
    """The desk that machines speak to."""
    return machines_desk


def test_a_machine_is_recognised_by_what_stays(desk: Desk, registry: Registry) -> None:
    """A replaced network card does not make a new machine; another machine is another node."""
    machine = Machine(desk, 1)
    machine.boot()
    first = machine.node
    machine.hw = {**machine.hw, "mac": ["52:54:00:ff:00:01"]}
    machine.boot()
    other = Machine(desk, 2)
    other.boot()
    assert (first, ["52:54:00:ff:00:01"]) == (machine.node, list(registry.node(first).hardware.macs))
    assert other.node != first


@pytest.mark.parametrize(
    "hw",
    [
        {"uuid": "00000000-0000-0000-0000-000000000000", "serial": "To be filled by O.E.M.", "mac": []},
        {"uuid": "", "mac": ["00:00:00:00:00:00"]},
    ],
)
def test_what_vendors_write_everywhere_identifies_nobody(desk: Desk, hw: dict[str, Any]) -> None:
    """Junk identities are left out; a machine without any is refused with the reason."""
    machine = Machine(desk, 1)
    machine.hw = hw
    response = machine.boot()
    assert (400, True) == (response.status, b"by which it could be known" in response.body)


def test_two_machines_with_one_uuid_are_both_left_alone(
    desk: Desk, registry: Registry, write: Write, order: Give
) -> None:
    """Issue fault "two machines with one UUID": refused, the first is held, and an order for it is not given out."""
    write(IMAGE, web())
    machine = Machine(desk, 1)
    machine.boot()
    order(machine.node)
    clone = Machine(desk, 2, hw={"uuid": machine.hw["uuid"]})
    response = clone.boot()
    assert (409, True, "wait") == (
        response.status,
        b"contradicts it: serial" in response.body,
        machine.poll()["action"],
    )
    assert "contradicts" in registry.node(machine.node).held
    assert ["identity-conflict"] == [e["event"] for e in registry.log(machine.node)][-1:]


def test_a_machine_that_pretends_to_be_another_one_is_refused(desk: Desk, registry: Registry) -> None:
    """Issue fault "MAC spoofed": the very same identity from elsewhere, while the first one speaks, is a conflict."""
    machine = Machine(desk, 1)
    machine.boot()
    pretender = machine.twin(address="10.9.9.9")
    pretender.boots = 7
    assert 409 == pretender.boot().status
    assert "speaks from" in registry.node(machine.node).held


def test_a_reboot_is_no_pretender(desk: Desk, registry: Registry) -> None:
    """The same machine at its address boots as often as it likes; its older token is no longer good."""
    machine = Machine(desk, 1)
    machine.boot()
    old = machine.token
    assert 200 == machine.boot().status
    assert (401, "wait", "") == (
        machine.ask("POST", "poll", token=old).status,
        machine.poll()["action"],
        registry.node(machine.node).held,
    )


def test_matching_alone_writes_nothing(desk: Desk, registry: Registry, write: Write) -> None:
    """Protect by default: a foreign machine that matches gets a policy and is told to wait."""
    write(IMAGE, web(hostname="web${count}.example"))
    machine = Machine(desk, 1)
    told = lines(machine.boot())
    node = registry.node(machine.node)
    assert ("wait", "matched", "web", "web1.example") == (told["action"], node.state, node.policy, node.hostname)
    assert "microkernel" in machine.script()


def test_an_ordered_machine_is_installed_and_never_again(
    desk: Desk, registry: Registry, write: Write, order: Give
) -> None:
    """The whole way, and afterwards: its own disk at every boot, and no order without releasing it first."""
    write(IMAGE, web(ssh_keys=("ssh-ed25519 AAAA alice",)))
    machine = Machine(desk, 1)
    machine.boot()
    given = order(machine.node)
    told = machine.poll()
    assert {
        "action": "install", "order": given.id, "image": "http://server:8080/svc/file/tiny/disk.img.gz",
        "image_bytes": str(IMAGE.image_bytes), "expect_serial": "SN1", "expect_mac": machine.hw["mac"][0],
        "disk_serial": "D1", "seed": "yes", "seed_partition": "2", "seed_path": "/var/lib/cloud/seed/nocloud",
    }.items() <= told.items()  # fmt: skip
    for stage in ("accepted", "writing", "writing", "written", "verified"):
        assert (stage, 200) == (stage, machine.stage(given.id, stage).status)
    seed = files_of(machine.ask("GET", "seed", order=given.id))
    callback = dict(line.split("=", 1) for line in seed["callback"].splitlines())
    user_data = seed["user-data"]
    assert ("ssh-ed25519 AAAA alice" in user_data, True) == (True, registry.node(machine.node).host_key in user_data)
    for stage in ("seeded", "rebooting"):
        machine.stage(given.id, stage)
    assert "microkernel" not in machine.script()
    assert 200 == machine.ask("POST", "installed", token=callback["token"], body={"os": "Debian"}).status
    node = registry.node(machine.node)
    assert ("installed", "web", "") == (node.state, node.installed, node.order)
    machine.boot()
    assert ("wait", False) == (machine.poll()["action"], "microkernel" in machine.script())
    with pytest.raises(ProvisionError, match="not installed again"):
        order(machine.node)


def test_a_callback_counts_once_and_is_never_guessed(desk: Desk, registry: Registry, write: Write, order: Give) -> None:
    """Issue fault "callbacks replayed or forged": no token, a wrong one, and the right one a second time are refused."""
    write(IMAGE, web())
    machine = Machine(desk, 1)
    machine.boot()
    given = order(machine.node)
    for stage in ("accepted", "writing", "written", "verified"):
        machine.stage(given.id, stage)
    text = files_of(machine.ask("GET", "seed", order=given.id))["callback"]
    token = text.split("token=")[1].split("\n")[0]
    forged = [machine.ask("POST", "installed", token=word).status for word in ("", "x" * 43, machine.token)]
    states = [registry.node(machine.node).state]
    answers = [machine.ask("POST", "installed", token=token, body={}).status for _ in range(2)]
    assert ([401, 401, 401], ["installing"], [200, 401]) == (forged, states, answers)


def test_a_seed_is_given_only_to_the_machine_that_wrote_its_image(desk: Desk, write: Write, order: Give) -> None:
    """Nobody else's token, and not before the image is proved to be there."""
    write(IMAGE, web())
    machine, other = Machine(desk, 1), Machine(desk, 2)
    machine.boot()
    other.boot()
    given = order(machine.node)
    early = machine.ask("GET", "seed", order=given.id).status
    for stage in ("accepted", "writing", "written", "verified"):
        machine.stage(given.id, stage)
    assert (409, 409, 401) == (
        early,
        other.ask("GET", "seed", order=given.id).status,
        machine.ask("GET", "seed", token="", order=given.id).status,
    )


def test_a_refusal_ends_the_order(desk: Desk, registry: Registry, write: Write, order: Give) -> None:
    """The machine found another disk: nothing was written, the reason is kept, it is matched as before."""
    write(IMAGE, web())
    machine = Machine(desk, 1)
    machine.boot()
    given = order(machine.node)
    machine.stage(given.id, "refused", reason="the disk's fingerprint differs")
    node = registry.node(machine.node)
    assert ("matched", "", "wait") == (node.state, node.order, machine.poll()["action"])
    with registry.store.transaction() as tx:
        assert ("refused", "the disk's fingerprint differs") == (lambda o: (o.state, o.why))(
            orders.order_in(tx, given.id)
        )


def test_a_revoked_order_stops_a_machine_in_the_middle(
    desk: Desk, registry: Registry, write: Write, order: Give
) -> None:
    """Its next word is answered with 409, and no stage brings the order back."""
    write(IMAGE, web())
    machine = Machine(desk, 1)
    machine.boot()
    given = order(machine.node)
    machine.stage(given.id, "accepted")
    machine.stage(given.id, "writing")
    with registry.store.transaction() as tx:
        orders.revoke(tx, given.id, "stopped by alice")
    assert (409, "wait") == (machine.stage(given.id, "written").status, machine.poll()["action"])


def test_a_power_cut_in_the_middle_begins_again(desk: Desk, registry: Registry, write: Write, order: Give) -> None:
    """Issue fault "power lost": the next boot is told the same order, and may accept it anew."""
    write(IMAGE, web())
    machine = Machine(desk, 1)
    machine.boot()
    given = order(machine.node)
    for stage in ("accepted", "writing"):
        machine.stage(given.id, stage)
    machine.boot()
    assert ("install", 200) == (machine.poll()["action"], machine.stage(given.id, "accepted").status)


@pytest.mark.parametrize(
    ("disk", "words"),
    [
        ({"empty": False, "content": "ext4"}, "is not empty: ext4"),
        ({"empty": False, "content": "unknown"}, "--erase-confirmed=D1"),
        ({"last_mount": 1.7e9}, "is not empty"),
        ({"fingerprint": ""}, "no fingerprint"),
    ],
)
def test_what_may_hold_data_is_not_erased_without_its_serial_number(
    desk: Desk, write: Write, order: Give, disk: dict[str, Any], words: str
) -> None:
    """Issue "Safety": an unknown or used disk needs --erase-confirmed=SERIAL, of that very disk."""
    write(IMAGE, web())
    machine = Machine(desk, 1)
    machine.facts["disks"][0] |= disk
    machine.boot()
    with pytest.raises(ProvisionError) as caught:
        order(machine.node)
    assert words in str(caught.value)
    with pytest.raises(ProvisionError):
        order(machine.node, erase_confirmed="D2")
    if disk.get("fingerprint", "x"):
        assert "D1" == order(machine.node, erase_confirmed="D1").erase_confirmed


def test_which_of_two_disks_is_never_guessed(desk: Desk, write: Write, order: Give) -> None:
    """Two disks need one to be named."""
    write(IMAGE, web())
    machine = Machine(desk, 1)
    machine.facts["disks"].append({**machine.facts["disks"][0], "name": "vdb", "serial": "D1b"})
    machine.boot()
    with pytest.raises(ProvisionError, match="2 disks it could be"):
        order(machine.node)
    assert "vdb" == order(machine.node, disk="D1b").disk["name"]


def test_an_automatic_policy_installs_empty_disks_alone(desk: Desk, write: Write) -> None:
    """It never erases: a disk with anything on it waits for a person."""
    write(IMAGE, web(automatic=True))
    empty, used = Machine(desk, 1), Machine(desk, 2)
    used.facts["disks"][0]["empty"] = False
    assert ("install", "wait") == (lines(empty.boot())["action"], lines(used.boot())["action"])


def test_a_policy_takes_no_more_than_its_places(desk: Desk, registry: Registry, write: Write) -> None:
    """The next policy that matches takes the others."""
    write(IMAGE, web(max_count=2), Policy(name="rest", task="image", repo="tiny", order=2000))
    machines = [Machine(desk, number) for number in range(1, 6)]
    for machine in [*machines, *machines]:
        machine.boot()
    assert ["web", "web", "rest", "rest", "rest"] == [registry.node(machine.node).policy for machine in machines]


def test_a_change_of_policy_does_not_change_an_install_that_goes_on(
    desk: Desk, registry: Registry, write: Write, order: Give
) -> None:
    """Issue fault "policy changed during install": the order is what was decided."""
    write(IMAGE, web())
    machine = Machine(desk, 1)
    machine.boot()
    order(machine.node)
    write(web(enabled=False), Policy(name="other", task="image", repo="tiny", order=1))
    machine.boot()
    assert ("web", "install") == (registry.node(machine.node).policy, machine.poll()["action"])


def test_only_so_many_are_installed_at_once_in_order(
    registry: Registry, config: Any, write: Write, order: Give
) -> None:
    """Issue "maximum simultaneous installs": the oldest orders come first, the next one when one is done."""
    desk = Desk(registry, type(config).of(store={"url": config["store.url"]}, provision={"most_installs": 2}))
    write(IMAGE, web())
    machines = [Machine(desk, number) for number in range(1, 5)]
    for machine in machines:
        machine.boot()
    given = [order(machine.node) for machine in machines]
    assert ["install", "install", "wait", "wait"] == [machine.poll()["action"] for machine in machines]
    assert 200 == machines[0].stage(given[0].id, "accepted").status
    assert 200 == machines[1].stage(given[1].id, "accepted").status
    assert ["wait", "wait"] == [machine.poll()["action"] for machine in machines[2:]]
    assert 409 == machines[3].stage(given[3].id, "accepted").status
    machines[0].stage(given[0].id, "failed", reason="no link")
    assert ["install", "wait"] == [machine.poll()["action"] for machine in machines[2:]]


def test_the_kill_switch_stops_all_that_has_not_begun(
    desk: Desk, registry: Registry, write: Write, order: Give
) -> None:
    """Issue "a kill switch": nobody is told to install, and nobody's acceptance is taken, until it ends."""
    write(IMAGE, web())
    machine = Machine(desk, 1)
    machine.boot()
    given = order(machine.node)
    tell(registry.store, EVERY_RUN, "stop", actor=Actor("alice"))
    assert ("wait", 409) == (machine.poll()["action"], machine.stage(given.id, "accepted").status)
    tell(registry.store, EVERY_RUN, "resume", actor=Actor("alice"))
    assert ("install", 200) == (machine.poll()["action"], machine.stage(given.id, "accepted").status)


def test_unknown_machines_are_bounded(registry: Registry, config: Any) -> None:
    """Issue fault "flooding registration": beyond the bound they are told to come later; known ones go on."""
    desk = Desk(registry, type(config).of(store={"url": config["store.url"]}, provision={"most_new": 3}))
    machines = [Machine(desk, number) for number in range(1, 6)]
    answers = [machine.boot() for machine in machines]
    assert [200, 200, 200, 429, 429] == [answer.status for answer in answers]
    assert ("60", 200) == (answers[4].headers["Retry-After"], machines[0].boot().status)


def test_hostile_facts_are_kept_as_text_or_refused(desk: Desk, registry: Registry) -> None:
    """Issue fault "hostile facts": long texts are cut, control characters go, templates and markup stay text."""
    machine = Machine(desk, 1)
    evil = "<script>{{ 7*7 }}$(reboot)`;'\"\x1b[2J\n"
    machine.facts |= {"vendor": evil, "long": "x" * 100_000, evil: 1}
    assert 200 == machine.boot().status
    kept = registry.node(machine.node).facts
    assert ("<script>{{ 7*7 }}$(reboot)`;'\" [2J ", 4096) == (kept["vendor"], len(kept["long"]))
    deep: Any = 1
    for _ in range(30):
        deep = [deep]
    hostile: list[Any] = [{"deep": deep}, {"many": list(range(5000))}, {"long": "x" * 1_000_000}, []]
    answers = [
        machine.ask("POST", "checkin", body={"hw": machine.hw, "facts": facts}, token="").status for facts in hostile
    ]
    assert [400, 400, 400, 400] == answers


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b'{"hw": 3}', b"\xff\xfe", b'{"hw": {"mac": "x"}}', b'{"hw": {"serial": 7}}', b"[" * 100_000],
)
def test_rubbish_is_refused_with_a_reason(desk: Desk, body: bytes) -> None:
    """No body of a check-in makes the server fail."""
    response = Machine(desk, 1).ask("POST", "checkin", body=body, token="")
    assert (400, True) == (response.status, len(response.body) > 10)


@pytest.mark.parametrize(
    "path",
    [
        "/svc/file/../store.db",
        "/svc/file/tiny/../../../etc/passwd",
        "/svc/file//etc/passwd",
        "/svc/file/tiny/%2e%2e/x",
        "/svc/file/tiny",
        "/svc/file/",
        "/svc/other/x",
        "/svc/file/tiny/\0",
        "/svc/file/link/passwd",
    ],
)
def test_no_path_leads_out_of_the_folder(desk: Desk, path: str) -> None:
    """Issue "path traversal in file requests": links included."""
    folder = desk.folder / "repos" / "tiny"
    folder.mkdir(parents=True)
    (folder / "disk.img.gz").write_bytes(b"image")
    (desk.folder / "repos" / "link").symlink_to("/etc")
    assert (404, "disk.img.gz") == (
        desk.file(Request("GET", path)).status,
        desk.file(Request("GET", "/svc/file/tiny/disk.img.gz")).file.name,  # type: ignore[union-attr]
    )


def test_ten_places_raced_for_by_fifty_machines(desk: Desk, registry: Registry, write: Write) -> None:
    """Issue fault "policy exhausted by a race of 50 nodes for 10 places": ten get one, forty the next policy."""
    from concurrent.futures import ThreadPoolExecutor

    write(IMAGE, web(max_count=10), Policy(name="rest", task="image", repo="tiny", order=2000))
    machines = [Machine(desk, number) for number in range(1, 51)]
    random.Random(3).shuffle(machines)
    with ThreadPoolExecutor(8) as pool:
        assert {200} == {response.status for response in pool.map(Machine.boot, machines)}
    policies = [node.policy for node in registry.nodes()]
    assert (10, 40) == (policies.count("web"), policies.count("rest"))


def test_a_tag_that_cannot_be_told_stops_its_machine_alone(desk: Desk, registry: Registry, write: Write) -> None:
    """Razor stopped every machine for one erring rule; here the others go on, and the reason is in the machine's log."""
    write(
        IMAGE,
        web(),
        Tag(name="lab", rule=["=", ["fact", "site"], "lab"]),
        Policy(name="first", task="image", tags=("lab",), order=1),
    )
    vague, clear = Machine(desk, 1), Machine(desk, 2, facts={"site": "ams"})
    vague.boot()
    vague.boot()
    clear.boot()
    told = [entry["entry"] for entry in registry.log(vague.node) if entry["event"] == "undecided"]
    assert ("", "web", [{"policy": "first", "reasons": "lab: there is no fact 'site'"}]) == (
        registry.node(vague.node).policy,
        registry.node(clear.node).policy,
        told,
    )


@given(
    st.recursive(
        st.one_of(
            st.none(),
            st.booleans(),
            st.integers(),
            st.text(max_size=20),
            st.just("x" * 5000),
            st.text("ab ", max_size=9),
        ),
        lambda inner: st.one_of(
            st.lists(inner, max_size=4), st.dictionaries(st.text("abc", max_size=3), inner, max_size=4)
        ),
        max_leaves=30,
    )
)
def test_facts_that_are_kept_as_they_came_are_those_that_cleaning_would_keep(value: Any) -> None:
    """The quick way and the thorough one never differ, whatever a machine says."""
    facts = {"facts": value}
    for _ in range(random.Random(str(value)).choice([0, 0, 15])):
        facts = {"in": facts}
    raw = json.dumps(facts).encode()
    if is_plain(raw, facts):
        assert facts == cleaned(facts)
