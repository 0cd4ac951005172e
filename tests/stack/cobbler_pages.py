"""Cobbler's own WSGI program, which is run inside Cobbler's namespaces; Apache's mod_wsgi would tell it the same."""

from __future__ import annotations

import runpy
from collections.abc import Callable, Iterable
from typing import Any

_theirs = runpy.run_path("/var/www/cobbler/svc/services.py")["application"]


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """With the address that was asked for, under the name that Apache has for it."""
    answer: Iterable[bytes] = _theirs({**environ, "REQUEST_URI": environ["RAW_URI"]}, start_response)
    return answer
