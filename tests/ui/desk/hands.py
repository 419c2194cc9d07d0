"""A registrar's hands on the form."""

from __future__ import annotations

from typing import Any

import pytest
from nicegui import ui
from nicegui.testing import User
from nicegui.testing.user_interaction import UserInteraction

from tests.support.waiting import wait_until_async

ENTER, DOWN = "keydown.enter.exact.prevent", "keydown.down.prevent"


class Hands:
    """What a registrar's hands do with the form."""

    def __init__(self, user: User) -> None:
        self.user = user

    def control(self, name: str) -> Any:
        """Find a control by the id that its label points to."""
        assert self.user.client
        for each in self.user.client.elements.values():
            if each.props.get("for") == name and each.tag != "label" and hasattr(each, "value"):
                return each
            if name == "urgent" and isinstance(each, ui.checkbox):
                return each
        pytest.fail(f"no control {name}")

    def do(self, name: str, event: str) -> None:
        UserInteraction(self.user, {self.control(name)}, None).trigger(event)

    def type(self, name: str, value: Any) -> None:
        """Replace what stands in a field, and leave it."""
        assert self.user.client
        with self.user.client:
            self.control(name).value = value
        self.do(name, "blur")

    def note(self, name: str) -> str:
        """Return the line under a field."""
        assert self.user.client
        elements = self.user.client.elements.values()
        return next(str(getattr(each, "text", "")) for each in elements if each.props.get("id") == f"{name}-note")

    def values(self, *controls: str) -> list[Any]:
        return [self.control(name).value for name in controls]

    async def search(self, typed: str, *keys: str) -> None:
        with self.user.client or pytest.fail("no page"):
            self.control("patient-search").value = typed
        await wait_until_async(lambda: self.control("patient-search").props.get("aria-expanded") == "true")
        for key in keys:
            self.do("patient-search", key)

    async def fill(self, **more: Any) -> None:
        """Fill a whole referral for somebody new."""
        values = {"last": "зуева", "first": "марья", "middle": "петровна", "born": "05051980", "what": "WLB-KNEE"}
        for name, value in {**values, **more}.items():
            self.type(name, value)
        await wait_until_async(lambda: self.control("time").value != "")

    def press_save(self) -> None:
        self.user.find("Сохранить").click()
