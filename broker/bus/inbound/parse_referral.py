"""Parses another clinic's referral: Task, ServiceRequest, Patient, doctor, diagnosis -> IncomingReferral. Pure.

Nothing that comes is trusted: every member may be missing, of another type, endless or a trap. What a person can
complete is left empty and named as a problem; only what cannot be understood at all is refused, as Unusable. A number
that the other clinic gave its patient is never taken for ours; documents (passport, certificates, policies of the old
kind) are not part of our patient and stay in the message.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from datetime import date
from typing import Any

from broker.bus.fhir import Resource, changed_at, id_of, instant, items, member, organisation_guid, reference_to
from broker.bus.inbound import parse_patient
from broker.bus.inbound.parse_patient import identifiers
from broker.bus.inbound.parse_side import side_of
from broker.bus.inbound.resolver import ChangedMeaning, ContainedResources, Find, Unusable
from broker.bus.profile import DIAGNOSIS, FINANCE, LATERALITY_TEXT, MEASUREMENT, N3, POLICY, PROCEDURE, SNILS, Profile
from broker.bus.transport.dialect import task_references
from broker.domain import validation
from broker.domain.incoming import IncomingReferral
from broker.domain.opinions import requests as opinions
from broker.domain.orders import Priority
from broker.domain.patients import names
from broker.domain.patients.identifiers import snils_problem
from broker.domain.patients.people import NO_NAME, Patient, PersonName, Sex

MAX_LINE = 200  # characters of a name, a code, a title
MAX_TEXT = 1000  # characters of a text
MAX_ATTACHED = 3  # studies and reports of ServiceRequest.supportingInfo that are read
_STUDIES = ("ImagingStudy", "DiagnosticReport")
MAX_SUPPORTING = 6  # resources of ServiceRequest.supportingInfo that are read
# FHIR R4 task-status; n3 sends none, and reads back `requested`.
REQUESTED = frozenset({"", "requested", "received", "accepted", "ready", "on-hold"})
CANCELLED = frozenset({"cancelled", "rejected", "failed", "entered-in-error"})
STARTED, DONE = "in-progress", "completed"
# Older dictionaries of procedures and of diagnoses, beside the configured ones.
_PROCEDURES = (PROCEDURE, f"{N3}.57")
_DIAGNOSES = (DIAGNOSIS, f"{N3}.2", "http://hl7.org/fhir/sid/icd-10")
_HEIGHT, _WEIGHT = "1", "2"  # N3.37
# FHIR R4 request-status; the bus asks for `active` and reads it back where a client sends none.
_ORDERED = frozenset({"", "active"})
_INTENTS = frozenset({"", "order", "original-order", "reflex-order", "filler-order", "instance-order"})
# What is no diagnosis and no measurement: modifiers of Condition (verificationStatus) and Observation (status).
_DENIED = frozenset({"refuted", "entered-in-error", "cancelled"})
_URGENT = frozenset({"urgent", "asap", "stat"})
_ENCOUNTER = re.compile(r"Encounter/([A-Za-z0-9.-]{1,64})(?:/_history/.*)?")  # R4 2.24.0.1, id
_ICD10 = re.compile(r"[A-Z][0-9]{2}(\.[0-9]{1,2})?")


# ---- the Task by itself ----


def task_id(task: Resource) -> str:
    """Return a Task's id; raise Unusable if it is missing or invalid."""
    id = id_of(task)
    if task.get("resourceType") != "Task" or not id:
        raise Unusable("it is not a Task with an id")
    return id


def version(resource: Resource) -> str:
    """Return a text that grows with every change of a resource; one that only differs (`#…`) if the bus dates none."""
    at = changed_at(resource)
    number = member(member(resource, "meta"), "versionId")
    counted = number if isinstance(number, str) and re.fullmatch(r"[0-9]{1,18}", number) else ""
    if at is None and not counted:
        return "#" + digest(resource)
    return f"{at:%Y-%m-%dT%H:%M:%S.%f} {counted:0>18}" if at else f" {counted:0>18}"


def digest(node: object) -> str:
    """Return a digest of a JSON value."""
    try:
        text = json.dumps(node, sort_keys=True)
    except (ValueError, RecursionError):
        text = repr(type(node))
    return hashlib.sha256(text.encode("ascii", "replace")).hexdigest()[:32]


def status(task: Resource) -> str:
    """Return a Task's status; empty if there is none."""
    return _line(task.get("status"), 40)


def status_reason(task: Resource) -> str:
    """Return why a Task has its status, in words; empty if it does not say."""
    concept = task.get("statusReason")
    displays = (display for _, _, display in _codings([concept]))
    return _line(member(concept, "text")) or next((display for display in displays if display), "")


