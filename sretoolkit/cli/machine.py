"""``config``, ``doctor`` and ``version``."""

from __future__ import annotations

import click

from sretoolkit.cli.main import json_option


@click.command("config")
@click.argument("key", default="")
@json_option
def config_command(key: str, as_json: bool) -> None:
    """Print the configuration, each value with its origin; or one value."""
    from sretoolkit.cli.output import print_json, print_table
    from sretoolkit.config import SETTINGS, Config, mask

    config = Config.load()
    values = [config.value(key)] if key else list(config)
    if as_json:
        print_json([{"key": value.key, "value": mask(value.value), "origin": value.origin} for value in values])
        return
    if key:
        click.echo(mask(values[0].value))
        return
    rows = [
        (value.key, mask(value.value), value.origin, SETTINGS[value.key].help if value.key in SETTINGS else "")
        for value in values
    ]
    print_table(("KEY", "VALUE", "ORIGIN", "MEANING"), rows, empty="")


@click.command("doctor")
@json_option
@click.pass_context
def doctor_command(ctx: click.Context, as_json: bool) -> None:
    """Check this installation: store, keys, kernel, records, what is lost or held. Exit code 1 when something is wrong."""
    from sretoolkit.cli.output import print_json, print_text
    from sretoolkit.config import Config
    from sretoolkit.runbook.health import examine

    report = examine(Config.load())
    if as_json:
        print_json(report.to_dict())
    else:
        print_text(str(report))
    ctx.exit(0 if report.ok else 1)


@click.command("version")
@json_option
def version_command(as_json: bool) -> None:
    """Print the version, and those of what it stands on."""
    from importlib.metadata import version

    from sretoolkit.cli.output import print_json

    names = ("sretoolkit", "papermill", "fabric", "kubernetes", "prometheus-api-client", "ipykernel", "nbconvert")
    versions = {name: version(name) for name in names}
    if as_json:
        print_json(versions)
        return
    click.echo("\n".join(f"{name} {number}" for name, number in versions.items()))
