"""A day of the board, laid out in a column for each device. Pure apart from `read`; draws nothing."""

from __future__ import annotations

from collections.abc import Callable, Container, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, tzinfo

from broker.domain.clinic.devices import Device
from broker.domain.orders import OrderState, Priority
from broker.domain.patients import names
from broker.domain.studies.performed import PerformedStep
from broker.store.database import Reader
from broker.store.queries import (
    board,
    device_registry,
    exchange_state,
    inbox,
    lookups,
    refused_imports,
    schedule,
    undecided,
)
from broker.store.queries.board import DoubtfulStep, OrphanMessage, UncorrectedReferral, UnlinkedStep
from broker.store.queries.exchange_state import OutboundLine
from broker.store.queries.refused_imports import RefusedSummary, SimilarSummary
from broker.store.queries.schedule import Visit
from broker.store.queries.studies import archive_gaps, received, unreferred_studies
from broker.store.queries.studies.archive_gaps import (
    DoubtfulStudy,
    FewerImages,
    ImagesDue,
    Lack,
    MissingImages,
    OtherCount,
)
from broker.store.queries.studies.unreferred_studies import OfferedStudy
from broker.store.queries.undecided import OrderOfTwo
from ui.text import visit_states, words

FEW_DEVICES = 4  # up to this many, each has a column even on a day without visits
MAX_FINISHED = 3  # finished visits of today that are shown; older ones are folded into one line
MIN_FOLDED = 2
MIN_GAP = timedelta(minutes=10)
USUAL_LENGTH = timedelta(minutes=10)  # of a procedure that is no longer in the directory


# A filter's word and what it shows; the cancelled stand apart, for they are not work.
FILTERS: Mapping[str, Callable[[Visit], bool]] = {
    "Все": lambda visit: visit.order.state is not OrderState.CANCELLED,
    "Ожидают": lambda visit: visit.order.state is OrderState.SCHEDULED,
    "Выполняются": lambda visit: visit.order.state is OrderState.IN_PROGRESS,
    "Выполнены": lambda visit: visit.order.state is OrderState.COMPLETED,
    **visit_states.LACKING,
    "Отменены": lambda visit: visit.order.state is OrderState.CANCELLED,
}
OVER = frozenset({OrderState.COMPLETED, OrderState.CANCELLED})
ALL, WAITING, CANCELLED = "Все", "Ожидают", "Отменены"
UNLINKED_PERIOD = timedelta(days=14)  # how long a study without an order stays on the board of today
MAX_NAME = 64  # characters of a name as a device sent it


@dataclass(frozen=True, slots=True)
class BoardDay:
    """The data of a day at one instant."""

    on: date
    visits: Sequence[Visit]
    performed: dict[int, list[PerformedStep]]  # by order id
    devices: Sequence[Device]
    lengths: dict[str, timedelta]  # by procedure code
    unlinked: Sequence[UnlinkedStep]
    uncorrected: Sequence[UncorrectedReferral]
    needs_attention: Sequence[OutboundLine]
    late: Sequence[inbox.LateChange] = ()
    orphans: Sequence[OrphanMessage] = ()
    doubtful: Sequence[DoubtfulStep] = ()
    archive: Sequence[DoubtfulStudy] = ()
    missing: Sequence[MissingImages] = ()
    counts: Sequence[OtherCount] = ()
    refused: RefusedSummary | None = None  # from worklist files and tables
    similar: SimilarSummary | None = None  # cards of imported items
    held: int = 0  # reports of modalities that belong to no study yet
    offered: Sequence[OfferedStudy] = ()  # studies in the archive that an order fits
    undecided: Sequence[OrderOfTwo] = ()
    fewer: Sequence[FewerImages] = ()
    lacks: Mapping[int, Lack] = field(default_factory=dict)  # by order id, of the day's visits


@dataclass(frozen=True, slots=True)
class VisitRow:
    """One visit in a column."""

    key: Hashable
    number: str
    at: str
    name: str
    full: str
    what: str
    urgent: bool
    state: str  # a key of theme.STATES
    word: str  # instead of that state's own; empty: that
    delivered: bool  # the bus has taken all of it
    length: str  # how long it has been in its state


@dataclass(frozen=True, slots=True)
class GapRow:
    """A free period; `until` is empty if nothing follows."""

    key: Hashable
    at: str
    until: str


