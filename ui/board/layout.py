"""A day as the board shows it, laid out in lanes. Pure apart from `read`; it draws nothing."""

from __future__ import annotations

from collections.abc import Container, Hashable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo

from broker.domain import names
from broker.domain.devices import Device
from broker.domain.orders import OrderState, Priority
from broker.domain.performed import PerformedStep
from broker.store.database import Reader
from broker.store.queries import board, device_registry, exchange_state, inbox, lookups, schedule
from broker.store.queries.board import DoubtfulStep, OrphanMessage, UnlinkedStep
from broker.store.queries.exchange_state import OutboundLine
from broker.store.queries.schedule import Visit
from ui.text import words

FEW_DEVICES = 4  # up to this many, each has a lane even on a day without work
DONE_KEPT = 3  # finished visits of today that stay in sight; older ones fold into one line
FEWEST_FOLDED = 2
SHORTEST_GAP = timedelta(minutes=10)
USUAL_LENGTH = timedelta(minutes=10)  # of a procedure that is no longer in the directory

# A filter's word and the states that it shows; the cancelled stand apart, for they are not work.
FILTERS: dict[str, frozenset[OrderState]] = {
    "Все": frozenset(OrderState) - {OrderState.CANCELLED},
    "Ожидают": frozenset({OrderState.SCHEDULED}),
    "Выполняются": frozenset({OrderState.IN_PROGRESS}),
    "Выполнены": frozenset({OrderState.COMPLETED}),
    "Отменены": frozenset({OrderState.CANCELLED}),
}
OVER = frozenset({OrderState.COMPLETED, OrderState.CANCELLED})
ALL, WAITING, CANCELLED = "Все", "Ожидают", "Отменены"
UNLINKED_KEPT = timedelta(days=14)  # how long a study without an order stays on the board of today
NAME_SHOWN = 64  # characters of a name as a device sent it


@dataclass(frozen=True, slots=True)
class BoardDay:
    """What the database has of a day at one instant."""

    on: date
    visits: Sequence[Visit]
    performed: dict[int, list[PerformedStep]]  # by order id
    devices: Sequence[Device]
    lengths: dict[str, timedelta]  # by procedure code
    unlinked: Sequence[UnlinkedStep]
    needs_attention: Sequence[OutboundLine]
    late: Sequence[inbox.LateChange] = ()
    orphans: Sequence[OrphanMessage] = ()
    doubtful: Sequence[DoubtfulStep] = ()


@dataclass(frozen=True, slots=True)
class VisitRow:
    """One visit in a lane."""

    key: Hashable
    number: str
    at: str
    name: str
    full: str
    what: str
    urgent: bool
    state: str  # a key of theme.STATES
    length: str  # how long it has been in its state


@dataclass(frozen=True, slots=True)
class GapRow:
    """A free stretch; `until` is empty where nothing follows."""

    key: Hashable
    at: str
    until: str


@dataclass(frozen=True, slots=True)
class ClockRow:
    """The line of the current time, between what should be done and what is to come."""

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
    """A word in a lane that has nothing to show."""

    word: str
    key: Hashable = "note"


LaneRow = VisitRow | GapRow | ClockRow | FoldRow | NoteRow


@dataclass(frozen=True, slots=True)
class Lane:
    """A device's day."""

    ae_title: str
    name: str
    room: str
    count: int
    rows: tuple[LaneRow, ...]


def read(reader: Reader, on: date, today: date, zone: tzinfo) -> BoardDay:
    """Return everything about a day, in the zone of the clinic; refused messages belong to today, for they wait now."""
    start = datetime.combine(on, time.min, zone).astimezone(UTC)
    end = datetime.combine(on + timedelta(days=1), time.min, zone).astimezone(UTC)
    visits = schedule.day(reader, on)
    performed_steps = schedule.performed_steps(reader, {visit.order.id for visit in visits})
    return BoardDay(
        on=on,
        # What another clinic is to do takes no time here, unless a device here did it all the same.
        visits=[each for each in visits if each.station_ae_titles or each.order.id in performed_steps],
        performed=performed_steps,
        devices=device_registry.approved(reader),
        lengths={each.code: timedelta(minutes=each.minutes) for each in lookups.procedures(reader)},
        # A study that belongs to nobody waits on today's board until somebody says whose it is.
        unlinked=[
            each
            for each in board.unlinked(reader, start - UNLINKED_KEPT if on == today else start)
            if each.created_at < end
        ],
        needs_attention=exchange_state.current(reader, 0).needs_attention if on == today else (),
        late=inbox.too_late(reader) if on == today else (),
        orphans=[each for each in board.orphans(reader, start) if each.at < end],
        doubtful=board.doubtful(reader) if on == today else (),
    )


def counts(day: BoardDay) -> dict[str, int]:
    """Return how many visits each filter shows."""
    return {word: sum(visit.order.state in states for visit in day.visits) for word, states in FILTERS.items()}


def lanes(day: BoardDay, now: datetime, zone: tzinfo, show: str, unfolded: Container[str] = ()) -> list[Lane]:
    """Return a lane for every device with work, or for all if they are few; unknown AE titles come last.

    `now` is local; `unfolded` holds the AE titles whose finished visits are all shown. What has begun stands only
    with the device that really does it.
    """
    by_station: dict[str, list[Visit]] = {device.ae_title: [] for device in day.devices}
    for visit in day.visits:
        for ae_title in _where(day, visit):
            by_station.setdefault(ae_title, []).append(visit)
    by_title = {device.ae_title: device for device in day.devices}
    return [
        Lane(
            ae_title=ae_title,
            name=by_title[ae_title].name if ae_title in by_title else ae_title,
            room=by_title[ae_title].room if ae_title in by_title else "",
            count=sum(visit.order.state is not OrderState.CANCELLED for visit in visits),
            rows=tuple(_rows(day, visits, now, zone, show, ae_title in unfolded)),
        )
        for ae_title, visits in by_station.items()
        if visits or len(day.devices) <= FEW_DEVICES
    ]


