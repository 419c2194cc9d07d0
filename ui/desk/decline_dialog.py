"""The dialog that declines another clinic's referral."""

from __future__ import annotations

from nicegui import ui

from broker.domain.incoming import IncomingReferral
from broker.domain.patients import names
from broker.workflow.referrals import incoming_referrals
from ui.live import attempt, current_actor
from ui.services import Services
from ui.widgets import theme
from ui.widgets.form_field import labelled_field
from ui.widgets.theme import text


class DeclineDialog:
    """The dialog that declines another clinic's referral, with a reason."""

    def __init__(self, services: Services, referral: IncomingReferral) -> None:
        self._services, self._came = services, referral
        title = f"Отклонить направление, {names.short(referral.patient.name)}?"
        with theme.dialog("decline", title, danger="Отклонить", on_danger=self._decline, leave="Оставить"):
            text("p", consequence(services, referral), "muted").style("margin: 8px 0 12px")
            self._reason = labelled_field("Причина", name="decline-reason", hint="Например: такого аппарата у нас нет")

    async def _decline(self) -> None:
        services, seen, reason = self._services, self._came, str(self._reason.value or "")
        actor, clinic, decline = current_actor(services), services.clinic, incoming_referrals.decline
        if await attempt(lambda: services.store.write(decline, seen.stored_id, reason, actor, clinic, seen=seen)):
            ui.navigate.to("/incoming")


def consequence(services: Services, referral: IncomingReferral) -> str:
    """Return what becomes of a referral that is declined, and who learns what."""
    if referral.source != incoming_referrals.BUS or not services.settings.has_bus:
        return "Оно уйдёт из входящих. Программа, которая его прислала, увидит отказ."
    if services.settings.corrects_on_bus:
        return "Оно уйдёт из входящих. Направившая клиника узнает об отказе и причине по шине."
    return "Оно уйдёт из входящих. Направившая клиника узнает об отказе по шине, но не причину: её скажите по телефону."
