"""Referrals: register, amend, cancel.

Each use case checks the permission, the fields and the state, and writes the order, the audit line and the outbox row
in one transaction.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, fields, replace
from datetime import datetime
from typing import Any

from broker.domain import lifecycle, validation
from broker.domain.actors import Actor
from broker.domain.audit import AuditAction
from broker.domain.clinic.devices import ProcedureType
from broker.domain.clinic.settings import Clinic
from broker.domain.errors import Duplicate, Invalid, NotFound, Stale, WrongState
from broker.domain.import_result import ImportPlace
from broker.domain.lifecycle import Event
from broker.domain.messages import OutboxKind
from broker.domain.orders import BusRole, Order, OrderState, ReferralDraft, ScheduledStep, StepState
from broker.domain.patients import confirmation, identifiers, names
from broker.domain.patients.confirmation import Confirmation
from broker.domain.patients.patient_match import SimilarCard
from broker.domain.patients.people import Patient, PersonName
from broker.domain.studies import passthrough
from broker.domain.studies.performed import PerformedStep
from broker.security.permissions import Permission, permit
from broker.store.database import Tx
from broker.store.queries.patients import patient_index
from broker.store.tables import audit, devices, orders, outbox
from broker.store.tables.patients import patient_details
from broker.store.tables.studies import performed, performed_links
from broker.workflow import corrections, numbering
from broker.workflow.patients import imported_patients, patients
from broker.workflow.studies import order_status, received_objects

PatientOf = Callable[[Tx, ReferralDraft], Patient]


def typed_patient(tx: Tx, draft: ReferralDraft) -> Patient:
    """Find the patient of a referral that a person has typed, or add a new one; raise as `patients.save`."""
    return patients.save(tx, draft.patient, other_than=draft.other_than)


def register(
    tx: Tx,
    draft: ReferralDraft,
    actor: Actor,
    clinic: Clinic,
    *,
    repeats: str = "",
    patient_of: PatientOf = typed_patient,
    request_number: str = "",
) -> Order:
    """Create an order from a referral: numbers, worklist entry, message to the region.

    A submission id that is known already returns the order that it created. `repeats` names, for the audit trail, the
    earlier study that a person was shown and decided to repeat; `patient_of` finds the patient; `request_number` is the
    accession number that the order shares. Raise Invalid with the
    wrong fields, Duplicate if a submission id comes again with other content, Forbidden, SessionEnded.
    """
    draft = normalise(draft)
    digest = _digest(draft)
    permit(tx, actor, Permission.REGISTER)
    if draft.submission_id and (earlier := orders.by_submission(tx, draft.submission_id)):
        if earlier[1] != digest:
            raise Duplicate(f"submission {draft.submission_id} with other content")
        return earlier[0]
    role = BusRole.PLACER if clinic.sends_to_bus else BusRole.NONE
    order = create_order(tx, draft, digest, actor, clinic, role, patient_of=patient_of, request_number=request_number)
    if order.bus_role is BusRole.PLACER:
        outbox.add(tx, order.id, OutboxKind.ORDER)
    audit.write(
        tx, actor, AuditAction.REGISTER, order.id, accession_number=order.accession_number, **repeat_details(repeats)
    )
    tx.notify()
    return order


def register_imported(
    tx: Tx, draft: ReferralDraft, place: ImportPlace, actor: Actor, clinic: Clinic
) -> tuple[Order, tuple[SimilarCard, ...]]:
    """Create an order from a referral of a table or JSON, as `register`; also return to whom a new patient is similar.

    `place` is where the referral stands; the patient is found as `imported_patients` says. Raise Refused besides.
    """
    similar: list[SimilarCard] = []

    def patient_of(tx: Tx, draft: ReferralDraft) -> Patient:
        found = imported_patients.save(tx, draft.patient, place, actor, clinic)
        similar.extend(found.similar)
        return found.patient

    order = register(tx, draft, actor, clinic, patient_of=patient_of)
    return order, tuple(similar)


def may_share_number(order: Order) -> bool:
    """Return True if another study of the patient may be registered under an order's accession number."""
    return order.state in (OrderState.SCHEDULED, OrderState.IN_PROGRESS) and not order.owner


