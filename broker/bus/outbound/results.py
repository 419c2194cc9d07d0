"""The results of a study for the region: images without a report, then the signed report.

Pure: no network, no database, no clock of its own. `made_at` is an aware instant that stays the same when a message is
sent again. A performed step whose `references` name a Study Instance UID of the modality's own (a study without an
order, linked later) is sent under that one: it is the one in the images.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from types import MappingProxyType
from typing import Any

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
from broker.bus.profile import CONFIDENTIALITY, DCM, REPORT_CATEGORY, RESULT_PART, STUDY_NUMBER, Profile, ReportPart
from broker.bus.transport.dialect import STUDY
from broker.domain.messages import SENDERS_ENCOUNTER, BusReferences, OutboxKind
from broker.domain.orders import BusRole, Order
from broker.domain.patients.identifiers import valid_uid
from broker.domain.reading.reports import Report, ReportChange
from broker.domain.studies import passthrough
from broker.domain.studies.performed import PerformedStep

PDF = "application/pdf"
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
NOTHING_KNOWN: Mapping[str, int] = MappingProxyType({})
CONNECTION_TYPES = "http://terminology.hl7.org/CodeSystem/endpoint-connection-type"


def images_bundle(
    order: Order,
    performed: Sequence[PerformedStep],
    references: BusReferences,
    profile: Profile,
    made_at: datetime,
    *,
    archived: Mapping[str, int] = NOTHING_KNOWN,
    has_images: bool = True,
) -> Resource:
    """Return the transaction for images that were taken, without a report yet.

    `archived` is the number of images that the archive holds, by Study Instance UID; of other studies it is what the
    modality has reported. `has_images` False: there are none to be had, so their number and address are left out.
    """
    kind = OutboxKind.IMAGES
    result = _Result(order, performed, references, profile, made_at, kind, archived=archived, has_images=has_images)
    return result.bundle({"status": "partial"}, "in-progress")


def report_bundle(
    order: Order,
    report: Report,
    performed: Sequence[PerformedStep],
    references: BusReferences,
    profile: Profile,
    pdf: bytes,
    made_at: datetime,
    *,
    archived: Mapping[str, int] = NOTHING_KNOWN,
    sent: Mapping[str, int] = NOTHING_KNOWN,
    has_images: bool = True,
    replaces: bool = False,
) -> Resource:
    """Return the transaction of a signed report: its texts, its dose and the document.

    `replaces`: the bus knows corrections, so that a corrected or withdrawn report is called so.

    Studies that `references.extra` has under "study/<Study Instance UID>" exist on the bus and are only referenced,
    unless the archive holds another number of images (`archived`) than they were `sent` with, both by that UID.
    `has_images` False: there are none to be had, so no study is named; a bus takes only an available one.
    """
    kind = OutboxKind.REPORT
    result = _Result(order, performed, references, profile, made_at, kind, archived=archived, has_images=has_images)
    result.sent = sent
    status = _STATUSES[replaces].get(report.change, "final")
    return result.bundle(_report_members(result, report, profile, pdf, made_at) | {"status": status}, "completed")


def appended_bundle(
    order: Order,
    report: Report,
    performed: Sequence[PerformedStep],
    references: BusReferences,
    profile: Profile,
    pdf: bytes,
    made_at: datetime,
    *,
    version: int,
    archived: Mapping[str, int],
    replaces: bool = False,
) -> Resource:
    """Return the transaction of a signed report that is sent again: version 2 and more.

    Because images were added, or because it was added to, corrected or withdrawn: under a new Task, with the studies as
    they are now. A bus that takes corrections (`replaces`) replaces report and studies. `archived` is the number of
    images that the archive holds, by Study Instance UID.
    """
    kind = OutboxKind.APPENDED
    has_images = bool(performed) or not report.is_withdrawn  # perhaps all were another patient's, and are unlinked
    result = _Result(
        order, performed, references, profile, made_at, kind, version, archived=archived, has_images=has_images
    )
    status = _STATUSES[replaces].get(report.change, "appended")
    return result.bundle(_report_members(result, report, profile, pdf, made_at) | {"status": status}, "completed")


def without_content(report: Report) -> Report:
    """Return a withdrawn report with nothing that a doctor wrote, not even why it is withdrawn."""
    return replace(report, description="", conclusion="", recommendations="", effective_dose=None, reason="")


# DiagnosticReport.status of a new version, by whether the bus takes corrections. Readers behind the others know `final`
# and `appended` only: there the text says what has become of the report.
_STATUSES: Mapping[bool, Mapping[ReportChange | None, str]] = {
    False: dict.fromkeys(ReportChange, "appended"),
    True: {
        ReportChange.ADDITION: "appended",
        ReportChange.CORRECTION: "corrected",
        ReportChange.WITHDRAWAL: "entered-in-error",
    },
}


def _report_members(result: _Result, report: Report, profile: Profile, pdf: bytes, made_at: datetime) -> Resource:
    interpreter = add_doctor(
        result.transaction, report.author_name, report.author_snils, report.author_position, profile
    )
    issued = instant(report.signed_at or made_at, profile)
    # Who reads the report takes the doctor, and through the role the clinic, from its performer: where no doctor is
    # known, there is none.
    author = {"performer": [interpreter], "resultsInterpreter": [interpreter]} if interpreter else {}
    return author | {
        "issued": issued,
        "result": result.observations(report, issued, interpreter or organisation(profile)),
        "presentedForm": [result.document(pdf)] if pdf else [],
    }


class _Result:
    """A result under construction; `version` is the report's."""

    def __init__(
        self,
        order: Order,
        performed: Sequence[PerformedStep],
        references: BusReferences,
        profile: Profile,
        made_at: datetime,
        kind: OutboxKind,
        version: int = 1,
        *,
        archived: Mapping[str, int] = NOTHING_KNOWN,
        has_images: bool = True,
    ) -> None:
        self._order, self._performed, self._references = order, performed, references
        self._profile, self._made_at, self._archived = profile, made_at, archived
        self.sent = NOTHING_KNOWN
        self._kind, self._has_images = kind, has_images
        self._number = task_number(order, kind, version)
        self._report_number = task_number(order, OutboxKind.REPORT) if version > 1 else self._number
        self._is_known = version > 1  # the report and its studies are on the bus, with older content
        self._phase = self._number.removeprefix(f"{order.accession_number}/")
        self.transaction = Transaction(order.study_instance_uid)
        known = references.patient
        # Only a walk-in patient may be unknown to the region.
        self._patient = (
            {"reference": f"Patient/{known}"} if known else add_patient(self.transaction, order.patient, profile)
        )

    def bundle(self, members: Resource, status: str) -> Resource:
        """Add the report with these members, and the Task with its status; return the Bundle."""
        order, profile, number = self._order, self._profile, self._profile.number(self._number)
        starts = [step.start for step in self._performed if step.start]
        category = REPORT_CATEGORIES.get(order.modality)
        report = self.transaction.add(
            f"{self._phase}/report",
            {
                "resourceType": "DiagnosticReport",
                "meta": {"security": [profile.coding(CONFIDENTIALITY, "N")]},
                "basedOn": self._based_on("ServiceRequest", self._references.service_request),
                "category": [profile.concept(REPORT_CATEGORY, category)] if category else [],
                "code": procedure(order, profile),
                "subject": self._patient,
                "encounter": self._encounter(),
                "effectiveDateTime": instant(min(starts) if starts else self._made_at, profile),
                "issued": instant(self._made_at, profile),
                "imagingStudy": self._studies() if self._has_images or self._kind is OutboxKind.IMAGES else [],
            }
            | members,
            profile.number(self._report_number),
            newest=self._is_known,
        )
        self.transaction.add(
            f"{self._phase}/task",
            {
                "resourceType": "Task",
                "identifier": [number],
                "basedOn": self._based_on("Task", self._references.task),
                "status": status,
                "intent": "reflex-order",
                "authoredOn": instant(self._made_at, profile),
                "focus": report,
                "for": self._patient,
                "requester": organisation(profile, order.requester),
                "owner": organisation(profile),
            },
            number,
        )
        return self.transaction.resource()

    def _encounter(self) -> Resource:
        """Return a Reference to the visit, or stay, that the referral's sender named; empty where there is none."""
        known = self._references.extra.get(SENDERS_ENCOUNTER)
        return {"reference": f"Encounter/{known}"} if known else {}

    def observations(self, report: Report, issued: str, performer: Resource) -> list[Resource]:
        """Add an Observation for each part of a report, of which a portal takes the date of the study."""
        texts = (
            ("protocol", ReportPart.DESCRIPTION, report.description),
            ("conclusion", ReportPart.CONCLUSION, _conclusion(report)),
            ("recommendations", ReportPart.RECOMMENDATIONS, report.recommendations),
        )
        values: list[tuple[str, str, Resource]] = [
            (role, code, {"valueString": self._text(text)}) for role, code, text in texts if text
        ]
        if report.effective_dose is not None:
            dose = {"value": report.effective_dose, "unit": "мЗв", "system": "http://unitsofmeasure.org", "code": "mSv"}
            values.append(("dose", ReportPart.EFFECTIVE_DOSE, {"valueQuantity": dose}))
        return [
            self.transaction.add(
                f"{self._phase}/{role}",
                {
                    "resourceType": "Observation",
                    "status": "final",
                    "code": self._profile.concept(RESULT_PART, code),
                    "subject": self._patient,
                    "issued": issued,
                    "performer": [performer],
                }
                | value,
                self._profile.number(f"{self._number}/{role}"),
            )
            for role, code, value in values
        ]

    def document(self, pdf: bytes) -> Resource:
        """Add the document; return the Attachment, which has it twice: as data, and as the address of an entry."""
        data = base64.b64encode(pdf).decode("ascii")
        binary = {"resourceType": "Binary", "contentType": PDF, "data": data}
        reference = self.transaction.add_document(f"{self._phase}/pdf", binary)
        return {"contentType": PDF, "data": data, "url": reference["reference"]}

    def _text(self, text: str) -> str:
        if self._profile.texts == "base64":
            return base64.b64encode(text.encode("utf-8")).decode("ascii")
        return text

    def _based_on(self, kind: str, id: str) -> list[Resource]:
        if self._order.bus_role is BusRole.WALK_IN:
            return []
        return [{"reference": f"{kind}/{id}"}]

    def _studies(self) -> list[Resource]:
        """Return references to studies; those that the bus does not have are added."""
        studies: dict[str, list[PerformedStep]] = {}
        for step in self._performed:
            studies.setdefault(_study_uid(step, self._order), []).append(step)
        if len(studies) > 1:  # what the archive holds of an order is counted in one
            self._archived = NOTHING_KNOWN
        return [
            {"reference": f"ImagingStudy/{known}"}
            if (known := self._references.extra.get(f"{STUDY}{uid}")) and not (self._is_known or self._is_outdated(uid))
            else self._study(uid, steps, is_known=bool(known) or self._is_known)
            for uid, steps in (studies or {self._order.study_instance_uid: []}).items()
        ]

    def _is_outdated(self, uid: str) -> bool:
        """Return True if the bus has a study with another number of images than the archive holds by now."""
        sent, held = self.sent.get(uid), self._archived.get(uid)
        return self._has_images and bool(held) and sent is not None and sent != held

    def _study(self, uid: str, steps: Sequence[PerformedStep], *, is_known: bool) -> Resource:
        order, profile = self._order, self._profile
        starts = [step.start for step in steps if step.start]
        images = self._archived.get(uid) or _reported_images(steps)
        modalities = dict.fromkeys(step.modality for step in steps if step.modality) or passthrough.modalities(order)
        accession_number = self._references.acsn or order.bus_accession_number or order.shown_number
        number = {"system": "urn:dicom:uid", "value": f"urn:oid:{uid}"}
        study: dict[str, Any] = {
            "resourceType": "ImagingStudy",
            "identifier": [
                {"type": profile.concept(STUDY_NUMBER, "ACSN")} | profile.number(accession_number),
                number,
            ],
            "status": "available",
            "modality": [profile.coding(DCM, modality) for modality in modalities if modality],
            "subject": self._patient,
            "endpoint": self._endpoints(uid) if self._has_images else [],
        }
        if starts:
            study["started"] = instant(min(starts), profile)
        if images and self._has_images:  # 0: not reported
            study["numberOfInstances"] = images
        if self._has_images:
            series = self._series(steps)
            study |= {"numberOfSeries": len(series), "series": series} if series else {}
        return self.transaction.add(f"{self._phase}/study/{uid}", study, number, newest=is_known)

    def _series(self, steps: Sequence[PerformedStep]) -> list[Resource]:
        """Return the series that modalities have reported, each once; their images where the archive agrees on them."""
        made = {
            each.series_instance_uid: (each, step)
            for step in steps
            for each in step.series
            if valid_uid(each.series_instance_uid) and step.modality
        }
        counted = sum(each.images for each, _ in made.values())
        agrees = sum(self._archived.values()) in (0, counted)
        return [
            {"uid": uid, "modality": self._profile.coding(DCM, step.modality)}
            | ({"numberOfInstances": each.images} if each.images and agrees else {})
            | ({"description": each.description} if each.description else {})
            for uid, (each, step) in made.items()
        ]

    def _endpoints(self, uid: str) -> list[Resource]:
        """Add the Endpoint of the images, if it is configured."""
        url = self._profile.images_url
        if not url:
            return []
        endpoint = {
            "resourceType": "Endpoint",
            "status": "active",
            "connectionType": _connection_type(url),
            "payloadType": [{"text": "DICOM"}],
            "address": url.replace("{study}", uid),
        }
        number = self._profile.number(f"{self._order.accession_number}/images/{uid}")
        return [self.transaction.add(f"{self._phase}/endpoint/{uid}", endpoint, number)]


