"""Studies of the image archive that belong to no order: what it says of a day, and what people decide.

`archive_images.link_unreferred` makes one of them an order's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date

from broker.domain.actors import Actor
from broker.domain.audit import AuditAction
from broker.domain.clinic.settings import Clinic
from broker.domain.errors import WrongState
from broker.domain.orders import BusRole, Order, ReferralDraft
from broker.domain.patients import confirmation
from broker.domain.patients.confirmation import Confirmation
from broker.domain.studies.archive import ArchiveStudy, DiscrepancyState
from broker.security.permissions import Permission, permit
from broker.store.database import Tx
from broker.store.queries.patients import patient_index
from broker.store.queries.studies import unreferred_studies
from broker.store.tables import audit
from broker.store.tables.studies import archive_unreferred
from broker.store.tables.studies.archive_unreferred import UnreferredStudy
from broker.workflow.referrals import referrals
from broker.workflow.studies import archive_images


def record_day(tx: Tx, on: date, found: Sequence[ArchiveStudy], actor: Actor) -> None:
    """Record what an archive holds of a day (studies with this Study Date) that belongs to no order; raise Forbidden.

    Only studies that this clinic may have made count; see `queries.unreferred_studies.is_ours`.
    """
    permit(tx, actor, Permission.PERFORM)
    modalities = unreferred_studies.modalities(tx, on)
    strange = [each for each in found if unreferred_studies.is_ours(each, modalities)]
    archive_unreferred.forget_before(tx, tx.now.date() - unreferred_studies.KEPT_FOR)
    unclaimed = [each for each in strange if not unreferred_studies.is_known(tx, each)]
    if archive_unreferred.set_of_day(tx, on, unclaimed):
        tx.notify()


def register(
    tx: Tx, id: int, draft: ReferralDraft, actor: Actor, clinic: Clinic, confirmed: Confirmation | None = None
) -> Order:
    """Create an order for a study that has none, and link the two; only its result is sent to the region.

    The start is the study's. `confirmed`: the draft's patient, and the fields in which it contradicts the study's and
    which a person has confirmed, as `patient_index.walk_in_contradictions` names them. Raise NotFound, WrongState if
    the study is an order's by now, or was left without one (a double click must not make two), Invalid, also with the
    fields that contradict and are not confirmed, Stale, Forbidden.
    """
    permit(tx, actor, Permission.REGISTER)
    permit(tx, actor, Permission.LINK)
    study = archive_unreferred.require(tx, id).study
    normalised = referrals.normalise(replace(draft, start=study.start or draft.start, submission_id=""))
    role = BusRole.WALK_IN if clinic.sends_to_bus else BusRole.NONE
    order = referrals.create_order(tx, normalised, "", actor, clinic, role, performed_already=True)
    person = study.patient_name, study.patient_id, study.birth_date, study.patient_sex
    confirmation.check(draft.patient, patient_index.walk_in_contradictions(tx, order.patient, *person), confirmed)
    # A number that a device has made up contradicts, too, where an order is chosen; here there was none to choose.
    fields = tuple(patient_index.contradictions(tx, order.patient, *person))
    return archive_images.link_unreferred(tx, id, order.id, actor, clinic, Confirmation(order.patient, fields))


def dismiss(tx: Tx, id: int, actor: Actor) -> UnreferredStudy:
    """Leave a study without an order, as this person says: it is not asked about again; return it.

    Raise NotFound, WrongState if that was said already, Forbidden.
    """
    return _decide(tx, id, DiscrepancyState.DISMISSED, actor, AuditAction.ARCHIVE_DISMISS)


def reconsider(tx: Tx, id: int, actor: Actor) -> UnreferredStudy:
    """Let a study that was to stay without an order be asked about again; return it.

    Raise NotFound, WrongState if it is asked about, Forbidden.
    """
    return _decide(tx, id, DiscrepancyState.OPEN, actor, AuditAction.ARCHIVE_RECONSIDER)


def _decide(tx: Tx, id: int, state: DiscrepancyState, actor: Actor, action: AuditAction) -> UnreferredStudy:
    permit(tx, actor, Permission.LINK)
    each = archive_unreferred.require(tx, id)
    if each.state is state:
        raise WrongState(f"study without an order {id} is {each.state}")
    archive_unreferred.decide(tx, id, state, actor.name)
    study = each.study
    audit.write(
        tx, actor, action, study_instance_uid=study.study_instance_uid, patient_name=study.patient_name,
        patient_id=study.patient_id,
    )  # fmt: skip
    tx.notify()
    return each
