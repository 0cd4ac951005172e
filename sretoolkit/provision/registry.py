"""What provisioning knows, in the project's one store: documents, machines, and what happened to them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sretoolkit.errors import ProvisionError
from sretoolkit.provision.entries import Document, Policy, Tag, read
from sretoolkit.provision.matching import Matcher
from sretoolkit.provision.node import Hardware, Node, State
from sretoolkit.store import Store
from sretoolkit.store.store import Row, Transaction

_REVISION = "SELECT value FROM meta WHERE key = 'provision'"
_NODE = (
    "id, hardware, facts, metadata, state, policy, installed, hostname, host_key, held, order_id, orders, address, "
    "registered, seen"
)


class Registry:
    """Reads and writes for one process; what several of them write at once, the store's transactions keep apart."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._matcher: tuple[str, Matcher] | None = None

    def documents(self, kind: str, tx: Transaction | None = None) -> dict[str, Document]:
        """All documents of a kind by name."""
        ask = tx.execute if tx else self.store.read
        rows = ask("SELECT document FROM provision_documents WHERE kind = :kind ORDER BY name", kind=kind)
        found = [read(kind, json.loads(row["document"])) for row in rows]
        return {document.name: document for document in found}

    def document(self, kind: str, name: str) -> Document:
        """One of them; raises `ProvisionError` when there is none of that name."""
        found = self.documents(kind)
        if name not in found:
            raise ProvisionError(
                f"there is no {kind} {name!r}", subject=name, hint=f"there are: {', '.join(found) or 'none'}"
            )
        return found[name]

    def policies(self) -> dict[str, Policy]:
        """All policies by name."""
        return {name: found for name, found in self.documents("policy").items() if isinstance(found, Policy)}

    def put(self, tx: Transaction, kind: str, name: str, document: Document | None) -> None:
        """Write a document, or remove it (None), and see that all rules and policies still make sense together.

        Raises `ProvisionError`, so that the transaction is rolled back.
        """
        tx.lock("provision-documents")
        if document is None:
            tx.execute("DELETE FROM provision_documents WHERE kind = :kind AND name = :name", kind=kind, name=name)
        else:
            tx.execute(
                "INSERT INTO provision_documents (kind, name, document, changed) VALUES (:kind, :name, :document, {now}) "
                "ON CONFLICT (kind, name) DO UPDATE SET document = :document, changed = {now}",
                kind=kind, name=name, document=json.dumps(document.to_dict()),
            )  # fmt: skip
        tx.execute(
            "INSERT INTO meta (key, value) VALUES ('provision', '1') "
            "ON CONFLICT (key) DO UPDATE SET value = CAST(CAST(meta.value AS INTEGER) + 1 AS TEXT)"
        )
        matcher_of(self.documents("tag", tx), self.documents("policy", tx))

    def matcher(self, tx: Transaction | None = None) -> Matcher:
        """All rules and policies as they are now; compiled anew only when somebody has changed them."""
        rows = tx.execute(_REVISION) if tx else self.store.read(_REVISION)
        revision = str(rows[0]["value"]) if rows else "0"
        if self._matcher is None or self._matcher[0] != revision:
            self._matcher = revision, matcher_of(self.documents("tag", tx), self.documents("policy", tx))
        return self._matcher[1]

    def nodes(self, *, state: str = "") -> list[Node]:
        """All machines, or those in one state, in the order in which they came."""
        where = "WHERE state = :state" if state else ""
        values = {"state": state} if state else {}
        rows = self.store.read(f"SELECT {_NODE} FROM provision_nodes {where} ORDER BY number", **values)
        return [node_of(row) for row in rows]

    def node(self, word: str) -> Node:
        """The machine with that id, host name, or identity (a UUID, serial number or MAC address).

        Raises `ProvisionError` when there is none, or when the word means several.
        """
        rows = self.store.read(
            f"SELECT {_NODE} FROM provision_nodes WHERE id = :word OR (hostname = :word AND hostname <> '') OR id IN "
            "(SELECT node FROM provision_identities WHERE identity IN (:uuid, :mac, :serial, :asset))",
            word=word, uuid=f"uuid={word.lower()}", mac=f"mac={word.lower().replace('-', ':')}",
            serial=f"serial={word}", asset=f"asset={word}",
        )  # fmt: skip
        if len(rows) != 1:
            known = ", ".join(row["id"] for row in rows)
            hint = f"it could be {known}; write the id" if rows else "`sretoolkit provision nodes` lists them"
            raise ProvisionError(f"there is no one node {word!r}", subject=word, hint=hint)
        return node_of(rows[0])

    def log(self, node: str = "", *, after: int = 0, limit: int = 200) -> list[dict[str, Any]]:
        """What happened to a machine (or to all), newest last: id, node, at, event, and what belongs to it."""
        where = "AND node = :node" if node else ""
        values: dict[str, Any] = {"after": after, "limit": limit} | ({"node": node} if node else {})
        rows = self.store.read(
            f"SELECT id, node, at, event, entry FROM provision_log WHERE id > :after {where} ORDER BY id DESC LIMIT :limit",
            **values,
        )
        return [{**row, "entry": json.loads(row["entry"])} for row in reversed(rows)]


