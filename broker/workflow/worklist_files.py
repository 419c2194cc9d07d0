"""Worklist files of scripts: imported, amended when a file changes, withdrawn when it is removed.

Existing scripts go on working: the numbers that they wrote are used, and only missing ones are generated. Files are
read by the caller; `path` and `digest` say which content was read.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from broker.domain import lifecycle
from broker.domain.actors import Actor
from broker.domain.audit import AuditAction
from broker.domain.clinic.settings import Clinic
from broker.domain.errors import Refused
from broker.domain.import_result import ImportPlace, ImportSource, Reason
from broker.domain.lifecycle import Event
from broker.domain.messages import OutboxKind
from broker.domain.orders import BusRole, ImportedItem, Order, OrderState, ScheduledStep, StepState
from broker.domain.patients import identity, names
from broker.domain.patients.patient_match import SimilarCard
from broker.domain.patients.people import Patient
from broker.domain.studies import passthrough
from broker.security.permissions import Permission, permit
from broker.store.database import Tx
from broker.store.queries import device_registry
from broker.store.tables import audit, devices, orders, outbox, worklist_files
from broker.store.tables import patients as cards
from broker.store.tables.import_refusals import ImportRefusal
from broker.store.tables.worklist_files import FileState, WorklistFile
from broker.workflow import corrections, import_refusals, imported_patients, numbering, order_status, referrals

CREATED_BY = "import"


class SyncOutcome(StrEnum):
    """The outcome of a file."""

    ADDED = "added"
    AMENDED = "amended"
    RESTORED = "restored"  # it had vanished and is back
    UNCHANGED = "unchanged"
    WITHDRAWN = "withdrawn"  # it vanished, and its order was cancelled
    LEFT = "left"  # it vanished, and its order stays: the study had started, or a person had cancelled it


@dataclass(frozen=True, slots=True)
class SyncResult:
    """The outcome of a file, its order, and the cards to which a new patient is similar."""

    outcome: SyncOutcome
    order_id: int
    accession_number: str
    similar: tuple[SimilarCard, ...] = ()


def sync(
    tx: Tx,
    item: ImportedItem,
    path: str,
    digest: str,
    actor: Actor,
    clinic: Clinic,
    *,
    vanished: Mapping[str, str] = MappingProxyType({}),
    send_to_bus: bool = False,
) -> SyncResult:
    """Put the item of a file on the worklist, or update the order that came of the file's earlier content.

    The same content again changes nothing. `vanished` are files that do not exist any more, path -> digest: one of them
    may be this one before it was renamed. `send_to_bus`: a new order is sent to the region.
    Raise Refused with the reason, without names of patients or files; Forbidden.
    """
    permit(tx, actor, Permission.REGISTER)
    known = worklist_files.get(tx, path)
    if (known is None or not known.order_id) and (old := _find_renamed(tx, item, digest, vanished)):
        worklist_files.remove(tx, old.path)
        known = replace(old, path=path)
    order = orders.get(tx, known.order_id) if known and known.order_id else None
    if known is None or order is None:
        result = _add(tx, item, path, actor, clinic, send_to_bus)
    elif known.digest == digest and not known.problem:
        result = _unchanged(tx, known, order, actor)
    elif _is_same(tx, item, order):
        result = _amend(tx, item, known, order, actor, clinic)
    else:  # the script writes one item after another under the same file name
        _withdraw(tx, known, order, actor, clinic)
        result = _add(tx, item, path, actor, clinic, send_to_bus)
    now = WorklistFile(path, digest, result.order_id)
    if now != worklist_files.get(tx, path):
        worklist_files.put(tx, now)
    import_refusals.forget(tx, ImportSource.WORKLIST_FILE, path, actor)
    return result


def withdraw(tx: Tx, path: str, actor: Actor, clinic: Clinic) -> SyncResult | None:
    """Cancel the order of a file that was removed, unless its study has started.

    Return None if the file has no order. Raise Forbidden.
    """
    permit(tx, actor, Permission.CANCEL)
    import_refusals.forget(tx, ImportSource.WORKLIST_FILE, path, actor)
    known = worklist_files.get(tx, path)
    order = orders.get(tx, known.order_id) if known and known.order_id else None
    if known is None or order is None:
        worklist_files.remove(tx, path)
        return None
    return _withdraw(tx, known, order, actor, clinic)


def note_problem(tx: Tx, path: str, digest: str, reason: Reason, actor: Actor, patient: Patient | None = None) -> None:
    """Note why a file's content was not imported, so that people see it; the order of an earlier content stays.

    `patient` is the one that the file names, as far as it could be read. Raise Forbidden.
    """
    permit(tx, actor, Permission.REGISTER)
    known = worklist_files.get(tx, path) or WorklistFile(path, digest)
    worklist_files.put(tx, replace(known, digest=digest, problem=reason.text))
    refusal = ImportRefusal(ImportSource.WORKLIST_FILE, path, 0, digest, (reason,))
    import_refusals.note(tx, refusal.of(patient) if patient else refusal, actor)


# ---- the cases ----


def _find_renamed(tx: Tx, item: ImportedItem, digest: str, vanished: Mapping[str, str]) -> WorklistFile | None:
    """Return the file that had this item before it was renamed, or None."""
    numbered = (("accession_number", item.accession_number), ("study_instance_uid", item.study_instance_uid))
    for owner in (orders.owner(tx, number, value) for number, value in numbered if value):
        if (file := worklist_files.of_order(tx, owner) if owner else None) and (
            file.state is FileState.WITHDRAWN or file.path in vanished
        ):
            return file
    return next(
        (worklist_files.get(tx, path) for path, known_digest in vanished.items() if known_digest == digest), None
    )


def _add(tx: Tx, item: ImportedItem, path: str, actor: Actor, clinic: Clinic, send_to_bus: bool) -> SyncResult:
    sends = send_to_bus and clinic.sends_to_bus
    made, similar = _order(tx, item, None, path, actor, clinic)
    order = replace(made, bus_role=BusRole.PLACER if sends else BusRole.NONE)
    orders.add(tx, order, "", "")
    if sends:
        outbox.add(tx, order.id, OutboxKind.ORDER)
    audit.write(tx, actor, AuditAction.IMPORT, order.id, accession_number=order.accession_number, file=path)
    tx.notify()
    return SyncResult(SyncOutcome.ADDED, order.id, order.accession_number, similar)


def _unchanged(tx: Tx, known: WorklistFile, order: Order, actor: Actor) -> SyncResult:
    outcome = SyncOutcome.UNCHANGED
    if known.state is FileState.WITHDRAWN and order.state is OrderState.CANCELLED:
        _restore(tx, order, known.path, actor)
        outcome = SyncOutcome.RESTORED
    return SyncResult(outcome, order.id, order.accession_number)


def _amend(tx: Tx, item: ImportedItem, known: WorklistFile, order: Order, actor: Actor, clinic: Clinic) -> SyncResult:
    outcome = SyncOutcome.AMENDED
    if known.state is FileState.WITHDRAWN and order.state is OrderState.CANCELLED:
        _restore(tx, order, known.path, actor)
        outcome = SyncOutcome.RESTORED
    elif order.state is not OrderState.SCHEDULED:
        what = "was cancelled here" if order.state is OrderState.CANCELLED else "has started"
        reason = "order_cancelled" if order.state is OrderState.CANCELLED else "order_started"
        number = order.accession_number
        raise Refused(f"it has changed, but its order {number} {what} and stays as it is", reason, number)
    after, similar = _order(tx, item, order, known.path, actor, clinic)
    changed = referrals.changed_fields(order, after)
    if not changed:
        return SyncResult(
            SyncOutcome.UNCHANGED if outcome is SyncOutcome.AMENDED else outcome, order.id, order.accession_number
        )
    orders.update(tx, after)
    orders.set_numbers(tx, after)
    orders.set_attributes(tx, order.id, after.attributes)
    was, now = order.steps[0], after.steps[0]
    if (was.start, was.station_ae_titles) != (now.start, now.station_ae_titles):
        orders.reschedule(tx, was.id, now.start, now.station_ae_titles)
    outbox.resume(tx, order.id)
    corrections.queue_amendment(tx, order, orders.require(tx, order.id))
    audit.write(tx, actor, AuditAction.AMEND, order.id, changed=changed, file=known.path)
    tx.notify()
    return SyncResult(outcome, order.id, after.accession_number, similar)


def _withdraw(tx: Tx, known: WorklistFile, order: Order, actor: Actor, clinic: Clinic) -> SyncResult:
    if order.state is not OrderState.SCHEDULED:
        worklist_files.put(tx, replace(known, state=FileState.GONE))
        return SyncResult(SyncOutcome.LEFT, order.id, order.accession_number)
    referrals.remove_from_worklist(tx, order, clinic)
    worklist_files.put(tx, replace(known, state=FileState.WITHDRAWN))
    audit.write(tx, actor, AuditAction.WITHDRAW, order.id, file=known.path)
    tx.notify()
    return SyncResult(SyncOutcome.WITHDRAWN, order.id, order.accession_number)


def _restore(tx: Tx, order: Order, path: str, actor: Actor) -> None:
    outbox.withdraw(tx, order.id, OutboxKind.CANCEL)
    if outbox.has(tx, order.id, OutboxKind.CANCEL):
        number = order.accession_number
        raise Refused(
            f"it is back, but the region knows already that order {number} is cancelled", "region_cancelled", number
        )
    order_status.requeue_order(tx, order.id)
    orders.set_state(tx, order.id, lifecycle.after(order.state, Event.RESTORE))
    for step in order.steps:
        orders.set_step_state(tx, step.id, StepState.SCHEDULED)
    audit.write(tx, actor, AuditAction.RESTORE, order.id, file=path)
    tx.notify()


# ---- from an item to an order ----


def _is_same(tx: Tx, item: ImportedItem, order: Order) -> bool:
    """Return True if a file's new content is the same order as its old content.

    By accession number or Study Instance UID. Scripts without accession numbers may make a new UID whenever they
    write: then patient and requested procedure decide; two without a name or a Patient ID are two people.
    A script keeps writing what a card was before it was merged.
    """
    if item.accession_number:
        return item.accession_number == order.accession_number or item.study_instance_uid == order.study_instance_uid
    if item.study_instance_uid == order.study_instance_uid:
        return True
    if not (names.identifies(item.patient.name) or item.patient.patient_id):
        return False  # the next unidentified person, or a twin
    same_patient = any(
        not identity.difference(item.patient, card) and item.patient.patient_id in ("", card.patient_id)
        for card in (order.patient, *cards.merged_cards(tx, order.patient.stored_id))
    ) or (item.patient.patient_id == order.patient.patient_id and identity.completes(order.patient, item.patient))
    return same_patient and item.requested_procedure_id in ("", order.requested_procedure_id)


def _order(
    tx: Tx, item: ImportedItem, current: Order | None, path: str, actor: Actor, clinic: Clinic
) -> tuple[Order, tuple[SimilarCard, ...]]:
    """Return the order of an item, with the id and the numbers of `current` if the file has an order already.

    Also return the cards to which its patient is similar, where that is a new one.
    """
    attributes: dict[str, Any] = deepcopy(item.attributes)
    own = current.id if current else None
    uid = item.study_instance_uid
    _refuse_taken(tx, "accession_number", "accession number", item.accession_number, own)
    _refuse_taken(tx, "study_instance_uid", "Study Instance UID", uid, own)
    step = current.steps[0] if current else None
    requested = _usable_number(tx, "requested_procedure_id", item.requested_procedure_id, own)
    sps_id = _usable_number(tx, "sps_id", item.sps_id, own)
    if item.requested_procedure_id and not requested:
        attributes[passthrough.TOP]["RequestedProcedureID"] = {"vr": "SH", "Value": [item.requested_procedure_id]}
    if item.sps_id and not sps_id:
        attributes[passthrough.STEP]["ScheduledProcedureStepID"] = {"vr": "SH", "Value": [item.sps_id]}
    station_ae_titles, modality = _stations_and_modality(tx, item)
    place = ImportPlace(ImportSource.WORKLIST_FILE, path)
    found = imported_patients.save(tx, item.patient, place, actor, clinic, current=current.patient if current else None)
    patient = found.patient
    same_name = names.fold(str(patient.name)) == names.fold(str(item.patient.name))
    if same_name and patient.name != item.patient.name:  # another spelling; a merged card's name is not answered
        written = {"vr": "PN", "Value": [{"Alphabetic": names.to_dicom(item.patient.name)}]}
        attributes[passthrough.TOP].setdefault(passthrough.PATIENT["name"], written)
    procedure = devices.procedure(tx, item.procedure_code) if item.procedure_code else None
    base = current or Order(
        id=orders.next_id(tx, "orders"),
        accession_number=item.accession_number or numbering.accession_number(tx, clinic),
        study_instance_uid=uid or numbering.study_instance_uid(tx, clinic),
        requested_procedure_id=requested or numbering.requested_procedure_id(tx),
        patient=patient,
        state=OrderState.SCHEDULED,
        procedure_code="",
        procedure_name="",
        modality="",
        steps=(ScheduledStep(item.start, (), sps_id or numbering.sps_id(tx), id=orders.next_id(tx, "scheduled_step")),),
        authored_on=tx.now,
        created_by=CREATED_BY,
    )
    order = replace(
        base,
        accession_number=item.accession_number or base.accession_number,
        study_instance_uid=uid or base.study_instance_uid,
        requested_procedure_id=requested or base.requested_procedure_id,
        patient=patient,
        procedure_code=item.procedure_code,
        procedure_name=item.procedure_name or modality,
        procedure_local=procedure.local if procedure else item.procedure_local,
        modality=modality,
        body_site=procedure.body_site if procedure else "",
        priority=item.priority,
        referrer=item.referrer,
        diagnosis_text=item.diagnosis_text,
        comment=item.comment,
        attributes=attributes,
        steps=(
            replace(
                step or base.steps[0],
                start=item.start,
                station_ae_titles=station_ae_titles,
                sps_id=sps_id or base.steps[0].sps_id,
            ),
        ),
    )
    return order, found.similar


def _refuse_taken(tx: Tx, number: str, label: str, value: str, own: int | None) -> None:
    owner = orders.owner(tx, number, value) if value else None
    if owner is None or owner == own:
        return
    whose = "another file's order" if worklist_files.of_order(tx, owner) else "an order that was registered here"
    raise Refused(f"the {label} {value} is that of {whose}", f"{number}_taken", value)


def _usable_number(tx: Tx, number: str, value: str, own: int | None) -> str:
    """Return a script's number if it is valid and free; else "": the caller generates one.

    Scripts repeat numbers ("1" in every item) or make them too long. Modalities get what the script wrote nevertheless.
    """
    usable = 1 <= len(value) <= 16 and not orders.is_taken(tx, number, value, by_another_than=own)
    return value if usable else ""


def _stations_and_modality(tx: Tx, item: ImportedItem) -> tuple[tuple[str, ...], str]:
    """Return an item's stations and modality; what the script left out is taken from the registered devices."""
    modality = item.modality
    if not modality:
        found = {device.modality for ae_title in item.station_ae_titles if (device := devices.get(tx, ae_title))}
        if len(found - {""}) != 1:
            raise Refused("it has no Modality, and no registered device gives it", "no_modality")
        modality = found.pop()
    stations = item.station_ae_titles or tuple(
        device.ae_title for device in device_registry.approved(tx) if device.modality == modality
    )
    if not stations:
        raise Refused(
            f"it has no Scheduled Station AE Title, and no device for {modality} is registered", "no_station", modality
        )
    return stations, modality
