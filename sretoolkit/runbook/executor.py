"""Where runs are carried out: one plug-in a place (`executors/`)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from sretoolkit.config import Config
from sretoolkit.plugins import Plugins
from sretoolkit.runbook.request import Request


@dataclass(frozen=True)
class Executor(ABC):
    """Begins runs that go on without whoever began them; they are followed, and told things, through the store."""

    config: Config

    @abstractmethod
    def start(self, request: Request) -> str:
        """Begin the run and say where it is carried out; raises what is wrong with it before a kernel starts."""


EXECUTORS: Plugins[Executor] = Plugins("sretoolkit.runbook.executors", Executor)  # type: ignore[type-abstract]
