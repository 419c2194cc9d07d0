"""Use cases of signed reports on their way to the image archive: queue with the signature, note what became of them.

What was stored is never deleted there: it is somebody else's archive. A withdrawn report sends nothing.
"""

from __future__ import annotations

from datetime import timedelta

from broker.domain.actors import Actor
from broker.domain.audit import AuditAction
from broker.domain.clinic.settings import Clinic
from broker.domain.errors import WrongState
from broker.domain.reading.reports import Report
from broker.domain.studies.archived_reports import (
    LONGEST_WAIT,
    ArchivedReport,
    ArchivedReportReason,
    ArchivedReportState,
    instance_uid,
    wait_after,
)
from broker.security import permissions
from broker.security.permissions import Permission, permit
from broker.store.database import Reader, Tx
from broker.store.tables import audit, orders
from broker.store.tables.reading import reports
from broker.store.tables.studies import archived_reports

_PERSON_NEEDED = (ArchivedReportReason.NO_CYRILLIC, ArchivedReportReason.REFUSED)


def queue(tx: Tx, report: Report | None, clinic: Clinic) -> None:
    """Queue a signed version for the archive, once; a withdrawal takes back what is not there yet."""
    if report is None or not clinic.archives_reports:
        return
    if not report.is_withdrawn:
        archived_reports.add(tx, report.order_id, report.version)
        return
    archived_reports.drop_pending(tx, report.order_id, ArchivedReportReason.WITHDRAWN, before=report.version)
    archived_reports.drop(tx, report.order_id, report.version, ArchivedReportReason.WITHDRAWN)


def is_ours(reader: Reader, order_id: int, study_instance_uid: str, sop_instance_uid: str) -> bool:
    """Return True if an instance is a version of an order's report, as an archive sends it on to others and to us."""
    [order] = orders.get_many(reader, [order_id])
    versions = reports.versions(reader, order_id) if archived_reports.of_order(reader, order_id) else []
    return sop_instance_uid in [instance_uid(study_instance_uid, order.accession_number, each) for each in versions]


def send_again(tx: Tx, order_id: int, actor: Actor) -> None:
    """Send the newest version again, at once; the archive gets the same instance. Raise WrongState, Forbidden."""
    permit(tx, actor, Permission.REPORT if permissions.may(actor, Permission.REPORT) else Permission.RESEND)
    order = orders.require(tx, order_id)
    newest = next(iter(archived_reports.of_order(tx, order_id)), None)
    if newest is None or newest.state is ArchivedReportState.DROPPED:
        raise WrongState(f"no report on {order.accession_number} goes to the archive")
    archived_reports.queue_again(tx, newest.id)
    audit.write(tx, actor, AuditAction.REPORT_ARCHIVE_AGAIN, order_id, version=newest.version)
    tx.notify()


def note_stored(tx: Tx, item: ArchivedReport, actor: Actor) -> None:
    """Note that the archive has taken a report."""
    archived_reports.set_stored(tx, item.id)
    audit.write(tx, actor, AuditAction.REPORT_ARCHIVED, item.order_id, version=item.version)
    tx.notify()


def note_in_vain(
    tx: Tx, item: ArchivedReport, reason: ArchivedReportReason, detail: str = "", *, surely_not_there: bool = False
) -> None:
    """Note why a report could not be sent; it is tried again later, or waits for a person."""
    waited = tx.now - item.queued_at
    if reason is ArchivedReportReason.NOT_THERE and waited >= LONGEST_WAIT:
        archived_reports.give_to_person(tx, item.id, ArchivedReportReason.NEVER_CAME, detail)
    elif reason in _PERSON_NEEDED:
        archived_reports.give_to_person(tx, item.id, reason, detail)
    else:
        # A busy archive, and one that is not there, has the study: hours of waiting are not needed.
        longest = timedelta(hours=24) if reason is ArchivedReportReason.NOT_THERE else timedelta(minutes=15)
        wait = min(wait_after(item.attempts + 1, waited), longest)
        archived_reports.put_off(tx, item.id, reason, detail, wait, surely_not_there=surely_not_there)
        if (item.reason, item.detail) == (reason, detail):
            return
    tx.notify()


def note_waits(tx: Tx, item: ArchivedReport, reason: ArchivedReportReason) -> None:
    """Note why a report waits, without an attempt of its own: the archive takes none now."""
    archived_reports.note_reason(tx, item.id, reason)
    tx.notify()
