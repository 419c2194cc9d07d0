"""Explains why a device sees an order on its worklist or not: a result for every rule and every key of its query.

Pure, except `explain_order` at the end. It calls the same functions that answer the device.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta, tzinfo

from pydicom.dataset import Dataset

from broker.dicom.codec import charset, dates
from broker.dicom.codec.dates import MalformedKey
from broker.dicom.devices import samples
from broker.dicom.worklist import matching, response, service
from broker.dicom.worklist.attributes import STEP, TOP, AnswerContext, Match
from broker.dicom.worklist.query import WorklistQuery, parse
from broker.dicom.worklist.response import Alterations, Style
from broker.domain.clinic.device_advice import Explanation, RuleResult
from broker.domain.clinic.devices import Device
from broker.domain.clinic.settings import Clinic
from broker.domain.orders import Order, StepState
from broker.store.database import Reader
from broker.store.queries import device_registry
from broker.store.queries.studies import worklist_status
from broker.store.tables import devices
from broker.store.tables.worklist import WorklistItem
from broker.workflow import devices as registry


@dataclass(frozen=True, slots=True)
class Contact:
    """When a device called; instants are UTC, None if it never did."""

    known: bool = True  # whether it is in the registry, approved or not
    asked_at: datetime | None = None  # when it asked for its list last
    delivered_at: datetime | None = None  # when it was first sent this order
    refused_at: datetime | None = None  # when it was last rejected
    refused_address: str = ""


@dataclass(frozen=True, slots=True)
class CalledList:
    """A list of `dicom.lists` that a device asks for: the AE title that it calls, and the stations on the list."""

    ae_title: str
    stations: frozenset[str]


@dataclass(frozen=True, slots=True)
class DeviceQuery:
    """The query that the rules are applied to: a device's latest real one, or a typical one if it has sent none."""

    query: Dataset
    at: datetime | None = None  # UTC; None: not a real one
    masked: tuple[str, ...] = ()  # keys whose values the sample does not hold; taken as universal


def explain(
    item: WorklistItem,
    device: Device,
    asked: DeviceQuery | None,
    now: datetime,
    clinic: Clinic,
    *,
    since: datetime | None = None,
    contact: Contact | None = None,
    learns: bool = False,
    others: frozenset[str] = frozenset(),
    called: CalledList | None = None,
) -> list[RuleResult]:
    """Return the result of every rule for an order's step and a device; `device_advice.is_seen` gives the sum.

    `others` are the devices whose items this one may not see: `service.others_of`. `now` and `since` (when the step
    came into its state) are UTC. With `learns`, unapproved devices are served. `called` is the list that it asks for,
    None for ours.
    """
    contact = contact or Contact()
    results = [*_registered(device, contact, learns), *_contacted(item.order, contact)]
    real = asked is not None and asked.at is not None
    given = asked or DeviceQuery(typical_query())
    if asked is not None and asked.at is not None:
        given = replace(asked, query=moved_to_today(asked.query, asked.at, now, clinic.zone))
    results.append(RuleResult("query", real, "query_real" if real else "query_usual", decides=False))
    if given.masked:
        results.append(RuleResult("query", True, "masked", {"keys": ", ".join(given.masked)}, decides=False))
    results += _state(item, device, now, since)
    try:
        query = parse(given.query)
    except MalformedKey as error:
        details = {"keyword": error.keyword, "comment": error.comment}
        return [*results, RuleResult(error.keyword or "query", False, "malformed", details)]
    return [*results, *_rules(item, device, query, now, clinic, others, called), *_keys(item, device, query, clinic)]


def typical_query(day: date | None = None, term: str = "") -> Dataset:
    """Return the query of a typical device: all attributes, for a day or without one, in a character set `term`."""
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


