"""Suggests settings of a device by samples of its messages, and facts for people.

Pure: samples in, suggestions out; a person applies them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.tag import Tag

from broker.dicom.codec import charset
from broker.dicom.devices import samples
from broker.dicom.worklist.attributes import STEP, TOP
from broker.domain.clinic.device_advice import Suggestion
from broker.domain.clinic.devices import Device
from broker.store.tables.devices import DeviceSample

PATIENCE = timedelta(days=1)  # a device that queries so long without MPPS does not send any
_ASCII = re.compile(r"IR[ _]?6$|ASCII", re.IGNORECASE)  # the default repertoire, which has no term (PS3.3 C.12.1.1.2)
LATIN_ONLY = ("ISO_IR 100", "ISO_IR 101", "ISO_IR 109", "ISO_IR 110", "ISO_IR 148")
# PS3.4 F.7.2.1.1: what an N-CREATE needs to be linked and shown.
CREATE_NEEDS = (
    "ScheduledStepAttributesSequence",
    "PerformedProcedureStepID",
    "PerformedStationAETitle",
    "PerformedProcedureStepStartDate",
    "PerformedProcedureStepStartTime",
    "PerformedProcedureStepStatus",
    "Modality",
)
_STEP_SEQUENCE = "ScheduledProcedureStepSequence"
_NOT_KEYS = {Tag("SpecificCharacterSet"), Tag("QueryRetrieveLevel"), Tag("TimezoneOffsetFromUTC")}


def suggest(device: Device, sent: Sequence[DeviceSample], now: datetime) -> list[Suggestion]:
    """Return what a device's samples show, suggested settings first; `now` is UTC."""
    by_service: dict[str, list[DeviceSample]] = {}
    for sample in sorted(sent, key=lambda each: each.at):
        by_service.setdefault(sample.service, []).append(sample)
    queries, creations = by_service.get("worklist", []), by_service.get("N-CREATE", [])
    found = [*_characters(device, queries, creations)]
    if queries:
        query, _ = samples.restore(queries[-1].attributes)
        found += [*_station(device, query), *_dates(query), *_keys(query)]
    found += [*_modality(device, queries, creations), *_reports(device, by_service, now)]
    return sorted(_one_a_field(found), key=lambda each: not each.field)


def _one_a_field(found: Iterable[Suggestion]) -> Iterator[Suggestion]:
    """Yield one value for each setting, the first; further suggestions for it become facts."""
    taken: set[str] = set()
    for each in found:
        yield replace(each, field="", value="") if each.field in taken else each
        taken |= {each.field} - {""}


# ---- character sets ----


def _characters(
    device: Device, queries: Sequence[DeviceSample], creations: Sequence[DeviceSample]
) -> Iterator[Suggestion]:
    newest = [each[-1] for each in (queries, creations) if each]
    if not newest:
        return
    term = _declared(newest[0])  # of the query, where there is one
    undeclared = {
        alphabet.removeprefix(samples.UNDECLARED)
        for sample in (*queries, *creations)
        for alphabet in samples.alphabets(sample.attributes, "PatientName")
        if alphabet.startswith(samples.UNDECLARED)
    }
    yield from _term(device, term, cyrillic=bool(undeclared))
    for code in sorted(undeclared):
        yield from _undeclared(device, term, code)
    if any(samples.QUESTION_MARKS in samples.alphabets(each.attributes, "PatientName") for each in queries):
        yield Suggestion("query_question_marks")
    if creations:
        returned = samples.alphabets(creations[-1].attributes, "PatientName")
        if samples.QUESTION_MARKS in returned:
            better = _instead_of(device.charset, term)
            yield Suggestion("names_lost", {}, "charset" if better else "", better)
        elif samples.CYRILLIC in returned:
            yield Suggestion("names_intact")


def _declared(sample: DeviceSample) -> str:
    terms = samples.restore(sample.attributes)[0].get("SpecificCharacterSet") or ""
    return "\\".join(str(term) for term in terms) if isinstance(terms, MultiValue | list) else str(terms)


def _term(device: Device, term: str, *, cyrillic: bool) -> Iterator[Suggestion]:
    if not term:
        yield Suggestion("charset_none")
        return
    parts = [part for part in term.split("\\") if part.strip()]
    read = {part: charset.intended(part).replace("ISO 2022 IR", "ISO_IR") for part in parts}
    meant = next((each for each in read.values() if each in (charset.UTF_8, charset.CYRILLIC)), "")
    if meant:
        bogus = any(charset.intended(part) != part for part in parts)
        yield Suggestion("charset_bogus" if bogus else "charset_declared", {"term": term, "meant": meant})
    elif all(each in LATIN_ONLY or _ASCII.search(part) for part, each in read.items()):
        wants = device.charset == "auto" and not cyrillic
        yield Suggestion("charset_latin", {"term": term}, "charset" if wants else "", _shown_in(term) if wants else "")
    else:
        yield Suggestion("charset_unknown", {"term": term})


def _shown_in(term: str) -> str:
    """Return the setting for a device that names only Latin sets: its own, if we write it, else plain letters."""
    own = charset.for_answer("auto", term)
    return charset.LATIN if own == charset.UTF_8 else own


