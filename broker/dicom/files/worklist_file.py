"""Worklist files (`.wl`) of DCMTK's wlmscpfs and Orthanc parsed: from a file's bytes to an item to be imported.

What the model has a field for is in the item's fields, everything else in its `attributes`
(see `domain.studies.passthrough`), so that a modality gets what the script wrote. Nothing here touches a disk or the
database; reasons name no patient.
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime, time
from typing import Any

from pydicom.datadict import keyword_for_tag, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from broker.dicom.codec import charset, decoding, json_model, private_elements
from broker.dicom.codec.decoding import Element
from broker.domain.orders import ImportedItem, Priority
from broker.domain.patients import names
from broker.domain.patients.people import Patient, PersonName, Sex
from broker.domain.studies import passthrough

SUFFIX = ".wl"
MOST_BYTES = decoding.MOST_BYTES
_IMPLICIT, _EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
_LONG = {b"OB", b"OW", b"SQ", b"UN", b"UT"}  # VRs with a length of four bytes that the meta information may hold
_OFFICIAL = "99NSI1471"  # the coding scheme under which our own answers name the official dictionary
_SEQUENCE = "ScheduledProcedureStepSequence"
_DATE = re.compile(r"(\d{4})([.-]?)(\d{2})\2(\d{2})")
_TIME = re.compile(r"(\d{2})(?::?(\d{2})(?::?(\d{2})(?:\.\d{1,6})?)?)?")
# Wildcards and the delimiter of values (PS3.4 C.2.2.2.4, PS3.5 6.2): a query with such a number means other items, too.
_NOT_IN_NUMBERS = re.compile(r"[*?\\]")
# Control characters that no text has: UTF-8 that is declared to be a character set of single bytes becomes them.
_C1 = re.compile(r"[\x80-\x9f]")

JsonAttributes = dict[str, dict[str, Any]]


class BadWorklistFile(ValueError):
    """The file cannot be imported; the text says why, and names no patient."""


class Unreadable(BadWorklistFile):
    """It is not a dataset, or not yet a whole one: somebody may still be writing it."""


def read(data: bytes) -> tuple[ImportedItem, str]:
    """Return what `read_all` does, of a file with one scheduled step its item."""
    items, digest = read_all(data)
    return items[0], digest


def read_all(data: bytes) -> tuple[list[ImportedItem], str]:
    """Return a worklist file's items, and a SHA-256 of its content that a mere rewriting does not change.

    A file has an item for each scheduled step, all of one requested procedure: an answer has a single one (PS3.4
    K.6.1.2.2). wlmscpfs ignores such files, or with -dfr puts all steps into one answer.
    Raise Unreadable, or BadWorklistFile for a dataset that is not a worklist item.
    """
    elements = _elements(data)
    ds = _dataset(elements)
    content = _content(ds)  # with private elements as they are in the file, whatever is made of them
    ds = decoding.dataset(private_elements.identify(elements, charset.UTF_8), charset.UTF_8)
    _content(ds)
    steps = ds.get(_SEQUENCE) or []
    if not steps:
        raise BadWorklistFile("it has no Scheduled Procedure Step Sequence, so it is not a worklist item")
    items = [_item(ds, step, steps[0]) for step in steps]
    modality = items[0].modality
    if any(each.modality != modality and not (modality and each.modality and each.station_ae_titles) for each in items):
        raise BadWorklistFile("its scheduled steps are of several modalities, and one names no modality or no station")
    # An order has the modality of its first step; what another step has of its own stays among its attributes.
    items = [replace(each, modality=modality) for each in items]
    if len({each.sps_id or (each.start, each.station_ae_titles) for each in items}) < len(items):
        raise BadWorklistFile(
            "two of its scheduled steps have the same Scheduled Procedure Step ID, or nothing differs"
        )
    return items, hashlib.sha256(content.encode()).hexdigest()


# ---- the file ----


def _elements(data: bytes) -> list[Element]:
    body, implicit = _body(data)
    if not body:
        raise Unreadable("it is empty")
    try:
        return decoding.parse(body, implicit, MOST_BYTES, decoding.MOST_ELEMENTS)
    except decoding.Undecodable as error:
        raise Unreadable(f"it is not a whole DICOM dataset: {error}") from None


def _dataset(elements: list[Element]) -> Dataset:
    ds = decoding.dataset(elements, charset.UTF_8)
    declared = bool(ds.get("SpecificCharacterSet"))
    if any(_C1.search(text) if declared else not text.isascii() for text in _texts(ds)):
        raise BadWorklistFile("its texts are not in the Specific Character Set that it names")
    return ds


def _content(ds: Dataset) -> str:
    """Return a dataset's content as one text; raise BadWorklistFile if it cannot be stored."""
    try:
        return json.dumps(_json(ds), sort_keys=True, ensure_ascii=False, allow_nan=False)
    except (ValueError, TypeError, OverflowError):
        raise BadWorklistFile("it holds a value that cannot be stored") from None