def register_another(
    tx: Tx, order_id: int, draft: ReferralDraft, actor: Actor, clinic: Clinic, *, repeats: str = ""
) -> Order:
    """Create an order for another study of an order's patient, under the same accession number, as `register`.

    Both belong to one Imaging Service Request (PS3.3 C.4.11); the region gets a referral for each. The patient is the
    order's, with what the draft completes. Raise NotFound, WrongState if the order has ended or another clinic performs
    it, Invalid, Stale, Forbidden.
    """
    first = orders.require(tx, order_id)
    if not clinic.shares_accession_numbers or not may_share_number(first):
        raise WrongState(f"order {first.accession_number} does not share its number")
    if draft.owner:
        raise Invalid({"owner": "shared_number"})  # another clinic gives numbers of its own
    own = replace(draft.patient, id=first.patient.id)
    request = first.shown_number
    return register(tx, replace(draft, patient=own), actor, clinic, repeats=repeats, request_number=request)


def repeat_details(repeats: str) -> dict[str, str]:
    """Return the audit details of a study that repeats an earlier one; empty if it repeats none."""
    return {"repeat_of": repeats} if repeats else {}


def register_walk_in(
    tx: Tx,
    sop_instance_uid: str,
    draft: ReferralDraft,
    actor: Actor,
    clinic: Clinic,
    confirmed: Confirmation | None = None,
) -> Order:
    """Create an order for a study that was made without one, and link the two; only its result is sent to the region.

    Station and start are those that the device reported, not those of the draft. `confirmed`: the draft's patient, and
    the fields in which it contradicts the device's and which a person has confirmed, as
    `patient_index.walk_in_contradictions` names them. Raise NotFound, WrongState if the study belongs to an order
    already (a double click must not make two), Invalid, also with the fields that contradict and are not confirmed,
    Stale, Forbidden.
    """
    permit(tx, actor, Permission.REGISTER)
    permit(tx, actor, Permission.LINK)
    step = performed.get(tx, sop_instance_uid)
    if step is None:
        raise NotFound(f"performed step {sop_instance_uid}")
    if performed_links.linked_steps(tx, step.stored_id):
        raise WrongState(f"performed step {sop_instance_uid} belongs to an order already")
    device = devices.get(tx, step.ae_title)
    stations = (device.ae_title,) if device and device.approved else draft.station_ae_titles
    normalised = normalise(
        replace(draft, start=step.start or draft.start, station_ae_titles=stations, submission_id="")
    )
    role = BusRole.WALK_IN if clinic.sends_to_bus else BusRole.NONE
    uid = _own_study_uid(tx, step)
    order = create_order(tx, normalised, "", actor, clinic, role, performed_already=True, study_instance_uid=uid)
    reported = step.patient_name, step.patient_id, step.patient_birth_date, step.patient_sex
    wrong = patient_index.walk_in_contradictions(tx, order.patient, *reported)
    confirmation.check(draft.patient, wrong, confirmed)
    for scheduled in order.steps:
        performed_links.link(tx, step.stored_id, scheduled.id, actor.name)
    order_status.recompute_status(tx, order, clinic)
    seen = {"confirmed": ", ".join(wrong)} if wrong else {}
    audit.write(tx, actor, AuditAction.REGISTER_WALK_IN, order.id, sop_instance_uid=sop_instance_uid, **seen)
    tx.notify()
    return orders.require(tx, order.id)


def _own_study_uid(tx: Tx, step: PerformedStep) -> str:
    """Return the Study Instance UID under which a device made its images, or "" if an order has it or it is invalid."""
    uids = (reference.study_instance_uid for reference in performed.references(tx, step.stored_id))
    free = (uid for uid in uids if identifiers.valid_uid(uid) and not orders.is_taken(tx, "study_instance_uid", uid))
    return next(free, "")