@dataclass(frozen=True, slots=True)
class ClockRow:
    """The line of the current time."""

    at: str
    key: Hashable = "clock"


@dataclass(frozen=True, slots=True)
class FoldRow:
    """Finished visits folded into one line, or the line that folds them again."""

    count: int
    open: bool
    key: Hashable = "fold"


@dataclass(frozen=True, slots=True)
class NoteRow:
    """A word in an empty column."""

    word: str
    key: Hashable = "note"


ColumnRow = VisitRow | GapRow | ClockRow | FoldRow | NoteRow


@dataclass(frozen=True, slots=True)
class DeviceColumn:
    """A device's day."""

    ae_title: str
    name: str
    room: str
    count: int
    rows: tuple[ColumnRow, ...]


def read(reader: Reader, on: date, today: date, zone: tzinfo, images_due: ImagesDue | None = None) -> BoardDay:
    """Return the data of a day in the clinic's zone; what needs attention belongs to today."""
    start = datetime.combine(on, time.min, zone).astimezone(UTC)
    end = datetime.combine(on + timedelta(days=1), time.min, zone).astimezone(UTC)
    visits = schedule.day(reader, on)
    performed_steps = schedule.performed_steps(reader, {visit.order.id for visit in visits})
    waiting = archive_gaps.lacks(reader, images_due) if on == today else {}
    return BoardDay(
        on=on,
        # Referred visits take no time here, unless a device here performed them nevertheless.
        visits=[each for each in visits if each.station_ae_titles or each.order.id in performed_steps],
        performed=performed_steps,
        devices=device_registry.approved(reader),
        lengths={each.code: timedelta(minutes=each.minutes) for each in lookups.procedures(reader)},
        # Unlinked studies stay on today's board until a person has linked them.
        unlinked=[
            each
            for each in board.unlinked(reader, start - UNLINKED_PERIOD if on == today else start)
            if each.created_at < end
        ],
        needs_attention=exchange_state.current(reader, 0).needs_attention if on == today else (),
        uncorrected=board.uncorrected(reader) if on == today else (),
        late=inbox.too_late(reader) if on == today else (),
        orphans=[each for each in board.orphans(reader, start) if each.at < end],
        doubtful=board.doubtful(reader) if on == today else (),
        archive=archive_gaps.open_studies(reader) if on == today else (),
        offered=unreferred_studies.offered(reader) if on == today else (),
        missing=[each for each in waiting.values() if isinstance(each, MissingImages)],
        counts=[each for each in waiting.values() if isinstance(each, OtherCount)],
        fewer=archive_gaps.fewer_images(reader) if on == today else (),
        lacks=archive_gaps.lacks(reader, images_due, {visit.order.id for visit in visits}),
        undecided=undecided.waiting(reader) if on == today else (),
        refused=refused_imports.summary(reader) if on == today else None,
        similar=refused_imports.similar_summary(reader) if on == today else None,
        held=received.held_count(reader) if on == today else 0,
    )


def counts(day: BoardDay) -> dict[str, int]:
    """Return how many visits each filter shows."""
    return {word: sum(map(shows, day.visits)) for word, shows in FILTERS.items()}


def columns(day: BoardDay, now: datetime, zone: tzinfo, show: str, unfolded: Container[str] = ()) -> list[DeviceColumn]:
    """Return a column for every device with visits, or for all if they are few; unknown AE titles come last.

    `now` is local; `unfolded` has the AE titles whose finished visits are all shown. A started visit is shown only in
    the column of the device that performs it.
    """
    by_station: dict[str, list[Visit]] = {device.ae_title: [] for device in day.devices}
    for visit in day.visits:
        for ae_title in _device_titles(day, visit):
            by_station.setdefault(ae_title, []).append(visit)
    by_title = {device.ae_title: device for device in day.devices}
    return [
        DeviceColumn(
            ae_title=ae_title,
            name=by_title[ae_title].name if ae_title in by_title else ae_title,
            room=by_title[ae_title].room if ae_title in by_title else "",
            count=sum(visit.order.state is not OrderState.CANCELLED for visit in visits),
            rows=tuple(_rows(day, visits, now, zone, show, ae_title in unfolded)),
        )
        for ae_title, visits in by_station.items()
        if visits or len(day.devices) <= FEW_DEVICES
    ]


