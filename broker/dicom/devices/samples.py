"""Samples of devices' messages for people, without patients' data.

Pure: a dataset in, the DICOM JSON model (PS3.18 F.2) out, and back. Values that may name a patient are replaced by a
mark that shows only their alphabet; the structure of the message and all other values stay.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from pydicom import config
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag, Tag

MOST_ELEMENTS = 400  # of one message; what comes after them is left out
MOST_ITEMS = 4  # of one sequence
DEEPEST = 6  # nested sequences
LONGEST = 64  # characters of one value

# Attributes of the patient that are stored, because they do not identify anybody.
_HARMLESS = {Tag(keyword) for keyword in ("PatientSex", "PatientSize", "PatientWeight", "PregnancyStatus")}
_PATIENT, _VISIT = 0x0010, 0x0038  # groups
_CURRENT_LOCATION = Tag("CurrentPatientLocation")
# Names of people, and texts that may contain one.
_NAMING_VR = {"PN", "LT", "ST", "UT", "UC", "UN"}
_TEXT_VR = {"AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI", "UR", "UT"}
_NUMBER_VR = {"FL", "FD", "SL", "SS", "SV", "UL", "US", "UV"}

CYRILLIC, LATIN, MIXED, DIGITS, QUESTION_MARKS, OTHER = (
    "cyrillic",
    "latin",
    "mixed",
    "digits",
    "question marks",
    "other",
)
# Prefix of a mark for 8-bit characters without a (correct) character set; the likely one follows.
UNDECLARED = "8-bit "
_MARK = re.compile(r"‹([^›]*)›")


def mask(ds: Dataset) -> dict[str, Any]:
    """Return a message in the DICOM JSON model, with marks in place of values that may name a patient."""
    declared = bool(ds.get("SpecificCharacterSet"))
    return _masked(ds, declared, 0, iter(range(MOST_ELEMENTS)))


def restore(attributes: dict[str, Any]) -> tuple[Dataset, list[str]]:
    """Return a sample as a dataset, with masked values empty, and the keywords of these."""
    hidden: list[str] = []
    return _restored(attributes, hidden), hidden


def alphabets(attributes: dict[str, Any], keyword: str) -> set[str]:
    """Return the alphabets of a masked top-level value; nothing if it is missing or empty."""
    element = attributes.get(f"{Tag(keyword):08X}", {})
    values = [value.get("Alphabetic", "") if isinstance(value, dict) else value for value in element.get("Value", [])]
    return {found for value in values if isinstance(value, str) for found in _MARK.findall(value)}


def is_masked(text: str) -> bool:
    """Return True if a value of a sample is a mark."""
    return bool(_MARK.search(text))


def alphabet(text: str, declared: bool = True) -> str:
    """Return the alphabet of a text; `declared` is whether its message names a character set."""
    letters = [char for char in unicodedata.normalize("NFC", text) if char.isalpha()]
    if not letters and "?" in text:
        return QUESTION_MARKS
    high = sum("\x80" <= char <= "\xff" for char in text)
    # A western name has few accents; one of accented characters only is in an undeclared character set.
    if high and all(char < "\u0100" for char in text) and (not declared or 2 * high > len(letters)):
        return f"{UNDECLARED}{_code_of(text.encode('latin-1'))}"
    kinds = {_kind(char) for char in letters}
    if not kinds:
        return DIGITS if any(char.isdigit() for char in text) else OTHER
    return kinds.pop() if len(kinds) == 1 else MIXED


def _kind(char: str) -> str:
    if "\u0400" <= char <= "\u052f":
        return CYRILLIC
    return LATIN if char < "\u0250" else OTHER


def _code_of(raw: bytes) -> str:
    """Return the likely character set of Cyrillic bytes, by the frequency of letters; ISO_IR 144 if uncertain.

    Windows-1251 is not a character set of DICOM, but devices send it.
    """
    with suppress(UnicodeDecodeError):
        raw.decode("utf-8")  # other character sets are hardly ever valid UTF-8
        return "ISO_IR 192"

    def usual(codec: str) -> int:
        return sum(char in "оеаинтсврл" for char in raw.decode(codec, "ignore").casefold())

    return "windows-1251" if usual("cp1251") > usual("iso8859_5") else "ISO_IR 144"


def _masked(ds: Dataset, declared: bool, depth: int, budget: Iterator[int]) -> dict[str, Any]:
    written: dict[str, Any] = {}
    for element in ds:
        if element.tag.element == 0:  # group lengths mean nothing
            continue
        if next(budget, None) is None:
            break
        entry: dict[str, Any] = {"vr": element.VR}
        if element.VR == "SQ":
            items = list(element.value or [])[:MOST_ITEMS] if depth < DEEPEST else []
            values: list[Any] = [_masked(item, declared, depth + 1, budget) for item in items]
        else:
            values = [_value(element, value, declared) for value in _values(element)]
        if any(value not in (None, "") for value in values) or (element.VR == "SQ" and values):
            entry["Value"] = values
        written[f"{element.tag:08X}"] = entry
    return written


def _values(element: DataElement) -> list[Any]:
    value = element.value
    if value is None:
        return []
    return list(value) if isinstance(value, MultiValue | list) else [value]


def _value(element: DataElement, value: Any, declared: bool) -> Any:
    if element.VR in _NUMBER_VR and isinstance(value, int | float):
        return None if _may_name_patient(element) else value
    text = str(value) if element.VR in _TEXT_VR else ""
    if _may_name_patient(element):
        text = _marked(text, declared)
    text = text[:LONGEST]
    return {"Alphabetic": text} if element.VR == "PN" and text else text


def _may_name_patient(element: DataElement) -> bool:
    """Return True if an element may name a patient."""
    tag: BaseTag = element.tag
    if tag in _HARMLESS or tag == _CURRENT_LOCATION:
        return False
    return tag.is_private or tag.group in (_PATIENT, _VISIT) or element.VR in _NAMING_VR


def _marked(text: str, declared: bool) -> str:
    """Return a value with its parts replaced by their alphabets; carets and wildcards, its structure, stay."""
    return "".join(
        part if not part.strip(" ^=*") else f"‹{alphabet(part, declared)}›" for part in re.split(r"([\^=*])", text)
    )


def _restored(attributes: dict[str, Any], hidden: list[str]) -> Dataset:
    ds = Dataset()
    for name, entry in attributes.items():
        vr, values, tag = entry["vr"], entry.get("Value", []), Tag(int(name, 16))
        if vr == "SQ":
            ds.add(DataElement(tag, vr, [_restored(item, hidden) for item in values]))
            continue
        texts = [value.get("Alphabetic", "") if isinstance(value, dict) else value for value in values]
        # Question marks are wildcards and do not name a patient.
        texts = [text.replace(f"‹{QUESTION_MARKS}›", "???") if isinstance(text, str) else text for text in texts]
        if any(isinstance(text, str) and is_masked(text) for text in texts):
            hidden.append(DataElement(tag, vr, None).keyword or str(tag))
            texts = []
        value: Any = "\\".join("" if text is None else str(text) for text in texts) if vr in _TEXT_VR else texts
        if vr in _NUMBER_VR and len(texts) == 1:
            value = texts[0]
        ds.add(DataElement(tag, vr, value or None, validation_mode=config.IGNORE))
    return ds