def sent_images(body: str) -> dict[str, int]:
    """Return the numbers of images in a Bundle that was sent, by Study Instance UID; 0 where it says none."""
    resources = [entry.get("resource", {}) for entry in json.loads(body).get("entry", [])] if body else []
    return {
        str(number["value"]).removeprefix("urn:oid:"): int(each.get("numberOfInstances", 0))
        for each in resources
        if each.get("resourceType") == "ImagingStudy"
        for number in each.get("identifier", [])
        if number.get("system") == "urn:dicom:uid"
    }


def _conclusion(report: Report) -> str:
    """Return the conclusion as readers are to see it, who may know no other status than a final one."""
    if report.is_withdrawn:
        return f"Протокол отозван: {report.reason}" if report.reason else "Протокол отозван"
    is_corrected = report.change is ReportChange.CORRECTION
    return f"Исправлено: {report.reason}\n\n{report.conclusion}" if is_corrected else report.conclusion


def _study_uid(step: PerformedStep, order: Order) -> str:
    named = [reference.study_instance_uid for reference in step.references if valid_uid(reference.study_instance_uid)]
    return order.study_instance_uid if order.study_instance_uid in named or not named else named[0]


def _reported_images(steps: Sequence[PerformedStep]) -> int:
    """Return how many images were reported of a study; 0 where a step counts those of several studies together."""
    is_shared = any(len({each.study_instance_uid for each in step.references}) > 1 for step in steps)
    return 0 if is_shared else sum(step.images for step in steps)


def _connection_type(url: str) -> Resource:
    """Return the connection type of an address; R4 requires it, but has no code for a viewer or for DIMSE."""
    if "requestType=WADO" in url:
        return {"system": CONNECTION_TYPES, "code": "dicom-wado-uri"}
    if "/studies/" in url:
        return {"system": CONNECTION_TYPES, "code": "dicom-wado-rs"}
    return {"display": "DICOM" if url.startswith("dicom:") else "HTTP"}
