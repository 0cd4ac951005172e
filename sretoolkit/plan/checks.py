"""What forbids a plan before it begins: the kill switch, a change freeze, a limit, an unconfirmed irreversible step."""

from __future__ import annotations

from datetime import UTC, date, datetime
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from sretoolkit.config import Config
from sretoolkit.errors import ConfigError, PlanRefused
from sretoolkit.plan.control import kill_switch
from sretoolkit.plan.history import fold
from sretoolkit.plan.session import Session

if TYPE_CHECKING:
    from sretoolkit.plan.plan import Plan


def refuse(plan: Plan, session: Session, *, now: datetime) -> None:
    """Raise `PlanRefused` for the first thing that forbids the plan; a break-glass reason lifts the freeze alone."""
    if stop := kill_switch(session.store):
        raise PlanRefused(
            f"every run was stopped by {stop['actor']}: {stop['reason'] or 'no reason given'}",
            hint="`sretoolkit control --all resume` ends it",
        )
    _refuse_unseen(plan, session)
    _refuse_share(plan)
    if not session.break_glass and (why := frozen(session.config, plan.targets, now)):
        raise PlanRefused(f"change freeze: {why}", hint='wait, or `--break-glass "REASON"`')
    final = [step.describe() for step in plan.steps if step.irreversible]
    if final and not session.irreversible:
        raise PlanRefused(f"cannot be taken back: {'; '.join(final)}", hint="say yes to that with --yes-irreversible")


def refuse_unreadable(plan: Plan) -> None:
    """Raise `PlanRefused` for a step or gate that no other process could read back from the journal, and so not undo."""
    for item in plan.items:
        kind = type(item)
        if kind.__module__ == "__main__" or "<locals>" in kind.__qualname__:
            raise PlanRefused(
                f"{kind.__module__}:{kind.__qualname__} is defined where no other process finds it, to undo or resume it",
                hint="move the class into a module that can be imported",
            )
        if type(item).from_dict(item.to_dict()).hashed() != item.hashed():
            raise PlanRefused(
                f"{item.describe()!r} does not come back from the journal as it was",
                hint="a step holds names and plain values only, with true type annotations",
            )


def frozen(config: Config, targets: list[str], now: datetime) -> str:
    """The reason of the configured freeze that covers this moment and any of these targets; "" when there is none."""
    for number, window in enumerate(config["freeze"], start=1):
        try:
            begins, ends = _moment(window["from"]), _moment(window["to"])
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(
                f"freeze number {number} cannot be read: {error!r}", hint="give from, to and reason"
            ) from error
        patterns = window.get("targets", ["*"])
        if begins <= now < ends and any(fnmatchcase(target, pattern) for target in targets for pattern in patterns):
            return f"{window.get('reason', 'no reason given')} (until {ends.isoformat()})"
    return ""


def _moment(value: Any) -> datetime:
    """A TOML date or time, or ISO text; without a zone it is UTC."""
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day)
    moment = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def _refuse_unseen(plan: Plan, session: Session) -> None:
    """The nth plan must be the nth that was shown; what comes after those could not be planned before they were applied."""
    if not session.shown:
        return
    known = fold(session.journal.entries())
    newest = max(each.attempt for each in known)
    now = [each.hash for each in sorted(known, key=lambda each: each.asked) if each.attempt == newest]
    place = now.index(plan.hash)
    if place < len(session.shown) and session.shown[place] != plan.hash:
        raise PlanRefused(
            f"plan {session.shown[place][:12]} was shown, and the world has changed since: it is now {plan.hash[:12]}",
            hint="plan again, and read it again",
        )


def _refuse_share(plan: Plan) -> None:
    if plan.max_percent is None or plan.population is None:
        return
    share = 100 * len(plan.targets) / max(1, plan.population)
    if share > plan.max_percent:
        raise PlanRefused(
            f"the plan changes {len(plan.targets)} of {plan.population} ({share:.0f} %), "
            f"at most {plan.max_percent} % are allowed",
            hint="change fewer at a time",
        )
