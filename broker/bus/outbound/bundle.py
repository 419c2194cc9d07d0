"""The transaction Bundle in which everything is sent to the region, and its resources of persons.

Pure. Strict R4, with everything that any dialect may want; what only one deployment leaves out is taken away in
`dialect`. Every entry finds itself again by an identifier, so that a message sent twice doubles nothing.
"""

from __future__ import annotations

import json
import re
import unicodedata
import uuid
from collections.abc import Mapping
from datetime import date, datetime, timedelta, timezone
from typing import Any

from broker.bus.fhir import Resource
from broker.bus.profile import OWN_ID, POLICY, POSITION, SNILS, SPECIALTY, Profile, oid
from broker.bus.transport.dialect import query
from broker.domain.messages import OutboxKind
from broker.domain.orders import Order
from broker.domain.patients import names
from broker.domain.patients.identifiers import INSURERS, is_insurer_code
from broker.domain.patients.people import Patient, PersonName, Sex

NAMESPACE = uuid.UUID("5b0c6c0e-3f7a-5d0b-9d53-6a1f4e0c8b27")  # of all full URLs; must never change

_GENDERS = {Sex.MALE: "male", Sex.FEMALE: "female", Sex.OTHER: "other"}
_SUFFIXES = {
    OutboxKind.IMAGES: "/in-progress",
    OutboxKind.REPORT: "/completed",
    OutboxKind.APPENDED: "/completed/{version}",
    OutboxKind.OPINION: "/completed",
}


def task_number(order: Order, kind: OutboxKind, version: int = 1) -> str:
    """Return the unique number of the Task that a message creates or changes; `version` is the report's."""
    # A Task under a number that is known is refused as a repetition, so every version needs a number of its own.
    return order.accession_number + _SUFFIXES.get(kind, "").format(version=version)


def task_search(number: str, intent: str, profile: Profile, requester: str | None = None) -> dict[str, str]:
    """Return the parameters of a search (`Dialect.search`) for one of our Tasks by its number.

    `requester` is the GUID of the clinic that ordered; None: this one.
    """
    ours = profile.number(number)
    return {
        "intent": intent,
        "requester": f"Organization/{requester or profile.organisation}",
        "identifier": f"{ours['system']}|{ours['value']}",
        "_count": "500",
    }


class Transaction:
    """A transaction Bundle that grows entry by entry.

    Full URLs are uuid5 of the seed and the entry's role, so that equal content gives equal bytes. With `amended` it
    changes what is there instead of making it; that is the ids of what is known, resource type -> id.
    """

    def __init__(self, seed: str, amended: Mapping[str, str] | None = None) -> None:
        self._seed = seed
        self._amended = amended
        self._entries: list[Resource] = []

    def add(self, role: str, resource: Resource, number: Resource, *, newest: bool = False) -> Resource:
        """Add an entry that is identified by the Identifier `number`; return a Reference to it.

        A number that the resource does not bear by itself is added to it in secondary use: it serves to find the
        resource again, and means nothing else. What is there already stays as it is unless the newest content counts.
        """
        kind, number = resource["resourceType"], _clean_texts(number)
        criteria = query({"identifier": f"{number['system']}|{number['value']}"})
        own = [_clean_texts(one) for one in resource.get("identifier", [])]
        if number not in own:
            resource = resource | {"identifier": [*own, {"use": "secondary"} | number]}
        if self._amended is None and not newest:
            request = {"method": "POST", "url": kind, "ifNoneExist": criteria}
        elif id := (self._amended or {}).get(kind):
            resource = resource | {"id": id}
            request = {"method": "PUT", "url": f"{kind}/{id}"}
        else:
            request = {"method": "PUT", "url": f"{kind}?{criteria}"}
        return self._append(role, resource, request)

    def add_document(self, role: str, resource: Resource) -> Resource:
        """Add an entry of a type without identifier in R4; return a Reference to it."""
        return self._append(role, resource, {"method": "POST", "url": resource["resourceType"]})

    def resource(self) -> Resource:
        """Return the Bundle."""
        return {"resourceType": "Bundle", "type": "transaction", "entry": self._entries}

    def _append(self, role: str, resource: Resource, request: Resource) -> Resource:
        url = f"urn:uuid:{uuid.uuid5(NAMESPACE, f'{self._seed}/{role}')}"
        self._entries.append({"fullUrl": url, "resource": _clean_texts(resource), "request": request})
        return {"reference": url}


def add_patient(bundle: Transaction, patient: Patient, profile: Profile) -> Resource:
    """Add a patient; the present data replace those that were sent earlier."""
    identifiers = [_own_id(patient.patient_id, profile)]
    if patient.snils:
        identifiers.append({"system": oid(SNILS), "value": patient.snils})
    if patient.policy:
        identifiers.append({"system": oid(POLICY), "value": patient.policy} | _insurer(patient))
    resource = {
        "resourceType": "Patient",
        "identifier": identifiers,
        "name": [_name(patient.name)],
        "gender": _GENDERS[patient.sex],
        "birthDate": patient.birth_date.isoformat() if patient.birth_date else "",
        "managingOrganization": organisation(profile),
    }
    # All clinics share one system of own numbers: the number is unique only with our OID. Characters with a meaning in
    # searches are avoided, because servers differ in them.
    plain = re.fullmatch(r"[\w.\- ]+", patient.patient_id)
    number = patient.patient_id if plain else str(uuid.uuid5(NAMESPACE, patient.patient_id))
    return bundle.add("patient", resource, profile.number(number), newest=True)


