"""Who may do what with which runbook: decided here, for the command line and for the server.

A configuration says it by runbook, or by a pattern of names::

    [access."canary_*"]
    viewer = ["*"]
    operator = ["group:oncall", "hook:alertmanager"]
    approver = ["lead@example.com"]

Members are identities, ``group:NAME`` (as the OpenID provider says), ``user:NAME`` (of the operating system, at the command
line or by the local token), ``hook:NAME``, or ``*``: anybody who has logged in.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal, get_args

from sretoolkit.actor import Actor
from sretoolkit.config import Config
from sretoolkit.errors import AccessDenied, ConfigError
from sretoolkit.store import Store

Role = Literal["viewer", "operator", "approver", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)
LOCAL = ("local", "token")
"""By which an actor is a user of this operating system: the command line, or the token that only that user can read."""


@dataclass(frozen=True)
class Person:
    """Who asks: an actor, and the groups that whoever authenticated them says they are in."""

    actor: Actor
    groups: frozenset[str] = frozenset()

    @classmethod
    def current(cls, config: Config) -> Person:
        """The one who runs this process."""
        return cls(Actor.current(config))

    @property
    def local(self) -> bool:
        """Whether it is a user of this machine, rather than somebody who came over the network."""
        return self.actor.via in LOCAL

    @property
    def names(self) -> frozenset[str]:
        """What they are called in a policy."""
        if self.local:
            return frozenset({"*", f"user:{self.actor.user}"})
        groups = {f"group:{group}" for group in self.groups}
        return frozenset({self.actor.identity, *groups, *({"*"} if self.actor.via == "oidc" else ())})


class Access:
    """The policies of one configuration. ``shared``: whether others reach the store, so that policies bind local users."""

    def __init__(self, config: Config, *, shared: bool) -> None:
        self.shared = shared
        self._policies = {name: _policy(name, config.endpoint("access", name)) for name in config.names("access")}

    def role(self, person: Person, runbook: str) -> Role | None:
        """The highest role that somebody has for a runbook; None: none, not even to look.

        The policy of the name itself holds, else that of the longest pattern; without one, the local user alone may do all.
        With a store of their own local users may do all in any case: nobody else's policy is there to be kept.
        """
        policy = self._policy_of(runbook)
        if person.local and (policy is None or not self.shared):
            return "admin"
        held = [role for role in ROLES if policy and person.names & policy[role]]
        return held[-1] if held else None

    def allows(self, person: Person, runbook: str, role: Role) -> bool:
        """Whether somebody has at least this role."""
        held = self.role(person, runbook)
        return held is not None and ROLES.index(held) >= ROLES.index(role)

    def require(self, person: Person, runbook: str, role: Role) -> None:
        """Raise `AccessDenied` unless they have it."""
        if not self.allows(person, runbook, role):
            held = self.role(person, runbook)
            who = next(iter(sorted(name for name in person.names if name != "*" and not name.startswith("group:"))), "")
            raise AccessDenied(
                f"{who or person.actor} is {held or 'nobody'} for {runbook}, and this takes the role {role}", role=role,
                hint=f'somebody with the right to configure adds them to {role} of [access."{runbook}"]',
            )  # fmt: skip

    def require_everywhere(self, person: Person, role: Role) -> None:
        """The same for what touches every runbook: it takes the role in the policy ``*``."""
        self.require(person, "*", role)

    def _policy_of(self, runbook: str) -> dict[Role, frozenset[str]] | None:
        if runbook in self._policies:
            return self._policies[runbook]
        fitting = [name for name in self._policies if fnmatchcase(runbook, name)]
        return self._policies[max(fitting, key=lambda name: (len(name), name))] if fitting else None


def require_operator(config: Config, store: Store, runbook: str) -> None:
    """Raise `AccessDenied` unless whoever runs this process may run that runbook here."""
    Access(config, shared=store.shared).require(Person.current(config), runbook, "operator")


def _policy(name: str, options: dict[str, Any]) -> dict[Role, frozenset[str]]:
    if wrong := sorted(set(options) - set(ROLES)):
        raise ConfigError(f'[access."{name}"] has {wrong[0]!r}, which is no role', hint=f"one of {', '.join(ROLES)}")
    for role, members in options.items():
        if not isinstance(members, list) or not all(isinstance(member, str) and member for member in members):
            raise ConfigError(
                f'[access."{name}"]: {role} must be a list of names', hint=f'{role} = ["ann@example.com"]'
            )
    return {role: frozenset(options.get(role, [])) for role in ROLES}
