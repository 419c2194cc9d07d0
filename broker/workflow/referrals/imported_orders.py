"""From the item of a worklist file to an order: its numbers, its stations, and the order or request that it joins.

Existing scripts go on working: the numbers that they wrote are used, and only missing ones are generated. Called inside
the transactions of `worklist_files`, which have checked the permission.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

from broker.domain.actors import Actor
from broker.domain.clinic.settings import Clinic
from broker.domain.errors import Refused
from broker.domain.import_result import ImportPlace, ImportSource
from broker.domain.orders import ImportedItem, Order, OrderState, ScheduledStep, StepState
from broker.domain.patients import identity, names
from broker.domain.patients.patient_match import SimilarCard
from broker.domain.patients.people import Patient
from broker.domain.studies import passthrough
from broker.store.database import Tx
from broker.store.queries import device_registry
from broker.store.tables import devices, orders, worklist_files
from broker.store.tables.patients import patients as cards
from broker.workflow import numbering
from broker.workflow.patients import imported_patients

CREATED_BY = "import"
_OPEN = (OrderState.SCHEDULED, OrderState.IN_PROGRESS)


@dataclass(frozen=True, slots=True)
class ImportedOrder:
    """The order of an item, the step of it that the item is, and the cards to which a new patient is similar."""

    order: Order
    step_id: int
    similar: tuple[SimilarCard, ...] = ()

    @property
    def step(self) -> ScheduledStep:
        """The scheduled step that the item is."""
        return next(each for each in self.order.steps if each.id == self.step_id)


def build(
    tx: Tx, item: ImportedItem, path: str, actor: Actor, clinic: Clinic, within: Order | None = None
) -> ImportedOrder:
    """Return the order of an item that is new: an order of its own, or a further step of another file's order.

    Items of one accession number belong to one Imaging Service Request (PS3.3 C.4.11). The same Study Instance UID, or
    the same requested procedure where the item has none, makes a step of the same order. `within` is the order of the
    same file, if the item is a further step of it. Raise Refused.
    """
    if within is not None:
        if within.state not in _OPEN:
            _refuse(tx, "accession_number", "accession number", within.shown_number, within.id)
        return _built(tx, item, path, actor, clinic, current=within, is_further=True)
    first = _first_of_request(tx, item)
    if first is None:
        return _built(tx, item, path, actor, clinic)
    if same := _same_procedure(tx, item, first):
        return _built(tx, item, path, actor, clinic, current=same, is_further=True)
    return _built(tx, item, path, actor, clinic, request=first)


def rebuild(
    tx: Tx,
    item: ImportedItem,
    order: Order,
    step_id: int,
    path: str,
    actor: Actor,
    clinic: Clinic,
    *,
    together: bool = False,
) -> ImportedOrder:
    """Return an order as the changed content of its file states it. Raise Refused.

    With `together` another patient is not refused for the other files: they may have changed, too.
    """
    return _built(tx, item, path, actor, clinic, current=order, step_id=step_id, together=together)


def refuse_several_patients(tx: Tx, order: Order, *, is_split: bool) -> None:
    """Raise Refused if open orders of one number are of several patients, or a file of the order is of another one."""
    number = order.shown_number
    open_ones = [each for each in orders.of_shown_number(tx, number) if each.state is not OrderState.CANCELLED]
    other = next((each for each in open_ones if each.patient.stored_id != order.patient.stored_id), None)
    if other is not None or is_split:
        _refuse(tx, "accession_number", "accession number", number, (other or order).id)


def is_same(tx: Tx, item: ImportedItem, order: Order) -> bool:
    """Return True if a file's new content is the same order as its old content.

    By accession number or Study Instance UID. Scripts without accession numbers may make a new UID whenever they
    write: then patient and requested procedure decide; two without a name or a Patient ID are two people.
    A script keeps writing what a card was before it was merged.
    """
    if item.accession_number:
        known = order.accession_number, order.request_number
        return item.accession_number in known or item.study_instance_uid == order.study_instance_uid
    if item.study_instance_uid == order.study_instance_uid:
        return True
    return _is_of_patient(tx, item, order) and item.requested_procedure_id in ("", _script_procedure_id(order))


def former_order(tx: Tx, item: ImportedItem) -> Order | None:
    """Return the order that an item may be of under another file name, or None.

    That of its Study Instance UID, else of its accession number: where several share that, of its requested procedure.
    """
    uid, number = item.study_instance_uid, item.accession_number
    if uid and (owner := orders.owner(tx, "study_instance_uid", uid)) is not None:
        return orders.get(tx, owner)
    request = orders.of_shown_number(tx, number) if number else []
    if len(request) > 1:
        request = [each for each in request if _requests_the_same(item, each)]
    return request[0] if len(request) == 1 else None


def is_same_step(item: ImportedItem, order: Order, step: ScheduledStep) -> bool:
    """Return True if an item of an order is about this step of it: the same step id, or else the same start."""
    return item.sps_id == _script_number(step, order) if item.sps_id else item.start == step.start


# ---- what an item joins ----


def _first_of_request(tx: Tx, item: ImportedItem) -> Order | None:
    """Return the first open order of the request that an item's accession number names; None if it cannot join one.

    An order that was registered here, has ended, or is another patient's does not share its number.
    """
    request = orders.of_shown_number(tx, item.accession_number) if item.accession_number else []
    for first in request:
        if first.state in _OPEN and worklist_files.of_order(tx, first.id) and _is_of_patient(tx, item, first):
            return first
    return None


def _same_procedure(tx: Tx, item: ImportedItem, first: Order) -> Order | None:
    """Return the order of a request of which an item is a further step; None: it is another requested procedure.

    Raise Refused for an item that nothing tells from a step that is there: it is the same one, in another file.
    """
    request = [first, *orders.of_request(tx, first)]
    if item.study_instance_uid:
        found = next((each for each in request if each.study_instance_uid == item.study_instance_uid), None)
    else:
        found = next((each for each in request if _requests_the_same(item, each)), None)
    if found is None:
        if repeated := [each for each in request if _has_both_ids(item, each)]:
            _refuse(tx, "accession_number", "accession number", item.accession_number, repeated[0].id)
        return None
    stations, modality = stations_and_modality(tx, item)
    if item.sps_id:
        is_copy = any(item.sps_id == _script_number(each, found) for each in found.steps)
    else:
        is_copy = any((each.start, each.station_ae_titles) == (item.start, stations) for each in found.steps)
    if is_copy or modality != found.modality or found.state not in _OPEN:
        _refuse(tx, "accession_number", "accession number", item.accession_number, found.id)
    return found


def _has_both_ids(item: ImportedItem, order: Order) -> bool:
    """Return True if both of an item's ids are an order's: it is the same step under another Study Instance UID."""
    requested = bool(item.requested_procedure_id) and item.requested_procedure_id == _script_procedure_id(order)
    return requested and any(item.sps_id == _script_number(step, order) for step in order.steps)


def _requests_the_same(item: ImportedItem, order: Order) -> bool:
    if item.requested_procedure_id:
        return item.requested_procedure_id == _script_procedure_id(order)
    return item.procedure_code == order.procedure_code and item.procedure_name in ("", order.procedure_name)


def _script_procedure_id(order: Order) -> str:
    """Return the Requested Procedure ID that the script wrote, which may not be the order's: `_usable_number`."""
    return _written(order.attributes, passthrough.TOP, "RequestedProcedureID") or order.requested_procedure_id


