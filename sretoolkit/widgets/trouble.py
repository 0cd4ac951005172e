"""What a panel says of an error: its kind, what happened, and what to do next, harmless as HTML."""

from __future__ import annotations

from sretoolkit.errors import SREToolkitError
from sretoolkit.report import escape


def trouble(error: Exception) -> str:
    """The error as HTML."""
    hint = error.hint if isinstance(error, SREToolkitError) else ""
    text = error.message if isinstance(error, SREToolkitError) else str(error)
    remedy = f"<br><i>next: {escape(hint)}</i>" if hint else ""
    return f"<b>{type(error).__name__}</b>: {escape(text)}{remedy}"
