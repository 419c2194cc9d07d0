"""Parses another clinic's report on a study: report, images, texts, dose -> one ExternalStudy. Pure.

Nothing that comes is trusted: every member may be missing, of another type, endless or a trap. A member that cannot be
used is left out, and only what is not a report at all is refused. Nothing is guessed that a doctor could take for
reported.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from broker.bus.fhir import Resource, is_id, items, member, reference_to
from broker.bus.inbound.resolver import Unusable, check_modifiers
from broker.bus.profile import REPORT_CATEGORY, RESULT_PART, Profile, ReportPart, oid
from broker.domain.patients import names
from broker.domain.patients.identifiers import valid_uid
from broker.domain.reading.reports import ExternalStudy
from broker.domain.studies.prior_studies import WITHDRAWN

MAX_TEXT = 20_000  # characters of a text
MAX_LINE = 500  # characters of a name
MAX_DOCUMENTS = 20
MAX_DOSE = 1000.0  # mSv: no diagnostic study gives more; a number above it is in another unit than it says
MAX_NUMBER, MAX_UNIT = 1e9, 32  # of a dose that is shown as it was reported; characters of its unit
# NSI.1472: what a category says of the modality. 4 (рентген) is radiography of some kind: RG, PS3.3 C.7.3.1.1.1.
_MODALITIES = {"1": "CT", "2": "MR", "3": "US", "4": "RG", "5": "NM", "6": "ECG", "7": "ES"}
# Objects that are in a study beside the images.
_NO_IMAGES = frozenset({"SR", "KO", "PR", "DOC", "OT", "REG", "SEG", "PLAN"})
# A sievert has many spellings; both signs for micro (U+00B5, U+03BC). mGy is not an effective dose, wherever it stands.
_SIEVERTS = {
    **dict.fromkeys(("mSv", "мЗв"), 1.0),
    **dict.fromkeys(("uSv", "\u00b5Sv", "\u03bcSv", "мкЗв", "mkSv"), 0.001),
    **dict.fromkeys(("Sv", "Зв"), 1000.0),
}
_VOID = ("entered-in-error", "cancelled")  # modifiers of ImagingStudy, Observation and others
_STATUSES = WITHDRAWN | {"registered", "partial", "preliminary", "final", "amended", "corrected", "appended"}

_DOCTORS = ("Practitioner", "PractitionerRole")
_ADDRESS = re.compile(r"(?:https?|dicom)://[!-~]{1,2000}")
_MODALITY = re.compile(r"[A-Z]{2,16}")
_CODE = re.compile(r"[!-~]{1,64}")
_DAY = re.compile(r"(\d{4}-\d{2}-\d{2})(T.*)?", re.ASCII | re.DOTALL)
_BASE64 = re.compile(r"[A-Za-z0-9+/]{8,}={0,2}")


@dataclass(frozen=True, slots=True)
class ReportGraph:
    """A report and the resources that it refers to, which may be missing."""

    report: Resource
    task: Resource | None = None
    others: Sequence[Resource] = ()  # ServiceRequest, ImagingStudy, Endpoint, Observation, Practitioner(Role)

    def of(self, kind: str) -> Iterator[Resource]:
        """Return the other resources of one type, without those that are no longer true."""
        listed = (each for each in self.others if isinstance(each, dict) and each.get("resourceType") == kind)
        return (each for each in listed if each.get("status") not in _VOID)


def external_study(graph: ReportGraph, profile: Profile) -> ExternalStudy:
    """Return the study that a report describes.

    Raise Unusable if it is not a DiagnosticReport with an id, or has what is not understood.
    """
    report = graph.report
    check_modifiers(report)
    id = member(report, "id")
    if member(report, "resourceType") != "DiagnosticReport" or not is_id(id):
        raise Unusable("it is not a DiagnosticReport")
    studies = list(graph.of("ImagingStudy"))
    code, name = _procedure([report, *graph.of("ServiceRequest")], profile)
    status = member(report, "status")
    status = status if isinstance(status, str) and status in _STATUSES else ""
    effective = _effective_dose(graph)
    number, unit = _unconverted_dose(graph) if effective is None else (None, "")
    return ExternalStudy(
        reference=f"DiagnosticReport/{id}",
        status=status,
        organisation=_organisation(graph),
        studied_on=_studied_on(report, studies, profile),
        modality=next(_modalities(report, studies), ""),
        procedure_code=code,
        procedure_name=name,
        body_site=next(_body_sites(graph, studies, profile), ""),
        # A withdrawn text must not be read as a finding.
        description="" if status in WITHDRAWN else _part_text(graph, ReportPart.DESCRIPTION),
        conclusion=""
        if status in WITHDRAWN
        else _part_text(graph, ReportPart.CONCLUSION) or _text(member(report, "conclusion")),
        recommendations="" if status in WITHDRAWN else _part_text(graph, ReportPart.RECOMMENDATIONS),
        effective_dose=effective,
        study_instance_uid=next(_study_uids(studies), ""),
        images_url=next(_addresses(graph, studies), ""),
        accession_number=next(_accession_numbers([*studies, *_as_list(graph.task)]), ""),
        doctor=next(_doctors(graph), ""),
        documents=tuple(dict.fromkeys(_documents(report)))[:MAX_DOCUMENTS],
        unconverted_dose=number,
        unconverted_unit=unit,
    )


def version_of(resource: Resource) -> str:
    """Return a text that differs between the versions of a resource; empty if the bus has none."""
    meta = member(resource, "meta")
    parts = [member(meta, "versionId"), member(meta, "lastUpdated")]
    return " ".join(_line(part)[:64] for part in parts if isinstance(part, str) and part)


def read_text(value: object) -> str:
    """Read a valueString that is plain text or, as one client writes it, base64 of UTF-8; empty if it is neither.

    Only what decodes strictly to readable text with a Cyrillic letter is taken for base64: a Latin word of the right
    length ("Normal12") decodes to bytes that are none.
    """
    if not isinstance(value, str):
        return ""
    packed = "".join(value.split())
    if len(packed) % 4 == 0 and _BASE64.fullmatch(packed):
        try:
            plain = base64.b64decode(packed, validate=True).decode("utf-8")
        except (binascii.Error, UnicodeDecodeError):
            plain = ""
        if names.is_cyrillic(plain) and all(map(_readable, plain)):
            return _text(plain)
    return _text(value)


def millisieverts(quantity: object) -> float | None:
    """Return an effective dose in mSv; None if the value, its unit or its size is not plausible."""
    value = member(quantity, "value")
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    units = [unit for unit in (member(quantity, "code"), member(quantity, "unit")) if unit]
    factors = {_SIEVERTS.get(unit.strip(" .")) if isinstance(unit, str) else None for unit in units}
    factor = factors.pop() if len(factors) == 1 else None  # none, or two that contradict each other
    if factor is None or not 0 <= value <= MAX_DOSE / factor or not math.isfinite(value):
        return None
    return round(value * factor, 9)


def references(report: Resource) -> Iterator[tuple[object, tuple[str, ...]]]:
    """Yield the references of a report to follow, with the allowed types.

    The texts and the dose come first: time or requests may run out. `onward_references` says where each leads on.
    """
    for name, kinds, most in (
        ("result", ("Observation",), 10),
        ("imagingStudy", ("ImagingStudy",), 2),
        ("basedOn", ("ServiceRequest",), 1),
        ("resultsInterpreter", _DOCTORS, 1),
        ("performer", _DOCTORS, 3),
    ):
        for reference in items(report, name, most):
            text = member(reference, "reference")
            is_contained = isinstance(text, str) and text.startswith("#")
            if is_contained or any(reference_to(kind, reference) for kind in kinds):
                yield reference, kinds


def onward_references(resource: Resource) -> Iterator[tuple[object, tuple[str, ...]]]:
    """Return the references to follow in a resource of a report, as `references` does."""
    if member(resource, "resourceType") == "ImagingStudy":
        yield from ((reference, ("Endpoint",)) for reference in items(resource, "endpoint", 1))
    if member(resource, "resourceType") == "PractitionerRole":
        yield member(resource, "practitioner"), ("Practitioner",)


# ---- the members ----


def _organisation(graph: ReportGraph) -> str:
    """Return the GUID of the clinic that did it: who performed the report, else who owns the Task."""
    places = [*items(graph.report, "performer"), member(graph.task, "owner")]
    places += [member(role, "organization") for role in graph.of("PractitionerRole")]
    found = (reference_to("Organization", place) for place in places)
    return next((reference.partition("/")[2] for reference in found if reference), "")


def _studied_on(report: Resource, studies: Sequence[Resource], profile: Profile) -> date | None:
    period = member(report, "effectivePeriod")
    dates = [member(report, "effectiveDateTime"), member(period, "start")]
    dates += [*(member(study, "started") for study in studies), member(report, "issued")]
    return next((day for value in dates if (day := _day(value, profile))), None)


def _day(value: object, profile: Profile) -> date | None:
    """Return the clinic's local day of a FHIR dateTime; None for a month or year."""
    match = _DAY.fullmatch(value) if isinstance(value, str) and len(value) <= 40 else None
    if not match:
        return None
    try:
        moment = datetime.fromisoformat(match[0])
        day = moment.astimezone(profile.zone).date() if moment.tzinfo else moment.date()
    except (ValueError, OverflowError):  # the first and the last day that a date can be have no neighbour
        return None
    return day if day.year >= 1900 else None


