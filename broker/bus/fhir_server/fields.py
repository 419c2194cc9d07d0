"""The required members of each resource by the ОДИИ profile: their kinds and code systems, as one table.

The requirements of the real bus are not published; a row here is one requirement to add or remove. `lenient` marks
members that a clinic without the official dictionaries cannot fill in. `rules` checks by this table.
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
PDF_AND_CDA = ("application/pdf", "application/xml")
_SIGNATURES = tuple(
    f"application/x-pkcs7-{of}{form}" for form in ("", "-xml") for of in ("practitioner", "organization")
)


class Requirement(NamedTuple):
    """One required member: its `path` (`[]` marks an array), the kind of its value, and the allowed values."""

    path: str
    kind: str = "text"  # text, bool, code, coding, concept, ref, date, instant
    allowed: tuple[str, ...] = ()
    optional: bool = False
    may_be_unknown: bool = False  # of somebody who is not fully known; the region's patient index insists on it
    # A lenient bus accepts its absence ("absent"), that of the member as a whole ("whole": no identifier, but none
    # without a value), or any code system and texts ("system").
    lenient: str = ""


_ORGANISATION = ("Organization",)
_PATIENT = ("Patient",)
_TASK = (
    Requirement("identifier[].system"),
    Requirement("identifier[].value"),
    Requirement("basedOn[]", "ref", ("Task",), optional=True),  # of a result, unless it is a walk-in
    Requirement("authoredOn", "instant"),
    Requirement("for", "ref", _PATIENT),
    Requirement("requester", "ref", _ORGANISATION),
    Requirement("owner", "ref", _ORGANISATION),
)
FIELDS: dict[str, tuple[Requirement, ...]] = {
    "Patient": (
        Requirement("identifier[].system"),
        Requirement("identifier[].value"),
        Requirement("name[].family"),
        Requirement("name[].given[]", may_be_unknown=True),
        Requirement("identifier[].system", "code", PATIENT_SYSTEMS),
        Requirement("gender", "code", ("male", "female", "other", "unknown")),
        Requirement("birthDate", "date", may_be_unknown=True),
        Requirement("managingOrganization", "ref", _ORGANISATION),
    ),
    "Practitioner": (
        Requirement("identifier[].system", lenient="whole"),
        Requirement("identifier[].value", lenient="whole"),
        Requirement("name[].family"),
        Requirement("active", "bool", lenient="absent"),
    ),
    "PractitionerRole": (
        Requirement("active", "bool"),
        Requirement("practitioner", "ref", ("Practitioner",)),
        Requirement("organization", "ref", _ORGANISATION),
        Requirement("code[]", "concept", (NSI + "1002",), lenient="absent"),
        Requirement("specialty[]", "concept", (NSI + "1066",), lenient="absent"),
    ),
    "Condition": (
        Requirement("verificationStatus", "concept", ("urn:oid:2.16.840.1.113883.4.642.1.1075",)),
        Requirement("category[]", "concept", (N3 + "36",)),
        Requirement("code", "concept", (NSI + "1005", N3 + "2"), lenient="system"),
        Requirement("subject", "ref", _PATIENT),
    ),
    "Observation": (
        Requirement("status", "code", ("final",)),
        Requirement("code", "concept", (N3 + "37", N3 + "119")),
        Requirement("subject", "ref", _PATIENT, optional=True),
        Requirement("valueString", optional=True),
    ),
    "Encounter": (
        Requirement("identifier[].system"),
        Requirement("identifier[].value"),
        Requirement("status", "code", ("in-progress",)),
        Requirement("class", "coding", ("urn:oid:2.16.840.1.113883.1.11.13955",)),
        Requirement("type[]", "concept", (N3 + "35",)),
        Requirement("subject", "ref", _PATIENT),
        Requirement("diagnosis[].condition", "ref", ("Condition",), lenient="absent"),
        Requirement("serviceProvider", "ref", _ORGANISATION),
    ),
    "ServiceRequest": (
        Requirement("status", "code", ("active",), optional=True),
        Requirement("intent", "code", ("filler-order",)),
        Requirement("priority", "code", ("routine", "urgent")),
        Requirement("code", "concept", (NSI + "1471", N3 + "57"), lenient="system"),
        Requirement("orderDetail[]", "concept", (N3 + "32",)),
        Requirement("subject", "ref", _PATIENT),
        Requirement("encounter", "ref", ("Encounter",)),
        Requirement("requester", "ref", ("PractitionerRole",), lenient="system"),
        Requirement("performer[]", "ref", ("Device",), optional=True),
        Requirement(
            "supportingInfo[]", "ref", ("Condition", "Observation", "ImagingStudy", "DiagnosticReport"), optional=True
        ),
        Requirement("bodySite[]", "concept", (NSI + "1477", N3 + "58"), lenient="absent"),
    ),
    "Task/original-order": (
        *_TASK,
        Requirement("status", "code", ("requested",), optional=True),
        Requirement("focus", "ref", ("ServiceRequest",)),
    ),
    "Task/reflex-order": (
        *_TASK,
        Requirement("status", "code", ("in-progress", "completed")),
        Requirement("focus", "ref", ("DiagnosticReport",)),
    ),
    "DiagnosticReport": (
        Requirement("meta.security[]", "coding", (NSI + "1116",)),
        Requirement("basedOn[]", "ref", ("ServiceRequest",), optional=True),
        Requirement("status", "code", ("partial", "final", "appended")),
        Requirement("category[]", "concept", (NSI + "1472",), lenient="absent"),
        Requirement("code", "concept"),
        Requirement("subject", "ref", _PATIENT),
        Requirement("effectiveDateTime", "instant"),
        Requirement("issued", "instant"),
        Requirement("performer[]", "ref", ("Practitioner", "PractitionerRole", "Organization"), optional=True),
        Requirement("result[]", "ref", ("Observation",), optional=True),
        Requirement("imagingStudy[]", "ref", ("ImagingStudy",), optional=True),
        Requirement("presentedForm[].contentType", "code", (*PDF_AND_CDA, *_SIGNATURES), optional=True),
        Requirement("presentedForm[].url", optional=True),
    ),
    "ImagingStudy": (
        Requirement("identifier[].value"),
        Requirement("status", "code", ("available",)),
        Requirement("subject", "ref", _PATIENT),
        Requirement("endpoint[]", "ref", ("Endpoint",), optional=True),
    ),
    "Endpoint": (Requirement("address"),),
    "Binary": (Requirement("contentType", "code", (*PDF_AND_CDA, *_SIGNATURES)), Requirement("data")),
    "Device": (
        Requirement("identifier[].system"),
        Requirement("identifier[].value"),
        Requirement("type", "concept", (N3 + "121",)),
        Requirement("status", "code", ("active",)),
        Requirement("owner", "ref", _ORGANISATION),
    ),
    "Schedule": (
        Requirement("identifier[].value"),
        Requirement("active", "bool"),
        Requirement("serviceType[]", "concept", (N3 + "121",)),
        Requirement("actor[]", "ref", ("Device",)),
        Requirement("planningHorizon.start", "instant"),
    ),
}
BUNDLE_TYPES = frozenset(key.partition("/")[0] for key in FIELDS) - {"Schedule"}