def moved_to_today(query: Dataset, at: datetime, now: datetime, zone: tzinfo) -> Dataset:
    """Return a query of an earlier day moved to today: a device that asked for its today will ask for this one."""
    passed = now.astimezone(zone).date() - at.astimezone(zone).date()
    step = next(iter(query.get("ScheduledProcedureStepSequence") or []), None)
    key = str(step.get("ScheduledProcedureStepStartDate") or "") if step is not None else ""
    if step is None or not passed or not key:
        return query
    try:
        ends = dates.dates(key, "ScheduledProcedureStepStartDate")
        moved_key = "-".join(f"{end + passed:%Y%m%d}" if end else "" for end in ends)
    except (MalformedKey, OverflowError):
        return query  # the service refuses it
    step, whole = Dataset(step), Dataset(query)
    step.ScheduledProcedureStepStartDate = moved_key if ends[0] != ends[1] else moved_key.partition("-")[0]
    whole.ScheduledProcedureStepSequence = [step]
    return whole


# ---- the rules ----


def _registered(device: Device, contact: Contact, learns: bool) -> Iterator[RuleResult]:
    if not device.approved:
        yield RuleResult("registered", learns, "not_approved" if contact.known else "unknown_device")
        return
    yield RuleResult("registered", True, "registered", {"name": device.name})
    refused = contact.refused_at
    if refused and (contact.asked_at is None or refused > contact.asked_at):
        allowed = registry.may_call(device, contact.refused_address)
        details = {"address": contact.refused_address, "registered": device.address}
        if not allowed:
            yield RuleResult("address", False, "other_address", details)


def _contacted(order: Order, contact: Contact) -> Iterator[RuleResult]:
    """Report the device's last query; does not decide, because it may ask at any moment."""
    if contact.delivered_at is not None:
        yield RuleResult("contact", True, "delivered", {"at": contact.delivered_at.isoformat()}, decides=False)
    elif contact.asked_at is None:
        yield RuleResult("contact", False, "never_asked", decides=False)
    else:
        late = contact.asked_at < order.authored_on
        code = "asked_before" if late else "asked"
        yield RuleResult("contact", not late, code, {"at": contact.asked_at.isoformat()}, decides=False)


_CLOSED = {
    StepState.COMPLETED: "completed",
    StepState.DISCONTINUED: "discontinued",
    StepState.CANCELLED: "cancelled",
}


def _state(item: WorklistItem, device: Device, now: datetime, since: datetime | None) -> Iterator[RuleResult]:
    state = item.step.state
    if state not in _CLOSED:
        yield RuleResult("state", True, "started" if state is StepState.STARTED else "open")
        return
    details = {"hours": str(device.closed_hours)}
    kept = bool(device.closed_hours) and since is not None and since >= now - timedelta(hours=device.closed_hours)
    lingers = state is StepState.COMPLETED and kept
    yield RuleResult("state", lingers, "completed_lately" if lingers else _CLOSED[state], details)


def _rules(
    item: WorklistItem,
    device: Device,
    query: WorklistQuery,
    now: datetime,
    clinic: Clinic,
    others: frozenset[str],
    called: CalledList | None,
) -> Iterator[RuleResult]:
    stations = item.step.station_ae_titles
    planned = device.ae_title in stations
    details = {"stations": ", ".join(stations), "ae_title": device.ae_title}
    # Which station it sees without naming one is the device's own setting; a named one is among the keys.
    decides = not query.key("ScheduledStationAETitle") and device.own_only and not called
    if not decides and service.is_of_others(item, _context(item, device, query, clinic, others)):
        yield RuleResult("others", False, "others_withheld", details)
    if called:
        listed = not called.stations.isdisjoint(stations)
        of_list = {**details, "called": called.ae_title, "members": ", ".join(sorted(called.stations))}
        yield RuleResult("list", listed, "on_called_list" if listed else "not_on_called_list", of_list)
    yield RuleResult(
        "station", planned or not decides, "planned_on_this" if planned else "planned_on_other", details, decides
    )
    bounds = service.index_filter_for(query, device, clinic, now)
    start, details = item.step.start, {"start": item.step.start.isoformat()}
    today = now.astimezone(clinic.zone).date()
    if start.date() < today - timedelta(days=min(device.days_before, today.toordinal() - 1)):
        yield RuleResult("days", False, "past", {**details, "days": str(device.days_before)})
    elif _dateless(query) and bounds.start_to is not None and start > bounds.start_to:
        yield RuleResult("days", False, "ahead", {**details, "days": str(device.days_after)})
    else:
        yield RuleResult("days", True, "near", details)
    if not service.is_visible(item, _context(item, device, query, clinic)):
        yield RuleResult(
            "performer", False, "started_on_other", {"stations": ", ".join(dict.fromkeys(item.performers))}
        )


