"""``serve``: the server for people, programs and machines."""

from __future__ import annotations

import click


@click.command("serve")
@click.option("--address", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option("--port", default=8080, show_default=True, help="Which port.")
@click.option(
    "--warm/--cold", default=True, help="Fork runs from a process that has all loaded (default), or start each anew."
)
@click.option("--login", is_flag=True, help="Print an address that logs you in to the running server, once, and end.")
def serve_command(address: str, port: int, warm: bool, login: bool) -> None:
    """Serve runs, runbooks and approvals to people and programs, and what machines boot from, until a signal comes."""
    from sretoolkit.config import Config
    from sretoolkit.server.app import new_login, serve

    config = Config.load()
    where = new_login(config, address=address, port=port)
    click.echo(where if login else f"log in, once, within an hour: {where}")
    if not login:
        serve(config, address=address, port=port, warm=warm)
