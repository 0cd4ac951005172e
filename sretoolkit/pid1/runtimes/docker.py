"""Docker Engine, by the ``docker`` program of the host (which takes DOCKER_HOST and its context into account)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from sretoolkit.pid1.runtimes._inspect import Inspected as _Inspected
from sretoolkit.pid1.workload import Fix


class Docker(_Inspected):
    """The containers of a Docker Engine."""

    program = "docker"
    denied = "root and the group docker may ask it; is the engine running (docker info)?"
    words: ClassVar[Mapping[Fix, str]] = {
        "init": "docker run --init (Compose: init: true)",
        "stop-signal": "docker run --stop-signal {what} (Dockerfile: STOPSIGNAL {what}; Compose: stop_signal: {what})",
        "limit": "docker update --pids-limit 512 {name} (Compose: pids_limit: 512)",
        "raise": "find what starts them (zombies count too); then docker update --pids-limit N {name}",
        "restart": "docker restart {name} before it runs out, then find what starts them",
    }
