"""A field with a list under it: it searches while one types, arrows choose, Enter takes.

A late answer never overwrites a newer one. What is searched and what a choice means is the page's business.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from nicegui import ui

from ui.text import words
from ui.widgets import theme
from ui.widgets.form_field import FormField
from ui.widgets.theme import text

T = TypeVar("T")

DEBOUNCE = 0.12  # seconds without a keystroke after which a search starts


class Autocomplete(Generic[T]):
    """Turns a field into a combo box; put it into an element with the class `combo`.

    `take` gets what was chosen, or None and the words that nothing matched. With `eager` the first match is chosen
    by itself and none of them is an answer too, offered as `no_match` or, under the matches, as `other`; without it the
    field keeps what is typed, and the list only offers.
    With `at_most` no more matches are shown, and of a longer list it is said that there are more.
    While `filling` returns True, the page itself fills the field, and nothing is searched.
    """

    def __init__(
        self,
        field: FormField,
        read_as_viewer: Callable[[str], Awaitable[list[T]]],
        draw: Callable[[T], object],
        take: Callable[[T | None, str], Awaitable[None]],
        *,
        name: str,
        eager: bool = False,
        no_match: str = "",
        other: str = "",
        at_most: int = 0,
        filling: Callable[[], bool] = lambda: False,
    ) -> None:
        self.field = field
        self._look, self._draw, self._take = read_as_viewer, draw, take
        self._name, self._eager, self._no_match, self._other = name, eager, no_match, other
        self._at_most = at_most
        self._more = ""  # says that there are more matches
        self._matches: list[T] = []
        self._answered: str | None = None  # the words that the list answers; None while it is closed
        self._chosen = -1
        self._generation = 0
        self.list = ui.element("div").classes("listbox").props(f"role=listbox id={name}-list")
        self._status = text("div", "", "unseen").props("role=status aria-live=polite")
        box = field.control
        box.props(f"role=combobox aria-autocomplete=list aria-expanded=false aria-controls={name}-list")
        box.on_value_change(lambda: None if filling() else self._typed())
        box.on("keydown.down.prevent", lambda: self._move(1))
        box.on("keydown.up.prevent", lambda: self._move(-1))
        box.on("keydown.enter.exact.prevent", self._enter)
        box.on("keydown.esc", self.close)
        box.on("blur", self.close)

    def close(self) -> None:
        """Close the list; the answer to a search under way is dropped."""
        self._generation += 1
        self._answered, self._matches, self._chosen = None, [], -1
        self.list.clear()
        self.field.control.props("aria-expanded=false", remove="aria-activedescendant")

    async def _typed(self) -> None:
        self._generation += 1
        generation = self._generation
        if not self._words():
            self.close()
            return
        await asyncio.sleep(DEBOUNCE)
        if generation == self._generation:
            await self._ask()

    async def _ask(self) -> bool:
        """Search for what is typed now; return True if the answer is still wanted."""
        self._generation += 1
        generation, typed = self._generation, self._words()
        found = await self._look(typed)
        if generation != self._generation or self.field.control.is_deleted:
            return False
        most = self._at_most or len(found)
        self._more = f"Найдено больше {most}, уточните" if len(found) > most else ""
        self._matches, self._answered = found[:most], typed
        self._chosen = 0 if self._eager else -1
        self._redraw()
        return True

    async def _enter(self) -> None:
        typed = self._words()
        if not typed:
            return
        # A barcode scanner types and presses Enter faster than a search answers.
        if self._answered != typed and self._eager and not await self._ask():
            return
        if 0 <= self._chosen < len(self._matches):
            await self._pick(self._matches[self._chosen])
        elif self._eager:
            await self._pick(None)

    async def _pick(self, chosen: T | None) -> None:
        typed = self._words()
        self.close()
        await self._take(chosen, typed)

    def _move(self, step: int) -> None:
        count = len(self._matches) + bool(self._other)
        if self._matches:
            self._chosen = (self._chosen + step) % count if self._chosen >= 0 or step > 0 else -1
            self._redraw()

    def _words(self) -> str:
        return " ".join((self.field.value or "").split())

    def _redraw(self) -> None:
        self.list.clear()
        box = self.field.control
        box.props(f"aria-expanded={'true' if self._matches or self._no_match else 'false'}")
        if self._chosen >= 0:
            box.props(f"aria-activedescendant={self._name}-{self._chosen}")
        else:
            box.props(remove="aria-activedescendant")
        count = len(self._matches)
        counted = words.plural(count, "совпадение", "совпадения", "совпадений") if count else "Совпадений нет"
        self._status.set_text(self._more or counted)
        with self.list:
            for number, match in enumerate(self._matches):
                with self._option(number, match), ui.element("span").classes("cut"):
                    self._draw(match)
            if self._more:
                text("div", self._more, "muted small more-found").props("role=option aria-disabled=true")
            none = self._other if self._matches else self._no_match
            if none:
                with self._option(count, None):
                    text("span", f"{none} {self._answered}", "cut")

    def _option(self, number: int, match: T | None) -> ui.element:
        chosen = number == max(self._chosen, 0) if self._eager else number == self._chosen
        option = ui.element("div").classes("option" + (" with-enter" if chosen else ""))
        option.props(f"id={self._name}-{number} role=option aria-selected={'true' if chosen else 'false'}")

        async def pick() -> None:
            await self._pick(match)

        # mousedown, not click: a click would first take the focus, and losing it closes the list
        option.on("mousedown.prevent", pick)
        if chosen:
            with option:
                theme.text("kbd", "Enter", "muted key").style("order: 1")
        return option
