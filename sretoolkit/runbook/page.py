"""The page of a record: no script, nothing from the network, readable in light and dark.

It is made by a process of its own, ``python -m sretoolkit.runbook.page``, that loads nbconvert while the kernel is still
coming up, so that neither its time nor its memory is the supervisor's, and no output can take the supervisor down.
"""

from __future__ import annotations

import hashlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sretoolkit.errors import RunbookError
from sretoolkit.runbook.forked import PIPE, Process, start
from sretoolkit.runbook.signals import NUMBERS

if TYPE_CHECKING:
    from nbconvert.exporters.html import HTMLExporter

TEMPLATE = Path(__file__).parent / "template"
TIMEOUT = 120.0


class Renderer:
    """The process, waiting for the one notebook that it will render."""

    def __init__(self) -> None:
        self._process = _start()

    def render(self, about: Mapping[str, Any], notebook: Path, page: Path) -> str:
        """Make the page of a (redacted) notebook's file; returns its SHA-256. Raises `RunbookError` when it cannot be made."""
        order = json.dumps({"about": about, "notebook": str(notebook), "page": str(page)}).encode()
        if self._process.poll() is not None:  # it was killed while it waited
            self.close()
            self._process = _start()
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            with self._process.stdin as stream:
                stream.write(order)
            said = _read(self._process.stdout.fileno(), time.monotonic() + TIMEOUT)
            code = self._process.wait(TIMEOUT)
        except (subprocess.TimeoutExpired, OSError) as error:
            raise RunbookError(f"the page could not be made: {error}") from error
        finally:
            self.close()
        if code != 0:
            raise RunbookError(f"the page could not be made: {said.strip()[-400:] or f'its process ended with {code}'}")
        return said

    def close(self) -> None:
        """End it, whatever it does."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with suppress(OSError):
                    stream.close()


def _start() -> Process:
    return start("page", stdin=PIPE, stdout=PIPE, merge=True)


def _read(descriptor: int, ends: float) -> str:
    """All that is said until the stream ends; raises `TimeoutError`."""
    said = b""
    while select.select([descriptor], [], [], max(0.0, ends - time.monotonic()))[0]:
        if not (more := os.read(descriptor, 65536)):
            return said.decode(errors="replace")
        said += more
    raise TimeoutError(f"it took more than {TIMEOUT:g} s")


@lru_cache(maxsize=1)
def _exporter() -> HTMLExporter:
    from nbconvert.exporters.html import HTMLExporter

    return HTMLExporter(
        template_name="record", extra_template_basedirs=[str(TEMPLATE)], default_preprocessors=[], anchor_link_text=""
    )


def page(notebook: Mapping[str, Any], about: Mapping[str, Any]) -> str:
    """The page as text."""
    from nbformat import from_dict

    metadata = {**notebook["metadata"], "run": about, "notebook": notebook["metadata"].get("sretoolkit", {})}
    body, _ = _exporter().from_notebook_node(from_dict({**notebook, "metadata": metadata}))
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


def main(arguments: list[str]) -> int:
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
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