def _instead_of(setting: str, term: str) -> str:
    """Return the next character set to try where names came back as question marks; empty if there is none."""
    tried = charset.for_answer(setting, term)
    if tried == charset.LATIN:
        return ""
    return charset.CYRILLIC if charset.carries_cyrillic(tried) and tried != charset.CYRILLIC else charset.LATIN


def _undeclared(device: Device, term: str, code: str) -> Iterator[Suggestion]:
    """Suggest the character set of a device's 8-bit characters, and to answer in it."""
    details = {"code": code, "term": term}
    if term:
        yield Suggestion("letters_misdeclared", details)
    else:
        reads = device.fallback_charset != code
        yield Suggestion("letters_undeclared", details, "fallback_charset" if reads else "", code if reads else "")
    if device.charset == "auto" and code != charset.UTF_8:
        # Windows-1251 is not a character set of DICOM; ISO_IR 144 is the nearest single-byte one.
        yield Suggestion("letters_answer", {"code": charset.CYRILLIC}, "charset", charset.CYRILLIC)


# ---- keys ----


def step_of(query: Dataset) -> Dataset:
    """Return the item of the Scheduled Procedure Step Sequence, or an empty one."""
    items = query.get(_STEP_SEQUENCE) or []
    return items[0] if items else Dataset()


def _station(device: Device, query: Dataset) -> Iterator[Suggestion]:
    asked = _text(step_of(query), "ScheduledStationAETitle")
    code = "station_own" if asked == device.ae_title else "station_other" if asked.strip("*") else "station_none"
    yield Suggestion(code, {"asked": asked})


def _dates(query: Dataset) -> Iterator[Suggestion]:
    asked = _text(step_of(query), "ScheduledProcedureStepStartDate")
    if not asked.strip("*"):
        yield Suggestion("date_none")
    elif re.fullmatch(r"\d{8}", asked):
        yield Suggestion("date_one")
    elif re.fullmatch(r"\d{8}-(\d{8})?|-\d{8}", asked):
        yield Suggestion("date_range", {"asked": asked})
    else:
        yield Suggestion("date_odd", {"asked": asked})


def _keys(query: Dataset) -> Iterator[Suggestion]:
    step = step_of(query)
    asked = [element for ds in (query, step) for element in ds if element.tag not in _NOT_KEYS]
    asked = [element for element in asked if not element.tag.is_private and element.keyword != _STEP_SEQUENCE]
    names = [element.keyword or str(element.tag) for element in asked]
    supported = {attribute.keyword for attribute in (*TOP, *STEP)}
    whole_step = _STEP_SEQUENCE in query and not len(step)  # PS3.4 C.2.2.2.6: all of its attributes
    needed = [each.keyword for each in TOP if each.type == "1"]
    needed += [] if whole_step else [each.keyword for each in STEP if each.type == "1"]
    yield Suggestion("keys", {"count": str(len(names)), "asked": ", ".join(names)})
    if missing := [name for name in needed if name not in names and name != _STEP_SEQUENCE]:
        yield Suggestion("keys_missing", {"keys": ", ".join(missing)})
    if strange := [name for name in names if name not in supported]:
        yield Suggestion("keys_unknown", {"keys": ", ".join(strange)})


def _modality(
    device: Device, queries: Sequence[DeviceSample], creations: Sequence[DeviceSample]
) -> Iterator[Suggestion]:
    reported = [_text(samples.restore(each.attributes)[0], "Modality") for each in creations[-1:]]
    reported += [_text(step_of(samples.restore(each.attributes)[0]), "Modality") for each in queries[-1:]]
    for modality in dict.fromkeys(reported):
        if re.fullmatch(r"[A-Z]{2,4}", modality) and modality != device.modality:
            code = "modality" if device.modality else "modality_new"
            yield Suggestion(code, {"reported": modality, "configured": device.modality}, "modality", modality)
            return


# ---- MPPS ----


def _reports(device: Device, by_service: dict[str, list[DeviceSample]], now: datetime) -> Iterator[Suggestion]:
    queries, creations = by_service.get("worklist", []), by_service.get("N-CREATE", [])
    changes = by_service.get("N-SET", [])
    if not creations and not changes:
        if queries and now - queries[0].at > PATIENCE:
            yield Suggestion("mpps_never")
        return
    if not changes and now - creations[0].at > PATIENCE:
        yield Suggestion("mpps_no_end")
    else:
        yield Suggestion("mpps_seen")
    for sample in creations[-1:]:
        missing = _missing(samples.restore(sample.attributes)[0])
        if missing:
            eases = device.strict_mpps
            details = {"keys": ", ".join(missing)}
            yield Suggestion("mpps_incomplete", details, "strict_mpps" if eases else "", False if eases else "")


def _missing(creation: Dataset) -> list[str]:
    """Return the keywords of what an N-CREATE needs and does not have."""
    missing = [keyword for keyword in CREATE_NEEDS if not creation.get(keyword)]
    items = creation.get("ScheduledStepAttributesSequence") or []
    if items and not all(item.get("StudyInstanceUID") for item in items):
        missing.append("StudyInstanceUID")
    return missing


def _text(ds: Dataset, keyword: str) -> str:
    value = ds.get(keyword)
    return "" if value is None else str(value).strip(" \0")