def _body(data: bytes) -> tuple[bytes, bool]:
    """Return the dataset's bytes, without preamble and meta information, and whether they are Implicit VR.

    Files without them occur (`dump2dcm -F`): then the first element shows its VR, or has none.
    """
    at = 132 if data[128:132] == b"DICM" else 0
    syntax = ""
    while data[at : at + 2] == b"\x02\x00":  # PS3.10 7.1: always Explicit VR Little Endian
        long = data[at + 4 : at + 6] in _LONG
        header = 12 if long else 8
        if len(data) < at + header:
            raise Unreadable("it ends within its meta information")
        length = struct.unpack_from("<I" if long else "<H", data, at + (8 if long else 6))[0]
        end = at + header + length
        if len(data) < end:
            raise Unreadable("it ends within its meta information")
        if data[at + 2 : at + 4] == b"\x10\x00":
            syntax = data[at + header : end].decode("latin_1").strip(" \0")
        at = end
    if syntax not in ("", _IMPLICIT, _EXPLICIT):
        raise BadWorklistFile(f"its transfer syntax {syntax[:64]!r} is neither Implicit nor Explicit VR Little Endian")
    vr = data[at + 4 : at + 6]
    implicit = syntax == _IMPLICIT if syntax else not (vr.isalpha() and vr.isupper())
    return data[at:], implicit


def _texts(ds: Dataset) -> Iterator[str]:
    for element in ds:
        if element.VR == "SQ":
            for item in element.value or []:
                yield from _texts(item)
        elif element.value is not None and not isinstance(element.value, bytes):
            yield str(element.value)


# ---- the item ----


def _item(ds: Dataset, step: Dataset, first: Dataset) -> ImportedItem:
    """Return the item of a scheduled step; what the requested procedure is says the first step, if `ds` does not."""
    top, inner = _json(ds), _json(step)
    del top[_tag(_SEQUENCE)]
    start = _start(step, inner)
    patient = _patient(ds, top)
    modality = _text(step, "Modality")
    referrer = _referrer(ds, top)
    code, official, meaning = _code(ds, first)
    wanted = (_text(ds, "RequestedProcedureDescription"), _text(first, "ScheduledProcedureStepDescription"))
    procedure_name = next((name for name in (*wanted, meaning, modality) if name), "")
    priority = _text(ds, "RequestedProcedurePriority").upper()
    reason, comment = _text(ds, "ReasonForTheRequestedProcedure"), _text(ds, "RequestedProcedureComments")

    # The item's fields have exactly these, or they are ours to assign.
    _drop(top, "AccessionNumber", "StudyInstanceUID", "RequestedProcedureID", "PatientID")
    _drop(top, "ReasonForTheRequestedProcedure", "RequestedProcedureComments")
    if modality == _text(first, "Modality"):
        _drop(inner, "Modality")
    _drop(inner, "ScheduledStationAETitle", "ScheduledProcedureStepID", "ScheduledProcedureStepStatus")
    for content, keyword in ((top, "RequestedProcedureDescription"), (inner, "ScheduledProcedureStepDescription")):
        if _has_value(content, keyword, "", procedure_name):
            _drop(content, keyword)
    if _has_value(top, "RequestedProcedurePriority", "ROUTINE", "STAT"):
        _drop(top, "RequestedProcedurePriority")
    # Missing in the file, and the model would answer them from another field.
    top.setdefault(_tag("RequestedProcedureCodeSequence"), {"vr": "SQ"})
    inner.setdefault(_tag("ScheduledProtocolCodeSequence"), {"vr": "SQ"})
    if comment:
        inner.setdefault(_tag("CommentsOnTheScheduledProcedureStep"), {"vr": "LT"})

    return ImportedItem(
        patient=patient,
        start=start,
        station_ae_titles=_stations(step),
        modality=_checked_length(modality, "Modality", 16),
        procedure_name=procedure_name,
        procedure_code=code,
        procedure_local=not official,
        priority=Priority.URGENT if priority in ("STAT", "HIGH") else Priority.ROUTINE,
        referrer=referrer,
        diagnosis_text=reason,
        comment=comment,
        accession_number=_checked_number(_text(ds, "AccessionNumber"), "Accession Number", 16),
        study_instance_uid=_uid(ds),
        requested_procedure_id=_text(ds, "RequestedProcedureID"),
        sps_id=_text(step, "ScheduledProcedureStepID"),
        attributes={passthrough.TOP: json_model.by_keyword(top), passthrough.STEP: json_model.by_keyword(inner)},
    )


