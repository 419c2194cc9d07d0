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


class Field(NamedTuple):
    """One demand on a resource: `path` (`[]` marks an array), what kind of value stands there, which are allowed."""

    path: str
    kind: str = "text"  # text, bool, code, coding, concept, ref, date, instant
    allowed: tuple[str, ...] = ()
    optional: bool = False
    eased: str = ""  # to a lenient bus it may be "absent", or come from any "system", in words too


_ORGANISATION = ("Organization",)
_PATIENT = ("Patient",)
_TASK = (
    Field("identifier[].system"),
    Field("identifier[].value"),
    Field("basedOn[]", "ref", ("Task",), optional=True),  # of a result, unless nobody ordered it
    Field("authoredOn", "instant"),
    Field("for", "ref", _PATIENT),
    Field("requester", "ref", _ORGANISATION),
    Field("owner", "ref", _ORGANISATION),
)
_PERSON = (Field("identifier[].system"), Field("identifier[].value"), Field("name[].family"))
FIELDS: dict[str, tuple[Field, ...]] = {
    "Patient": (
        *_PERSON,
        Field("name[].given[]"),
        Field("identifier[].system", "code", PATIENT_SYSTEMS),
        Field("gender", "code", ("male", "female", "other", "unknown")),
        Field("birthDate", "date"),
        Field("managingOrganization", "ref", _ORGANISATION),
    ),
    "Practitioner": (*_PERSON, Field("active", "bool")),
    "PractitionerRole": (
        Field("active", "bool"),
        Field("practitioner", "ref", ("Practitioner",)),
        Field("organization", "ref", _ORGANISATION),
        Field("code[]", "concept", (NSI + "1002",), eased="absent"),
        Field("specialty[]", "concept", (NSI + "1066",), eased="absent"),
    ),
    "Condition": (
        Field("verificationStatus", "concept", ("urn:oid:2.16.840.1.113883.4.642.1.1075",)),
        Field("category[]", "concept", (N3 + "36",)),
        Field("code", "concept", (NSI + "1005", N3 + "2"), eased="system"),
        Field("subject", "ref", _PATIENT),
    ),
    "Observation": (
        Field("status", "code", ("final",)),
        Field("code", "concept", (N3 + "37", N3 + "119")),
        Field("subject", "ref", _PATIENT, optional=True),
        Field("valueString", optional=True),
    ),
    "Encounter": (
        Field("identifier[].system"),
        Field("identifier[].value"),
        Field("status", "code", ("in-progress",)),
        Field("class", "coding", ("urn:oid:2.16.840.1.113883.1.11.13955",)),
        Field("type[]", "concept", (N3 + "35",)),
        Field("subject", "ref", _PATIENT),
        Field("diagnosis[].condition", "ref", ("Condition",), eased="absent"),
        Field("serviceProvider", "ref", _ORGANISATION),
    ),
    "ServiceRequest": (
        Field("status", "code", ("active",), optional=True),
        Field("intent", "code", ("filler-order",)),
        Field("priority", "code", ("routine", "urgent")),
        Field("code", "concept", (NSI + "1471", N3 + "57"), eased="system"),
        Field("orderDetail[]", "concept", (N3 + "32",)),
        Field("subject", "ref", _PATIENT),
        Field("encounter", "ref", ("Encounter",)),
        Field("requester", "ref", ("PractitionerRole",), eased="system"),
        Field("performer[]", "ref", ("Device",), optional=True),
        Field("supportingInfo[]", "ref", ("Condition", "Observation"), optional=True),
        Field("bodySite[]", "concept", (NSI + "1477", N3 + "58"), eased="absent"),
    ),
    "Task/original-order": (
        *_TASK,
        Field("status", "code", ("requested",), optional=True),
        Field("focus", "ref", ("ServiceRequest",)),
    ),
    "Task/reflex-order": (
        *_TASK,
        Field("status", "code", ("in-progress", "completed")),
        Field("focus", "ref", ("DiagnosticReport",)),
    ),
    "DiagnosticReport": (
        Field("meta.security[]", "coding", (NSI + "1116",)),
        Field("basedOn[]", "ref", ("ServiceRequest",), optional=True),
        Field("status", "code", ("partial", "final", "appended")),
        Field("category[]", "concept", (NSI + "1472",), eased="absent"),
        Field("code", "concept"),
        Field("subject", "ref", _PATIENT),
        Field("effectiveDateTime", "instant"),
        Field("issued", "instant"),
        Field("performer[]", "ref", ("Practitioner", "PractitionerRole", "Organization")),
        Field("result[]", "ref", ("Observation",), optional=True),
        Field("imagingStudy[]", "ref", ("ImagingStudy",), optional=True),
        Field("presentedForm[].contentType", "code", (*_PDF_AND_CDA, *_SIGNATURES), optional=True),
        Field("presentedForm[].url", optional=True),
    ),
    "ImagingStudy": (
        Field("identifier[].value"),
        Field("status", "code", ("available",)),
        Field("subject", "ref", _PATIENT),
        Field("endpoint[]", "ref", ("Endpoint",), optional=True),
    ),
    "Endpoint": (Field("address"),),
    "Binary": (Field("contentType", "code", (*_PDF_AND_CDA, *_SIGNATURES)), Field("data")),
    "Device": (
        Field("identifier[].system"),
        Field("identifier[].value"),
        Field("type", "concept", (N3 + "121",)),
        Field("status", "code", ("active",)),
        Field("owner", "ref", _ORGANISATION),
    ),
    "Schedule": (
        Field("identifier[].value"),
        Field("active", "bool"),
        Field("serviceType[]", "concept", (N3 + "121",)),
        Field("actor[]", "ref", ("Device",)),
        Field("planningHorizon.start", "instant"),
    ),
}
BUNDLE_TYPES = frozenset(key.partition("/")[0] for key in FIELDS) - {"Schedule"}
