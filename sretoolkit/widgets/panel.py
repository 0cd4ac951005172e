"""What all panels have in common: work in threads, errors told in words, and a report in their place in a record."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import anywidget
import ipywidgets as widgets

from sretoolkit.report import Drawable, escape
from sretoolkit.widgets.frontend import attended
from sretoolkit.widgets.latest import Latest
from sretoolkit.widgets.trouble import trouble

ROW = widgets.Layout(flex_flow="row wrap", align_items="center")
LONG = widgets.Layout(width="30em", max_width="98%")  # of a field whose hint is a sentence
WIDE = widgets.Layout(width="98%")


_TELL_AGAIN = object()


class _Arrival(anywidget.AnyWidget):
    """Nothing to see: it tells when a page shows the panel that it is a part of, and brings the style of all panels."""

    _esm = "export default { render({ model }) { model.send('here'); } };"
    _css = (Path(__file__).parent / "panel.css").read_text(encoding="utf-8")


class Panel(widgets.VBox):
    """Parts one below the other. A subclass says how it answers an order, and what a record shows (`record`).

    A page that loads asks how all widgets stand, and misses what changes before it has made its own of them: for the last
    change of a run there is no later one that would mend it. So a page that shows the panel is told all of it once more.

    ``said`` is where errors and short answers are told; a screen reader reads it out when it changes.
    """

    said: widgets.HTML

    def __init__(self, parts: Sequence[widgets.Widget], *, name: str) -> None:
        self._done = threading.Event()
        self._work: Latest[Any] = Latest(self._attempt, name=name)
        arrival = _Arrival(layout=widgets.Layout(display="none"))
        arrival.on_msg(
            lambda *_: self.soon(_TELL_AGAIN, who="arrival")
        )  # where it is changed: nothing older comes later
        super().__init__([*parts, arrival])
        self.add_class(f"srt-{name}")

    def answer(self, order: Any) -> None:
        """Do what was asked, in a thread; what it raises is told in ``said``."""
        raise NotImplementedError

    def record(self) -> Drawable:
        """What stands in the panel's place where nobody looks on."""
        raise NotImplementedError

    def soon(self, order: Any, *, who: str = "") -> None:
        """Have it done, in a thread; the newest order of each asker counts."""
        self._work.ask(who or "panel", order)

    def follow(self, order: Any, *, every: float) -> None:
        """Ask for it again and again, until the panel is closed."""

        def again() -> None:
            while not self._done.is_set():
                self.soon(order, who="follow")
                self._done.wait(every)

        threading.Thread(target=again, name=type(self).__name__, daemon=True).start()

    def close(self) -> None:
        """End looking; what was begun goes on."""
        self._done.set()
        super().close()

    def join(self, timeout: float | None = None) -> None:
        """Wait until nothing is asked."""
        self._work.join(timeout)

    def live(self, wanted: bool | None) -> bool:
        """Whether to look again by itself: as one wants, or where somebody looks on."""
        return attended() if wanted is None else wanted

    def say(self, text: str) -> None:
        """Tell something in a line; "" takes the last one away."""
        self.said.value = _status(escape(text)) if text else ""

    def failed(self, order: Any) -> None:
        """After an order that raised: nothing more, unless a subclass shows something that is not true any more."""

    def _tell_again(self) -> None:
        for part in _tree(self):
            part.send_state()
            part.layout.send_state("display")

    def _attempt(self, order: Any) -> None:
        if order is _TELL_AGAIN:
            self._tell_again()
            return
        try:
            self.answer(order)
        except Exception as error:  # whatever it is, it is for whoever looks at the panel
            self.failed(order)
            self.said.value = _status(trouble(error))

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        if attended():
            return super()._repr_mimebundle_(**kwargs)
        shown = self.record()
        return {"text/plain": str(shown), "text/html": shown._repr_html_()}, {}


class Words:
    """A sentence in the place of a panel that has nothing to show without a person."""

    def __init__(self, text: str) -> None:
        self._text = text

    def _repr_html_(self) -> str:
        return f"<p><i>{escape(self._text)}</i></p>"

    def __str__(self) -> str:
        return self._text


def button(text: str, icon: str, tooltip: str, style: str = "") -> widgets.Button:
    """A button that says what it does, also to a screen reader."""
    return widgets.Button(description=text, icon=icon, tooltip=tooltip, button_style=style)


def put(place: widgets.HTML, text: str) -> None:
    """Show it, when it is not what stands there: what is read or selected must not be drawn anew for nothing."""
    if place.value != text:
        place.value = text


def visible(part: widgets.DOMWidget, shown: bool) -> None:
    """Show a part, or take it away, also from the keyboard's order."""
    part.layout.display = None if shown else "none"


def _tree(part: widgets.DOMWidget) -> Iterator[widgets.DOMWidget]:
    """A panel's own parts, from within; panels inside it, and charts, see to themselves."""
    for child in getattr(part, "children", ()):
        if not isinstance(child, (Panel, anywidget.AnyWidget)):
            yield from _tree(child)
    yield part


def _status(text: str) -> str:
    return f'<div role="status">{text}</div>'
