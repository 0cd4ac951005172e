"""Every error that sretoolkit raises on purpose.

```
SREToolkitError
├── ConfigError                 a configuration file or value cannot be used
│   ├── UnknownPlugin           no plug-in of that name ("did you mean ...?")
│   ├── ParameterError          inputs of a runbook were refused, all faults at once
│   └── SecretError             a secret reference cannot be resolved
├── StoreError                  the database cannot be used
│   ├── StoreUnavailable        locked, unreachable or full (retryable)
│   └── StoreTooNew             written by a newer sretoolkit
├── JournalError                the record is not what it should be
├── AccessDenied                somebody's role does not allow it; .role is the one that does
├── LeaseError
│   ├── LeaseHeld               somebody else has the target
│   └── LeaseLost               our right to the target has ended (stale fencing token)
├── PlanError                   a plan cannot be made, read or run
│   ├── ApprovalRequired        nobody has approved this plan's hash
│   ├── PlanRefused             a freeze, a limit, the kill switch or an irreversible step
│   ├── StepFailed              do or verify failed; what was undone is in .outcome
│   ├── GateFailed              a gate did not pass
│   ├── Aborted                 somebody stopped or aborted the run
│   └── UndoFailed              a change could not be taken back
├── RunbookError                a notebook cannot be read or run
│   ├── UnknownRunbook          there is none of that name
│   ├── UnknownSchedule         no schedule of that name
│   └── RunFailed               a run ended badly; .state says how
├── ProvisionError              a node, policy, order or boot that cannot be as asked; .subject names it
│   └── IdentityConflict        two machines say that they are one
├── HostError
│   ├── Unreachable             no connection to the host (retryable)
│   └── CommandFailed           the command ran and failed; .result has its output
├── HTTPError                   an exchange over HTTP did not come to its end; .url
│   └── Unanswered              unreachable, out of time or broken off (retryable)
└── SourceError
    ├── SourceUnavailable       the monitoring system did not answer (retryable)
    ├── QueryError              it answered: the query is wrong
    ├── TooCostly               not asked: the answer would hurt the server or this machine
    ├── NotExpressible          that system cannot answer this truthfully; .nearest is what it can
    └── NoData                  it answered: nothing there. Never 0, never "fine"
```

A message says what happened and where; ``hint`` says what to do next. What a program needs is in attributes, not
only in the text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar


class SREToolkitError(Exception):
    """Root of the tree: a message, a hint on what to do next, and whether trying again can help."""

    retryable: ClassVar[bool] = False
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  next: {self.hint}" if self.hint else self.message


class ConfigError(SREToolkitError):
    """A configuration file or value cannot be used."""

    exit_code = 2


class UnknownPlugin(ConfigError, KeyError):
    """No plug-in of that name exists; ``.known`` lists those that do."""

    def __init__(self, kind: str, name: str, *, known: Sequence[str], hint: str = "") -> None:
        super().__init__(f"no {kind} named {name!r}; there are: {', '.join(known) or 'none'}", hint=hint)
        self.kind = kind
        self.name = name
        self.known = tuple(known)


class ParameterError(ConfigError):
    """A runbook's inputs were refused; ``.faults`` holds one sentence for each, so that all can be mended at once."""

    def __init__(self, runbook: str, faults: Sequence[str], *, hint: str = "") -> None:
        super().__init__("\n".join([f"{runbook}: bad input", *(f"  - {fault}" for fault in faults)]), hint=hint)
        self.runbook = runbook
        self.faults = tuple(faults)


class SecretError(ConfigError):
    """A secret reference cannot be resolved; the message names the reference, never a value."""


class StoreError(SREToolkitError):
    """The database cannot be used."""


