"""``query``, ``alerts``, ``sources`` and ``slo``: what the monitoring systems say, without a notebook."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from sretoolkit.cli.main import json_option

if TYPE_CHECKING:
    from sretoolkit.report import Report

_SOURCES = click.option(
    "--source", "sources", multiple=True, help="Ask this source only (repeatable); all configured ones without it."
)
_PATIENCE = click.option("--patience", default="30s", help="Wait this long for the slowest source.", show_default=True)


def complete_source(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of sources, for the shell."""
    from sretoolkit.config import Config

    return [CompletionItem(name) for name in Config.load().names("sources") if name.startswith(incomplete)]


@click.command("query")
@click.argument("source", shell_complete=complete_source)
@click.argument("expression", default="")
@click.option("--range", "window", default="1h", help="How far back.", show_default=True)
@click.option("--step", default="", help="Time between two values; about 240 values without it.")
@click.option("--end", default="", help='The end: a time (UTC), or how long ago ("-15m"); now without it.')
@click.option("--event", default="", help="Show the range before and after this moment, and compare.")
@click.option("--sli", default="", help="Ask for this configured indicator instead of an expression.")
@click.option("--exact", is_flag=True, help="Compute the indicator from raw samples.")
@click.option("--explain", is_flag=True, help="Only show what the indicator becomes in that system.")
@json_option
def query_command(
    source: str,
    expression: str,
    window: str,
    step: str,
    end: str,
    event: str,
    sli: str,
    exact: bool,
    explain: bool,
    as_json: bool,
) -> None:
    """Ask SOURCE (a configured name, or kind+URL) for EXPRESSION in its own language, over a range.

    Nothing there is an error, never an empty success.
    """
    from sretoolkit.cli.output import print_json, print_text
    from sretoolkit.clock import parse_duration, parse_moment
    from sretoolkit.metrics import SLI, connect, indicator, query

    if bool(expression) == bool(sli):
        raise click.UsageError("give an EXPRESSION, or --sli NAME")
    asked: dict[str, Any] = {
        "window": parse_duration(window),
        "step": parse_duration(step) if step else None,
        "end": parse_moment(end) if end else None,
    }
    if explain:
        if not sli:
            raise click.UsageError("--explain goes with --sli NAME")
        _print(SLI.from_config(sli).explain(source, exact=exact), as_json)
    elif as_json:
        with connect(source) as opened:
            meant = SLI.from_config(sli) if sli else None
            frame = meant.range(opened, **asked, exact=exact) if meant else opened.range(expression, **asked)
        print_json(_data(frame))
    elif sli:
        print_text(str(indicator(source, sli, **asked, event=event, exact=exact)))
    else:
        print_text(str(query(source, expression, **asked, event=event)))


@click.command("alerts")
@_SOURCES
@_PATIENCE
@click.option("--all", "every", is_flag=True, help="List what is well, too.")
@json_option
@click.pass_context
def alerts_command(ctx: click.Context, sources: tuple[str, ...], patience: str, every: bool, as_json: bool) -> None:
    """Show what is wrong now in every monitoring system, merged, the worst first.

    Exit code 1 when somebody has to act, or when a system did not answer: its silence is not peace.
    """
    from sretoolkit.clock import parse_duration
    from sretoolkit.metrics import alerts

    report = alerts(sources, every=every, patience=parse_duration(patience))
    _print(report, as_json)
    ctx.exit(0 if report.ok else 1)


@click.command("sources")
@click.argument("names", nargs=-1, shell_complete=complete_source)
@_PATIENCE
@json_option
@click.pass_context
def sources_command(ctx: click.Context, names: tuple[str, ...], patience: str, as_json: bool) -> None:
    """Ask every configured source (or NAMES) at once how it is: version, what it can do, what is wrong.

    Exit code 1 when something is.
    """
    from sretoolkit.clock import parse_duration
    from sretoolkit.metrics import survey

    report = survey(names, patience=parse_duration(patience))
    _print(report, as_json)
    ctx.exit(0 if report.ok else 1)


@click.command("slo")
@click.argument("names", nargs=-1)
@json_option
@click.pass_context
def slo_command(ctx: click.Context, names: tuple[str, ...], as_json: bool) -> None:
    """Show every configured objective (or NAMES): error budget left, burn rates, forecast; the worst first.

    Exit code 1 when one needs somebody, or cannot be measured.
    """
    from sretoolkit.metrics import slo_report

    report = slo_report(names)
    _print(report, as_json)
    ctx.exit(0 if report.ok else 1)


def _print(report: Report, as_json: bool) -> None:
    from sretoolkit.cli.output import print_json, print_text

    if as_json:
        print_json(report.to_dict())
    else:
        print_text(str(report))


def _data(frame: Any) -> dict[str, Any]:
    """A frame for a script: JSON knows neither NaN nor infinity; null is no sample."""
    series = [
        {"labels": dict(labels), "values": [_number(value) for value in frame.values[:, column].tolist()]}
        for column, labels in enumerate(frame.labels)
    ]
    facts = {"unit": frame.unit, "kind": frame.kind, "complete": frame.complete, "warnings": list(frame.warnings)}
    return {"query": frame.query, "times": frame.times.tolist(), "series": series, **facts}


def _number(value: float) -> float | str | None:
    return None if math.isnan(value) else value if math.isfinite(value) else f"{value:+f}".replace("inf", "Inf")