def _start(step: Dataset, inner: JsonAttributes) -> datetime:
    on, at = _text(step, "ScheduledProcedureStepStartDate"), _text(step, "ScheduledProcedureStepStartTime")
    day, clock = _date(on), _clock(at)
    if day is None:
        raise BadWorklistFile(f"its Scheduled Procedure Step Start Date is {'not a date' if on else 'missing'}")
    if clock is None and at:
        raise BadWorklistFile("its Scheduled Procedure Step Start Time is not a time")
    start = datetime.combine(day, clock or time())
    for keyword, written in (("Date", f"{start:%Y%m%d}"), ("Time", f"{start:%H%M%S}")):
        if _has_value(inner, f"ScheduledProcedureStepStart{keyword}", "", written):
            _drop(inner, f"ScheduledProcedureStepStart{keyword}")
    return start


def _patient(ds: Dataset, top: JsonAttributes) -> Patient:
    written = _text(ds, "PatientName")
    name = _name(written)
    if not name.family:
        raise BadWorklistFile("it names no patient")
    if _has_value(top, "PatientName", names.to_dicom(name)):
        _drop(top, "PatientName")
    birth_date = _date(_text(ds, "PatientBirthDate"))
    if _has_value(top, "PatientBirthDate", "", f"{birth_date:%Y%m%d}" if birth_date else ""):
        _drop(top, "PatientBirthDate")
    sex = _text(ds, "PatientSex").upper()
    if _has_value(top, "PatientSex", "M", "F", "O"):
        _drop(top, "PatientSex")
    else:
        top.setdefault(_tag("PatientSex"), {"vr": "CS"})
    weight, size = _number(ds, "PatientWeight", 0.2, 500), _number(ds, "PatientSize", 0.2, 2.6)
    height = round(size * 100, 1) if size else None
    for keyword, number, written in (
        ("PatientWeight", weight, f"{weight:g}" if weight else ""),
        ("PatientSize", size, f"{size:.2f}" if size else ""),
    ):
        # A comma does not belong in a decimal string (PS3.5 6.2), and is what people write.
        if _has_value(top, keyword, "", written, str(number).replace(".", ",") if number else ""):
            _drop(top, keyword)
    # An empty field says nothing: what is known of the patient is answered. A filled one is this item's own.
    for keyword in ("Allergies", "PregnancyStatus"):
        if _has_value(top, keyword, ""):
            _drop(top, keyword)
    return Patient(
        name=name,
        birth_date=birth_date,
        sex=Sex(sex) if sex in ("M", "F", "O") else Sex.OTHER,
        patient_id=_checked_number(_text(ds, "PatientID"), "Patient ID", 64),
        weight=weight,
        height=height,
        allergies=_text(ds, "Allergies"),
    )


def _name(written: str) -> PersonName:
    """Parse a name, also one that is in another than the first component group, or has no family name."""
    for group in written.split("="):
        name = names.from_dicom(group)
        if name.family:
            return PersonName(names.tidy(name.family), names.tidy(name.given), names.tidy(name.middle))
        if single := names.tidy(group.replace("^", " ")):
            return PersonName(single)
    return PersonName("")


def _referrer(ds: Dataset, top: JsonAttributes) -> PersonName:
    """Return the doctor who refers, else the one who requests: the model has one for both."""
    pair = ("ReferringPhysicianName", "RequestingPhysician")
    referrer = _name(_text(ds, pair[0])) if _text(ds, pair[0]) else _name(_text(ds, pair[1]))
    for keyword in pair:
        if referrer.family and _has_value(top, keyword, names.to_dicom(referrer)):
            _drop(top, keyword)
        elif referrer.family:
            top.setdefault(_tag(keyword), {"vr": "PN"})
    return referrer


