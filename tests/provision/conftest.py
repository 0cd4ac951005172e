"""A desk with a store of its own, and documents in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sretoolkit.config import Config
from sretoolkit.provision import orders
from sretoolkit.provision.entries import Document, Policy, Repo
from sretoolkit.provision.handlers import Desk
from sretoolkit.provision.orders import Order
from sretoolkit.provision.registry import Registry
from sretoolkit.store import Store

IMAGE = Repo(
    name="tiny",
    image="disk.img.gz",
    image_format="gz",
    image_sha256="ab" * 32,
    image_bytes=64 * 1024 * 1024,
    seed_partition=2,
)


@pytest.fixture
def registry(store: Store) -> Registry:
    """An empty registry."""
    return Registry(store)


@pytest.fixture
def machines_desk(registry: Registry, config: Config) -> Desk:
    """The desk that machines speak to."""
    return Desk(registry, config)


@pytest.fixture
def write(registry: Registry) -> Callable[..., None]:
    """Write documents down."""

    def put(*documents: Document) -> None:
        with registry.store.transaction() as tx:
            for document in documents:
                registry.put(tx, document.kind, document.name, document)

    return put


@pytest.fixture
def order(registry: Registry) -> Callable[..., Order]:
    """Give a machine the order that its policy means."""

    def give(node: str, **options: Any) -> Order:
        found = registry.node(node)
        policy = registry.policies()[found.policy]
        made = orders.decided(found, policy, **options)
        with registry.store.transaction() as tx:
            orders.give(tx, made)
        return made

    return give


def web(**options: Any) -> Policy:
    """A policy that takes every machine."""
    return Policy(**{"name": "web", "task": "image", "repo": "tiny", **options})