def is_for(task: Resource, organisation: str) -> bool:
    """Return True if a Task is an order to this organisation."""
    return (
        task.get("intent") == "original-order" and organisation_guid(task.get("owner")).lower() == organisation.lower()
    )


def own_number(task: Resource, profile: Profile) -> str:
    """Return our number of a Task; empty if it is not our order."""
    ours = organisation_guid(task.get("requester")).lower() == profile.organisation.lower()
    if task.get("intent") != "original-order" or not ours:
        return ""
    return next((value for system, value in identifiers(task) if system == profile.mis_oid), "")


# ---- the referral ----


def parse_referral(task: Resource, find: Find, profile: Profile, today: date) -> IncomingReferral:
    """Return the referral of a Task; its `problems` are codes as in `domain.validation`, for a person to complete.

    `find` returns the resource of a reference. Raise Unusable, BusUnavailable.
    """
    find = contents = ContainedResources(find)
    task = contents.open(task)
    ids = task_references(task)
    request = find(task.get("focus"), "ServiceRequest")
    _check_ordered(request)
    subject = find(task.get("for") or request.get("subject"), "Patient")
    is_one = not task.get("for") or _is_same_patient(request, subject, find, today)
    requester = organisation_guid(task.get("requester"))
    if not requester:
        raise Unusable("it does not say which clinic refers")
    person, wrong = _patient(subject, today)
    if not is_one:
        wrong["patient"] = "two_patients"
    code, system, name = _procedure(request, profile)
    if not code and not name:
        wrong["procedure"] = "required"
    finance = _code(items(request, "orderDetail"), FINANCE)
    if finance and finance not in validation.FINANCE_CODES:
        wrong["finance"] = "unknown"
    doctor, doctor_snils, position = _doctor(request, find, profile, today, wrong)
    diagnosis_code, diagnosis_text, weight, height = _supporting(request, find, profile, wrong)
    comment, noted = _notes(request)
    side = side_of(request, noted)
    if side.contradicts:
        wrong["laterality"] = "contradicts"
    return IncomingReferral(
        task=task_id(task),
        patient=Patient(
            name=person.name,
            birth_date=person.birth_date,
            birth_year=person.birth_year,
            sex=person.sex,
            snils=person.snils,
            policy=person.policy,
            insurer=person.insurer,
            weight=weight,
            height=height,
        ),
        requester=requester,
        service_request=ids.service_request or str(request.get("id", "")),
        encounter=_encounter(request),
        bus_patient=ids.patient or str(subject.get("id", "")),
        bus_accession_number=ids.acsn,
        procedure_code=code,
        procedure_system=system,
        procedure_name=name,
        body_site=_body_site(request),
        body_site_text=_body_site_text(request),
        asks_opinion=any(opinions.is_request(note) for note in _note_texts(request)),
        attached=_attached(request, find),
        laterality=side.laterality,
        priority=Priority.URGENT if _line(request.get("priority")) in _URGENT else Priority.ROUTINE,
        finance=finance if finance in validation.FINANCE_CODES else "1",
        referrer=doctor,
        referrer_snils=doctor_snils,
        referrer_position=position,
        diagnosis_code=diagnosis_code,
        diagnosis_text=diagnosis_text,
        comment=comment,
        authored_on=instant(task.get("authoredOn")),
        former_name=parse_patient.former_name(subject, today),
        former_snils=parse_patient.former_number(subject, SNILS, today),
        former_policy=parse_patient.former_number(subject, POLICY, today),
        problems=wrong,
    )


def _patient(subject: Resource, today: date) -> tuple[Patient, dict[str, str]]:
    """Return the patient and its problems: field -> code."""
    wrong: dict[str, str] = {}
    try:
        birth_date, birth_year = parse_patient.birth(subject)
    except ValueError:
        birth_date, birth_year, wrong["birth_date"] = None, None, "unreadable"
    patient = Patient(
        name=parse_patient.name(subject, today),
        birth_date=birth_date,
        birth_year=birth_year,
        sex=parse_patient.sex(subject) or Sex.OTHER,
        snils=parse_patient.number(subject, SNILS, today),
        policy=parse_patient.number(subject, POLICY, today),
        insurer=parse_patient.insurer(subject, today),
    )
    if not (patient.name.family or patient.name.given or patient.snils or patient.policy):
        raise Unusable("the Patient has neither a name nor a number")
    wrong |= validation.patient_problems(patient, today)
    if parse_patient.sex(subject) is None:
        wrong["sex"] = "required"
    if standing := parse_patient.standing(subject):
        wrong["patient"] = standing
    return patient, wrong


