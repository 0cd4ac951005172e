"""The page of a record: no script, nothing from the network, readable in light and dark.

It is made by a process of its own, ``python -m sretoolkit.runbook.page``, that loads nbconvert while the kernel is still
coming up, so that neither its time nor its memory is the supervisor's, and no output can take the supervisor down.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sretoolkit.errors import RunbookError
from sretoolkit.runbook.signals import NUMBERS

TEMPLATE = Path(__file__).parent / "template"
TIMEOUT = 120.0


class Renderer:
    """The process, waiting for the one notebook that it will render."""

    def __init__(self) -> None:
        self._process = _start()

    def render(self, about: Mapping[str, Any], notebook: Path, page: Path) -> str:
        """Make the page of a (redacted) notebook's file; returns its SHA-256. Raises `RunbookError` when it cannot be made."""
        order = {"about": about, "notebook": str(notebook), "page": str(page)}
        if self._process.poll() is not None:  # it was killed while it waited
            self._process.communicate()
            self._process = _start()
        try:
            made, errors = self._process.communicate(json.dumps(order).encode(), timeout=TIMEOUT)
        except (subprocess.TimeoutExpired, OSError) as error:
            raise RunbookError(f"the page could not be made: {error}") from error
        finally:
            self.close()
        if self._process.returncode != 0:
            raise RunbookError(f"the page could not be made: {errors.decode(errors='replace').strip()[-400:]}")
        return made.decode()

    def close(self) -> None:
        """End it, whatever it does."""
        if self._process.poll() is None:
            self._process.kill()
        if self._process.stdin is not None and not self._process.stdin.closed:
            self._process.communicate()


def _start() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "sretoolkit.runbook.page"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def page(notebook: Mapping[str, Any], about: Mapping[str, Any]) -> str:
    """The page as text."""
    from nbconvert.exporters.html import HTMLExporter
    from nbformat import from_dict

    exporter = HTMLExporter(
        template_name="record", extra_template_basedirs=[str(TEMPLATE)], default_preprocessors=[], anchor_link_text=""
    )
    metadata = {**notebook["metadata"], "run": about, "notebook": notebook["metadata"].get("sretoolkit", {})}
    body, _ = exporter.from_notebook_node(from_dict({**notebook, "metadata": metadata}))
    return str(body)


def write_atomically(path: Path, pieces: Iterable[bytes]) -> str:
    """Write beside the file, make it durable, and move it into place; returns the SHA-256. Leaves nothing on failure."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.draft")
    digest = hashlib.sha256()
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            for piece in pieces:
                digest.update(piece)
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    return digest.hexdigest()


def spare_the_grammar() -> None:
    """Before papermill, nbformat or nbconvert is imported: leave out a grammar library that costs most of that import.

    jsonschema uses ``rfc3987_syntax`` for one string format and does without it when it cannot be imported.
    """
    sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]


def main() -> None:
    """Load what renders; then read what to render, or end when nothing comes; not at a signal to the whole service."""
    for number in NUMBERS:
        signal.signal(number, signal.SIG_IGN)
    spare_the_grammar()
    import nbconvert.exporters.html  # noqa: F401

    order = sys.stdin.buffer.read()
    if order:
        content = json.loads(order)
        made = page(json.loads(Path(content["notebook"]).read_bytes()), content["about"])
        sys.stdout.write(write_atomically(Path(content["page"]), [made.encode("utf-8", "replace")]))


if __name__ == "__main__":
    main()