def candidates(day: BoardDay, unlinked: UnlinkedStep) -> list[Visit]:
    """Return the day's visits that a study made without an order may belong to, the likeliest first.

    The same card number or name is likeliest, then the same device and what was not made yet, then the nearest time.
    """
    step = unlinked.step
    name = names.fold(str(names.from_dicom(step.patient_name)))

    def rank(visit: Visit) -> tuple[bool, bool, bool, timedelta]:
        patient = visit.order.patient
        same = (step.patient_id != "" and step.patient_id == patient.patient_id) or names.fold(
            str(patient.name)
        ) == name
        made = visit.order.state in (OrderState.COMPLETED, OrderState.IN_PROGRESS)
        distance = abs(visit.start - step.start) if step.start else timedelta(0)
        return not same, step.ae_title not in visit.station_ae_titles, made, distance

    fitting = [visit for visit in day.visits if not step.modality or visit.order.modality == step.modality]
    return sorted(fitting, key=rank)


# ---- a lane's rows ----


def _where(day: BoardDay, visit: Visit) -> tuple[str, ...]:
    """Return the AE titles in whose lanes a visit stands: where it was planned, or where it was begun last."""
    steps = day.performed.get(visit.order.id)
    return (steps[-1].ae_title,) if steps else visit.station_ae_titles


def _rows(day: BoardDay, visits: list[Visit], now: datetime, zone: tzinfo, show: str, unfolded: bool) -> list[LaneRow]:
    """Return what is in progress first; the rest by time, with free stretches and the current time between."""
    shown = [visit for visit in visits if visit.order.state in FILTERS[show]]
    running = [visit for visit in shown if visit.order.state is OrderState.IN_PROGRESS]
    rest = [visit for visit in shown if visit.order.state is not OrderState.IN_PROGRESS]
    top: list[LaneRow] = [_line(day, visit, now, zone) for visit in running]
    if now.date() == day.on and show == ALL:
        done = [visit for visit in rest if visit.order.state is OrderState.COMPLETED][:-DONE_KEPT]
        if len(done) >= FEWEST_FOLDED:
            top.append(FoldRow(len(done), unfolded))
            hidden = set() if unfolded else {id(visit) for visit in done}  # comparing visits takes long
            rest = [visit for visit in rest if id(visit) not in hidden]
    planned: list[tuple[datetime, LaneRow]] = [(visit.start, _line(day, visit, now, zone)) for visit in rest]
    if show == ALL:
        planned += _gaps(day, [visit for visit in visits if visit.order.state is not OrderState.CANCELLED], now)
    if now.date() == day.on and show in (ALL, WAITING) and visits:
        planned.append((now, ClockRow(f"{now:%H:%M}")))
    # At the same instant the clock comes first: what is planned for now is still to come.
    planned.sort(key=lambda each: (each[0], not isinstance(each[1], ClockRow)))
    if not shown:
        top = [NoteRow("Записей нет" if show == ALL else "Никого")]
    return top + [row for _, row in planned]


def _gaps(day: BoardDay, visits: list[Visit], now: datetime) -> list[tuple[datetime, LaneRow]]:
    """Return the free stretches that have not passed, between visits and after the last one."""
    found: list[tuple[datetime, LaneRow]] = []
    end: datetime | None = None
    for visit in sorted(visits, key=lambda visit: visit.start):
        if end and visit.start - end >= SHORTEST_GAP and visit.start > now:
            found.append((end, GapRow(("gap", end), f"{end:%H:%M}", f"{visit.start:%H:%M}")))
        finish = visit.start + day.lengths.get(visit.order.procedure_code, USUAL_LENGTH)
        end = max(end, finish) if end else finish
    if end and end > now:
        found.append((end, GapRow(("gap", end), f"{end:%H:%M}", "")))
    return found


def _line(day: BoardDay, visit: Visit, now: datetime, zone: tzinfo) -> VisitRow:
    order, patient = visit.order, visit.order.patient
    return VisitRow(
        key=(order.id, visit.start),
        number=order.accession_number,
        at=f"{visit.start:%H:%M}",
        name=names.short(patient.name),
        full=f"{patient.name}, {words.born(patient.birth_date)}. {words.procedure(order)}. {order.accession_number}",
        what=words.short_procedure(order),
        urgent=order.priority is Priority.URGENT and order.state not in OVER,
        state=words.standing(visit),
        length=_length(visit, now, zone) if day.on == now.date() else "",
    )


def _length(visit: Visit, now: datetime, zone: tzinfo) -> str:
    """Return how long a visit has been in its state; one that was registered earlier waits from its time on."""
    since = (visit.seen_at or visit.since) if visit.order.state is OrderState.SCHEDULED else visit.since
    local = since.astimezone(zone).replace(tzinfo=None)
    if visit.order.state is OrderState.SCHEDULED and local.date() < now.date():
        local = visit.start
    if local > now:
        return ""
    return words.duration(now - local) if now - local >= timedelta(minutes=1) else "только что"
