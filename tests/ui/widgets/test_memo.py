"""A part of a page that is drawn again only when it has changed."""

from __future__ import annotations

from nicegui import ui
from nicegui.testing import User

from ui.widgets.memo import Memo


async def test_what_is_shown_already_is_left_alone(user: User) -> None:
    client = await user.open("/board")
    with client:
        memo = Memo(ui.element("div"))
    drawn: list[object] = []
    for key in (None, None, "one", "one", None):
        memo.show(key, lambda key=key: drawn.append((key, ui.label("drawn"))))  # type: ignore[misc]
    assert [key for key, _ in drawn] == [None, "one", None]
    assert memo.element.default_slot.children == [drawn[-1][1]]  # type: ignore[index]
