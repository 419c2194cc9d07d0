"""Why a device sees an order on its worklist, or does not: a verdict for every rule and every key of its query.

Pure, but for `of` at the end, which reads what is to be judged. It decides nothing itself: it asks the very functions
that answer the device.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta, tzinfo

from pydicom.dataset import Dataset

from broker.dicom.codec import charset
from broker.dicom.devices import samples
from broker.dicom.worklist import comparison, matching, response, service
from broker.dicom.worklist.attributes import STEP, TOP, Context, Match
from broker.dicom.worklist.matching import MalformedKey
from broker.dicom.worklist.query import Query, parse
from broker.dicom.worklist.response import Altered, Style
from broker.domain.clinic import Clinic
from broker.domain.device_advice import Explanation, Verdict
from broker.domain.devices import Device
from broker.domain.orders import Order, StepState
from broker.store.database import Reader
from broker.store.queries import worklist_status
from broker.store.tables import devices
from broker.store.tables.worklist import WorklistItem
from broker.workflow import devices as registry


@dataclass(frozen=True, slots=True)
class Contact:
    """What is known of a device's calls; instants are UTC."""

    known: bool = True  # whether it is in the registry, approved or not
    asked_at: datetime | None = None  # when it asked for its list last
    delivered_at: datetime | None = None  # when it was given this order first
    refused_at: datetime | None = None  # when it was turned away last
    refused_address: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """The query by which a device is judged: its latest real one, or a usual one where it has sent none."""

    query: Dataset
    at: datetime | None = None  # UTC; None: not a real one
    masked: tuple[
        str, ...
    ] = ()  # keys that ask for somebody whom the sample does not tell; taken as asking for anybody


def explain(
    item: WorklistItem,
    device: Device,
    asked: Asked | None,
    now: datetime,
    clinic: Clinic,
    *,
    since: datetime | None = None,
    contact: Contact | None = None,
    learns: bool = False,
) -> list[Verdict]:
    """Judge an order's step for a device; `now` and `since` (when the step came into its state) are UTC.

    `learns` says that devices are served that nobody has approved. `broker.domain.advice.sees` gives the sum.
    """
    contact = contact or Contact()
    verdicts = [*_registered(device, contact, learns), *_heard(item.order, contact)]
    real = asked is not None and asked.at is not None
    given = asked or Asked(typical())
    if asked is not None and asked.at is not None:
        given = replace(asked, query=renewed(asked.query, asked.at, now, clinic.zone))
    verdicts.append(Verdict("query", real, "query_real" if real else "query_usual", decides=False))
    if given.masked:
        verdicts.append(Verdict("query", True, "masked", {"keys": ", ".join(given.masked)}, decides=False))
    verdicts += _state(item, device, now, since)
    try:
        query = parse(given.query)
    except MalformedKey as error:
        told = {"keyword": error.keyword, "comment": error.comment}
        return [*verdicts, Verdict(error.keyword or "query", False, "malformed", told)]
    return [*verdicts, *_rules(item, device, query, now, clinic), *_keys(item, device, query, clinic)]


def typical(day: date | None = None, term: str = "") -> Dataset:
    """Make the query of a usual device: everything that there is, for a day or without one."""
    query, step = Dataset(), Dataset()
    if term:
        query.SpecificCharacterSet = term
    for ds, attributes in ((query, TOP), (step, STEP)):
        for attribute in attributes:
            if attribute.match is not Match.SEQUENCE:
                setattr(ds, attribute.keyword, [] if attribute.vr == "SQ" else None)
    if day is not None:
        step.ScheduledProcedureStepStartDate = f"{day:%Y%m%d}"
    query.ScheduledProcedureStepSequence = [step]
    return query


def renewed(query: Dataset, at: datetime, now: datetime, zone: tzinfo) -> Dataset:
    """Ask today what was asked on an earlier day: a device that asked for its today will ask for this one."""
    passed = now.astimezone(zone).date() - at.astimezone(zone).date()
    step = next(iter(query.get("ScheduledProcedureStepSequence") or []), None)
    key = str(step.get("ScheduledProcedureStepStartDate") or "") if step is not None else ""
    if step is None or not passed or not key:
        return query
    try:
        ends = matching.dates(key, "ScheduledProcedureStepStartDate")
        moved_key = "-".join(f"{end + passed:%Y%m%d}" if end else "" for end in ends)
    except (MalformedKey, OverflowError):
        return query  # the service will say what it thinks of it
    step, whole = Dataset(step), Dataset(query)
    step.ScheduledProcedureStepStartDate = moved_key if ends[0] != ends[1] else moved_key.partition("-")[0]
    whole.ScheduledProcedureStepSequence = [step]
    return whole


# ---- the rules ----


def _registered(device: Device, contact: Contact, learns: bool) -> Iterator[Verdict]:
    if not device.approved:
        yield Verdict("registered", learns, "not_approved" if contact.known else "unknown_device")
        return
    yield Verdict("registered", True, "registered", {"name": device.name})
    refused = contact.refused_at
    if refused and (contact.asked_at is None or refused > contact.asked_at):
        allowed = registry.may_call(device, contact.refused_address)
        told = {"address": contact.refused_address, "registered": device.address}
        if not allowed:
            yield Verdict("address", False, "other_address", told)


