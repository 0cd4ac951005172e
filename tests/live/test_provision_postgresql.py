"""Provisioning with PostgreSQL as the store: several servers on one, and what they do at once is kept apart."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from sretoolkit.config import Config
from sretoolkit.provision import orders
from sretoolkit.provision.entries import Policy
from sretoolkit.provision.handlers import Desk
from sretoolkit.provision.registry import Registry
from sretoolkit.store import Store
from tests.provision.conftest import IMAGE, web
from tests.provision.machine import Machine, files_of
from tests.stack.postgres import Postgres

pytestmark = pytest.mark.live


@pytest.fixture
def store() -> Iterator[Store]:
    """A store on a server of its own."""
    with Postgres() as server, Store(server.url) as opened:
        yield opened


@pytest.fixture
def registry(store: Store) -> Registry:
    """A registry with an image and two policies."""
    made = Registry(store)
    with store.transaction() as tx:
        for document in (IMAGE, web(max_count=10), Policy(name="rest", task="image", repo="tiny", order=2000)):
            made.put(tx, document.kind, document.name, document)
    return made


def test_a_machine_is_installed(registry: Registry) -> None:
    """The whole way by the same requests as with SQLite."""
    desk = Desk(registry, Config.of(store={"url": registry.store.url}))
    machine = Machine(desk, 1)
    machine.boot()
    order = orders.decided(registry.node(machine.node), registry.policies()["web"])
    with registry.store.transaction() as tx:
        orders.give(tx, order)
    assert "install" == machine.poll()["action"]
    for stage in ("accepted", "writing", "written", "verified"):
        assert 200 == machine.stage(order.id, stage).status
    token = files_of(machine.ask("GET", "seed", order=order.id))["callback"].split("token=")[1].split("\n")[0]
    for stage in ("seeded", "rebooting"):
        machine.stage(order.id, stage)
    assert (200, "installed") == (
        machine.ask("POST", "installed", token=token, body={}).status,
        registry.node(machine.node).state,
    )


def test_ten_places_raced_for_by_fifty_machines_at_four_servers(registry: Registry) -> None:
    """Issue fault "a race of 50 nodes for 10 places": each server has a connection of its own, and none gives a place twice."""
    desks = [Desk(Registry(Store(registry.store.url)), Config.of(store={"url": registry.store.url})) for _ in range(4)]
    machines = [Machine(desks[number % 4], number) for number in range(1, 51)]
    with ThreadPoolExecutor(8) as pool:
        assert {200} == {response.status for response in pool.map(Machine.boot, machines)}
    policies = [node.policy for node in registry.nodes()]
    for desk in desks:
        desk.registry.store.close()
    assert (10, 40) == (policies.count("web"), policies.count("rest"))


def test_one_machine_at_two_servers_is_one_node(registry: Registry) -> None:
    """Twenty check-ins of the same machine at once, at two servers: one node, and its newest token is good."""
    desks = [Desk(Registry(Store(registry.store.url)), Config.of(store={"url": registry.store.url})) for _ in range(2)]
    machines = [Machine(desks[number % 2], 7, address="10.0.0.7") for number in range(20)]
    with ThreadPoolExecutor(8) as pool:
        assert {200} == {response.status for response in pool.map(Machine.boot, machines)}
    for desk in desks:
        desk.registry.store.close()
    assert 1 == len(registry.nodes())
