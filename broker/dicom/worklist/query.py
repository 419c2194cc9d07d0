"""A worklist query parsed: what to match, what to return (PS3.4 C.2.2.2, K.4).

Pure. What cannot be understood raises MalformedKey: a key that is dropped would widen the answer.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date

from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag, Tag

from broker.dicom.codec import charset, dates
from broker.dicom.codec.dates import MalformedKey, Window
from broker.dicom.worklist import name_matching
from broker.dicom.worklist.attributes import CODE, STEP, TOP, Attribute, Match

SEQUENCE = Tag("ScheduledProcedureStepSequence")
# Never keys: the character set, and the Query/Retrieve Level, which the worklist does not have.
_NOT_KEYS = {Tag("SpecificCharacterSet"), Tag("QueryRetrieveLevel")}
TOP_BY_TAG: Mapping[BaseTag, Attribute] = {attribute.tag: attribute for attribute in TOP}
STEP_BY_TAG: Mapping[BaseTag, Attribute] = {attribute.tag: attribute for attribute in STEP}
CODE_BY_TAG: Mapping[BaseTag, Attribute] = {attribute.tag: attribute for attribute in CODE}
# PS3.5 table 6.2-1: the longest value, in characters.
_LENGTHS = {"AE": 16, "CS": 16, "SH": 16, "LO": 64, "UI": 64, "ST": 1024, "LT": 10240, "PN": 64}
_CODE = re.compile(r"[A-Z0-9 _*?]*")
_UID = re.compile(r"[0-9.]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# Compared with any value of a list; consoles that show several kinds or rooms send them so, as dcm4chee takes them.
_LISTS = (Match.UID, Match.STATION, Match.LIST)

_tag = functools.cache(Tag)  # every item is asked for its keys by name


@dataclass(frozen=True, slots=True)
class Part:
    """What a query asks on one level: the identifier itself, or the item of a sequence."""

    keys: Mapping[BaseTag, str] = field(default_factory=dict)
    returned: tuple[BaseTag, ...] = ()  # supported attributes
    others: tuple[BaseTag, ...] = ()  # attributes that are answered only where an import brought them
    items: Mapping[BaseTag, Part] = field(default_factory=dict)  # sequences of which only parts are requested
    brought: Mapping[BaseTag, str] = field(default_factory=dict)  # keys that are matched only where an import did
    creators: Mapping[BaseTag, str] = field(default_factory=dict)  # PS3.5 7.8.1: who reserves the private blocks
    everything: bool = False  # whatever there is on this level


@dataclass(frozen=True, slots=True)
class WorklistQuery:
    """A parsed worklist query."""

    top: Part
    step: Part | None  # None: the Scheduled Procedure Step Sequence was not asked for
    window: Window
    born: tuple[date | None, date | None]  # the first and the last day of birth
    charset: str
    unsupported: tuple[str, ...]  # keys that are matched only where an import brought them
    undecodable: tuple[str, ...]  # keys that are question marks only: nothing can match

    @property
    def is_plain(self) -> bool:
        """True if nothing is asked but what every item has: then an answer is supported whatever the item is."""
        return not (self.unsupported or self.top.others or (self.step and self.step.others))

    @property
    def keys(self) -> Mapping[BaseTag, str]:
        """The keys of the identifier itself that are to be matched."""
        return self.top.keys

    @property
    def step_keys(self) -> Mapping[BaseTag, str]:
        """The keys of the scheduled procedure step that are to be matched."""
        return self.step.keys if self.step else {}

    def key(self, keyword: str) -> str:
        """Return the key of an attribute, on either level; empty if it is universal."""
        tag = _tag(keyword)
        return self.top.keys.get(tag, "") or self.step_keys.get(tag, "")


def parse(query: Dataset) -> WorklistQuery:
    """Parse a query's identifier; raise MalformedKey."""
    unsupported: list[str] = []
    declared = query.get("SpecificCharacterSet") or ""
    term = "\\".join(declared) if isinstance(declared, MultiValue | list) else str(declared)
    top = _part(query, TOP_BY_TAG, term, unsupported)
    step = _step(query, term, unsupported)
    if step is None and not (top.returned or top.others):  # what names only attributes of imports is asked of these
        raise MalformedKey("", "no key of the worklist in the identifier")
    undecodable = [
        supported[tag].keyword
        for supported, keys in ((TOP_BY_TAG, top.keys), (STEP_BY_TAG, step.keys if step else {}))
        for tag, key in keys.items()
        if _is_undecodable(supported[tag], key)
    ]
    read = WorklistQuery(
        top=top,
        step=step,
        window=Window(),
        born=(None, None),
        charset=term,
        unsupported=tuple(unsupported),
        undecodable=tuple(undecodable),
    )
    day, hour = read.key("ScheduledProcedureStepStartDate"), read.key("ScheduledProcedureStepStartTime")
    born = dates.dates(read.key("PatientBirthDate"), "PatientBirthDate")
    return replace(read, window=dates.window(day, hour), born=born)


def is_universal(key: str) -> bool:
    """Return True if a key matches anything (PS3.4 C.2.2.2.3; a single `*` is the same)."""
    return key.strip(" \0") in ("", "*")


def _is_undecodable(attribute: Attribute, key: str) -> bool:
    """Return True for question marks only: the device cannot write the characters."""
    return name_matching.is_undecodable(key) if attribute.match is Match.NAME else set(key) == {"?"}


