"""The worklist service: a query in, answers out (PS3.4 Annex K).

Functions of (query, caller, store): no socket, no association; whatever listens calls `find`. A query changes no
order; it only notes the last contact, what the device has on its list, and what differs there from what is stored.

Which items a device sees, beside what it asks for: its own (unless it may see those of others and names one, or is set
to see all), of the days that it is set to see, open or completed a short while ago, and not started by another of the
item's stations.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from datetime import time as time_of_day
from typing import Generic, TypeVar

from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from broker.dicom.codec import charset
from broker.dicom.codec.dates import MalformedKey
from broker.dicom.devices.registry import Caller
from broker.dicom.statuses import Status, status
from broker.dicom.worklist import brought, name_matching
from broker.dicom.worklist.attributes import AnswerContext
from broker.dicom.worklist.matching import matches, name_matches
from broker.dicom.worklist.query import WorklistQuery, parse
from broker.dicom.worklist.response import Alterations, Style
from broker.domain.clinic.devices import Device
from broker.domain.clinic.settings import Clinic
from broker.domain.orders import StepState
from broker.domain.patients import names
from broker.store.database import Reader, Store, StoreError, Tx
from broker.store.queries import device_registry
from broker.store.tables import devices, worklist
from broker.store.tables.patients import patients
from broker.store.tables.worklist import Candidate, IndexFilter, WorklistItem

log = logging.getLogger(__name__)

T = TypeVar("T")

# Items in one answer. A device that asks for more gets the earliest ones and then A700, which says that there are more.
MOST = 2000
MOST_EXAMINED = 20_000  # items that are looked at for one answer, where no index says that a key fails
_NOT_EXACT = re.compile(r"[*?\\]")  # wildcards, and what stands between the values of a list
MOST_NAMED = 10  # other devices in one note
_PAGE = 500  # items that are read at a time


@dataclass(frozen=True, slots=True)
class FindResponse(Generic[T]):
    """A status and, for a match, the identifier that goes with it, as the ResponseRecorder made it."""

    status: Dataset
    identifier: T | None = None


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The items that match a query, the earliest first, and what their answers depend on."""

    items: tuple[WorklistItem, ...]
    more: bool  # there are more, or too many to look at
    context: AnswerContext
    style: Style
    index_filter: IndexFilter | None = None  # beyond which nothing can match; None: nothing matches whatever there is
    withheld: tuple[str, ...] = ()  # devices whose items were asked for and are not for who asks


def find(
    query: Dataset,
    caller: Caller,
    store: Store,
    clinic: Clinic,
    recorder: ResponseRecorder[T],
    institution: str = "",
    *,
    noted: bool = True,
) -> Generator[FindResponse[T], None, None]:
    """Answer a worklist query: FF00 (FF01) with each match, then 0000; or one refusal.

    Matches are what `recorder` makes; it then knows what the device was sent. A query that cannot be understood is
    refused with A900, its Offending Element and an Error Comment. With `noted` off nothing is written: for people who
    want to see what a device would see.
    """
    started = time.perf_counter()
    try:
        asked = parse(query)
    except MalformedKey as error:
        log.warning("worklist query of %s refused: %s", caller.ae_title, error)
        # Without a key there is no element to name; pydicom has one for the empty keyword.
        offending = tag_for_keyword(error.keyword) if error.keyword else None
        yield FindResponse(
            status(Status.IDENTIFIER_DOES_NOT_MATCH, str(error), Tag(offending) if offending is not None else None)
        )
        return
    with store.read() as reader:
        result = recorder.result = search(
            asked, caller.ae_title, reader, clinic, store.clock(), institution, caller.asked_list
        )
    try:
        supported, warning = status(Status.PENDING), status(Status.PENDING_WARNING)
        for item in result.items:
            has_all = brought.is_supported(asked, item, result.context)
            yield FindResponse(supported if has_all else warning, recorder.make(asked, item, result))
    finally:  # a device that leaves before the end has only what was sent so far
        took = (time.perf_counter() - started) * 1000
        log.info("worklist query of %s: %d items, %.0f ms", caller.ae_title, len(recorder.step_ids), took)
        if noted:
            _note(store, caller, asked, recorder)
    if result.more:
        log.warning("worklist query of %s matches more than %d items: cut", caller.ae_title, MOST)
        yield FindResponse(status(Status.OUT_OF_RESOURCES, f"more than {MOST} items, ask for a date or a station"))
        return
    yield FindResponse(status(Status.SUCCESS))


