"""A part of a page that is drawn again only when what it shows has changed, so that focus and open details stay."""

from __future__ import annotations

from collections.abc import Callable

from nicegui import ui

_NOTHING = object()  # equals no key


class Memo:
    """An element and the key of what it shows."""

    def __init__(self, element: ui.element) -> None:
        self.element = element
        self._key: object = _NOTHING

    def show(self, key: object, draw: Callable[[], object]) -> bool:
        """Empty the element and call `draw` inside it if `key` differs from the last one; return True if it did."""
        if key == self._key:
            return False
        self._key = key
        self.element.clear()
        with self.element:
            draw()
        return True
