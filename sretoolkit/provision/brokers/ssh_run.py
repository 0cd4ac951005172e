"""A command on the machine itself, over SSH."""

from __future__ import annotations

from dataclasses import dataclass

from sretoolkit.hosts.host import host_of
from sretoolkit.plan import Context
from sretoolkit.provision.broker import Broker
from sretoolkit.provision.node import Node


@dataclass(frozen=True, kw_only=True)
class SSHRun(Broker):
    """Runs ``command`` there (a POSIX sh command line)."""

    command: str

    def hand_over(self, ctx: Context, node: Node, host: str) -> str:
        """Its last line; raises `CommandFailed`."""
        result = host_of(ctx, host).run(self.command, timeout=ctx.remaining())
        return "".join(result.stdout.strip().splitlines()[-1:])