def search(
    asked: WorklistQuery,
    calling_ae_title: str,
    reader: Reader,
    clinic: Clinic,
    now: datetime,
    institution: str = "",
    asked_list: Sequence[str] = (),
) -> SearchResult:
    """Return what a device sees with this query; `now` is UTC. A device that is not registered has the defaults.

    With `asked_list`, only the items of these stations and rooms; a device that is one of them sees all of them.
    """
    device = devices.get(reader, calling_ae_title) or Device(calling_ae_title, calling_ae_title, "")
    rooms = {each.ae_title: (each.name, each.room) for each in device_registry.approved(reader)}
    stations = stations_of(asked_list, {title: room for title, (_, room) in rooms.items()})
    others = others_of(device, rooms, stations)
    context = AnswerContext(
        calling_ae_title,
        asked.key("ScheduledStationAETitle"),
        institution,
        rooms,
        clinic.zone,
        asked_number=asked.key("AccessionNumber"),
        others=others,
        bus_numbers=clinic.bus_numbers,
    )
    style = Style(charset.for_answer(device.charset, asked.charset), device.longest)
    if asked.undecodable:
        return SearchResult((), False, context, style)
    items: list[WorklistItem] = []
    index_filter = index_filter_for(asked, device, clinic, now, stations)
    if number := _current_number(reader, asked.key("PatientID")):
        index_filter = replace(index_filter, patient_id=number)
    examined, last = 0, None
    withheld = dict.fromkeys(each for each in context.asked_station.split("\\") if each in others)
    while len(items) <= MOST and examined < MOST_EXAMINED:
        page = worklist.candidates(reader, index_filter, _PAGE, last)
        named = [candidate for candidate in page if _name_may_match(asked, candidate, style)]
        for item in worklist.load(reader, named):
            if not matches(asked, item, context, style):
                continue
            if is_of_others(item, context):
                withheld |= dict.fromkeys(item.step.station_ae_titles)
            elif is_visible(item, context):
                items.append(item)
        examined += len(page)
        if len(page) < _PAGE:
            return SearchResult(tuple(items[:MOST]), len(items) > MOST, context, style, index_filter, tuple(withheld))
        last = page[-1]
    return SearchResult(tuple(items[:MOST]), True, context, style, index_filter, tuple(withheld))


def index_filter_for(
    asked: WorklistQuery, device: Device, clinic: Clinic, now: datetime, stations: frozenset[str] = frozenset()
) -> IndexFilter:
    """Return what the store's indexes can answer of a query, with the bounds of what a device may see at all.

    `stations` are those of the list that it calls by an AE title of its own: these instead of its own one.
    """
    today = datetime.combine(now.astimezone(clinic.zone).date(), time_of_day.min)
    earliest = _days(today, -device.days_before)
    start_from, start_to = asked.window.low, asked.window.high
    if start_from is None and start_to is None:
        start_to = _days(today, device.days_after + 1) - timedelta(seconds=1)
    station = asked.key("ScheduledStationAETitle")
    if not station and device.own_only and not stations:
        station = device.ae_title
    uids = asked.key("StudyInstanceUID")
    return IndexFilter(
        station_ae_title=_exact(station),
        stations=tuple(sorted(stations)),
        start_from=max(start_from, earliest) if start_from else earliest,
        start_to=start_to,
        accession_number=_exact(asked.key("AccessionNumber")),
        patient_id=_exact(asked.key("PatientID")),
        study_instance_uids=tuple(uids.split("\\")) if uids else (),
        sps_id=_exact(asked.key("ScheduledProcedureStepID")),
        requested_procedure_id=_exact(asked.key("RequestedProcedureID")),
        modality=_exact(asked.key("Modality")),
        name_beginning=name_matching.beginning(asked.key("PatientName")),
        accession_beginning=_beginning(asked.key("AccessionNumber")),
        patient_id_beginning=_beginning(asked.key("PatientID")),
        closed_since=now - timedelta(hours=device.closed_hours) if device.closed_hours else None,
    )


def stations_of(members: Sequence[str], rooms: Mapping[str, str]) -> frozenset[str]:
    """Return the stations of a list that is called by an AE title of its own, by its stations and rooms."""
    return frozenset((*members, *(title for title, room in rooms.items() if room in members)))


def others_of(device: Device, approved: Iterable[str], stations: frozenset[str] = frozenset()) -> frozenset[str]:
    """Return the approved devices (AE titles) whose items a device may not see.

    A station that is not one of these belongs to no device in particular: lists that scripts write may name any.
    `stations` are those of the list that it calls: a device that is one of them sees all of them.
    """
    if device.for_others or not device.own_only:
        return frozenset()
    others = frozenset(approved) - {device.ae_title}
    return others - stations if device.ae_title in stations else others


def is_of_others(item: WorklistItem, context: AnswerContext) -> bool:
    """Return True if an item is scheduled on other devices only, whose lists are not for who asks."""
    return bool(context.others) and context.others.issuperset(item.step.station_ae_titles or [""])