def _dateless(query: WorklistQuery) -> bool:
    return query.window.low is None and query.window.high is None


def _keys(item: WorklistItem, device: Device, query: WorklistQuery, clinic: Clinic) -> Iterator[RuleResult]:
    context, style = _context(item, device, query, clinic), _style(device, query)
    for compared in matching.compare(query, item, context, style):
        code = "undecodable" if compared.keyword in query.undecodable else _CODES.get(compared.keyword, "key")
        details = {"keyword": compared.keyword, "asked": compared.key, "has": compared.value}
        yield RuleResult(compared.keyword, compared.matches, code, details)
    altered = Alterations()
    response.identifier(query, item, context, style, altered)
    details = {"charset": style.charset, "characters": str(altered.characters), "cut": str(altered.cut)}
    whole = not altered.characters and not altered.cut
    yield RuleResult("charset", whole, "letters_whole" if whole else "letters_altered", details, decides=False)


_CODES = {
    "ScheduledStationAETitle": "key_station",
    "ScheduledProcedureStepStartDate": "key_time",
    "ScheduledProcedureStepStartTime": "key_time",
    "Modality": "key_modality",
    "PatientName": "key_name",
}


def _context(
    item: WorklistItem, device: Device, query: WorklistQuery, clinic: Clinic, others: frozenset[str] = frozenset()
) -> AnswerContext:
    station, number = query.key("ScheduledStationAETitle"), query.key("AccessionNumber")
    return AnswerContext(
        device.ae_title, station, zone=clinic.zone, asked_number=number, others=others, bus_numbers=clinic.bus_numbers
    )


def _style(device: Device, query: WorklistQuery) -> Style:
    return Style(charset.for_answer(device.charset, query.charset), device.longest)


# ---- from the database ----


def explain_order(
    reader: Reader,
    order: Order,
    ae_title: str,
    now: datetime,
    clinic: Clinic,
    *,
    learns: bool = False,
    called: tuple[str, Sequence[str]] | None = None,
) -> Explanation:
    """Explain an order for a device by what it asked last; of several steps the one that comes nearest.

    `called` is an AE title of `dicom.lists` with its stations and rooms, if the device calls that one instead of ours.
    """
    known = devices.get(reader, ae_title)
    device = known or Device(ae_title, ae_title, "", approved=False)
    asked = latest_query(reader, ae_title)
    stands = worklist_status.of_order(reader, order, ae_title)
    rooms = {each.ae_title: each.room for each in device_registry.approved(reader)}
    wanted = CalledList(called[0], service.stations_of(called[1], rooms)) if called else None
    others = service.others_of(device, rooms, wanted.stations if wanted else frozenset())
    explained = [
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
            others=others,
            called=wanted,
        )
        for each in stands.steps
    ]
    best = min(explained, key=lambda results: sum(each.decides and not each.ok for each in results), default=[])
    return Explanation(device, asked.at if asked else None, tuple(best))


def lists_of(reader: Reader, order: Order, lists: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the AE titles of `lists` under which an order is, too, for a device that may see it.

    Each title stands for stations and rooms (`dicom.lists`), as `service.search` takes them.
    """
    rooms = {each.ae_title: each.room for each in device_registry.approved(reader)}
    places = {place for step in order.steps for title in step.station_ae_titles for place in (title, rooms.get(title))}
    return [called for called, members in lists.items() if places.intersection(members)]


def latest_query(reader: Reader, ae_title: str) -> DeviceQuery | None:
    """Return a device's latest real query, or None."""
    for sample in reversed(devices.samples(reader, ae_title).get(ae_title, [])):
        if sample.service == "worklist" and sample.which == "latest":
            query, masked = samples.restore(sample.attributes)
            return DeviceQuery(query, sample.at, tuple(masked))
    return None
