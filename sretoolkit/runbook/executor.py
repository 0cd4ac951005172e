"""Where runs are carried out: one plug-in a place (`executors/`)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from sretoolkit.config import Config
from sretoolkit.errors import ConfigError
from sretoolkit.plugins import Plugins
from sretoolkit.runbook.request import Request


@dataclass(frozen=True)
class Executor(ABC):
    """Begins runs that go on without whoever began them; they are followed, and told things, through the store.

    Its options are fields. ``most_runs``: so many go on at once, those of all servers of a store together; 0 = as
    ``serve.most_runs`` says.
    """

    config: Config
    most_runs: int = 0

    @property
    def most(self) -> int:
        """So many go on at once."""
        return self.most_runs or int(self.config["serve.most_runs"])

    def check(self) -> None:  # noqa: B027 - of most places nothing has to be true
        """Raise `ConfigError` where no run can ever be begun here as it is configured."""

    @abstractmethod
    def start(self, request: Request) -> str:
        """Begin the run and say where it is carried out; raises what is wrong with it before a kernel starts."""

    def lost(self, run: str) -> str:
        """Why a run that was begun here, and is not open, will never be; "" as long as it may."""
        return ""


EXECUTORS: Plugins[Executor] = Plugins("sretoolkit.runbook.executors", Executor)  # type: ignore[type-abstract]


def executor_of(name: str, config: Config) -> Executor:
    """The executor of a table ``[executors.NAME]``, whose ``kind`` is a plug-in (or its name is), or a plug-in as it is."""
    options: dict[str, Any] = config.endpoint("executors", name) if name in config.names("executors") else {}
    kind = str(options.pop("kind", name))
    plugin = EXECUTORS[kind]
    try:
        return plugin(config, **options)
    except TypeError as error:
        known = ", ".join(sorted(each for each in plugin.__dataclass_fields__ if each != "config"))
        raise ConfigError(f"executor {name!r} cannot be made: {error}", hint=f"its options are: {known}") from error