def _modalities(report: Resource, studies: Sequence[Resource]) -> Iterator[str]:
    for study in studies:
        codings = [*items(study, "modality"), *(member(series, "modality") for series in items(study, "series"))]
        for coding in codings:
            code = member(coding, "code")
            if isinstance(code, str) and _MODALITY.fullmatch(code) and code not in _NO_IMAGES:
                yield code
    for category in items(report, "category"):
        for code, _ in _codings(category, REPORT_CATEGORY):
            if code in _MODALITIES:
                yield _MODALITIES[code]


def _procedure(holders: Sequence[Resource], profile: Profile) -> tuple[str, str]:
    """Return code and name of the procedure; codes of other systems are ignored, their names are not."""
    code = name = ""
    for concept in (member(holder, "code") for holder in holders):
        code = code or next((code for code, _ in _codings(concept, profile.system_procedure)), "")
        displays = [display for _, display in _codings(concept)]
        name = name or next((text for text in (_line(member(concept, "text")), *displays) if text), "")
    return code, name


def _body_sites(graph: ReportGraph, studies: Sequence[Resource], profile: Profile) -> Iterator[str]:
    """Return the codes of body sites in the region's own system; those of another cannot be compared with ours."""
    concepts = [concept for request in graph.of("ServiceRequest") for concept in items(request, "bodySite")]
    for concept in concepts:
        yield from (code for code, _ in _codings(concept, profile.system_body_site))
    for study in studies:
        series = [{"coding": [member(each, "bodySite")]} for each in items(study, "series")]
        for concept in series:
            yield from (code for code, _ in _codings(concept, profile.system_body_site))


