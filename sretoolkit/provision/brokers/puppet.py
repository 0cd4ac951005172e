"""A Puppet agent, installed and started on the machine itself."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from sretoolkit.hosts.host import host_of
from sretoolkit.plan import Context
from sretoolkit.provision.broker import Broker
from sretoolkit.provision.node import Node


@dataclass(frozen=True, kw_only=True)
class Puppet(Broker):
    """Points the agent at ``server`` and runs it once; ``install`` is how it gets there when it is not yet."""

    server: str
    environment: str = "production"
    install: str = "apt-get install -y -q puppet-agent || apt-get install -y -q puppet"

    def hand_over(self, ctx: Context, node: Node, host: str) -> str:
        """What the agent says last; its exit codes 0 and 2 (changes were made) are well. Raises `CommandFailed`."""
        agent = shlex.join(["puppet", "agent", "--server", self.server, "--environment", self.environment])
        line = (
            f"command -v puppet >/dev/null || {{ {self.install}; }} >/dev/null || exit 9; "
            f"{agent} --onetime --no-daemonize --detailed-exitcodes --waitforcert 60; code=$?; "
            "[ $code = 0 ] || [ $code = 2 ]"
        )
        result = host_of(ctx, host).run(line, timeout=ctx.remaining())
        return "".join(result.stdout.strip().splitlines()[-1:])
