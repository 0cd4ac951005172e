"""``serve``: the server that machines boot from."""

from __future__ import annotations

import click


@click.command("serve")
@click.option("--address", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option("--port", default=8080, show_default=True, help="Which port.")
def serve_command(address: str, port: int) -> None:
    """Serve what machines boot from and report to, until a signal comes."""
    from sretoolkit.config import Config
    from sretoolkit.server.app import serve

    serve(Config.load(), address=address, port=port)