def _part_text(graph: ReportGraph, code: str) -> str:
    """Join the texts of the observations with this code."""
    values = (member(observation, "valueString") for observation in _observations(graph, code))
    return "\n".join(dict.fromkeys(text for value in values if (text := read_text(value))))[:MAX_TEXT]


def _effective_dose(graph: ReportGraph) -> float | None:
    """Return the largest of several doses: the sum of a year must not be too low."""
    doses = (millisieverts(member(each, "valueQuantity")) for each in _observations(graph, ReportPart.EFFECTIVE_DOSE))
    return max((dose for dose in doses if dose is not None), default=None)


def _unconverted_dose(graph: ReportGraph) -> tuple[float | None, str]:
    """Return a dose whose unit is missing or none of an effective dose, or that is no plausible one, with its unit."""
    for each in _observations(graph, ReportPart.EFFECTIVE_DOSE):
        quantity = member(each, "valueQuantity")
        value = member(quantity, "value")
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MAX_NUMBER:
            continue
        if millisieverts(quantity) is None:
            units = (_line(unit) for name in ("unit", "code") if isinstance(unit := member(quantity, name), str))
            return float(value), next((unit[:MAX_UNIT] for unit in units if unit), "")
    return None, ""


def _observations(graph: ReportGraph, code: str) -> Iterator[Resource]:
    for observation in graph.of("Observation"):
        withdrawn = member(observation, "status") in ("cancelled", "entered-in-error")
        if not withdrawn and code in (each for each, _ in _codings(member(observation, "code"), RESULT_PART)):
            yield observation