def _heard(order: Order, contact: Contact) -> Iterator[Verdict]:
    """Say whether it has asked at all; it explains, for it may ask in the next moment."""
    if contact.delivered_at is not None:
        yield Verdict("heard", True, "delivered", {"at": contact.delivered_at.isoformat()}, decides=False)
    elif contact.asked_at is None:
        yield Verdict("heard", False, "never_asked", decides=False)
    else:
        late = contact.asked_at < order.authored_on
        code = "asked_before" if late else "asked"
        yield Verdict("heard", not late, code, {"at": contact.asked_at.isoformat()}, decides=False)


_CLOSED = {
    StepState.COMPLETED: "completed",
    StepState.DISCONTINUED: "discontinued",
    StepState.CANCELLED: "cancelled",
}


def _state(item: WorklistItem, device: Device, now: datetime, since: datetime | None) -> Iterator[Verdict]:
    state = item.step.state
    if state not in _CLOSED:
        yield Verdict("state", True, "started" if state is StepState.STARTED else "open")
        return
    told = {"hours": str(device.closed_hours)}
    kept = bool(device.closed_hours) and since is not None and since >= now - timedelta(hours=device.closed_hours)
    lingers = state is StepState.COMPLETED and kept
    yield Verdict("state", lingers, "completed_lately" if lingers else _CLOSED[state], told)


def _rules(item: WorklistItem, device: Device, query: Query, now: datetime, clinic: Clinic) -> Iterator[Verdict]:
    stations = item.step.station_ae_titles
    planned = device.ae_title in stations
    told = {"stations": ", ".join(stations), "ae_title": device.ae_title}
    # Which station it sees without naming one is the device's own setting; a named one is judged among the keys.
    decides = not query.key("ScheduledStationAETitle") and device.own_only
    yield Verdict("station", planned or not decides, "planned_here" if planned else "planned_elsewhere", told, decides)
    bounds = service.narrowed(query, device, clinic, now)
    start, told = item.step.start, {"start": item.step.start.isoformat()}
    today = now.astimezone(clinic.zone).date()
    if start.date() < today - timedelta(days=min(device.days_before, today.toordinal() - 1)):
        yield Verdict("days", False, "past", {**told, "days": str(device.days_before)})
    elif _dateless(query) and bounds.start_to is not None and start > bounds.start_to:
        yield Verdict("days", False, "ahead", {**told, "days": str(device.days_after)})
    else:
        yield Verdict("days", True, "near", told)
    if not service.visible(item, _context(item, device, query, clinic)):
        yield Verdict("performer", False, "begun_elsewhere", {"stations": ", ".join(dict.fromkeys(item.performers))})


def _dateless(query: Query) -> bool:
    return query.window.low is None and query.window.high is None


def _keys(item: WorklistItem, device: Device, query: Query, clinic: Clinic) -> Iterator[Verdict]:
    context, style = _context(item, device, query, clinic), _style(device, query)
    for compared in comparison.compare(query, item, context, style):
        code = "undecodable" if compared.keyword in query.undecodable else _CODES.get(compared.keyword, "key")
        told = {"keyword": compared.keyword, "asked": compared.key, "has": compared.value}
        yield Verdict(compared.keyword, compared.matches, code, told)
    altered = Altered()
    response.identifier(query, item, context, style, altered)
    told = {"charset": style.charset, "characters": str(altered.characters), "cut": str(altered.cut)}
    whole = not altered.characters and not altered.cut
    yield Verdict("charset", whole, "letters_whole" if whole else "letters_altered", told, decides=False)


_CODES = {
    "ScheduledStationAETitle": "key_station",
    "ScheduledProcedureStepStartDate": "key_time",
    "ScheduledProcedureStepStartTime": "key_time",
    "Modality": "key_modality",
    "PatientName": "key_name",
}


def _context(item: WorklistItem, device: Device, query: Query, clinic: Clinic) -> Context:
    station, number = query.key("ScheduledStationAETitle"), query.key("AccessionNumber")
    return Context(device.ae_title, station, zone=clinic.zone, asked_number=number, bus_numbers=clinic.bus_numbers)


def _style(device: Device, query: Query) -> Style:
    return Style(charset.for_answer(device.charset, query.charset), device.longest)


# ---- what is to be judged ----


def of(
    reader: Reader, order: Order, ae_title: str, now: datetime, clinic: Clinic, *, learns: bool = False
) -> Explanation:
    """Judge an order for a device by what the device asked last; of several steps the one that comes nearest."""
    known = devices.get(reader, ae_title)
    device = known or Device(ae_title, ae_title, "", approved=False)
    asked = latest(reader, ae_title)
    stands = worklist_status.of_order(reader, order, ae_title)
    judged = [
        explain(
            each.item,
            device,
            asked,
            now,
            clinic,
            since=each.since,
            contact=Contact(
                known is not None, stands.asked_at, each.delivered_at, stands.refused_at, stands.refused_address
            ),
            learns=learns,
        )
        for each in stands.steps
    ]
    best = min(judged, key=lambda verdicts: sum(each.decides and not each.ok for each in verdicts), default=[])
    return Explanation(device, asked.at if asked else None, tuple(best))


def latest(reader: Reader, ae_title: str) -> Asked | None:
    """Give a device's latest real query, or None."""
    for sample in reversed(devices.samples(reader, ae_title).get(ae_title, [])):
        if sample.service == "worklist" and sample.which == "latest":
            query, masked = samples.restore(sample.attributes)
            return Asked(query, sample.at, tuple(masked))
    return None
