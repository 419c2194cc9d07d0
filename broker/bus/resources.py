"""Makes the FHIR resources that tell the region of our orders: strict R4, with everything that any dialect may want.

Pure: no network, no database, no clock of its own. The field table is that of the ОДИИ wire profile; what only one
deployment leaves out is taken away in `dialect`. Equal content gives equal bytes: full URLs are made of local ids.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from broker.bus.profile import (
    CONDITION_CATEGORY,
    CONFIDENTIALITY,
    DCM,
    ENCOUNTER_CLASS,
    ENCOUNTER_TYPE,
    FINANCE,
    MEASUREMENT,
    OWN_ID,
    POLICY,
    POSITION,
    REPORT_CATEGORY,
    SNILS,
    SPECIALTY,
    STUDY_NUMBER,
    VERIFICATION,
    Profile,
    Resource,
    oid,
)
from broker.domain import names
from broker.domain.identifiers import valid_uid
from broker.domain.model import BusReferences, Order, OutboxKind, Patient, PerformedStep, PersonName, Sex

NAMESPACE = uuid.UUID("5b0c6c0e-3f7a-5d0b-9d53-6a1f4e0c8b27")  # of all full URLs made here; never to be changed

POLYCLINIC = "2"  # N3.35
HEIGHT, WEIGHT = "1", "2"  # N3.37
REPORT_CATEGORIES = {
    # NSI.1472: 1 КТ, 2 МРТ, 3 УЗД, 4 рентген, 5 РНД, 6 ФД, 7 эндоскопия
    **dict.fromkeys(("CT",), "1"),
    **dict.fromkeys(("MR",), "2"),
    **dict.fromkeys(("US", "IVUS"), "3"),
    **dict.fromkeys(("CR", "DX", "MG", "RF", "RG", "XA", "IO", "PX"), "4"),
    **dict.fromkeys(("NM", "PT"), "5"),
    **dict.fromkeys(("ECG", "EPS", "HD"), "6"),
    **dict.fromkeys(("ES",), "7"),
}
_GENDERS = {Sex.MALE: "male", Sex.FEMALE: "female", Sex.OTHER: "other"}
_SIDES = {"R": "Сторона: правая", "L": "Сторона: левая", "B": "Сторона: обе"}


def task_number(order: Order, kind: OutboxKind) -> str:
    """Give the unique number under which the bus keeps the Task that a message makes."""
    return f"{order.accession_number}/in-progress" if kind is OutboxKind.IMAGES else order.accession_number


def order_bundle(order: Order, profile: Profile) -> Resource:
    """Make the transaction that orders a study."""
    bundle = _Transaction(order.study_instance_uid)
    patient = bundle.add("patient", _patient(order.patient, profile))
    requester = _referrer(bundle, order, profile)
    condition = _condition(bundle, order, patient, profile)
    encounter = bundle.add(
        "encounter",
        {
            "resourceType": "Encounter",
            "identifier": [profile.number(order.accession_number)],
            "status": "in-progress",
            "class": profile.coding(ENCOUNTER_CLASS, "AMB"),
            "type": [profile.concept(ENCOUNTER_TYPE, POLYCLINIC)],
            "subject": patient,
            "diagnosis": [{"condition": reference} for reference in condition],
            "serviceProvider": _organisation(profile),
        },
    )
    request = bundle.add(
        "service-request",
        {
            "resourceType": "ServiceRequest",
            "status": "active",
            "intent": "filler-order",
            "priority": str(order.priority),
            "code": _procedure(order, profile),
            "orderDetail": [profile.concept(FINANCE, order.finance)],
            "subject": patient,
            "encounter": encounter,
            "requester": requester,
            "supportingInfo": [*condition, *_measurements(bundle, order.patient, patient, profile)],
            "bodySite": [profile.concept(profile.system_body_site, order.body_site)] if order.body_site else [],
            # The profile has no member for the side: it goes where a person reads it.
            "note": [{"text": text} for text in (order.comment, _SIDES.get(order.laterality)) if text],
        },
    )
    bundle.add(
        "task",
        {
            "resourceType": "Task",
            "identifier": [profile.number(task_number(order, OutboxKind.ORDER))],
            "status": "requested",
            "intent": "original-order",
            "authoredOn": _instant(order.authored_on, profile),
            "focus": request,
            "for": patient,
            "requester": _organisation(profile),
            "owner": _organisation(profile),  # what is registered at our desk is done by our devices
        },
    )
    return bundle.resource()


def images_bundle(
    order: Order, performed: Sequence[PerformedStep], references: BusReferences, profile: Profile, made_at: datetime
) -> Resource:
    """Make the transaction that says: the images are taken, there is no report yet.

    `made_at` is an aware instant that stays the same when the message is sent again. A performed step whose
    `references` name a Study Instance UID of the modality's own (a study without an order, linked later) is told under
    that one: it is the one that the images bear.
    """
    bundle = _Transaction(order.study_instance_uid)
    patient = {"reference": f"Patient/{references.patient}"}
    starts = [step.start for step in performed if step.start]
    studies: dict[str, list[PerformedStep]] = {}
    for step in performed:
        studies.setdefault(_study_uid(step, order), []).append(step)
    report = bundle.add(
        "in-progress/report",
        {
            "resourceType": "DiagnosticReport",
            "meta": {"security": [profile.coding(CONFIDENTIALITY, "N")]},
            "basedOn": [{"reference": f"ServiceRequest/{references.service_request}"}],
            "status": "partial",
            "category": [profile.concept(REPORT_CATEGORY, code) for code in _categories(order)],
            "code": _procedure(order, profile),
            "subject": patient,
            "effectiveDateTime": _instant(min(starts) if starts else made_at, profile),
            "issued": _instant(made_at, profile),
            "performer": [_organisation(profile)],
            "imagingStudy": [
                bundle.add(f"in-progress/study/{uid}", _study(uid, steps, order, references, patient, profile))
                for uid, steps in (studies or {order.study_instance_uid: []}).items()
            ],
        },
    )
    bundle.add(
        "in-progress/task",
        {
            "resourceType": "Task",
            "identifier": [profile.number(task_number(order, OutboxKind.IMAGES))],
            "basedOn": [{"reference": f"Task/{references.task}"}],
            "status": "in-progress",
            "intent": "reflex-order",
            "authoredOn": _instant(made_at, profile),
            "focus": report,
            "for": patient,
            "requester": _organisation(profile),
            "owner": _organisation(profile),
        },
    )
    return bundle.resource()


def cancel_parameters(task_id: str) -> Resource:
    """Make the body of $updatestatus that cancels an order."""
    return _parameters({"_id": task_id, "status": "cancelled"})


def search_parameters(number: str, intent: str, profile: Profile) -> Resource:
    """Make the body of Task/_search that looks for a Task of ours by its number."""
    return _parameters(
        {"intent": intent, "requester": f"Organization/{profile.organisation}", "identifier": number, "_count": "500"}
    )


def encode(resource: Resource) -> bytes:
    """Write JSON; equal content gives equal bytes. Raise ValueError for what JSON or UTF-8 cannot hold."""
    text = json.dumps(resource, ensure_ascii=False, sort_keys=True, allow_nan=False, separators=(",", ":"))
    return text.encode("utf-8")


class _Transaction:
    """A transaction Bundle that grows entry by entry; FHIR allows no empty members, so they are left out."""

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self._entries: list[Resource] = []

    def add(self, role: str, resource: Resource) -> Resource:
        """Add an entry; give a Reference to it."""
        url = f"urn:uuid:{uuid.uuid5(NAMESPACE, f'{self._seed}/{role}')}"
        self._entries.append(
            {
                "fullUrl": url,
                "resource": {name: value for name, value in resource.items() if value not in ("", [], {})},
                "request": {"method": "POST", "url": resource["resourceType"]},
            }
        )
        return {"reference": url}

    def resource(self) -> Resource:
        """Give the Bundle."""
        return {"resourceType": "Bundle", "type": "transaction", "entry": self._entries}


def _patient(patient: Patient, profile: Profile) -> Resource:
    identifiers = [_own_id(patient.patient_id, profile)]
    identifiers += [
        {"system": oid(system), "value": value}
        for system, value in ((SNILS, patient.snils), (POLICY, patient.policy))
        if value
    ]
    return {
        "resourceType": "Patient",
        "identifier": identifiers,
        "name": [_name(patient.name)],
        "gender": _GENDERS[patient.sex],
        "birthDate": patient.birth_date.isoformat() if patient.birth_date else "",
        "managingOrganization": _organisation(profile),
    }


def _referrer(bundle: _Transaction, order: Order, profile: Profile) -> Resource:
    """Add the doctor who refers; where none is named, only the organisation is known, and nobody is made up."""
    if not order.referrer.family:
        return _organisation(profile)
    position = order.referrer_position
    # Doctors have no number here: the same doctor gets the same one, made of what is known.
    known = order.referrer_snils or names.fold(f"{order.referrer} {position}")
    identifiers = [_own_id(str(uuid.uuid5(NAMESPACE, f"{profile.mis_oid}/practitioner/{known}")), profile)]
    if order.referrer_snils:
        identifiers.append({"system": oid(SNILS), "value": order.referrer_snils})
    doctor = bundle.add(
        "practitioner",
        {"resourceType": "Practitioner", "active": True, "identifier": identifiers, "name": [_name(order.referrer)]},
    )
    # Positions are kept in words; without a configured pair of codes the words go alone, no code is guessed.
    position_code, specialty_code = profile.positions.get(names.fold(position), ("", ""))
    return bundle.add(
        "practitioner-role",
        {
            "resourceType": "PractitionerRole",
            "active": True,
            "practitioner": doctor,
            "organization": _organisation(profile),
            "code": _filled(profile.concept(POSITION, position_code, position)),
            "specialty": _filled(profile.concept(SPECIALTY, specialty_code)),
        },
    )


def _condition(bundle: _Transaction, order: Order, patient: Resource, profile: Profile) -> list[Resource]:
    """Add the referral's diagnosis, if there is one."""
    if not (order.diagnosis_code or order.diagnosis_text):
        return []
    reference = bundle.add(
        "condition",
        {
            "resourceType": "Condition",
            # What a referral gives is to be confirmed or refuted by the study.
            "verificationStatus": profile.concept(VERIFICATION, "provisional"),
            "category": [profile.concept(CONDITION_CATEGORY, "diagnosis")],
            "code": profile.concept(profile.system_diagnosis, order.diagnosis_code, order.diagnosis_text),
            "subject": patient,
        },
    )
    return [reference]