def sent_patient(body: str) -> Patient | None:
    """Return the patient of a Bundle that was sent, as far as it identifies them; None if it bears no Patient."""
    sent = json.loads(body) if body else {}
    entries = sent.get("entry", []) if isinstance(sent, dict) else []  # a patch of a status is a list
    for resource in (entry.get("resource", {}) for entry in entries):
        if resource.get("resourceType") == "Patient":
            name = resource["name"][0]
            given = [*name.get("given", []), "", ""]
            numbers = {each["system"]: each["value"] for each in resource["identifier"]}
            born = resource.get("birthDate")
            return Patient(
                PersonName(name.get("family", ""), given[0], given[1]),
                date.fromisoformat(born) if born else None,
                next(sex for sex, gender in _GENDERS.items() if gender == resource["gender"]),
                snils=numbers.get(oid(SNILS), ""),
                policy=numbers.get(oid(POLICY), ""),
            )
    return None


def add_doctor(bundle: Transaction, name: PersonName, snils: str, position: str, profile: Profile) -> Resource | None:
    """Add a doctor with the role in this clinic; return None if no doctor is named."""
    if not name.family:
        return None
    # Doctors have no number here: one is derived from the known data, so that the same doctor has the same one.
    known = snils or names.fold(f"{name} {position}")
    number = _own_id(str(uuid.uuid5(NAMESPACE, f"{profile.mis_oid}/practitioner/{known}")), profile)
    identifiers = [number] + ([{"system": oid(SNILS), "value": snils}] if snils else [])
    doctor = bundle.add(
        "practitioner",
        {"resourceType": "Practitioner", "active": True, "identifier": identifiers, "name": [_name(name)]},
        number,
    )
    # Positions are stored as texts; without known codes only the text is sent.
    position_code, specialty_code = profile.positions.get(names.fold(position), ("", ""))
    role = {
        "resourceType": "PractitionerRole",
        "active": True,
        "practitioner": doctor,
        "organization": organisation(profile),
        "code": _filled(profile.concept(POSITION, position_code, position)),
        "specialty": _filled(profile.concept(SPECIALTY, specialty_code)),
    }
    seed = f"{profile.mis_oid}/role/{known}/{position_code}/{specialty_code}/{names.fold(position)}"
    return bundle.add("practitioner-role", role, profile.number(str(uuid.uuid5(NAMESPACE, seed))))


def procedure(order: Order, profile: Profile) -> Resource:
    """Return the code of an order's procedure; local codes are not sent as official ones."""
    system = profile.mis_oid if order.procedure_local else profile.system_procedure
    return profile.concept(system, order.procedure_code, order.procedure_name)


def organisation(profile: Profile, guid: str | None = None) -> Resource:
    """Return a Reference to a clinic; without `guid` to this one."""
    return {"reference": f"Organization/{guid or profile.organisation}"}


def instant(moment: datetime, profile: Profile) -> str:
    """Return an instant with the clinic's offset; a naive datetime is local clinic time."""
    local = moment.astimezone(profile.zone) if moment.tzinfo else moment.replace(tzinfo=profile.zone)
    offset = local.utcoffset() or timedelta()
    # In 1900, the date of a wrong device clock, Moscow's offset was +02:30:17; FHIR has whole minutes only.
    return local.replace(tzinfo=timezone(timedelta(minutes=offset // timedelta(minutes=1)))).isoformat(
        timespec="seconds"
    )


def _insurer(patient: Patient) -> Resource:
    """Return the assigner of a policy, as clients of the bus name it; a name without a code is not sent."""
    known = is_insurer_code(patient.insurer)
    return {"assigner": {"display": f"{INSURERS}.{patient.insurer}"}} if known else {}


def _own_id(value: str, profile: Profile) -> Resource:
    return {"system": oid(OWN_ID), "value": value, "assigner": {"display": profile.mis_oid}}


def _name(name: PersonName) -> Resource:
    given = [part for part in (name.given, name.middle) if part]
    return {"family": name.family} | ({"given": given} if given else {})


def _filled(concept: Resource) -> list[Resource]:
    return [concept] if concept else []


def _clean_texts(node: Any) -> Any:
    """Write every text as FHIR R4 2.24.0.1 has it, with blanks of four kinds and no control characters; FHIR allows no
    empty members, so they are left out.

    Texts pasted from a word processor are full of other blanks, which strict servers refuse.
    """
    if isinstance(node, str):
        text = node if node.isascii() and node.isprintable() else "".join(map(_clean_character, node))
        return text if text.strip() else ""
    if isinstance(node, dict):
        members = ((name, _clean_texts(value)) for name, value in node.items())
        return {name: value for name, value in members if value not in ("", [], {})}
    if isinstance(node, list):
        return [written for item in node if (written := _clean_texts(item)) not in ("", [], {})]
    return node


def _clean_character(char: str) -> str:
    if char in " \r\n\t":
        return char
    if char.isspace():
        return " "
    return "" if unicodedata.category(char) == "Cc" else char
