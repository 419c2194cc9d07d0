"""Whether a patient agrees that data go to the region: recorded, and heeded by whatever would be sent from then on.

Orders that are registered without the consent are not for the region at all; what is queued waits, and goes once the
patient agrees again. A cancellation is sent: it says nothing of the patient, and the other clinic need not wait. So is
the withdrawal of a report, without its text: it only takes back what the region has.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date

from broker.domain.actors import Actor
from broker.domain.audit import AuditAction
from broker.domain.clinic.settings import Clinic
from broker.domain.errors import NotFound, Stale
from broker.domain.messages import CONSENT_WITHDRAWN, NOT_ABOUT_THE_PATIENT
from broker.security.permissions import Permission, permit
from broker.store.database import Tx
from broker.store.tables import audit, outbox
from broker.store.tables.patients import patient_details, patients


def give(tx: Tx, patient_id: int, actor: Actor, clinic: Clinic) -> None:
    """Record that a patient agrees, today, that data go to the region: what has waited for it goes.

    Raise NotFound, Stale, Forbidden.
    """
    permit(tx, actor, Permission.AMEND)
    _write(tx, patient_id, actor, AuditAction.CONSENT_GIVEN, given=clinic.local(tx.now).date(), withdrawn=None)
    outbox.release_patient(tx, patient_id, CONSENT_WITHDRAWN)


def withdraw(tx: Tx, patient_id: int, actor: Actor, clinic: Clinic) -> None:
    """Record that a patient has withdrawn the consent: orders that are registered from now on are not sent.

    What was queued and not sent waits, with the reason. Raise NotFound, Stale, Forbidden.
    """
    permit(tx, actor, Permission.AMEND)
    given = patient_details.get(tx, patient_id).consent_on
    _write(tx, patient_id, actor, AuditAction.CONSENT_WITHDRAWN, given=given, withdrawn=clinic.local(tx.now).date())
    outbox.hold_patient(tx, patient_id, CONSENT_WITHDRAWN, without=NOT_ABOUT_THE_PATIENT)


def _write(
    tx: Tx, patient_id: int, actor: Actor, action: AuditAction, *, given: date | None, withdrawn: date | None
) -> None:
    known = patients.get(tx, patient_id)
    if known is None:
        raise NotFound(f"patient {patient_id}")
    if patients.is_merged(tx, patient_id):
        raise Stale(f"patient {known.patient_id}")
    details = patient_details.get(tx, patient_id)
    patient_details.put(tx, patient_id, replace(details, consent_on=given, consent_withdrawn_on=withdrawn))
    audit.write(tx, actor, action, patient=known.patient_id)
    tx.notify()
