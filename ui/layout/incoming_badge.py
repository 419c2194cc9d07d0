"""The count of referrals from other clinics that wait for a device and a time."""

from __future__ import annotations

from nicegui import run
from nicegui.elements.mixins.text_element import TextElement

from broker.store.queries import inbox
from ui.services import Services
from ui.widgets.theme import text


class IncomingBadge:
    """The count of referrals from other clinics that wait, beside the link to them; hidden where none can come."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._badges: list[TextElement] = []
        self._shown = self._count()
        self.wanted = bool(services.settings.has_bus or self._shown[0])

    def add_badge(self) -> None:
        """Put the count here; it is empty if no referral waits."""
        self._badges.append(text("span", "", "badge"))
        self._draw()

    async def refresh(self) -> None:
        """Count again."""
        count = await run.io_bound(self._count) if self.wanted else None
        if count is not None and count != self._shown:
            self._shown = count
            self._draw()

    def _count(self) -> tuple[int, bool]:
        with self._services.store.read() as reader:
            return inbox.count(reader)

    def _draw(self) -> None:
        waiting, urgent = self._shown
        for badge in self._badges:
            badge.set_text(str(waiting) if waiting else "")
            badge.classes(add="bad") if urgent else badge.classes(remove="bad")
            badge.props["title"] = "есть срочные" if urgent else "ждут записи"
