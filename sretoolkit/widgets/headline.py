"""A run in a line, and a cell of it in a fold: what one grasps before one reads."""

from __future__ import annotations

from sretoolkit.report import Severity, badge, escape
from sretoolkit.runbook.cells import Cell
from sretoolkit.runbook.progress import Progress, began, left

_COLOURS: dict[str, Severity | None] = {
    "running": "low", "planned": "low", "completed": None, "undone": None, "awaiting_approval": "medium",
    "stopped": "medium", "aborted": "medium", "refused": "medium",
}  # fmt: skip
_TEXT = "margin:4px 0 4px 1em;max-height:24em;overflow:auto;line-height:1.35;white-space:pre;font-family:monospace"
_MEANS = {
    "planned": "Nothing was changed.",
    "awaiting_approval": "Nothing is done before somebody else approves the plan below.",
    "lost": "Its process is gone: Take back undoes what it had begun.",
    "held": "What it changed is kept from others: look at it, then Continue or Take back.",
    "stopped": "Continue goes on from here, Take back undoes what it did.",
}


def headline(seen: Progress, now: float) -> str:
    """State, name, mode, who and when; how long it takes, beside how long it usually takes."""
    run = seen.run
    word = "paused" if seen.paused and run.state == "running" else run.state.replace("_", " ")
    kind = "plan only, changes nothing" if run.mode == "plan" else "apply"
    parts = [
        f"{badge(_COLOURS.get(run.state, 'high'), word)} <b>{escape(run.runbook)}</b> · {kind}",
        f"{escape(run.who)}, {began(run)}",
        _time(seen, now),
    ]
    lines = [f'<div style="margin:6px 0">{" · ".join(parts)}</div>']
    if said := " ".join(filter(None, [_MEANS.get(run.state, ""), seen.aftermath])):
        lines.append(f"<div><b>{escape(said)}</b></div>")
    if run.error:
        lines.append(f'<div style="border-left:4px solid #c75000;padding:2px 10px">{escape(run.error)}</div>')
    if seen.passed_to:
        note = f": {seen.passed_to['note']}" if seen.passed_to["note"] else ""
        lines.append(f"<div>passed on to <b>{escape(seen.passed_to['to'])}</b>{escape(note)}</div>")
    return f'<div style="line-height:1.5">{"".join(lines)}<div><small>run {escape(run.id)}</small></div></div>'


def cell_html(cell: Cell, *, opened: bool) -> str:
    """A cell's first line, how it stands, and what it said."""
    took = "" if cell.seconds is None else f" · {cell.seconds:.1f} s"
    head = f"cell {cell.number} · {escape(cell.status)}{took} · <code>{escape(cell.first[:90])}</code>"
    if not cell.text:
        return f'<div style="line-height:1.5">{head}</div>'
    lines = "\n".join(escape(line) for line in cell.text.splitlines())
    text = f'<pre style="{_TEXT}" tabindex="0">{lines}</pre>'
    fold = f'<details style="line-height:1.5"{" open" if opened else ""}>'
    return f"{fold}<summary>{head}</summary>{text}</details>"


def _time(seen: Progress, now: float) -> str:
    usual = "" if seen.usual is None else f" (usually {_span(seen.usual)})"
    bar = ""
    if seen.run.state == "running" and seen.usual:
        rest = left(seen, now)
        share = min(1.0, seen.elapsed / seen.usual)
        label = "longer than usual" if rest is None else f"about {_span(rest)} left"
        bar = f' <progress max="1" value="{share:.2f}" aria-label="{label}"></progress> {label}'
    return f"{_span(seen.elapsed)}{usual}{bar}"


def _span(seconds: float) -> str:
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 60} min {whole % 60} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60} min"
