"""An Ansible playbook, run on this machine against the new one."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, field
from typing import Any

from sretoolkit.errors import ProvisionError
from sretoolkit.hosts.endpoint import resolve
from sretoolkit.plan import Context
from sretoolkit.provision.broker import Broker
from sretoolkit.provision.node import Node


@dataclass(frozen=True, kw_only=True)
class Ansible(Broker):
    """Runs ``ansible-playbook``; ``variables`` are given as extra ones, beside ``node`` and ``hostname``."""

    playbook: str
    variables: dict[str, Any] = field(default_factory=dict)
    program: str = "ansible-playbook"

    def hand_over(self, ctx: Context, node: Node, host: str) -> str:
        """Ansible's last line; raises `ProvisionError` with what it said last when it failed."""
        import json

        options = resolve(host, ctx.config).options
        trust = f"-o UserKnownHostsFile={options['known_hosts']} -o StrictHostKeyChecking=yes"
        given = {**self.variables, "node": node.id, "hostname": node.hostname}
        argv = [
            self.program, "-i", f"{options['address']},", "-u", "root", "--ssh-common-args", trust,
            *(["--private-key", options["key"]] if "key" in options else []), "-e", json.dumps(given), self.playbook,
        ]  # fmt: skip
        try:
            done = subprocess.run(argv, capture_output=True, text=True, timeout=ctx.remaining(), check=False)
        except FileNotFoundError as error:
            raise ProvisionError(f"{self.program} is not installed here", hint="pip install ansible-core") from error
        except subprocess.TimeoutExpired as error:
            raise ProvisionError(f"{self.playbook} took longer than {error.timeout:g} s on {node.id}") from error
        last = "".join((done.stdout.strip() or done.stderr.strip()).splitlines()[-1:])
        if done.returncode:
            raise ProvisionError(f"{self.playbook} failed on {node.id}: {last}", hint="run it by hand to see all of it")
        return last