# ---- rows of a column ----


def _device_titles(day: BoardDay, visit: Visit) -> tuple[str, ...]:
    """Return the AE titles of a visit's columns: where it was planned, or where it was started last."""
    steps = day.performed.get(visit.order.id)
    return (steps[-1].ae_title,) if steps else visit.station_ae_titles


def _rows(
    day: BoardDay, visits: list[Visit], now: datetime, zone: tzinfo, show: str, unfolded: bool
) -> list[ColumnRow]:
    """Return the visits in progress first, then the others by time, with free periods and the current time."""
    shown = [visit for visit in visits if FILTERS[show](visit)]
    running = [visit for visit in shown if visit.order.state is OrderState.IN_PROGRESS]
    rest = [visit for visit in shown if visit.order.state is not OrderState.IN_PROGRESS]
    top: list[ColumnRow] = [_visit_row(day, visit, now, zone) for visit in running]
    if now.date() == day.on and show == ALL:
        finished = [
            visit for visit in rest if visit.order.state is OrderState.COMPLETED and visit.order.id not in day.lacks
        ]
        done = finished[:-MAX_FINISHED]
        if len(done) >= MIN_FOLDED:
            top.append(FoldRow(len(done), unfolded))
            hidden = set() if unfolded else {id(visit) for visit in done}  # comparing visits is slow
            rest = [visit for visit in rest if id(visit) not in hidden]
    planned: list[tuple[datetime, ColumnRow]] = [(visit.start, _visit_row(day, visit, now, zone)) for visit in rest]
    if show == ALL:
        planned += _gaps(day, [visit for visit in visits if visit.order.state is not OrderState.CANCELLED], now)
    if now.date() == day.on and show in (ALL, WAITING) and visits:
        planned.append((now, ClockRow(f"{now:%H:%M}")))
    # At the same time the clock comes before a visit.
    planned.sort(key=lambda each: (each[0], not isinstance(each[1], ClockRow)))
    if not shown:
        top = [NoteRow("Записей нет" if show == ALL else "Никого")]
    return top + [row for _, row in planned]


def _gaps(day: BoardDay, visits: list[Visit], now: datetime) -> list[tuple[datetime, ColumnRow]]:
    """Return the free periods that have not passed, between visits and after the last one."""
    found: list[tuple[datetime, ColumnRow]] = []
    end: datetime | None = None
    for visit in sorted(visits, key=lambda visit: visit.start):
        if end and visit.start - end >= MIN_GAP and visit.start > now:
            found.append((end, GapRow(("gap", end), f"{end:%H:%M}", f"{visit.start:%H:%M}")))
        finish = visit.start + day.lengths.get(visit.order.procedure_code, USUAL_LENGTH)
        end = max(end, finish) if end else finish
    if end and end > now:
        found.append((end, GapRow(("gap", end), f"{end:%H:%M}", "")))
    return found


def _visit_row(day: BoardDay, visit: Visit, now: datetime, zone: tzinfo) -> VisitRow:
    order, patient = visit.order, visit.order.patient
    state, word = visit_states.state(visit, day.lacks.get(order.id), now, zone)
    return VisitRow(
        key=(order.id, visit.start),
        number=order.accession_number,
        at=f"{visit.start:%H:%M}",
        name=names.short(patient.name),
        full=f"{patient.name}, {words.born(patient.born)}. {words.procedure(order)}. {order.accession_number}",
        what=words.short_procedure(order),
        urgent=order.priority is Priority.URGENT and order.state not in OVER,
        state=state,
        word=word,
        delivered=visit.delivered,
        length=_length(visit, now, zone) if day.on == now.date() and not word else "",
    )


def _length(visit: Visit, now: datetime, zone: tzinfo) -> str:
    """Return how long a visit has been in its state; one of an earlier day, since its planned time."""
    since = (visit.seen_at or visit.since) if visit.order.state is OrderState.SCHEDULED else visit.since
    local = since.astimezone(zone).replace(tzinfo=None)
    if visit.order.state is OrderState.SCHEDULED and local.date() < now.date():
        local = visit.start
    if local > now:
        return ""
    return words.duration(now - local) if now - local >= timedelta(minutes=1) else "только что"