def _measurements(bundle: _Transaction, person: Patient, patient: Resource, profile: Profile) -> list[Resource]:
    """Add height and weight, where they are known."""
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
        )
        for role, code, value, ucum, unit in known
        if value is not None
    ]


def _study(
    uid: str,
    steps: Sequence[PerformedStep],
    order: Order,
    references: BusReferences,
    patient: Resource,
    profile: Profile,
) -> Resource:
    starts = [step.start for step in steps if step.start]
    images = sum(step.images for step in steps)
    modalities = dict.fromkeys(step.modality for step in steps if step.modality) or {order.modality: None}
    study: Resource = {
        "resourceType": "ImagingStudy",
        "identifier": [
            {
                "type": profile.concept(STUDY_NUMBER, "ACSN"),
                "value": references.acsn or order.accession_number,
            },
            {"system": "urn:dicom:uid", "value": f"urn:oid:{uid}"},
        ],
        "status": "available",
        "modality": [profile.coding(DCM, modality) for modality in modalities if modality],
        "subject": patient,
    }
    if starts:
        study["started"] = _instant(min(starts), profile)
    if images:  # 0: the modality did not say
        study["numberOfInstances"] = images
    return study


def _study_uid(step: PerformedStep, order: Order) -> str:
    named = [reference.study_instance_uid for reference in step.references if valid_uid(reference.study_instance_uid)]
    return order.study_instance_uid if order.study_instance_uid in named or not named else named[0]