def _study_uids(studies: Iterable[Resource]) -> Iterator[str]:
    for study in studies:
        for identifier in items(study, "identifier"):
            value = member(identifier, "value")
            if member(identifier, "system") == "urn:dicom:uid" and isinstance(value, str):
                uid = value.strip().removeprefix("urn:oid:")
                if uid.isascii() and valid_uid(uid):
                    yield uid


def _accession_numbers(holders: Iterable[Resource]) -> Iterator[str]:
    for holder in holders:
        for identifier in items(holder, "identifier"):
            codes = [code for code, _ in _codings(member(identifier, "type"))]
            value = _line(member(identifier, "value"))
            if "ACSN" in codes and value:
                yield value[:64]


def _addresses(graph: ReportGraph, studies: Sequence[Resource]) -> Iterator[str]:
    """Yield addresses of the images: Endpoint, or the description, which one client uses for its viewer."""
    given = [member(endpoint, "address") for endpoint in graph.of("Endpoint")]
    given += [member(study, "description") for study in studies]
    for address in given:
        if isinstance(address, str) and _ADDRESS.fullmatch(address.strip()):
            yield address.strip()


def _doctors(graph: ReportGraph) -> Iterator[str]:
    for practitioner in graph.of("Practitioner"):
        for name in items(practitioner, "name"):
            family = _line(member(name, "family"))
            given = [_line(part) for part in items(name, "given", 3)]
            if family:
                yield " ".join(part for part in (family, *given) if part)[:MAX_LINE]
            elif text := _line(member(name, "text")):
                yield text


def _documents(report: Resource) -> Iterator[str]:
    for form in items(report, "presentedForm"):
        if reference := reference_to("Binary", {"reference": member(form, "url")}):
            yield reference


# ---- values ----


def _codings(concept: object, system: str = "") -> Iterator[tuple[str, str]]:
    """Return (code, display) of a concept's codings, of one system (OID) where that is asked for."""
    for coding in items(concept, "coding", 20):
        code, of = member(coding, "code"), member(coding, "system")
        right = not system or (isinstance(of, str) and of.strip() in (system, oid(system)))
        if right and isinstance(code, str) and _CODE.fullmatch(code):
            yield code, _line(member(coding, "display"))


def _line(value: object) -> str:
    return names.tidy(value[: 4 * MAX_LINE])[:MAX_LINE].rstrip() if isinstance(value, str) else ""


def _text(value: object) -> str:
    """Tidy a text of several lines: NFC, no control characters, no more than one empty line together."""
    if not isinstance(value, str):
        return ""
    raw = unicodedata.normalize("NFC", value[: 2 * MAX_TEXT]).replace("\r\n", "\n").replace("\r", "\n")
    lines = "\n".join(names.tidy(line) for line in raw.split("\n"))
    return re.sub(r"\n{3,}", "\n\n", lines).strip()[:MAX_TEXT].rstrip()


def _readable(char: str) -> bool:
    return char in "\r\n\t" or unicodedata.category(char) not in ("Cc", "Cs", "Co", "Cn")


def _as_list(resource: Resource | None) -> list[Resource]:
    return [resource] if resource else []
