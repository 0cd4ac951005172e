"""A connection that answers from a script, for tests of what is above it."""

from __future__ import annotations

from collections.abc import Mapping

from sretoolkit.config import Config
from sretoolkit.hosts import Host
from sretoolkit.hosts.connection import Connection
from sretoolkit.hosts.endpoint import Endpoint
from sretoolkit.hosts.result import Output


class Scripted(Connection):
    """Answers the first entry whose text is part of the command; anything else ends with exit code 127."""

    def __init__(self, answers: Mapping[str, str | Output], endpoint: Endpoint) -> None:
        super().__init__(endpoint, Config())
        self.answers = answers
        self.commands: list[str] = []

    def execute(self, command: str, *, timeout: float, data: bytes) -> Output:
        """The scripted answer."""
        self.commands.append(command)
        for part, answer in self.answers.items():
            if part in command:
                return Output(0, answer.encode(), b"") if isinstance(answer, str) else answer
        return Output(127, b"", b"not found\n")

    def by_hand(self, command: str) -> str:
        """As an ssh connection would say it."""
        return f"ssh web {command}"


def scripted(answers: Mapping[str, str | Output], *, netns: str = "") -> Host:
    """A host "web" that answers so; it is Linux unless the script says otherwise."""
    endpoint = Endpoint("web", "scripted", netns=netns)
    return Host(endpoint, Scripted({**answers, "uname": "Linux\n"}, endpoint))


def commands(host: Host) -> list[str]:
    """What was run on a scripted host so far."""
    assert isinstance(host.connection, Scripted)
    return host.connection.commands
