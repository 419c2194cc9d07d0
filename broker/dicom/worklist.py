"""The worklist service: a query in, answers out (PS3.4 Annex K).

Functions of (query, caller, store): no socket, no association; whatever listens calls `find`. A query changes no
state; it only notes that the device was heard and what it has on its list.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag, Tag

from broker.dicom import charset, matching
from broker.dicom.attributes import STEP, TOP, Attribute, Context, Match
from broker.dicom.matching import MalformedKey, Window
from broker.dicom.statuses import Status, status
from broker.store import devices, worklist
from broker.store.database import Store
from broker.store.worklist import Item, Narrowing

log = logging.getLogger(__name__)

MOST = 2000  # items in one answer; a device that asks for everything gets A700 after them
_SEQUENCE = Tag("ScheduledProcedureStepSequence")
_CHARSET = Tag("SpecificCharacterSet")
# Not matching keys: character set, Query/Retrieve Level (there is none in the worklist), Timezone Offset.
_NOT_KEYS = {_CHARSET, Tag("QueryRetrieveLevel"), Tag("TimezoneOffsetFromUTC")}
_TOP = {Tag(attribute.keyword): attribute for attribute in TOP}
_STEP = {Tag(attribute.keyword): attribute for attribute in STEP}


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: the calling AE title and the address that it calls from."""

    ae_title: str
    address: str


@dataclass(frozen=True, slots=True)
class Answer:
    """A status and, for a match, the identifier that goes with it."""

    status: Dataset
    identifier: Dataset | None = None


@dataclass(frozen=True, slots=True)
class Query:
    """A worklist query, understood: keys to match, and what to return."""

    keys: dict[BaseTag, str]
    step_keys: dict[BaseTag, str]
    returned: tuple[BaseTag, ...]
    step_returned: tuple[BaseTag, ...] | None  # None: the sequence was not asked for
    window: Window
    charset: str
    unsupported: bool  # a key was to be matched that is not supported


def find(query: Dataset, caller: Caller, store: Store, institution: str = "") -> Iterator[Answer]:
    """Answer a worklist query: FF00 (FF01) with each match, then 0000; or one refusal.

    A query that cannot be understood is refused with A900, its Offending Element and an Error Comment.
    """
    started = time.perf_counter()
    try:
        asked = parse(query)
    except MalformedKey as error:
        log.warning("worklist query of %s refused: %s", caller.ae_title, error)
        offending = tag_for_keyword(error.keyword)
        yield Answer(
            status(Status.IDENTIFIER_DOES_NOT_MATCH, str(error), Tag(offending) if offending is not None else None)
        )
        return
    with store.read() as reader:
        device = devices.get(reader, caller.ae_title)
        names = {each.ae_title: (each.name, each.room) for each in devices.all_devices(reader)}
        found = worklist.find(reader, _narrowing(asked), MOST + 1)
    context = Context(caller.ae_title, asked.step_keys.get(Tag("ScheduledStationAETitle"), ""), institution, names)
    items = [item for item in found[:MOST] if matches(asked, item, context)]
    term = charset.for_answer(device.charset if device else "auto", asked.charset)
    took = (time.perf_counter() - started) * 1000
    log.info("worklist query of %s: %d items, %.0f ms", caller.ae_title, len(items), took)
    summary = f"{len(items)}"
    store.submit(lambda tx: devices.hear(tx, caller.ae_title, "worklist", caller.address, summary))
    if items:
        ids = [item.step.id for item in items]
        store.submit(lambda tx: worklist.note_delivery(tx, ids, caller.ae_title))
    pending = status(Status.PENDING_WARNING if asked.unsupported else Status.PENDING)
    for item in items:
        yield Answer(pending, identifier(asked, item, context, term))
    if len(found) > MOST:
        log.warning("worklist query of %s matches more than %d items: cut", caller.ae_title, MOST)
        yield Answer(status(Status.OUT_OF_RESOURCES, f"more than {MOST} items, ask for a date or a station"))
        return
    yield Answer(status(Status.SUCCESS))


def parse(query: Dataset) -> Query:
    """Read the keys of a query, or raise MalformedKey."""
    keys, returned, unsupported = _keys(query, _TOP)
    step_keys: dict[BaseTag, str] = {}
    step_returned: tuple[BaseTag, ...] | None = None
    if _SEQUENCE in query:
        items = _items(query[_SEQUENCE])
        if len(items) > 1:
            raise MalformedKey("ScheduledProcedureStepSequence", "more than one item")
        step_returned = tuple(_STEP)  # PS3.4 C.2.2.2.6: a zero-length item asks for all of its attributes
        if items and len(items[0]):
            step_keys, step_returned, step_unsupported = _keys(items[0], _STEP)
            unsupported = unsupported or step_unsupported
    if not returned and step_returned is None:
        raise MalformedKey("", "no key of the worklist in the identifier")
    window = matching.window(
        step_keys.get(Tag("ScheduledProcedureStepStartDate"), ""),
        step_keys.get(Tag("ScheduledProcedureStepStartTime"), ""),
    )
    term = query.get("SpecificCharacterSet", "")
    return Query(
        keys=keys,
        step_keys=step_keys,
        returned=returned,
        step_returned=step_returned,
        window=window,
        charset=str(term if isinstance(term, str) else "\\".join(term)),
        unsupported=unsupported,
    )