def _procedure(order: Order, profile: Profile) -> Resource:
    # A code of our own directory must not pass for one of the official dictionary.
    system = profile.mis_oid if order.procedure_local else profile.system_procedure
    return profile.concept(system, order.procedure_code, order.procedure_name)


def _categories(order: Order) -> Iterable[str]:
    code = REPORT_CATEGORIES.get(order.modality)
    return [code] if code else []


def _own_id(value: str, profile: Profile) -> Resource:
    return {"system": oid(OWN_ID), "value": value, "assigner": {"display": profile.mis_oid}}


def _organisation(profile: Profile) -> Resource:
    return {"reference": f"Organization/{profile.organisation}"}


def _name(name: PersonName) -> Resource:
    given = [part for part in (name.given, name.middle) if part]
    return {"family": name.family} | ({"given": given} if given else {})


def _instant(moment: datetime, profile: Profile) -> str:
    """Write an instant with the clinic's offset; a naive datetime is local clinic time."""
    local = moment.astimezone(profile.zone) if moment.tzinfo else moment.replace(tzinfo=profile.zone)
    return local.isoformat(timespec="seconds")


def _filled(concept: Resource) -> list[Resource]:
    return [concept] if concept else []


def _parameters(values: Mapping[str, str]) -> Resource:
    listed = [{"name": name, "valueString": value} for name, value in values.items()]
    return {"resourceType": "Parameters", "parameter": listed}