def create_order(
    tx: Tx,
    /,
    draft: ReferralDraft,
    digest: str,
    actor: Actor,
    clinic: Clinic,
    role: BusRole,
    *,
    performed_already: bool = False,
    current_procedure: str = "",
    patient_of: PatientOf = typed_patient,
    **given: str | None,
) -> Order:
    """Create an order from a normalised draft; the caller writes audit and outbox rows.

    `performed_already`: the start may lie in the past. `current_procedure` (a code) need not be offered any more.
    `patient_of` finds the patient.
    `given` are members of Order that do not come from the draft: accession_number, study_instance_uid, requester,
    bus_accession_number, request_number.
    Raise Invalid, Stale, NotFound.
    """
    procedure = _validate(
        tx,
        draft,
        clinic.local(tx.now),
        performed_already=performed_already,
        current_procedure=current_procedure,
    )
    if draft.owner and role is not BusRole.PLACER:
        raise Invalid({"owner": "no_bus"})  # no message would take the referral there
    if draft.owner and draft.owner.casefold() == clinic.organisation.casefold():
        raise Invalid({"owner": "ours"})  # it would be on no worklist, and no other clinic would take it
    patient = patient_of(tx, draft)
    if role in (BusRole.PLACER, BusRole.WALK_IN) and patient_details.get(tx, patient.stored_id).is_consent_withdrawn:
        if draft.owner:
            raise Invalid({"owner": "no_consent"})
        role = BusRole.NONE
    order = Order(
        id=orders.next_id(tx, "orders"),
        accession_number=given.pop("accession_number", "") or numbering.accession_number(tx, clinic),
        study_instance_uid=given.pop("study_instance_uid", "") or numbering.study_instance_uid(tx, clinic),
        requested_procedure_id=numbering.requested_procedure_id(tx),
        patient=patient,
        state=OrderState.REFERRED if draft.owner else OrderState.SCHEDULED,
        procedure_code=procedure.code,
        procedure_name=procedure.name,
        procedure_local=procedure.local,
        modality=procedure.modality,
        body_site=procedure.body_site,
        steps=(
            ScheduledStep(
                draft.start,
                () if draft.owner else draft.station_ae_titles,
                numbering.sps_id(tx),
                StepState.REFERRED if draft.owner else StepState.SCHEDULED,
                id=orders.next_id(tx, "scheduled_step"),
            ),
        ),
        authored_on=tx.now,
        created_by=actor.title or actor.name,
        bus_role=role,
        owner=draft.owner,
        **draft.referral_fields(),
    )
    order = replace(order, **given)  # type: ignore[arg-type]
    orders.add(tx, order, draft.submission_id, digest)
    return orders.require(tx, order.id)


def amend(tx: Tx, order_id: int, revision: int, draft: ReferralDraft, actor: Actor, clinic: Clinic) -> Order:
    """Change an order that has not started; a discontinued one is scheduled again.

    `revision` is the one that the person saw. Raise Stale if the order has changed since, WrongState, Invalid,
    NotFound, Forbidden. Messages that the bus refused are sent again, since their content has changed.
    """
    draft = normalise(draft)
    permit(tx, actor, Permission.AMEND)
    order = _require_current(tx, order_id, revision)
    state = lifecycle.after(order.state, Event.AMEND)
    changes = _as_stored(draft, order)
    procedure = _validate(
        tx, changes, clinic.local(tx.now), current_start=order.steps[0].start, current_procedure=order.procedure_code
    )
    if draft.patient.id not in (None, order.patient.id):
        raise Invalid({"patient": "other_patient"})
    before = order
    others = [each for each in orders.of_patient(tx, order.patient.stored_id) if each.id != order.id]
    patient = patients.save(tx, replace(changes.patient, id=order.patient.id), amended=order.id)
    changed = replace(
        order,
        **changes.referral_fields(),
        patient=patient,
        procedure_code=procedure.code,
        procedure_name=procedure.name,
        procedure_local=procedure.local,
        modality=procedure.modality,
        body_site=procedure.body_site,
    )
    if draft.owner != order.owner:
        raise Invalid({"owner": "other_owner"})
    orders.update(tx, changed)
    step = order.steps[0]
    if (step.start, step.station_ae_titles) != (changes.start, changes.station_ae_titles):
        orders.reschedule(tx, step.id, changes.start, changes.station_ae_titles)
    if state is not order.state:
        outbox.withdraw(tx, order.id, OutboxKind.CANCEL)  # it is scheduled again
        orders.set_state(tx, order.id, state)
        orders.set_step_state(tx, step.id, StepState.SCHEDULED)
    outbox.resume(tx, order.id)
    after = orders.require(tx, order.id)
    if order.attributes:
        after = replace(after, attributes=passthrough.after_amendment(before, after))
        orders.set_attributes(tx, order.id, after.attributes)
    corrections.queue_amendment(tx, before, after)
    corrections.queue_for_orders(tx, others)
    audit.write(tx, actor, AuditAction.AMEND, order.id, changed=changed_fields(before, after))
    tx.notify()
    return after


