"""The count of other clinics' requests for an opinion that wait for a doctor."""

from __future__ import annotations

from nicegui import run
from nicegui.elements.mixins.text_element import TextElement

from broker.store.database import Reader
from broker.store.queries.opinions import opinion_lists
from ui.services import Services
from ui.widgets.theme import text


class OpinionBadge:
    """The count beside the link to «Мнения»; hidden where nothing is asked and no clinic may be asked."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._badges: list[TextElement] = []
        with services.store.read() as reader:
            self._shown = self._count(reader)
            self.wanted = bool(services.clinic.opinions.partners or opinion_lists.is_used(reader))

    def add_badge(self) -> None:
        """Put the count here; it is empty if nothing waits."""
        self._badges.append(text("span", "", "badge"))
        self._draw()

    async def refresh(self) -> None:
        """Count again."""
        if not self._badges:
            return
        count = await run.io_bound(self._read)
        if count is not None and count != self._shown:
            self._shown = count
            self._draw()

    def _read(self) -> int:
        with self._services.store.read() as reader:
            return self._count(reader)

    def _count(self, reader: Reader) -> int:
        now, rules = self._services.store.clock(), self._services.clinic.opinions
        return opinion_lists.count_for_us(reader) + opinion_lists.count_of_ours(reader, now, rules)

    def _draw(self) -> None:
        for badge in self._badges:
            badge.set_text(str(self._shown) if self._shown else "")
            badge.props["title"] = "просят мнение, ответили нам или молчат дольше срока"