def _script_number(step: ScheduledStep, order: Order) -> str:
    return _written(order.attributes | step.attributes, passthrough.STEP, "ScheduledProcedureStepID") or step.sps_id


def _written(attributes: dict[str, Any], level: str, keyword: str) -> str:
    values = attributes.get(level, {}).get(keyword, {}).get("Value") or [""]
    return str(values[0])


def _is_of_patient(tx: Tx, item: ImportedItem, order: Order) -> bool:
    """Return True if an item's patient is the order's, also as its card was before a merge or a change of the name."""
    if not (names.identifies(item.patient.name) or item.patient.patient_id):
        return False  # the next unidentified person, or a twin
    return any(
        not identity.difference(item.patient, card) and item.patient.patient_id in ("", card.patient_id)
        for card in (order.patient, *cards.merged_cards(tx, order.patient.stored_id))
    ) or (item.patient.patient_id == order.patient.patient_id and identity.completes(order.patient, item.patient))


# ---- from an item to an order ----


def _built(
    tx: Tx,
    item: ImportedItem,
    path: str,
    actor: Actor,
    clinic: Clinic,
    *,
    current: Order | None = None,
    step_id: int | None = None,
    is_further: bool = False,
    request: Order | None = None,
    together: bool = False,
) -> ImportedOrder:
    """Return the order of an item.

    `current` is the order that the file, or its request, has already: its id and numbers stay, and of `step_id`, or of
    a further step, only what a step has. `request` is the first order of the request that a new one belongs to.
    """
    attributes: dict[str, Any] = deepcopy(item.attributes)
    own = current.id if current else None
    number, uid = item.accession_number, item.study_instance_uid
    if current and number and number not in (current.accession_number, current.request_number):
        request = _first_of_request(tx, item)  # its files get another number one by one
    elif current:
        number = ""
    if request is not None:
        number = ""
    _refuse_taken(tx, "accession_number", "accession number", number, own)
    _refuse_taken(tx, "study_instance_uid", "Study Instance UID", uid, own)
    step = None if is_further or not current else next(each for each in current.steps if each.id == step_id)
    requested = _usable_number(tx, "requested_procedure_id", item.requested_procedure_id, own)
    sps_id = _usable_number(tx, "sps_id", item.sps_id, own)
    if current and any(each.sps_id == sps_id for each in current.steps if step is None or each.id != step.id):
        sps_id = ""
    if item.requested_procedure_id and not requested:
        attributes[passthrough.TOP]["RequestedProcedureID"] = {"vr": "SH", "Value": [item.requested_procedure_id]}
    if item.sps_id and not sps_id:
        attributes[passthrough.STEP]["ScheduledProcedureStepID"] = {"vr": "SH", "Value": [item.sps_id]}
    station_ae_titles, modality = stations_and_modality(tx, item)
    place = ImportPlace(ImportSource.WORKLIST_FILE, path)
    known = current or request
    found = imported_patients.save(tx, item.patient, place, actor, clinic, current=known.patient if known else None)
    patient = found.patient
    if known is not None and not together:
        shown = request.shown_number if request else number or known.shown_number
        _refuse_several_patients(tx, patient, shown, current, step)
    same_name = names.fold(str(patient.name)) == names.fold(str(item.patient.name))
    if same_name and patient.name != item.patient.name:  # another spelling; a merged card's name is not answered
        written = {"vr": "PN", "Value": [{"Alphabetic": names.to_dicom(item.patient.name)}]}
        attributes[passthrough.TOP].setdefault(passthrough.PATIENT["name"], written)
    now = replace(
        step or ScheduledStep(item.start, (), sps_id or numbering.sps_id(tx), id=orders.next_id(tx, "scheduled_step")),
        start=item.start,
        station_ae_titles=station_ae_titles,
    )
    now = replace(now, sps_id=sps_id or now.sps_id)
    if current is not None and (is_further or len(current.steps) > 1):
        now = replace(now, attributes={passthrough.STEP: attributes[passthrough.STEP]})
    if current is not None and is_further:
        return ImportedOrder(replace(current, patient=patient, steps=(*current.steps, now)), now.id, found.similar)
    procedure = devices.procedure(tx, item.procedure_code) if item.procedure_code else None
    base = current or Order(
        id=orders.next_id(tx, "orders"),
        accession_number=number or numbering.accession_number(tx, clinic),
        study_instance_uid=uid or numbering.study_instance_uid(tx, clinic),
        requested_procedure_id=requested or numbering.requested_procedure_id(tx),
        patient=patient,
        state=OrderState.SCHEDULED,
        procedure_code="",
        procedure_name="",
        modality="",
        steps=(now,),
        authored_on=tx.now,
        created_by=CREATED_BY,
    )
    order = replace(
        base,
        accession_number=number or base.accession_number,
        request_number=request.shown_number if request else "" if number else base.request_number,
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
        steps=tuple(now if each.id == now.id else each for each in base.steps),
    )
    return ImportedOrder(order, now.id, found.similar)