def _as_stored(draft: ReferralDraft, order: Order) -> ReferralDraft:
    """Return a normalised draft in which every field that still means what is stored is written as it is stored.

    People see and type whole minutes, single blanks and names in one line; files and devices have seconds, line breaks
    and names by component. A field that a person did not touch must not count as changed.
    """
    stored = _draft_of(order, draft.submission_id)
    shown = normalise(stored)
    if str(draft.referrer) == str(shown.referrer):  # one field on the form: its words may be split in another way
        draft = replace(draft, referrer=shown.referrer)
    patient = replace(draft.patient, **_stored_if_unchanged(draft.patient, shown.patient, stored.patient))
    return replace(draft, **{**_stored_if_unchanged(draft, shown, stored), "patient": patient})


def _draft_of(order: Order, submission_id: str) -> ReferralDraft:
    step = order.steps[0]
    return ReferralDraft(
        patient=order.patient,
        procedure_code=order.procedure_code,
        station_ae_titles=step.station_ae_titles,
        start=step.start,
        owner=order.owner,
        submission_id=submission_id,
        **order.referral_fields(),
    )


def _stored_if_unchanged(typed: Any, shown: Any, stored: Any) -> dict[str, Any]:
    """Return the stored values of the fields that were typed as they are shown."""
    return {
        field.name: getattr(stored, field.name)
        for field in fields(typed)
        if getattr(typed, field.name) == getattr(shown, field.name)
    }


def cancel(tx: Tx, order_id: int, revision: int, reason: str, actor: Actor, clinic: Clinic) -> Order:
    """Cancel an order that has not started: it leaves the worklist, and the cancellation is sent to the region.

    Raise Stale, WrongState, NotFound, Forbidden.
    """
    permit(tx, actor, Permission.CANCEL)
    order = _require_current(tx, order_id, revision)
    remove_from_worklist(tx, order, actor, clinic)
    audit.write(tx, actor, AuditAction.CANCEL, order.id, reason=names.tidy(reason))
    tx.notify()
    return orders.require(tx, order.id)


def reissue(tx: Tx, order_id: int, revision: int, actor: Actor, clinic: Clinic) -> Order:
    """Cancel a referral to another clinic and place it again as it is now; return the new order.

    For a bus that takes no corrections: the other clinic gets the cancellation and a new order under its own number.
    Raise Stale, WrongState if the referral does not wait at another clinic, Invalid, NotFound, Forbidden.
    """
    permit(tx, actor, Permission.CANCEL)
    permit(tx, actor, Permission.REGISTER)
    order = _require_current(tx, order_id, revision)
    if not order.owner or order.state is not OrderState.REFERRED:
        raise WrongState(f"reissue {order.accession_number} while {order.state}")
    remove_from_worklist(tx, order, actor, clinic)
    draft = _draft_of(order, "")
    draft = replace(draft, start=max(draft.start, clinic.local(tx.now).replace(second=0, microsecond=0)))
    placed = create_order(tx, draft, "", actor, clinic, order.bus_role, current_procedure=order.procedure_code)
    orders.set_attributes(tx, placed.id, order.attributes)
    placed = orders.require(tx, placed.id)
    outbox.add(tx, placed.id, OutboxKind.ORDER)
    audit.write(tx, actor, AuditAction.CANCEL, order.id, replaced_by=placed.accession_number)
    audit.write(
        tx,
        actor,
        AuditAction.REGISTER,
        placed.id,
        accession_number=placed.accession_number,
        replaces=order.accession_number,
    )
    tx.notify()
    return placed


