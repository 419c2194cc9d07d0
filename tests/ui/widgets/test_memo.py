"""A part of a page that is drawn again only when it has changed."""

from __future__ import annotations

from functools import partial

from nicegui import ui
from nicegui.testing import User

from ui.widgets.memo import Memo


async def test_what_is_shown_already_is_left_alone(user: User) -> None:
    client = await user.open("/board")
    with client:
        memo = Memo(ui.element("div"))
    drawn: list[tuple[str | None, ui.label]] = []

    def draw(key: str | None) -> None:
        drawn.append((key, ui.label("drawn")))

    for key in (None, None, "one", "one", None):
        memo.show(key, partial(draw, key))
    assert [key for key, _ in drawn] == [None, "one", None]
    assert memo.element.default_slot.children == [drawn[-1][1]]