def _refuse_taken(tx: Tx, number: str, label: str, value: str, own: int | None) -> None:
    owner = orders.owner(tx, number, value) if value else None
    if owner is not None and owner != own:
        _refuse(tx, number, label, value, owner)


def _refuse_several_patients(
    tx: Tx, patient: Patient, number: str, current: Order | None, step: ScheduledStep | None
) -> None:
    """Raise Refused if an order would become one patient's, and another step or order of its number stays another's."""
    own = current.id if current else None
    others = [each for each in orders.of_shown_number(tx, number) if each.id != own]
    if current and any(each is not step and each.state is not StepState.CANCELLED for each in current.steps):
        others.append(current)
    for each in others:
        if each.state is not OrderState.CANCELLED and each.patient.stored_id != patient.stored_id:
            _refuse(tx, "accession_number", "accession number", number, each.id)


def _refuse(tx: Tx, number: str, label: str, value: str, owner: int) -> None:
    whose = "another file's order" if worklist_files.of_order(tx, owner) else "an order that was registered here"
    raise Refused(f"the {label} {value} is that of {whose}", f"{number}_taken", value)


def _usable_number(tx: Tx, number: str, value: str, own: int | None) -> str:
    """Return a script's number if it is valid and free; else "": the caller generates one.

    Scripts repeat numbers ("1" in every item) or make them too long. Modalities get what the script wrote nevertheless.
    """
    usable = 1 <= len(value) <= 16 and not orders.is_taken(tx, number, value, by_another_than=own)
    return value if usable else ""


def stations_and_modality(tx: Tx, item: ImportedItem) -> tuple[tuple[str, ...], str]:
    """Return an item's stations and modality; what the script left out is taken from the registered devices.

    Raise Refused if they do not say it.
    """
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
