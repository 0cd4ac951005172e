"""``pid1``: will the first process of each container stop when told, reap what it inherits, and have room to fork."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from sretoolkit.cli.main import json_option
from sretoolkit.report import SEVERITIES, Severity

if TYPE_CHECKING:
    from sretoolkit.pid1.survey import Survey
    from sretoolkit.report import Report

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command("pid1")
@click.argument("targets", nargs=-1, metavar="[TARGET]...")
@json_option
@click.option("--sarif", "as_sarif", is_flag=True, help="Print SARIF 2.1.0, for code scanning.")
@click.option("--textfile", type=_FILE, help="Also write metrics for node_exporter's textfile collector.")
@click.option("--since", type=_FILE, help="Compare with a scan that was saved with --json.")
@click.option("--suppressions", type=_FILE, help="Findings that are lived with (TOML), each with an end.")
@click.option("--stop-signal", help="Judge all by this signal, not by the one that each is configured with.")
@click.option("--watch", help="Count process ids for so long (10s) and say when they run out.")
@click.option("--execute", is_flag=True, help="Look inside pods too, by exec (Kubernetes targets).")
@click.option(
    "--fail-on",
    type=click.Choice(get_args(Severity)),
    default="high",
    show_default=True,
    help="Exit code 1 from this severity on.",
)
@click.pass_context
def pid1_command(
    ctx: click.Context,
    targets: tuple[str, ...],
    as_json: bool,
    as_sarif: bool,
    textfile: Path | None,
    since: Path | None,
    suppressions: Path | None,
    stop_signal: str | None,
    watch: str | None,
    execute: bool,
    fail_on: Severity,
) -> None:
    """Will containers stop when told, reap orphans, and have process ids left? Reads only; nothing is started.

    TARGET is a host (a configured name, localhost, ssh://user@address), hosts by their tag, a container (NAME here, or
    HOST/NAME), an image that this machine has, a Dockerfile (PATH#STAGE), Compose file, manifest, image archive, a
    folder of them, or kubernetes:CONTEXT/NAMESPACE; localhost without any.
    Where a word can mean several things, a prefix says which: host: fleet: container: image: file:.

    Exit codes: 0 nothing from --fail-on upwards, 1 findings, 2 bad input, 3 something could not be looked at.
    """
    if as_json and as_sarif:
        raise click.UsageError("give --json or --sarif, not both")
    from sretoolkit.clock import parse_duration
    from sretoolkit.errors import HostError
    from sretoolkit.pid1.examination import examined

    try:
        found, report = examined(
            targets,
            stop_signal=stop_signal or "",
            before=since or "",
            lived_with=suppressions or "",
            watch=parse_duration(watch or "0s"),
            execute=execute,
        )
    except HostError as error:
        _complain(error)
        ctx.exit(3)
    if textfile:
        from sretoolkit.pid1.textfile import write

        write(found, textfile)
    _print(found, report, as_json, as_sarif)
    ctx.exit(_code(found, fail_on))


def _code(found: Survey, fail_on: Severity) -> int:
    worst = SEVERITIES[: SEVERITIES.index(fail_on) + 1]
    severe = [each for each in found.active if each.finding.severity in worst]
    if any(each.finding.rule != "host-unanswered" for each in severe):
        return 1
    return 3 if found.missing else 0


def _print(found: Survey, report: Report, as_json: bool, as_sarif: bool) -> None:
    from sretoolkit.cli.output import print_json, print_text

    if as_sarif:
        from sretoolkit.pid1.sarif import sarif

        print_json(sarif(found.active, suppressed=found.suppressed))
    elif as_json:
        data: dict[str, Any] = {**report.to_dict(), "scan": found.to_dict()}
        print_json(data)
    else:
        print_text(str(report))


def _complain(error: Exception) -> None:
    from sretoolkit.report import plain
    from sretoolkit.secrets import redaction

    for line in redaction(f"error: {error}").splitlines():
        click.echo(plain(line), err=True)