def _keys(ds: Dataset, supported: dict[BaseTag, Attribute]) -> tuple[dict[BaseTag, str], tuple[BaseTag, ...], bool]:
    """Split a dataset's elements into keys to match, attributes to return, and whether anything is unsupported."""
    keys: dict[BaseTag, str] = {}
    returned: list[BaseTag] = []
    unsupported = False
    for element in ds:
        tag = element.tag
        if tag in _NOT_KEYS or tag.is_private or tag.element == 0 or tag == _SEQUENCE:  # element 0: group length
            continue
        attribute = supported.get(tag)
        if attribute is None:
            unsupported = unsupported or not element.is_empty
            continue
        returned.append(tag)
        if element.VR == "SQ":
            unsupported = unsupported or any(not inner.is_empty for item in _items(element) for inner in item)
            continue
        value = _text(element, attribute)
        if matching.is_universal(value):
            continue
        if attribute.match is Match.NONE:
            unsupported = True
        else:
            keys[tag] = value
    return keys, tuple(returned), unsupported


def _items(element: DataElement) -> Sequence[Dataset]:
    return list(element.value or []) if element.VR == "SQ" else []


def _text(element: DataElement, attribute: Attribute) -> str:
    """Read a key as text; several values are allowed in a list of UID only (PS3.4 C.2.2.2.2)."""
    value = element.value
    if value is None:
        return ""
    if isinstance(value, MultiValue | list):
        if attribute.match is not Match.UID:
            raise MalformedKey(attribute.keyword, "more than one value")
        return "\\".join(str(each) for each in value)
    return str(value).strip(" \0")


def _narrowing(asked: Query) -> Narrowing:
    """Give the store what its indexes can answer; everything is compared once more afterwards."""

    def exact(keys: dict[BaseTag, str], keyword: str) -> str | None:
        value = keys.get(Tag(keyword), "")
        return None if not value or "*" in value or "?" in value or "\\" in value else value

    return Narrowing(
        station_ae_title=exact(asked.step_keys, "ScheduledStationAETitle"),
        start_from=asked.window.low,
        start_to=asked.window.high,
        accession_number=exact(asked.keys, "AccessionNumber"),
        patient_id=exact(asked.keys, "PatientID"),
        study_instance_uid=exact(asked.keys, "StudyInstanceUID"),
    )


def matches(asked: Query, item: Item, context: Context) -> bool:
    """Say whether an item matches every key."""
    if not asked.window.holds(item.step.start):
        return False
    return all(
        _matches(supported[tag], key, item, context)
        for supported, keys in ((_TOP, asked.keys), (_STEP, asked.step_keys))
        for tag, key in keys.items()
    )


def _matches(attribute: Attribute, key: str, item: Item, context: Context) -> bool:
    match attribute.match:
        case Match.WINDOW:
            return True  # both keys together, see `Window`
        case Match.STATION:
            return any(matching.text(key, title) for title in item.step.station_ae_titles)
        case Match.NAME:
            return matching.person_name(key, str(attribute.value(item, context)))
        case Match.UID:
            return str(attribute.value(item, context)) in key.split("\\")
        case _:
            return matching.text(key, str(attribute.value(item, context)))


def identifier(asked: Query, item: Item, context: Context, term: str) -> Dataset:
    """Write one answer: the requested attributes only, in letters that the character set has."""
    ds = Dataset()
    texts: list[str] = []
    for tag in asked.returned:
        _put(ds, _TOP[tag], item, context, term, texts)
    if asked.step_returned is not None:
        step = Dataset()
        for tag in asked.step_returned:
            _put(step, _STEP[tag], item, context, term, texts)
        ds.ScheduledProcedureStepSequence = [step]
    # PS3.4 C.4.1.1.3.2: present whenever an answer holds characters beyond the default repertoire.
    if not all(text.isascii() for text in texts):
        ds.SpecificCharacterSet = term
    return ds


def _put(ds: Dataset, attribute: Attribute, item: Item, context: Context, term: str, texts: list[str]) -> None:
    value = attribute.value(item, context)
    if isinstance(value, str):
        value = charset.fit(value, term)[: attribute.length].rstrip()
        texts.append(value)
    elif isinstance(value, list):
        for code in value:
            code.CodeMeaning = charset.fit(code.CodeMeaning, term)
            texts.append(code.CodeMeaning)
    setattr(ds, attribute.keyword, value)
