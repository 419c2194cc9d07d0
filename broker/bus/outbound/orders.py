"""Our orders for the region: the transaction that orders a study, and the one that amends it.

Pure: no network, no database, no clock of its own. The field table is that of the ОДИИ wire profile.
"""

from __future__ import annotations

from broker.bus.fhir import Resource
from broker.bus.outbound.bundle import (
    Transaction,
    add_doctor,
    add_patient,
    instant,
    organisation,
    procedure,
    task_number,
)
from broker.bus.profile import (
    CONDITION_CATEGORY,
    ENCOUNTER_CLASS,
    ENCOUNTER_TYPE,
    FINANCE,
    LATERALITY_TEXT,
    MEASUREMENT,
    STUDY_NUMBER,
    VERIFICATION,
    Profile,
)
from broker.domain.messages import BusReferences, OutboxKind
from broker.domain.orders import Order, OrderState
from broker.domain.patients.people import Patient

POLYCLINIC, AMBULATORY = "2", "AMB"  # N3.35, ActEncounterCode
HEIGHT, WEIGHT = "1", "2"  # N3.37
# FHIR R4 task-status. A discontinued study is still requested until a person cancels it.
_STATUSES = {
    OrderState.IN_PROGRESS: "in-progress",
    OrderState.COMPLETED: "completed",
    OrderState.CANCELLED: "cancelled",
}


def order_bundle(order: Order, profile: Profile) -> Resource:
    """Return the transaction that orders a study."""
    bundle = Transaction(order.study_instance_uid)
    _add_order(bundle, order, profile, "requested", "")
    return bundle.resource()


def amendment_bundle(order: Order, references: BusReferences, profile: Profile) -> Resource:
    """Return the transaction that replaces an order's content on the bus by the present one.

    What has no known id is found by its number, and so is the patient: after a merge of two cards the order belongs to
    another Patient, and the former one on the bus is not overwritten. The Task is sent too, so that the performing
    clinic learns of the change, with the status and the accession number that it has.
    """
    known = {
        "ServiceRequest": references.service_request,
        "Task": references.task,
        "Encounter": references.extra.get("Encounter", ""),
        "Condition": references.extra.get("Condition", ""),
    }
    bundle = Transaction(order.study_instance_uid, amended={kind: id for kind, id in known.items() if id})
    _add_order(bundle, order, profile, _STATUSES.get(order.state, "requested"), references.acsn)
    return bundle.resource()


def _add_order(bundle: Transaction, order: Order, profile: Profile, status: str, acsn: str) -> None:
    number = profile.number(task_number(order, OutboxKind.ORDER))
    patient = add_patient(bundle, order.patient, profile)
    doctor = add_doctor(bundle, order.referrer, order.referrer_snils, order.referrer_position, profile)
    conditions = _conditions(bundle, order, patient, profile)
    kind, visit = _encounter(order, profile)
    encounter = bundle.add(
        "encounter",
        {
            "resourceType": "Encounter",
            "identifier": [number],
            "status": "in-progress",
            "class": profile.coding(ENCOUNTER_CLASS, visit),
            "type": [profile.concept(ENCOUNTER_TYPE, kind)],
            "subject": patient,
            "diagnosis": [{"condition": reference} for reference in conditions],
            "serviceProvider": organisation(profile),
        },
        number,
    )
    request = bundle.add(
        "service-request",
        {
            "resourceType": "ServiceRequest",
            "status": "active",
            "intent": "filler-order",
            "priority": str(order.priority),
            "code": procedure(order, profile),
            "orderDetail": [profile.concept(FINANCE, order.finance)],
            "subject": patient,
            "encounter": encounter,
            "requester": doctor or organisation(profile),
            "supportingInfo": [*conditions, *_measurements(bundle, order, patient, profile)],
            "bodySite": [profile.concept(profile.system_body_site, order.body_site)] if order.body_site else [],
            # The profile has no member for laterality: it is sent as a note.
            "note": [{"text": text} for text in (order.comment, LATERALITY_TEXT.get(order.laterality)) if text],
        },
        number,
    )
    given_by_bus = [{"type": profile.concept(STUDY_NUMBER, "ACSN"), "value": acsn}] if acsn else []
    bundle.add(
        "task",
        {
            "resourceType": "Task",
            "identifier": [number, *given_by_bus],
            "status": status,
            "intent": "original-order",
            "authoredOn": instant(order.authored_on, profile),
            "focus": request,
            "for": patient,
            "requester": organisation(profile),
            "owner": organisation(profile, order.owner),
        },
        number,
    )


def _encounter(order: Order, profile: Profile) -> tuple[str, str]:
    """Return the type and class of the case that an order belongs to: by its procedure, modality, or finance.

    Where the configuration says nothing, it is a visit to a polyclinic.
    """
    cases = f"procedure/{order.procedure_code}", f"modality/{order.modality}", f"finance/{order.finance}"
    return next((profile.encounters[case] for case in cases if case in profile.encounters), (POLYCLINIC, AMBULATORY))


def _conditions(bundle: Transaction, order: Order, patient: Resource, profile: Profile) -> list[Resource]:
    """Add the referral's diagnosis, if there is one."""
    if not (order.diagnosis_code or order.diagnosis_text):
        return []
    resource = {
        "resourceType": "Condition",
        # The study is to confirm or refute the referral's diagnosis.
        "verificationStatus": profile.concept(VERIFICATION, "provisional"),
        "category": [profile.concept(CONDITION_CATEGORY, "diagnosis")],
        "code": profile.concept(profile.system_diagnosis, order.diagnosis_code, order.diagnosis_text),
        "subject": patient,
    }
    return [bundle.add("condition", resource, profile.number(f"{order.accession_number}/diagnosis"))]


def _measurements(bundle: Transaction, order: Order, patient: Resource, profile: Profile) -> list[Resource]:
    """Add height and weight, if they are known."""
    person: Patient = order.patient
    known = (("height", HEIGHT, person.height, "cm", "см"), ("weight", WEIGHT, person.weight, "kg", "кг"))
    return [
        bundle.add(
            role,
            {
                "resourceType": "Observation",
                "status": "final",
                "code": profile.concept(MEASUREMENT, code),
                "subject": patient,
                "valueQuantity": {"value": value, "unit": unit, "system": "http://unitsofmeasure.org", "code": ucum},
            },
            profile.number(f"{order.accession_number}/{role}"),
        )
        for role, code, value, ucum, unit in known
        if value is not None
    ]
