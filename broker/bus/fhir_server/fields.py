"""What the wire profile demands of each resource, as one table: members, their kind, the codifiers they come from.

The demands are those of the ОДИИ wire profile; which members the real bus demands is not published, so a row here is
one demand to add or to strike out. `eased` marks what a clinic that has not loaded the official dictionaries cannot
fill: a lenient bus does not insist there. Only the table: what a row means is in `rules`.
"""

from __future__ import annotations

from typing import NamedTuple

N3 = "urn:oid:1.2.643.2.69.1.1.1."
NSI = "urn:oid:1.2.643.5.1.13.13.11."
OWN_ID = "urn:oid:1.2.643.5.1.13.2.7.100.5"
SNILS = N3 + "6.223"
POLICY = N3 + "6.228"
PATIENT_SYSTEMS = (OWN_ID, SNILS, POLICY, *(N3 + "6." + n for n in ("227", "226", "240", "14", "3")))
DICOM_UID = "urn:dicom:uid"
_PDF_AND_CDA = ("application/pdf", "application/xml")
_SIGNATURES = ("application/x-pkcs7-practitioner", "application/x-pkcs7-organization")


class Demand(NamedTuple):
    """One demand on a resource: `path` (`[]` marks an array), the kind of its value, and which values are allowed."""

    path: str
    kind: str = "text"  # text, bool, code, coding, concept, ref, date, instant
    allowed: tuple[str, ...] = ()
    optional: bool = False
    eased: str = ""  # to a lenient bus it may be "absent", or come from any "system", in words too


_ORGANISATION = ("Organization",)
_PATIENT = ("Patient",)
_TASK = (
    Demand("identifier[].system"),
    Demand("identifier[].value"),
    Demand("basedOn[]", "ref", ("Task",), optional=True),  # of a result, unless nobody ordered it
    Demand("authoredOn", "instant"),
    Demand("for", "ref", _PATIENT),
    Demand("requester", "ref", _ORGANISATION),
    Demand("owner", "ref", _ORGANISATION),
)
_PERSON = (Demand("identifier[].system"), Demand("identifier[].value"), Demand("name[].family"))
FIELDS: dict[str, tuple[Demand, ...]] = {
    "Patient": (
        *_PERSON,
        Demand("name[].given[]"),
        Demand("identifier[].system", "code", PATIENT_SYSTEMS),
        Demand("gender", "code", ("male", "female", "other", "unknown")),
        Demand("birthDate", "date"),
        Demand("managingOrganization", "ref", _ORGANISATION),
    ),
    "Practitioner": (*_PERSON, Demand("active", "bool")),
    "PractitionerRole": (
        Demand("active", "bool"),
        Demand("practitioner", "ref", ("Practitioner",)),
        Demand("organization", "ref", _ORGANISATION),
        Demand("code[]", "concept", (NSI + "1002",), eased="absent"),
        Demand("specialty[]", "concept", (NSI + "1066",), eased="absent"),
    ),
    "Condition": (
        Demand("verificationStatus", "concept", ("urn:oid:2.16.840.1.113883.4.642.1.1075",)),
        Demand("category[]", "concept", (N3 + "36",)),
        Demand("code", "concept", (NSI + "1005", N3 + "2"), eased="system"),
        Demand("subject", "ref", _PATIENT),
    ),
    "Observation": (
        Demand("status", "code", ("final",)),
        Demand("code", "concept", (N3 + "37", N3 + "119")),
        Demand("subject", "ref", _PATIENT, optional=True),
        Demand("valueString", optional=True),
    ),
    "Encounter": (
        Demand("identifier[].system"),
        Demand("identifier[].value"),
        Demand("status", "code", ("in-progress",)),
        Demand("class", "coding", ("urn:oid:2.16.840.1.113883.1.11.13955",)),
        Demand("type[]", "concept", (N3 + "35",)),
        Demand("subject", "ref", _PATIENT),
        Demand("diagnosis[].condition", "ref", ("Condition",), eased="absent"),
        Demand("serviceProvider", "ref", _ORGANISATION),
    ),
    "ServiceRequest": (
        Demand("status", "code", ("active",), optional=True),
        Demand("intent", "code", ("filler-order",)),
        Demand("priority", "code", ("routine", "urgent")),
        Demand("code", "concept", (NSI + "1471", N3 + "57"), eased="system"),
        Demand("orderDetail[]", "concept", (N3 + "32",)),
        Demand("subject", "ref", _PATIENT),
        Demand("encounter", "ref", ("Encounter",)),
        Demand("requester", "ref", ("PractitionerRole",), eased="system"),
        Demand("performer[]", "ref", ("Device",), optional=True),
        Demand("supportingInfo[]", "ref", ("Condition", "Observation"), optional=True),
        Demand("bodySite[]", "concept", (NSI + "1477", N3 + "58"), eased="absent"),
    ),
    "Task/original-order": (
        *_TASK,
        Demand("status", "code", ("requested",), optional=True),
        Demand("focus", "ref", ("ServiceRequest",)),
    ),
    "Task/reflex-order": (
        *_TASK,
        Demand("status", "code", ("in-progress", "completed")),
        Demand("focus", "ref", ("DiagnosticReport",)),
    ),
    "DiagnosticReport": (
        Demand("meta.security[]", "coding", (NSI + "1116",)),
        Demand("basedOn[]", "ref", ("ServiceRequest",), optional=True),
        Demand("status", "code", ("partial", "final", "appended")),
        Demand("category[]", "concept", (NSI + "1472",), eased="absent"),
        Demand("code", "concept"),
        Demand("subject", "ref", _PATIENT),
        Demand("effectiveDateTime", "instant"),
        Demand("issued", "instant"),
        Demand("performer[]", "ref", ("Practitioner", "PractitionerRole", "Organization")),
        Demand("result[]", "ref", ("Observation",), optional=True),
        Demand("imagingStudy[]", "ref", ("ImagingStudy",), optional=True),
        Demand("presentedForm[].contentType", "code", (*_PDF_AND_CDA, *_SIGNATURES), optional=True),
        Demand("presentedForm[].url", optional=True),
    ),
    "ImagingStudy": (
        Demand("identifier[].value"),
        Demand("status", "code", ("available",)),
        Demand("subject", "ref", _PATIENT),
        Demand("endpoint[]", "ref", ("Endpoint",), optional=True),
    ),
    "Endpoint": (Demand("address"),),
    "Binary": (Demand("contentType", "code", (*_PDF_AND_CDA, *_SIGNATURES)), Demand("data")),
    "Device": (
        Demand("identifier[].system"),
        Demand("identifier[].value"),
        Demand("type", "concept", (N3 + "121",)),
        Demand("status", "code", ("active",)),
        Demand("owner", "ref", _ORGANISATION),
    ),
    "Schedule": (
        Demand("identifier[].value"),
        Demand("active", "bool"),
        Demand("serviceType[]", "concept", (N3 + "121",)),
        Demand("actor[]", "ref", ("Device",)),
        Demand("planningHorizon.start", "instant"),
    ),
}
BUNDLE_TYPES = frozenset(key.partition("/")[0] for key in FIELDS) - {"Schedule"}
