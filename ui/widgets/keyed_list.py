"""A list on an open page whose rows are updated in place while the data change.

It knows neither what a page reads nor how a row looks.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Iterable
from typing import Any, TypeVar

from markupsafe import Markup
from nicegui import ui

from ui.widgets import theme

T = TypeVar("T")
Refresh = Callable[[], Awaitable[None]]
Redraw = Callable[[Any], object]
MakeRow = Callable[[Any], tuple[ui.element, Redraw]]


class KeyedList:
    """Keeps the children of a container in step with a list of (key, model).

    Rows are known by key: new ones are made, those that are gone are deleted, changed ones are redrawn in their own
    element and moved where they belong, so that focus, scrolling and what is open stay. The container holds only rows.
    """

    def __init__(self, container: ui.element, make: MakeRow) -> None:
        self._container = container
        self._make = make
        self._rows: dict[Hashable, tuple[ui.element, Redraw, Any]] = {}

    def show(self, rows: Iterable[tuple[Hashable, Any]]) -> None:
        """Show these (key, model) pairs in this order; a row whose model is equal is left alone."""
        wanted = dict(rows)
        for key in [key for key in self._rows if key not in wanted]:
            self._rows.pop(key)[0].delete()
        shown = self._container.default_slot.children
        for index, (key, model) in enumerate(wanted.items()):
            if key not in self._rows:
                with self._container:
                    element, redraw = self._make(model)
            else:
                element, redraw, before = self._rows[key]
                if before is not model and before != model:
                    redraw(model)
            self._rows[key] = (element, redraw, model)
            if shown[index] is not element:
                element.move(target_index=index)


def redraw_row(tag: str, classes: str, draw: Callable[[Any], object]) -> MakeRow:
    """Return a maker of rows whose content is drawn again when the model changes, inside the same element."""

    def make(model: Any) -> tuple[ui.element, Redraw]:
        element = ui.element(tag).classes(classes)

        def redraw(model: Any) -> None:
            element.clear()
            with element:
                draw(model)

        with element:
            draw(model)
        return element, redraw

    return make


def html_row(tag: str, classes: str, write: Callable[[Any], Markup]) -> MakeRow:
    """Return a maker of rows that are one element each, with HTML as their content."""

    def make(model: Any) -> tuple[ui.element, Redraw]:
        element = theme.html_element(tag, write(model), classes)
        return element, lambda model: element.set_content(str(write(model)))

    return make
