"""JupyterLab and Voilà: the launcher's cards, their server extension, and scheduled jobs through our engine.

``labextensions/`` is a prebuilt extension, plain JavaScript that no tool has to build; ``voila/`` a template that asks
nobody but the own server; ``etc/`` enables the server extension.
"""

from __future__ import annotations

from typing import Any


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": "sretoolkit.lab"}]


def _load_jupyter_server_extension(app: Any) -> None:
    from sretoolkit.lab.handlers import routes

    app.web_app.add_handlers(".*$", routes(app.web_app.settings["base_url"]))
