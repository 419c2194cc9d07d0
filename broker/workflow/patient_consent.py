"""Whether a patient agrees that data go to the region: recorded, and heeded when an order is registered."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

from broker.domain.actors import Actor
from broker.domain.audit import AuditAction
from broker.domain.clinic.settings import Clinic
from broker.domain.errors import NotFound, Stale
from broker.security.permissions import Permission, permit
from broker.store.database import Tx
from broker.store.tables import audit, patient_details, patients


def give(tx: Tx, patient_id: int, actor: Actor, clinic: Clinic) -> None:
    """Record that a patient agrees, today, that data go to the region. Raise NotFound, Stale, Forbidden."""
    permit(tx, actor, Permission.AMEND)
    _write(tx, patient_id, actor, AuditAction.CONSENT_GIVEN, given=clinic.local(tx.now).date(), withdrawn=None)


def withdraw(tx: Tx, patient_id: int, actor: Actor, clinic: Clinic) -> None:
    """Record that a patient has withdrawn the consent: orders that are registered from now on are not sent.

    Raise NotFound, Stale, Forbidden.
    """
    permit(tx, actor, Permission.AMEND)
    given = patient_details.get(tx, patient_id).consent_on
    _write(tx, patient_id, actor, AuditAction.CONSENT_WITHDRAWN, given=given, withdrawn=clinic.local(tx.now).date())


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
