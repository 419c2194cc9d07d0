"""On a study's card: how far its signed report is on the way to the image archive, and a button to send it again."""

from __future__ import annotations

from broker.domain.actors import Actor
from broker.domain.studies.archived_reports import ArchivedReportReason, ArchivedReportState
from broker.security import permissions
from broker.security.permissions import Permission
from broker.store.queries.order_card import Card
from broker.workflow.studies import archived_reports
from ui.live import attempt, current_actor
from ui.services import Services
from ui.text import report_archive, words
from ui.widgets import theme
from ui.widgets.theme import text


def draw(services: Services, actor: Actor, card: Card) -> None:
    """Draw the state of the newest version; nothing if none was to go to the archive."""
    if not card.archived_reports:
        return
    newest, zone = card.archived_reports[0], services.clinic.zone
    at = words.moment(newest.stored_at, zone, services.today()) if newest.stored_at else ""
    is_bad = newest.state is ArchivedReportState.NEEDS_ATTENTION or newest.reason in _ALARMING
    text("p", report_archive.described(card.archived_reports, at), "attention-reason" if is_bad else "muted small")
    may = permissions.may(actor, Permission.REPORT) or permissions.may(actor, Permission.RESEND)
    if may and newest.state is not ArchivedReportState.DROPPED:

        async def send_again() -> None:
            by = current_actor(services)
            if await attempt(lambda: services.store.write(archived_reports.send_again, card.order.id, by)):
                theme.show_message("Протокол снова отправляется в архив")

        theme.button(report_archive.SEND_AGAIN, send_again, small=True)


# A person can do something about these.
_ALARMING = (ArchivedReportReason.DISCREPANCY, ArchivedReportReason.NO_DOCUMENTS, ArchivedReportReason.WITHDRAWN)
