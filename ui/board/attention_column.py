"""The board's column of what needs attention."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nicegui import ui

from ui.board.attention import AttentionItem
from ui.text import archive
from ui.widgets import theme
from ui.widgets.keyed_list import KeyedList, redraw_row
from ui.widgets.theme import text


class AttentionColumn:
    """The column of what needs attention; on a phone it is one line until it is pressed."""

    def __init__(self, open_link_dialog: Any, acknowledge: Any, *, has_archive: bool) -> None:
        self._open_link_dialog, self._acknowledge = open_link_dialog, acknowledge
        with ui.element("section").classes("device-column troubles") as self._section:
            with ui.element("button").classes("head").props("type=button aria-expanded=false") as self._head:
                theme.state_chip("attention", "Требуют внимания")
                ui.element("div").classes("spring")
                self._count = text("span", "", "muted small")
                ui.icon("expand_more").classes("chevron").props("aria-hidden=true")
            self._head.on("click", self._toggle)
            self._calm = text("p", "Всё в порядке.", "note muted")
            self._rows = KeyedList(ui.element("div").classes("list"), redraw_row("div", "trouble", self._draw))
            if has_archive:
                with ui.element("p").classes("note small"):
                    ui.link(archive.PLACE, "/archive")

    def show(self, items: Sequence[AttentionItem]) -> None:
        """Show these items, the first on top."""
        self._count.set_text(str(len(items)))
        self._calm.set_visibility(not items)
        self._section.classes(remove="none") if items else self._section.classes(add="none")
        self._rows.show((item.key, item) for item in items)

    def _toggle(self) -> None:
        opened = "open" not in self._section.classes
        self._section.classes(add="open") if opened else self._section.classes(remove="open")
        self._head.props(f"aria-expanded={'true' if opened else 'false'}")

    def _draw(self, item: AttentionItem) -> None:
        text("p", item.title, "title")
        text("p", item.why, "why")
        if late := item.late:
            with ui.element("div").classes("acts"):
                ui.link(item.act, item.path).classes("btn btn-small")
                theme.button("Принято", lambda: self._acknowledge(late), small=True)
        elif item.path:
            ui.link(item.act, item.path).classes("btn btn-small")
        elif self._open_link_dialog and item.uid:
            theme.button(item.act, lambda: self._open_link_dialog(item.uid), small=True).props("data-opens=link")
