"""Docker and Podman, asked by their own program on the host: which ones run, and how each is to be stopped."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from sretoolkit.errors import ConfigError, HostError
from sretoolkit.hosts import Host
from sretoolkit.pid1.signals import name
from sretoolkit.pid1.workload import Runtime, Workload

_TIMEOUT = 60.0
_OWNERS = ("owner", "team", "org.opencontainers.image.authors", "maintainer")
_SCRIPT = """command -v "$1" >/dev/null 2>&1 || { echo absent; exit 0; }
ids=$("$1" ps -q --no-trunc) || exit 1
[ -z "$ids" ] || "$1" inspect --type container $ids
echo end"""


class Inspected(Runtime):
    """A runtime with Docker's commands; ``program`` is the one to call, ``denied`` what to do when it refuses us."""

    program: ClassVar[str]
    denied: ClassVar[str]

    def workloads(self, host: Host) -> Sequence[Workload]:
        """Those that run now; one that went away meanwhile is left out.

        An inspection also holds the environment, and with it secrets: nothing of it is kept or shown but what is read here.
        """
        answer = host.run(["sh", "-c", _SCRIPT, "sh", self.program], timeout=_TIMEOUT, check=False)
        told, _, rest = answer.stdout.rpartition("end\n")
        if answer.stdout == "absent\n" or (answer.ok and not told.strip() and not rest):
            return []
        if not answer.ok or rest:
            said = answer.stderr.strip().splitlines()
            text = f"{host.name}: {self.program} cannot be asked: {said[-1][:200] if said else 'it said nothing'}"
            raise HostError(text, host=host.name, hint=self.denied)
        try:
            return [self._workload(each, host.name) for each in json.loads(told) if each["State"].get("Pid")]
        except (ValueError, TypeError, AttributeError, KeyError, ConfigError) as error:
            text = f"{host.name}: {self.program} answers in a form that is not known here ({type(error).__name__})"
            raise HostError(
                text, host=host.name, hint=f"`{self.program} version` on that host tells how old it is"
            ) from error

    def _workload(self, found: Mapping[str, Any], host: str) -> Workload:
        config, limits = found["Config"], found["HostConfig"]
        labels = {str(key): str(value) for key, value in (config.get("Labels") or {}).items()}
        health = (config.get("Healthcheck") or {}).get("Test") or ["NONE"]
        mode, limit, grace = str(limits.get("PidMode") or ""), limits.get("PidsLimit"), config.get("StopTimeout")
        return Workload(
            runtime=self.program,
            name=str(found["Name"]).removeprefix("/"),
            id=str(found["Id"]),
            host=host,
            image=str(config.get("Image") or found.get("ImageName") or ""),
            owner=next((labels[key] for key in _OWNERS if labels.get(key)), ""),
            pid=int(found["State"]["Pid"]),
            command=(*_words(config.get("Entrypoint")), *_words(config.get("Cmd"))),
            stop_signal=name(str(config.get("StopSignal") or "SIGTERM")),
            grace=10.0 if grace is None else float(grace),
            init=bool(limits.get("Init")),
            shared=mode == "host" or mode.startswith("container:"),
            executes=health[0] != "NONE",
            pids_limit=int(limit) if limit and int(limit) > 0 else None,
            labels=labels,
        )


def _words(command: Sequence[str] | str | None) -> list[str]:
    """Podman writes an entrypoint as one text."""
    return [command] if isinstance(command, str) and command else list(command or [])
