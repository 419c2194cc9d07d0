"""The question where the images of a study are that will not come to the archive, or why there are none."""

from __future__ import annotations

from broker.domain.orders import Order
from broker.domain.patients import names
from broker.workflow.studies import archive_images
from ui.live import attempt, current_actor
from ui.services import Services
from ui.text import archive
from ui.widgets import theme
from ui.widgets.form_field import labelled_field
from ui.widgets.theme import text

REASONS = ("на плёнке", "в другом архиве", "не сделали")


class WaiveDialog:
    """The dialog `waive`: `note` says of which order, before the browser opens it."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._order: Order | None = None
        with theme.dialog("waive", archive.WAIVE, danger="Больше не ждать", on_danger=self._waive, leave="Подождать"):
            self._about = text("p", "", "muted")
            quick = [(word, lambda word=word: self._say(word)) for word in REASONS]
            self._reason = labelled_field("Почему", name="waive-reason", quick=quick)

    def note(self, order: Order) -> None:
        """Note the order that the person is about to be asked about."""
        self._order = order
        self._reason.value = ""
        more = " Регион узнает об исследовании без них." if self._services.clinic.waits_for_images else ""
        self._about.set_text(
            f"{names.short(order.patient.name)}, {order.accession_number}: о снимках больше не напомним.{more}"
        )

    def _say(self, word: str) -> None:
        self._reason.value = word

    async def _waive(self) -> None:
        services, order, reason = self._services, self._order, str(self._reason.value or "")
        if order is None:
            return
        actor, clinic = current_actor(services), services.clinic
        if await attempt(lambda: services.store.write(archive_images.waive_images, order.id, reason, actor, clinic)):
            theme.show_message(f"Отмечено: снимков не будет, {order.accession_number}")
