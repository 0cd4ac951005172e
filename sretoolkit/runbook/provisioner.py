"""Kernels of JupyterLab, and of stock papermill, as forks of the warm process: a kernel provisioner of jupyter_client.

A kernel specification chooses it by ``"metadata": {"kernel_provisioner": {"provisioner_name": "sretoolkit-warm"}}``.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning.local_provisioner import LocalProvisioner

from sretoolkit.runbook.forked import DEVNULL, warm

_LAUNCHER = ["-m", "ipykernel_launcher"]


class WarmProvisioner(LocalProvisioner):
    """A kernel is forked where there is a warm process like this one, and started as ever everywhere else."""

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        """Start it; it ends with the process that asked for it, as its own parent does not."""
        environment = {**(kwargs.get("env") or os.environ)}
        environment.pop("JPY_PARENT_PID", None)
        cwd = Path(kwargs["cwd"]) if kwargs.get("cwd") else None
        plain = cmd[1:3] == _LAUNCHER and Path(cmd[0]).resolve() == Path(sys.executable).resolve()
        fork = warm("notebook", cmd[3:], DEVNULL, None, bound=True, cwd=cwd, environment=environment) if plain else None
        if fork is None:
            return await super().launch_kernel(cmd, **kwargs)
        self.process = fork  # type: ignore[assignment]
        self.pid = self.pgid = fork.pid
        return self.connection_info


def main(arguments: list[str]) -> None:
    """In the fork: be the kernel, with `sys.path` as `ipykernel_launcher` leaves it."""
    from ipykernel.kernelapp import launch_new_instance

    if sys.path[0] == str(Path.cwd()):
        del sys.path[0]
    launch_new_instance(argv=arguments)