def remove_from_worklist(tx: Tx, order: Order, actor: Actor, clinic: Clinic) -> None:
    """Cancel an order and its steps, and queue that for the region; raise WrongState."""
    orders.set_state(tx, order.id, lifecycle.after(order.state, Event.CANCEL))
    for step in order.steps:
        orders.set_step_state(tx, step.id, StepState.CANCELLED)
    received_objects.release_of_cancelled(tx, order.id, actor)
    if order.bus_role is BusRole.PERFORMER:
        known = True
    else:
        known = not outbox.drop_refused(tx, order.id) and outbox.has(tx, order.id, OutboxKind.ORDER)
    outbox.withdraw(tx, order.id, OutboxKind.AMEND)
    if clinic.sends_to_bus and known:
        outbox.add(tx, order.id, OutboxKind.CANCEL)


def normalise(draft: ReferralDraft) -> ReferralDraft:
    """Return a draft as it is stored: single blanks, numbers as digits, ICD-10 codes in capitals, whole minutes."""
    return replace(
        draft,
        patient=normalise_patient(draft.patient),
        station_ae_titles=tuple(dict.fromkeys(title.strip() for title in draft.station_ae_titles if title.strip())),
        start=draft.start.replace(second=0, microsecond=0),
        **_tidy_fields(draft),
    )


def normalise_patient(patient: Patient) -> Patient:
    """Return a patient as it is stored: single blanks, numbers as digits, no word of a name in two alphabets."""
    return replace(
        patient,
        name=PersonName(*map(names.stored, (patient.name.family, patient.name.given, patient.name.middle))),
        birth_year=None if patient.birth_date else patient.birth_year,
        snils=identifiers.digits(patient.snils),
        policy=identifiers.digits(patient.policy),
        insurer=identifiers.insurer(patient.insurer),
        phone=names.tidy(patient.phone),
        allergies=names.tidy(patient.allergies),
        pregnancy=names.tidy(patient.pregnancy),
        mother=names.without_look_alikes(names.tidy(patient.mother)),
    )


def _tidy_fields(draft: ReferralDraft) -> dict[str, Any]:
    # Priority is a str, too, and stays what it is.
    texts = {name: names.tidy(value) for name, value in draft.referral_fields().items() if type(value) is str}
    return texts | {
        "referrer": _tidy_name(draft.referrer),
        "referrer_snils": identifiers.digits(draft.referrer_snils),
        "diagnosis_code": identifiers.icd10_code(names.tidy(draft.diagnosis_code)),
    }


def _tidy_name(name: PersonName) -> PersonName:
    return PersonName(*(names.without_look_alikes(names.tidy(part)) for part in (name.family, name.given, name.middle)))


def _validate(
    tx: Tx,
    draft: ReferralDraft,
    now: datetime,
    current_start: datetime | None = None,
    *,
    current_procedure: str = "",
    performed_already: bool = False,
) -> ProcedureType:
    """Return the procedure of a draft; raise Invalid unless all fields are valid. `now` is local clinic time.

    An amended order may keep its `current_start` although that has passed, and its `current_procedure` (a code)
    although it is no longer offered. `performed_already`: the start may be any time.
    """
    problems = validation.referral_problems(draft, now)
    if (current_start == draft.start or performed_already) and problems.get("date") == "past":
        del problems["date"]
    procedure = devices.procedure(tx, draft.procedure_code)
    offered = draft.procedure_code == current_procedure or devices.is_offered(tx, draft.procedure_code)
    if draft.procedure_code and (procedure is None or not offered):
        problems["procedure"] = "unknown"
    for ae_title in draft.station_ae_titles:
        device = devices.get(tx, ae_title)
        if device is None or not device.approved:
            problems["device"] = "unknown"
        elif procedure and device.modality and device.modality != procedure.modality:
            problems["device"] = "other_modality"
    if problems or procedure is None:
        raise Invalid(problems)
    return procedure


def _require_current(tx: Tx, order_id: int, revision: int) -> Order:
    order = orders.require(tx, order_id)
    if order.revision != revision:
        raise Stale(f"order {order.accession_number}")
    return order


def changed_fields(before: Order, after: Order) -> dict[str, list[object]]:
    """Return what an amendment changed, for the audit trail: field -> [old, new]."""
    old, new = asdict(before), asdict(after)
    return {key: [old[key], new[key]] for key in old if key not in {"revision", "state"} and old[key] != new[key]}


def _digest(draft: ReferralDraft) -> str:
    # An answer to a question is no content: the same referral stays the same, whether it was asked again or not.
    content = {key: value for key, value in asdict(draft).items() if key not in ("submission_id", "other_than")}
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()