class StoreUnavailable(StoreError):
    """The store is locked, unreachable or full; ``.full`` tells the last apart."""

    retryable = True

    def __init__(self, message: str, *, full: bool = False, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.full = full


class StoreTooNew(StoreError):
    """The store was written by a newer sretoolkit than this one."""


class JournalError(SREToolkitError):
    """The record is not what it should be; ``.run`` and ``.seq`` name the entry where there is one."""

    def __init__(self, message: str, *, run: str = "", seq: int | None = None, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.run = run
        self.seq = seq


class AccessDenied(SREToolkitError):
    """Somebody may not do what they asked for; ``.role`` is the one that would allow it, where there is one."""

    def __init__(self, message: str, *, role: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.role = role


class LeaseError(SREToolkitError):
    """The right to change a target could not be had; ``.target`` names it."""

    def __init__(self, message: str, *, target: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.target = target


class LeaseHeld(LeaseError):
    """Somebody else holds the target; ``.holder`` says who, since when and for which run."""

    retryable = True

    def __init__(self, message: str, *, target: str, holder: dict[str, Any], hint: str = "") -> None:
        super().__init__(message, target=target, hint=hint)
        self.holder = holder


class LeaseLost(LeaseError):
    """Our fencing token is stale: the target was taken over, or the lease expired."""


class PlanError(SREToolkitError):
    """A plan cannot be made, read or run; ``.step`` names the step where one is meant."""

    def __init__(self, message: str, *, step: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.step = step


class ApprovalRequired(PlanError):
    """The plan needs an approval of its hash that nobody has given; ``.plan_hash`` is what to approve."""

    exit_code = 4

    def __init__(self, message: str, *, plan_hash: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.plan_hash = plan_hash


class PlanRefused(PlanError):
    """A change freeze, a limit, the kill switch or an unconfirmed irreversible step forbids the plan."""


class StepFailed(PlanError):
    """A step's do, verify or undo raised, or the world was neither before nor after; ``.outcome`` says what was undone."""

    def __init__(self, message: str, *, step: str = "", outcome: Any = None, hint: str = "") -> None:
        super().__init__(message, step=step, hint=hint)
        self.outcome = outcome


class GateFailed(PlanError):
    """A gate failed or stayed inconclusive; ``.verdict`` has its evidence."""

    exit_code = 3

    def __init__(
        self, message: str, *, step: str = "", verdict: Any = None, outcome: Any = None, hint: str = ""
    ) -> None:
        super().__init__(message, step=step, hint=hint)
        self.verdict = verdict
        self.outcome = outcome


class Aborted(PlanError):
    """Somebody stopped or aborted the run; ``.verb`` and ``.actor`` say how and who."""

    def __init__(self, message: str, *, verb: str, actor: str, outcome: Any = None, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.verb = verb
        self.actor = actor
        self.outcome = outcome


class UndoFailed(PlanError):
    """A change could not be taken back; ``.by_hand`` holds what a person has to do now."""

    def __init__(self, message: str, *, step: str = "", by_hand: Sequence[str] = (), hint: str = "") -> None:
        super().__init__(message, step=step, hint=hint)
        self.by_hand = tuple(by_hand)


class RunbookError(SREToolkitError):
    """A notebook cannot be read or is not a runbook."""

    exit_code = 2


class UnknownRunbook(RunbookError):
    """There is no runbook of that name."""


class UnknownSchedule(RunbookError):
    """There is no schedule of that name."""


class RunFailed(RunbookError):
    """A run ended badly; ``.run`` and ``.state`` say which and how."""

    exit_code = 1

    def __init__(self, message: str, *, run: str, state: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.run = run
        self.state = state


class ProvisionError(SREToolkitError):
    """A node, rule, policy, order or boot cannot be as asked; ``.subject`` is its name."""

    exit_code = 2

    def __init__(self, message: str, *, subject: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.subject = subject


class IdentityConflict(ProvisionError):
    """Two machines say that they are the same one, or one says that it is two; ``.nodes`` are the candidates."""

    def __init__(self, message: str, *, nodes: Sequence[str], hint: str = "") -> None:
        super().__init__(message, subject=", ".join(nodes), hint=hint)
        self.nodes = tuple(nodes)


class HostError(SREToolkitError):
    """Something went wrong with a host; ``.host`` is its name."""

    def __init__(self, message: str, *, host: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.host = host


class Unreachable(HostError):
    """There is no connection to the host, or it was cut: what ran there is in doubt."""

    retryable = True


class CommandFailed(HostError):
    """The command ran and failed; ``.result`` holds its exit code and output."""

    def __init__(self, message: str, *, host: str, result: Any, hint: str = "") -> None:
        super().__init__(message, host=host, hint=hint)
        self.result = result


class HTTPError(SREToolkitError):
    """An exchange over HTTP did not come to its end; ``.url`` is where."""

    def __init__(self, message: str, *, url: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.url = url


class Unanswered(HTTPError):
    """The service was not reached, took too long (``.timed_out``) or broke off."""

    retryable = True

    def __init__(self, message: str, *, url: str, timed_out: bool = False, hint: str = "") -> None:
        super().__init__(message, url=url, hint=hint)
        self.timed_out = timed_out


class SourceError(SREToolkitError):
    """Something went wrong with a monitoring system; ``.source`` and ``.query`` say where."""

    def __init__(self, message: str, *, source: str, query: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.source = source
        self.query = query


class SourceUnavailable(SourceError):
    """The monitoring system did not answer, or not in its own language."""

    retryable = True


class QueryError(SourceError):
    """The monitoring system refused the query; the message carries its own words."""


class TooCostly(SourceError):
    """Not asked, or cut off: the answer would hurt the server or this machine; the hint says what to aggregate."""


class NotExpressible(SourceError):
    """That monitoring system cannot answer this truthfully; ``.reason`` says why, ``.nearest`` what it could answer."""

    def __init__(self, message: str, *, source: str, reason: str, nearest: str = "", query: str = "") -> None:
        super().__init__(f"{message}: {reason}", source=source, query=query, hint=nearest)
        self.reason = reason
        self.nearest = nearest


class NoData(SourceError):
    """The query is right and nothing is there. This is never 0 and never "fine"."""