def _code(ds: Dataset, step: Dataset) -> tuple[str, bool, str]:
    """Return the procedure's code, whether it is of the official dictionary, and its meaning."""
    for sequence in (ds.get("RequestedProcedureCodeSequence"), step.get("ScheduledProtocolCodeSequence")):
        for code in sequence or []:
            if value := _text(code, "CodeValue"):
                return value, _text(code, "CodingSchemeDesignator") == _OFFICIAL, _text(code, "CodeMeaning")
    return "", False, ""


def _stations(step: Dataset) -> tuple[str, ...]:
    titles = [title.strip() for title in _text(step, "ScheduledStationAETitle").split("\\")]
    return tuple(dict.fromkeys(_checked_length(title, "Scheduled Station AE Title", 16) for title in titles if title))


def _uid(ds: Dataset) -> str:
    uid = _text(ds, "StudyInstanceUID")
    if not re.fullmatch(r"[0-9.]{0,64}", uid):  # leading zeros break PS3.5 9.1, and yet some scripts write them
        raise BadWorklistFile("its Study Instance UID is not a UID")
    return uid


# ---- values ----


def _json(ds: Dataset) -> JsonAttributes:
    """Return a dataset in the DICOM JSON model (PS3.18 F.2), texts in Unicode and decimal strings as written."""
    found: JsonAttributes = {}
    for element in ds:
        tag = f"{element.tag.group:04X}{element.tag.element:04X}"
        if tag == "00080005":  # everything is Unicode here
            continue
        if element.VR == "SQ":
            items = [_json(item) for item in element.value or []]
            found[tag] = {"vr": "SQ", "Value": items} if items else {"vr": "SQ"}
        elif element.VR in ("DS", "IS") and element.value is not None:
            found[tag] = {"vr": element.VR, "Value": [str(value) for value in _values(element)]}
        else:
            found[tag] = element.to_json_dict(None, 0)
    return found


def _values(element: DataElement) -> list[Any]:
    return list(element.value) if isinstance(element.value, MultiValue | list) else [element.value]


def _text(ds: Dataset, keyword: str) -> str:
    """Return a value as text, several joined by backslashes; empty if there is none."""
    tag = tag_for_keyword(keyword)
    if tag is None or tag not in ds or ds[tag].value is None:
        return ""
    return "\\".join(str(value) for value in _values(ds[tag])).strip(" \0")


def _number(ds: Dataset, keyword: str, least: float, most: float) -> float | None:
    """Return a number within bounds, also one that is written with a comma; None for anything else."""
    try:
        number = float(_text(ds, keyword).replace(",", "."))
    except ValueError:
        return None
    return number if least <= number <= most else None


def _date(text: str) -> date | None:
    found = _DATE.fullmatch(text)
    try:
        return date(int(found[1]), int(found[3]), int(found[4])) if found else None
    except ValueError:
        return None


def _clock(text: str) -> time | None:
    found = _TIME.fullmatch(text)
    try:
        # A leap second is the last one that Python can name.
        return time(int(found[1]), int(found[2] or 0), min(int(found[3] or 0), 59)) if found else None
    except ValueError:
        return None


def _checked_length(text: str, what: str, longest: int) -> str:
    if len(text) > longest:
        raise BadWorklistFile(f"its {what} is longer than {longest} characters")
    return text


def _checked_number(text: str, what: str, longest: int) -> str:
    """Return a number by which devices ask for the item, or raise BadWorklistFile if they cannot."""
    if found := _NOT_IN_NUMBERS.search(text):
        raise BadWorklistFile(f"its {what} contains {found[0]}, which means something else when a device asks for it")
    return _checked_length(text, what, longest)


def _tag(keyword: str) -> str:
    tag = tag_for_keyword(keyword)
    assert tag is not None
    assert keyword_for_tag(tag) == keyword
    return f"{tag:08X}"


def _has_value(content: JsonAttributes, keyword: str, *written: str) -> bool:
    """Return True if an attribute's only value is one of these; a missing attribute is an empty one."""
    values = content.get(_tag(keyword), {}).get("Value", [])
    if len(values) > 1:
        return False
    value = values[0] if values else ""
    if isinstance(value, dict):
        value = value.get("Alphabetic", "") if set(value) <= {"Alphabetic"} else None
    if value is not None and content.get(_tag(keyword), {}).get("vr") == "PN":
        value = str(value).rstrip("^")  # trailing empty components may be written or not (PS3.5 6.2)
    return value is not None and str(value) in written


def _drop(content: JsonAttributes, *keywords: str) -> None:
    for keyword in keywords:
        content.pop(_tag(keyword), None)