def _is_same_patient(request: Resource, subject: Resource, find: Find, today: date) -> bool:
    """Return False if a ServiceRequest is about somebody else than its Task, or does not let us know.

    Raise Unusable if the Task's Patient is; BusUnavailable.
    """
    reference = request.get("subject")
    if not reference:
        return True
    patient, _ = _patient(subject, today)
    numbered = {"resourceType": "Patient", "identifier": [member(reference, "identifier")]}
    try:
        other = numbered if member(reference, "reference") is None else find(reference, "Patient")
    except ChangedMeaning:
        raise
    except Unusable:
        return False
    if any(parse_patient.contradictions(each, patient, today) for each in (numbered, other) if each is not subject):
        return False
    agrees = other is subject or member(reference, "reference") is None
    return agrees or parse_patient.is_comparable(other, patient, today)


def _check_ordered(request: Resource) -> None:
    """Refuse a ServiceRequest that is no order in force; raise Unusable."""
    if _line(request.get("status"), 40) not in _ORDERED:
        raise Unusable("the ServiceRequest is not active")
    if _line(request.get("intent"), 40) not in _INTENTS:
        raise Unusable("the ServiceRequest is not an order")
    if request.get("doNotPerform", False) is not False:
        raise Unusable("it asks for something not to be done")


def _procedure(request: Resource, profile: Profile) -> tuple[str, str, str]:
    """Return (code, system, name) of the procedure, preferably in the region's dictionary."""
    concept = request.get("code")
    codings = list(_codings([concept]))
    order = (profile.system_procedure, *_PROCEDURES)
    codings.sort(key=lambda each: order.index(each[0]) if each[0] in order else len(order))
    system, code, display = next(iter(codings), ("", "", ""))
    return code, system, _line(member(concept, "text")) or display


def _body_site(request: Resource) -> str:
    """Return the first code of the body site; else its words, for a person."""
    sites = items(request, "bodySite")
    words = (_line(member(site, "text")) for site in sites)
    return _code(sites, "") or next((text for text in words if text), "")


def _body_site_text(request: Resource) -> str:
    """Return the words of the body site beside its code; empty where they are all that it says."""
    sites = items(request, "bodySite")
    if not _code(sites, ""):
        return ""
    displays = (display for _, _, display in _codings(sites))
    words = (text for text in (*(_line(member(site, "text")) for site in sites), *displays) if text)
    return ", ".join(dict.fromkeys(words))


def _attached(request: Resource, find: Find) -> tuple[str, ...]:
    """Return what earlier studies and reports support a request, a line each; what cannot be read is said so.

    They are for a person to know, and hold nothing back.
    """
    lines = []
    for reference in _of_studies(request)[:MAX_ATTACHED]:
        try:
            resource = find(reference, *_STUDIES)
        except ChangedMeaning:
            raise
        except Unusable:
            lines.append("не прочитано: " + _named_study(reference))
            continue
        is_report = resource.get("resourceType") == "DiagnosticReport"
        day = _line(resource.get("effectiveDateTime" if is_report else "started"))[:10]
        concept = member(resource, "code") if is_report else None
        displays = (display for _, _, display in _codings([concept]))
        modalities = " ".join(_line(member(each, "code")) for each in items(resource, "modality"))
        what = _line(member(concept, "text")) or next((each for each in displays if each), "")
        said = _line(resource.get("conclusion") if is_report else resource.get("description"))
        word = "протокол" if is_report else "снимки"
        details = (day, what or modalities, "" if said.startswith("http") else said)
        lines.append(" · ".join((word, *filter(None, details))))
    return tuple(lines)


def _of_studies(request: Resource) -> list[Any]:
    listed = items(request, "supportingInfo")
    return [each for each in listed if any(reference_to(kind, each) for kind in _STUDIES)]


def _named_study(reference: object) -> str:
    """Return a reference as a person may copy it."""
    return next(found for kind in _STUDIES if (found := reference_to(kind, reference)))


def _doctor(
    request: Resource, find: Find, profile: Profile, today: date, wrong: dict[str, str]
) -> tuple[PersonName, str, str]:
    """Return (name, СНИЛС, position) of the referring doctor, who may be missing."""
    reference = request.get("requester")
    if reference is None:
        return NO_NAME, "", ""
    try:
        role = find(reference, "PractitionerRole", "Practitioner", "Organization")
        if role.get("resourceType") == "Organization":
            return NO_NAME, "", ""
        doctor = find(role.get("practitioner"), "Practitioner") if role["resourceType"] == "PractitionerRole" else role
    except ChangedMeaning:
        raise
    except Unusable:
        wrong["referrer"] = "unreadable"
        return NO_NAME, "", ""
    snils = parse_patient.number(doctor, SNILS, today)
    return parse_patient.name(doctor, today), "" if snils_problem(snils) else snils, _position(role, profile)


def _position(role: Resource, profile: Profile) -> str:
    """Return a doctor's position as a text, or the configured text of its code."""
    for concept in items(role, "code"):
        codings = list(_codings([concept]))
        for text in (_line(member(concept, "text")), *(display for _, _, display in codings)):
            if text:
                return text
        for _, code, _ in codings:
            for title, (position, _) in profile.positions.items():
                if position == code:
                    return title
    return ""