def is_visible(item: WorklistItem, context: AnswerContext) -> bool:
    """Return True if an item is still offered to a station: not if another one of its stations has started it.

    The station is the one that the query names, else the caller; one that the item is not scheduled on (a screen that
    shows several stations) sees it.
    """
    stations = item.step.station_ae_titles
    if item.step.state is StepState.SCHEDULED or not item.performers:
        return True
    asked = (each for each in context.asked_station.split("\\") if each in stations)
    asks = next(asked, context.calling_ae_title)
    started_by_another = any(title in stations and title != asks for title in item.performers)
    return asks not in stations or asks in item.performers or not started_by_another


def _name_may_match(asked: WorklistQuery, candidate: Candidate, style: Style) -> bool:
    """Return False if the name does not match, before anything else of the item is read."""
    key = asked.key("PatientName")
    return not key or candidate.imported or name_matches(key, names.to_dicom(candidate.name), style)


def _current_number(reader: Reader, asked: str) -> str | None:
    """Return the card number that is in force, if a query asks for that of a merged card; None if it does not.

    The wristband that a patient wears was printed before.
    """
    exact = _exact(asked.strip())
    known = patients.find_by(reader, "patient_id", exact) if exact else None
    return known.patient_id if known and known.patient_id != exact else None


def _exact(key: str) -> str | None:
    return None if not key or _NOT_EXACT.search(key) else key


def _beginning(key: str) -> str:
    """Return what precedes a key's first wildcard; empty if it has none."""
    return "" if _exact(key) else _NOT_EXACT.split(key)[0]


def _days(today: datetime, days: int) -> datetime:
    try:
        return today + timedelta(days=days)
    except OverflowError:
        return datetime.min if days < 0 else datetime.max


# ---- notes ----


class ResponseRecorder(Generic[T]):
    """Makes the matches of one answer, and records what the device was sent, and what of it differs from the store."""

    def __init__(self, make: Callable[[WorklistQuery, WorklistItem, AnswerContext, Style, Alterations], T]) -> None:
        """Make matches as `response.identifier` does, by it or in another form."""
        self._make = make
        self.result: SearchResult | None = None
        self.step_ids: list[int] = []
        self.noted: list[tuple[str, str]] = []  # kinds of notes and their texts, once it has ended
        self._altered: list[tuple[str, Alterations]] = []

    def make(self, asked: WorklistQuery, item: WorklistItem, result: SearchResult) -> T:
        """Return the match for an item, and record it."""
        alterations = Alterations()
        match = self._make(asked, item, result.context, result.style, alterations)
        self.step_ids.append(item.step.id)
        if alterations.characters or alterations.cut:
            self._altered.append((item.order.accession_number, alterations))
        return match

    def notes(self) -> Iterator[tuple[str, str]]:
        """Yield notes on what differs from the store: kinds and texts."""
        for kind, words, counts in (
            ("charset", "characters written otherwise", [(name, each.characters) for name, each in self._altered]),
            ("cut", "texts shortened", [(name, each.cut) for name, each in self._altered]),
        ):
            some = [(name, count) for name, count in counts if count]
            if some:
                others = f", and so for {len(some) - 1} other orders" if len(some) > 1 else ""
                yield kind, f"order {some[0][0]}: {some[0][1]} {words}{others}"


def _note(store: Store, caller: Caller, asked: WorklistQuery, recorder: ResponseRecorder[T]) -> None:
    notes = list(recorder.notes())
    for keyword in asked.undecodable:
        log.warning("worklist query of %s: %s is question marks only, nothing matches", caller.ae_title, keyword)
        notes.append(("undecodable_name", f"{keyword} was question marks only: the device cannot write its characters"))
    if recorder.result is not None and recorder.result.withheld:
        titles = ", ".join(recorder.result.withheld[:MOST_NAMED])
        log.warning("worklist query of %s: the lists of %s are not for it", caller.ae_title, titles)
        notes.append(("other_lists", titles))
    recorder.noted = notes
    note_contact(store, caller, list(recorder.step_ids), notes)


def note_contact(store: Store, caller: Caller, ids: Sequence[int], notes: Sequence[tuple[str, str]]) -> None:
    """Note the device's last contact and what it was sent; one transaction, in the background."""
    ae_title = caller.ae_title

    def write(tx: Tx) -> None:
        devices.note_contact(tx, ae_title, "worklist", caller.address, f"{len(ids)}")
        if ids:
            worklist.note_delivery(tx, ids, ae_title)
        for kind, text in notes:
            devices.note(tx, ae_title, kind, text)

    try:
        store.submit_background(write)
    except StoreError:  # closing down; the device has its answer
        log.info("worklist query of %s: not noted, the database is closed", ae_title)
