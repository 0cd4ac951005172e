"""Waiting for a run in its view, and what one sees there."""

from __future__ import annotations

from sretoolkit.clock import poll
from sretoolkit.widgets import RunView


def until(view: RunView | None, *states: str) -> RunView:
    """The view when its run is in one of these states."""
    assert view is not None

    def there() -> bool:
        view.look()
        return view.seen is not None and view.seen.run.state in states

    assert poll(there, timeout=60), view.head.value
    return view


def shown(view: RunView) -> set[str]:
    """The buttons that one sees."""
    return {name for name, button in view.buttons.items() if button.layout.display != "none"}


def looked(view: RunView) -> str:
    """The head and the cells after a look."""
    view.look()
    return "".join([view.head.value, *(cell.value for cell in view.cells.children)])