def _step(query: Dataset, term: str, unsupported: list[str]) -> Part | None:
    if SEQUENCE not in query:
        return None
    item = _only_item(query[SEQUENCE])
    if item is None or not len(item):
        # PS3.4 C.2.2.2.6: a zero-length item asks for all of its attributes
        return Part(returned=tuple(STEP_BY_TAG), everything=True)
    return _part(item, STEP_BY_TAG, term, unsupported)


def _part(ds: Dataset, supported: Mapping[BaseTag, Attribute], term: str, unsupported: list[str]) -> Part:
    """Split a level into keys and attributes to return; add keys that only imports have to `unsupported`."""
    keys: dict[BaseTag, str] = {}
    returned: list[BaseTag] = []
    others: list[BaseTag] = []
    items: dict[BaseTag, Part] = {}
    brought: dict[BaseTag, str] = {}
    creators: dict[BaseTag, str] = {}
    for element in ds:
        tag = element.tag
        if tag in _NOT_KEYS or tag.element == 0 or tag == SEQUENCE:  # element 0: group length
            continue
        if tag.is_private and tag.element < 0x1000:
            creators[tag] = _text(element, term).strip(" \0")
            continue
        attribute = supported.get(tag)
        (others if attribute is None else returned).append(tag)
        if _is_sequence(element):
            item = _only_item(element)
            if item is not None and len(item):
                within = CODE_BY_TAG if attribute is not None and attribute.match is Match.CODE else {}
                items[tag] = _part(item, within, term, unsupported)
            continue
        if attribute is None or attribute.match is Match.NONE:
            if not is_universal(key := _text(element, term).strip(" \0")):
                brought[tag] = key
                unsupported.append(keyword_for_tag(tag) or str(tag))
            continue
        if attribute.match is not Match.IGNORED and (key := _key(element, attribute)):
            keys[tag] = key
    return Part(keys, tuple(returned), tuple(others), items, brought, creators)


def _text(element: DataElement, term: str) -> str:
    """Return a value as text, several joined by backslashes; one without a known VR is bytes."""
    value = element.value
    if value is None:
        return ""
    if isinstance(value, bytes):
        return charset.decoder_for(term, [value]).decode(value)
    return "\\".join(map(str, value)) if isinstance(value, MultiValue | list) else str(value)


def _is_sequence(element: DataElement) -> bool:
    """Return True if an element is a sequence; raise MalformedKey if it should be one and is not."""
    if element.VR == "SQ":
        return True
    known = dictionary_VR(element.tag) if keyword_for_tag(element.tag) else ""
    if known == "SQ" and not element.is_empty:
        raise MalformedKey(keyword_for_tag(element.tag), "not a sequence")
    return known == "SQ"


def _only_item(element: DataElement) -> Dataset | None:
    """Return the item of a sequence key, or None; raise MalformedKey for several (PS3.4 C.2.2.2.6)."""
    if not _is_sequence(element) or element.is_empty:
        return None
    items: Sequence[Dataset] = element.value
    if len(items) > 1:
        raise MalformedKey(element.keyword, "more than one item")
    return items[0] if items else None


def _key(element: DataElement, attribute: Attribute) -> str:
    """Return a key as text, empty if it is universal.

    Several values are joined by backslashes: UIDs (PS3.4 C.2.2.2.2), and what consoles list as if it were UIDs.
    """
    value = element.value
    if value is None:
        return ""
    if isinstance(value, bytes) or element.VR == "SQ":
        raise MalformedKey(attribute.keyword, "not a text")
    if isinstance(value, MultiValue | list):
        values = [str(each).strip(" \0") for each in value]
        values = [each for each in values if each]
        if not values or (len(values) > 1 and attribute.match not in _LISTS):
            raise MalformedKey(attribute.keyword, "more than one value")
        key = "\\".join(values)
    else:
        key = str(value).strip(" \0")
    if is_universal(key) or (attribute.match is Match.NAME and name_matching.is_universal(key)):
        return ""
    if attribute.match in (Match.WINDOW, Match.DATE):  # their ranges are read with their values
        return key
    return _checked(key, attribute.vr, attribute.keyword)


def _checked(key: str, vr: str, keyword: str) -> str:
    """Return a key as it is compared, or raise MalformedKey if its VR cannot hold it (PS3.5 6.2).

    `key` has no blanks around it; a list of UID is joined by backslashes.
    """
    if vr == "UI":
        for uid in key.split("\\"):
            if not _UID.fullmatch(uid) or len(uid) > _LENGTHS["UI"]:
                raise MalformedKey(keyword, "not a UID")
        return key
    if vr not in ("ST", "LT") and _CONTROL.search(key):
        raise MalformedKey(keyword, "control characters")
    if vr == "CS":
        key = key.upper()  # PS3.5 6.2 knows capitals only; `dx` can mean nothing else
        if not all(_CODE.fullmatch(each) for each in key.split("\\")):
            raise MalformedKey(keyword, "characters that a code may not have")
    parts = key.split("=") if vr == "PN" else key.split("\\") if vr in ("CS", "AE") else [key]
    if vr == "PN" and (len(parts) > 3 or any(part.count("^") > 4 for part in parts)):
        raise MalformedKey(keyword, "too many components")
    longest = _LENGTHS.get(vr)
    if longest is not None and any(len(part) > longest for part in parts):
        raise MalformedKey(keyword, f"longer than {longest} characters")
    return key