def _encounter(request: Resource) -> str:
    """Return the id of a request's Encounter; empty for what is no id on the bus: a contained one, a number."""
    found = _ENCOUNTER.fullmatch(str(member(request.get("encounter"), "reference") or ""))
    return found[1] if found else ""


def _supporting(
    request: Resource, find: Find, profile: Profile, wrong: dict[str, str]
) -> tuple[str, str, float | None, float | None]:
    """Return (diagnosis code, diagnosis text, kg, cm) from the supporting resources or the Encounter."""
    conditions: list[Resource] = []
    measured: dict[str, float] = {}
    studies = _of_studies(request)
    supporting = [each for each in items(request, "supportingInfo") if each not in studies]
    references = [*supporting, *items(request, "reasonReference")]
    try:
        for reference in references[:MAX_SUPPORTING]:
            resource = find(reference)
            if resource.get("resourceType") == "Condition":
                conditions.append(resource)
            elif resource.get("resourceType") == "Observation" and _line(resource.get("status")) not in _DENIED:
                measured.update(_measurement(resource))
        if not conditions and request.get("encounter") is not None:
            for each in items(find(request["encounter"], "Encounter"), "diagnosis")[:1]:
                conditions.append(find(member(each, "condition"), "Condition"))
    except ChangedMeaning:
        raise
    except Unusable:
        wrong["diagnosis"] = "unreadable"
    conditions = [each for each in conditions if not _is_denied(each)]
    concepts = [*(condition.get("code") for condition in conditions), *items(request, "reasonCode")]
    systems = (profile.system_diagnosis, *_DIAGNOSES)
    for concept in concepts:
        code, text = "", _line(member(concept, "text"), MAX_TEXT)
        for system, value, display in _codings([concept]):
            text = text or display
            if system in systems and not code and _ICD10.fullmatch(value.upper()):
                code = value.upper()
        if code or text:
            return code, text, measured.get(_WEIGHT), measured.get(_HEIGHT)
    return "", "", measured.get(_WEIGHT), measured.get(_HEIGHT)


def _is_denied(condition: Resource) -> bool:
    """Return True for a Condition that the patient turned out not to have."""
    return any(code in _DENIED for _, code, _ in _codings([condition.get("verificationStatus")]))


def _measurement(observation: Resource) -> dict[str, float]:
    """Return a height in cm or a weight in kg, if unit and value are plausible."""
    code = _code([observation.get("code")], MEASUREMENT)
    quantity = observation.get("valueQuantity")
    value = member(quantity, "value")
    if isinstance(value, bool) or not isinstance(value, int | float):
        return {}
    units = {_line(member(quantity, name), 20).rstrip(".") for name in ("code", "unit")} - {""}
    low, high, known = {_HEIGHT: (20, 260, {"cm", "см"}), _WEIGHT: (0.2, 500, {"kg", "кг"})}.get(code, (1, 0, set()))
    return {code: float(value)} if low <= value <= high and units <= known else {}


_SIDE = re.compile(rf"(?:^|; )({'|'.join(LATERALITY_TEXT.values())})(?=; |$)")
_LATERALITIES = {text: laterality for laterality, text in LATERALITY_TEXT.items()}


def _notes(request: Resource) -> tuple[str, str]:
    """Return a request's notes as a comment, and the side of the body that one of them names."""
    notes = _note_texts(request)
    comment = names.cut("; ".join(note for note in notes if note), MAX_TEXT)
    side = _SIDE.search(comment)
    return (_SIDE.sub(" ", comment).strip(" ;"), _LATERALITIES[side[1]]) if side else (comment, "")


def _note_texts(request: Resource) -> list[str]:
    return [_line(member(note, "text"), MAX_TEXT) for note in items(request, "note")[:20]]


# ---- members ----


def _codings(concepts: list[Any]) -> Iterator[tuple[str, str, str]]:
    """Yield (system, code, display) of the codings of some CodeableConcepts; a system is an OID where it is one."""
    for concept in concepts[:20]:
        for coding in items(concept, "coding")[:20]:
            if code := _line(member(coding, "code"), 64):
                system = _line(member(coding, "system")).removeprefix("urn:oid:")
                yield system, code, _line(member(coding, "display"))


def _code(concepts: list[Any], system: str) -> str:
    """Return the first code of a code system, or of any."""
    return next((code for named, code, _ in _codings(concepts) if system in ("", named)), "")


def _line(value: object, longest: int = MAX_LINE) -> str:
    """Return a text on one line without control characters, cut to a length; empty if it is not a text."""
    if not isinstance(value, str):
        return ""
    return names.cut(names.tidy(value[: 4 * longest]), longest)
