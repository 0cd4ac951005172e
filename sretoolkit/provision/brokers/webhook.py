"""Another system is told: one POST with what is known of the machine."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

from sretoolkit.errors import ProvisionError
from sretoolkit.http import Client, Remote
from sretoolkit.plan import Context
from sretoolkit.provision.broker import Broker
from sretoolkit.provision.node import Node
from sretoolkit.secrets import Secret


@dataclass(frozen=True, kw_only=True)
class Webhook(Broker):
    """Posts JSON to ``url``; ``token`` is a reference to what is sent as bearer token."""

    url: str
    token: str = ""

    def hand_over(self, ctx: Context, node: Node, host: str) -> str:
        """The status that it answers with; raises `ProvisionError` for any but 2xx, and `HTTPError`."""
        remote = Remote(url=self.url, token=Secret(self.token) if self.token else None, attempts=1)
        client = Client(replace(remote, timeout=timedelta(seconds=min(60.0, ctx.remaining()))))
        body = {
            "node": node.id, "hostname": node.hostname, "address": node.address, "policy": node.installed,
            "hardware": node.hardware.to_dict(), "host_key": node.host_key, "metadata": dict(node.metadata),
        }  # fmt: skip
        try:
            answer = client.send("POST", "", json=body)
        finally:
            client.close()
        if not answer.ok:
            raise ProvisionError(
                f"{remote.host} did not take {node.id}: {answer.status} {answer.said}", subject=node.id
            )
        return f"{remote.host} answered {answer.status}"