def matcher_of(tags: Mapping[str, Document], policies: Mapping[str, Document]) -> Matcher:
    """The matcher of these documents; raises `ProvisionError` when they do not go together."""
    return Matcher(
        [tag for tag in tags.values() if isinstance(tag, Tag)],
        [policy for policy in policies.values() if isinstance(policy, Policy)],
    )


def node_in(tx: Transaction, node: str) -> Node:
    """A machine as this transaction sees it."""
    rows = tx.execute(f"SELECT {_NODE} FROM provision_nodes WHERE id = :node", node=node)
    if not rows:
        raise ProvisionError(f"there is no node {node!r}", subject=node, hint="`sretoolkit provision nodes` lists them")
    return node_of(rows[0])


def node_of(row: Row) -> Node:
    """A machine from its row."""
    state: State = row["state"]
    return Node(
        id=row["id"],
        hardware=Hardware.stored(json.loads(row["hardware"])),
        facts=json.loads(row["facts"]),
        metadata=json.loads(row["metadata"]),
        state=state,
        **{name: row[name] for name in ("policy", "installed", "hostname", "host_key", "held", "address", "seen")},
        order=row["order_id"],
        orders=row["orders"],
    )


def note(tx: Transaction, node: str, event: str, **entry: Any) -> None:
    """Write down what happened to a machine."""
    notes(tx, node, (event, entry))


def notes(tx: Transaction, node: str, *events: tuple[str, Mapping[str, Any]]) -> None:
    """Write down several things that happened to a machine, in their order, in one statement."""
    values: dict[str, Any] = {"node": node}
    for place, (event, entry) in enumerate(events):
        values |= {f"event{place}": event, f"entry{place}": json.dumps(entry, default=str)}
    rows = ", ".join(f"(:node, {{now}}, :event{place}, :entry{place})" for place in range(len(events)))
    tx.execute(f"INSERT INTO provision_log (node, at, event, entry) VALUES {rows}", **values)


def change(tx: Transaction, node: str, **columns: Any) -> None:
    """Set columns of a machine."""
    given = {name: json.dumps(value) if isinstance(value, dict) else value for name, value in columns.items()}
    sets = ", ".join(f"{name} = :{name}" for name in given)
    tx.execute(f"UPDATE provision_nodes SET {sets} WHERE id = :node", node=node, **given)


def put_node(tx: Transaction, row: Mapping[str, Any]) -> None:
    """Write a new machine down; columns that are not given are empty."""
    columns = {
        **dict.fromkeys(("policy", "installed", "hostname", "host_key", "held", "order_id", "address"), ""),
        **row,
    }
    given = {"metadata": "{}", "facts": "{}", "state": "registered", "orders": 0, **columns}
    names = sorted(given)
    tx.execute(
        f"INSERT INTO provision_nodes ({', '.join(names)}, registered, seen) "
        f"VALUES ({', '.join(f':{name}' for name in names)}, " + "{now}, {now})",
        **given,
    )
