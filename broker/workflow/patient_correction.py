"""A patient's card is corrected: an unidentified person has got a name, a birth date was found out.

All orders of the patient follow, whatever state they are in: what the region could not be sent goes there now, and what
it has already is amended.
"""

from __future__ import annotations

from dataclasses import replace

from broker.domain import validation
from broker.domain.actors import Actor
from broker.domain.audit import AuditAction
from broker.domain.clinic.settings import Clinic
from broker.domain.errors import Invalid
from broker.domain.patients import patient_merge as cards
from broker.domain.patients.patient_match import NUMBERS
from broker.domain.patients.people import Patient
from broker.security.permissions import Permission, permit
from broker.store.database import Tx
from broker.store.tables import audit, external_studies, orders, patient_merges
from broker.store.tables import patients as table
from broker.workflow import patients, referrals
from broker.workflow.patient_merge import drop_conflicts, queue_corrections, without_old_attributes


def correct(tx: Tx, corrected: Patient, actor: Actor, clinic: Clinic) -> Patient:
    """Write what a person has corrected or completed on a card; return the card as it is now.

    `corrected` is the card with its `id`, and the revision that the person saw. Raise Stale if somebody has changed it
    since, or it was merged; Invalid with the wrong fields, also for a number of somebody else; NotFound, Forbidden.
    """
    permit(tx, actor, Permission.AMEND)
    typed = referrals.normalise_patient(corrected)
    known = patients.chosen(tx, typed)
    if problems := validation.patient_problems(typed, clinic.local(tx.now).date()):
        raise Invalid(problems)
    after = replace(typed, patient_id=known.patient_id, revision=known.revision)
    changed = cards.changes(known, after)
    if not changed:
        return known
    before = orders.get_many(tx, patient_merges.order_ids(tx, known.stored_id))
    table.update(tx, known.stored_id, after)
    without_old_attributes(tx, before, after)
    if any(field in changed for field in NUMBERS):
        external_studies.forget_lookup(tx, known.stored_id)  # the bus was not asked about this number
    drop_conflicts(tx, [order.id for order in before], clinic)
    queue_corrections(tx, before)
    audit.write(tx, actor, AuditAction.PATIENT_AMEND, patient=known.patient_id, changed=changed)
    for order in before:
        said = referrals.changed_fields(order, orders.require(tx, order.id))
        audit.write(tx, actor, AuditAction.PATIENT_AMEND, order.id, changed=said)
    tx.notify()
    found = table.get(tx, known.stored_id)
    assert found is not None
    return found
