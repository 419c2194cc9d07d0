"""Studies of the image archive that belong to no order: what it says of a day, and what people decide.

`archive_images.link_unreferred` makes one of them an order's.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from broker.domain.actors import Actor
from broker.domain.audit import AuditAction
from broker.domain.errors import WrongState
from broker.domain.studies.archive import ArchiveStudy, DiscrepancyState
from broker.security.permissions import Permission, permit
from broker.store.database import Tx
from broker.store.queries import unreferred_studies
from broker.store.tables import archive_unreferred, audit
from broker.store.tables.archive_unreferred import UnreferredStudy


def record_day(tx: Tx, on: date, found: Sequence[ArchiveStudy], actor: Actor) -> None:
    """Record what an archive holds of a day (studies with this Study Date) that belongs to no order; raise Forbidden.

    Only studies that one of our devices may have made count; see `queries.unreferred_studies.is_ours`.
    """
    permit(tx, actor, Permission.PERFORM)
    modalities = unreferred_studies.modalities(tx)
    strange = [each for each in found if unreferred_studies.is_ours(each, modalities)]
    archive_unreferred.forget_before(tx, tx.now.date() - unreferred_studies.KEPT_FOR)
    unclaimed = [each for each in strange if not unreferred_studies.is_known(tx, each)]
    if archive_unreferred.set_of_day(tx, on, unclaimed):
        tx.notify()


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
