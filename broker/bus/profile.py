"""Who we are to the regional bus, and the dictionaries of its region: code systems, versions, identifier systems.

Pure. OIDs are those of the ОДИИ wire profile; what differs from region to region comes from the configuration.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import tzinfo
from enum import StrEnum

from broker.bus.fhir import Resource

N3 = "1.2.643.2.69.1.1.1"  # codifiers of the N3.Health family
NSI = "1.2.643.5.1.13.13.11"  # dictionaries of the Ministry's register (НСИ)
OWN_ID = "1.2.643.5.1.13.2.7.100.5"
SNILS = f"{N3}.6.223"
POLICY = f"{N3}.6.228"
POSITION = f"{NSI}.1002"
SPECIALTY = f"{NSI}.1066"
VERIFICATION = "2.16.840.1.113883.4.642.1.1075"
ENCOUNTER_CLASS = "2.16.840.1.113883.1.11.13955"
ENCOUNTER_TYPE = f"{N3}.35"
CONDITION_CATEGORY = f"{N3}.36"
MEASUREMENT = f"{N3}.37"
FINANCE = f"{N3}.32"
RESULT_PART = f"{N3}.119"
STUDY_NUMBER = f"{N3}.122"
REPORT_CATEGORY = f"{NSI}.1472"
PROCEDURE = f"{NSI}.1471"
BODY_SITE = f"{NSI}.1477"
DIAGNOSIS = f"{NSI}.1005"
CONFIDENTIALITY = f"{NSI}.1116"
DCM = "1.2.840.10008.2.16.4"  # PS3.16 Table 8-1: DICOM Controlled Terminology

# The side of the body, for which the profile has no member: a note of the ServiceRequest.
LATERALITY_TEXT = {"R": "Сторона: правая", "L": "Сторона: левая", "B": "Сторона: обе"}
VERSION_NOT_CONFIGURED = "0"
"""Stands for [unknown] in a Coding whose code system has no version in the configuration.

A version is mandatory on the wire and no real one is invented; a region that checks versions refuses this one, and
its reason then names the code system to be added to `bus.versions`.
"""

CODE_SYSTEMS = (
    POSITION,
    SPECIALTY,
    VERIFICATION,
    ENCOUNTER_CLASS,
    ENCOUNTER_TYPE,
    CONDITION_CATEGORY,
    MEASUREMENT,
    FINANCE,
    RESULT_PART,
    STUDY_NUMBER,
    REPORT_CATEGORY,
    CONFIDENTIALITY,
    DCM,
)


class ReportPart(StrEnum):
    """The codes of `RESULT_PART`: which part of a report an Observation is."""

    DESCRIPTION = "1"
    CONCLUSION = "2"
    RECOMMENDATIONS = "3"
    EFFECTIVE_DOSE = "5"


@dataclass(frozen=True, slots=True)
class Profile:
    """Who we are to the bus and which dictionaries its region uses."""

    organisation: str  # GUID in codifier N3.64
    mis_oid: str  # the system that our order numbers and patient numbers belong to
    zone: tzinfo  # of the clinic's local dates and times
    versions: Mapping[str, str] = field(default_factory=dict)  # code system OID -> version
    positions: Mapping[str, tuple[str, str]] = field(default_factory=dict)  # position in words -> NSI.1002, NSI.1066
    system_procedure: str = PROCEDURE
    system_body_site: str = BODY_SITE
    system_diagnosis: str = DIAGNOSIS
    texts: str = "plain"  # or base64: how a report's texts are written
    # What makes a case (see `bus.encounters`) -> its type (N3.35) and class.
    encounters: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    declined_status: str = "cancelled"  # or rejected: of the Task of a referral that is declined
    waits_for_images: bool = False  # a study is announced only while the archive has images of it
    images_url: str = ""  # where others get images; {study} stands for the Study Instance UID

    def coding(self, system: str, code: str) -> Resource:
        """Make a Coding; on this bus every one has a version."""
        version = self.versions.get(system, VERSION_NOT_CONFIGURED)
        # FHIR R4 2.24.0.1, code: single blanks only.
        return {"system": oid(system), "version": version, "code": " ".join(code.split())}

    def concept(self, system: str, code: str, text: str = "") -> Resource:
        """Make a CodeableConcept of one Coding; without a code only the words stay."""
        coding = {"coding": [self.coding(system, code)]} if code else {}
        return coding | ({"text": text} if text else {})

    def number(self, value: str) -> Resource:
        """Make an Identifier of a number that we gave."""
        return {"system": oid(self.mis_oid), "value": value}


def systems_without_version(profile: Profile) -> list[str]:
    """List the code systems used here that have no version in the configuration, for a warning at start."""
    chosen = (profile.system_procedure, profile.system_body_site, profile.system_diagnosis)
    return [system for system in (*CODE_SYSTEMS, *chosen) if system not in profile.versions]


def oid(value: str) -> str:
    """Write an OID as the system of a Coding or an Identifier."""
    return f"urn:oid:{value}"
