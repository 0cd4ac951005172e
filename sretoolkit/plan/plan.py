"""A plan: ordered steps and gates that are shown before anything happens, and run, resumed and undone from the journal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from sretoolkit.config import Config
from sretoolkit.errors import PlanError
from sretoolkit.journal import digest
from sretoolkit.plan.context import Context
from sretoolkit.plan.gate import Gate
from sretoolkit.plan.session import current, own_session
from sretoolkit.plan.step import Data, Step
from sretoolkit.report import Table, badge, escape, plain
from sretoolkit.store import Store

OnFailure = Literal["undo", "hold", "ask"]


@dataclass(frozen=True)
class Plan:
    """Steps and gates in order, and what is to happen when one fails.

    ``on_failure``: "undo" takes everything back, "hold" keeps the targets leased as they are, "ask" asks a person and
    holds when nobody is there. ``population`` and ``max_percent`` limit the share of a fleet that may be changed.
    """

    title: str
    items: tuple[Step | Gate, ...]
    on_failure: OnFailure = "undo"
    allow_skip: bool = False
    population: int | None = None
    max_percent: int | None = None

    def __init__(
        self,
        title: str,
        items: Any = (),
        *,
        on_failure: OnFailure = "undo",
        allow_skip: bool = False,
        population: int | None = None,
        max_percent: int | None = None,
    ) -> None:
        items = tuple(items)
        wrong = [item for item in items if not isinstance(item, Step | Gate)]
        if wrong:
            raise PlanError(f"{wrong[0]!r} is neither a step nor a gate")
        if on_failure not in ("undo", "hold", "ask"):
            raise PlanError(f"on_failure cannot be {on_failure!r}", hint='"undo", "hold" or "ask"')
        if (population is None) != (max_percent is None):
            raise PlanError("population and max_percent go together")
        for name, value in {
            "title": title,
            "items": items,
            "on_failure": on_failure,
            "allow_skip": allow_skip,
            "population": population,
            "max_percent": max_percent,
        }.items():
            object.__setattr__(self, name, value)

    @property
    def steps(self) -> list[Step]:
        """The items that change something."""
        return [item for item in self.items if isinstance(item, Step)]

    @property
    def targets(self) -> list[str]:
        """What it changes, sorted."""
        return sorted({step.target for step in self.steps})

    @property
    def hash(self) -> str:
        """SHA-256 over the runbook's hash, the order, every hashed field of every item, policy and limits."""
        session = current()
        return digest(
            {
                "runbook": session.runbook_hash if session else None,
                "items": [item.hashed() for item in self.items],
                "on_failure": self.on_failure,
                "allow_skip": self.allow_skip,
                "population": self.population,
                "max_percent": self.max_percent,
            }
        )

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON data; `from_dict` makes it again."""
        return {
            "title": self.title,
            "hash": self.hash,
            "on_failure": self.on_failure,
            "allow_skip": self.allow_skip,
            "population": self.population,
            "max_percent": self.max_percent,
            "items": [
                {
                    "content": item.to_dict(),
                    "text": item.describe(),
                    "target": item.target if isinstance(item, Step) else "",
                }
                for item in self.items
            ],
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """The plan again from `to_dict`; raises `PlanError` when a step cannot be read by this version."""
        return cls(
            content["title"],
            [Data.from_dict(item["content"]) for item in content["items"]],
            **{name: content[name] for name in ("on_failure", "allow_skip", "population", "max_percent")},
        )

    def run(
        self,
        *,
        apply: bool = False,
        config: Config | None = None,
        store: Store | None = None,
        context: Context | None = None,
        ask: Callable[[str], bool] | None = None,
        irreversible: bool = False,
        wait: float | None = None,
    ) -> Outcome:
        """Carry the plan out, or only journal it: in a supervised run its mode decides, elsewhere ``apply``.

        ``ask`` answers "undo?" for the policy "ask"; ``irreversible`` is the explicit yes to steps that cannot be taken
        back; ``wait`` is how long to wait for a leased target, in seconds. Raises `PlanRefused`, `ApprovalRequired`,
        `LeaseHeld`, `StepFailed`, `GateFailed`, `Aborted` or `UndoFailed`.
        """
        from sretoolkit.plan.execution import Execution, run_alone

        session = current()
        if session is not None:
            return Execution(self, session, context=context, ask=ask, wait=wait).run()
        own = own_session(self.title, mode="apply" if apply else "plan", config=config, store=store)
        own.irreversible = irreversible
        return run_alone(self, own, context=context, ask=ask, wait=wait)

    def _repr_html_(self) -> str:
        if not self.items:
            return f"<p>{badge(None)} <b>{escape(self.title)}</b>: nothing to change</p>"
        return (
            self._table()._repr_html_() + f"<p><small>plan {self.hash[:12]}, on failure: {self.on_failure}</small></p>"
        )

    def __str__(self) -> str:
        if not self.items:
            return f"{plain(self.title)}: nothing to change"
        return f"{self._table()}\nplan {self.hash[:12]}, on failure: {self.on_failure}"

    __repr__ = __str__

    def _table(self) -> Table:
        rows = []
        for number, item in enumerate(self.items, start=1):
            if isinstance(item, Step):
                note = "CANNOT BE TAKEN BACK" if item.irreversible else ""
                rows.append((number, item.describe(), item.target, _short(item.before), _short(item.after), note))
            else:
                rows.append((number, item.describe(), "", "", "", "gate"))
        return Table(f"Plan: {self.title}", ("#", "what", "target", "before", "after", ""), rows)


@dataclass(frozen=True)
class Outcome:
    """What became of a plan: its state, a row (text, status, seconds, note) and what was last ``seen`` for every item."""

    title: str
    run: str
    plan_hash: str
    state: str
    rows: list[tuple[str, str, float | None, str]] = field(default_factory=list)
    seen: list[Any] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Planned or carried out whole."""
        return self.state in ("planned", "completed")

    def _table(self) -> Table:
        rows = [
            (number, text, status, "" if seconds is None else f"{seconds:.2f} s", note)
            for number, (text, status, seconds, note) in enumerate(self.rows, start=1)
        ]
        return Table(f"{self.title}: {self.state} (run {self.run})", ("#", "what", "status", "took", "note"), rows)

    def _repr_html_(self) -> str:
        return f"<div>{badge(None if self.ok else 'high')} {self._table()._repr_html_()}</div>"

    def __str__(self) -> str:
        return str(self._table())

    __repr__ = __str__


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
