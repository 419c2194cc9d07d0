"""The use case of not ordering what was made already."""

from __future__ import annotations

from broker.domain.actors import Actor
from broker.domain.audit import AuditAction
from broker.domain.studies.avoided_repeats import AvoidedRepeat
from broker.security.permissions import Permission, permit
from broker.store.database import Tx
from broker.store.tables import audit
from broker.store.tables.studies import avoided_repeats


def note(tx: Tx, avoided: AvoidedRepeat, actor: Actor) -> None:
    """Count a study that a person did not order because an earlier one was shown; once a form. Raise Forbidden."""
    permit(tx, actor, Permission.REGISTER)
    if avoided_repeats.has(tx, avoided.submission_id):
        return
    avoided_repeats.add(tx, avoided)
    audit.write(
        tx,
        actor,
        AuditAction.REPEAT_AVOIDED,
        patient=avoided.patient_id,
        procedure=avoided.procedure_code,
        repeat_of=avoided.repeats,
    )
    tx.notify()
