"""A study's history as sentences for the timeline of its card. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime, tzinfo
from typing import Any

from broker.domain.actors import ActorKind
from broker.domain.audit import AuditAction
from broker.domain.clinic.devices import Device
from broker.domain.messages import OutboxKind
from broker.domain.orders import Referral
from broker.domain.patients import names
from broker.domain.patients.people import PersonName
from broker.domain.studies.performed import PerformedStep
from broker.store.queries.order_card import Card, OrderEvent
from ui.devices import evidence
from ui.text import bus, words
from ui.text.referral_fields import LABELS, listed, value


@dataclass(frozen=True, slots=True)
class DayHeading:
    """A heading of the timeline."""

    word: str


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """An entry of the timeline; `state` is a key of theme.STATES, `evidence` the message on the wire, as text."""

    time: str
    state: str
    what: str
    who: str
    evidence: str = ""
    evidence_name: str = ""


def entries(
    card: Card, devices: Sequence[Device], zone: tzinfo, today: date
) -> list[tuple[tuple[object, ...], DayHeading | TimelineEntry]]:
    """Return a study's history, newest first, with day headings; the keys stay the same as more is added."""
    device_places = {device.ae_title: words.device_place(device) for device in devices}
    steps = {step.sop_instance_uid: step for step in card.performed}
    found: list[tuple[tuple[object, ...], DayHeading | TimelineEntry]] = []
    heading: date | None = None
    for event, times in _fold(card.events):
        local = event.at.astimezone(zone)
        if local.date() != heading:
            heading = local.date()
            found.append((("day", heading), DayHeading(words.day(heading, today).capitalize())))
        found.append((_key(event, found), _line(event, times, f"{local:%H:%M}", steps, device_places)))
    return found


def changes(changed: Mapping[str, Sequence[Any]], device_places: Mapping[str, str]) -> list[str]:
    """Return what an amendment changed, one sentence a field: «Время изменено: 09:40 стало 10:00»."""
    found: list[str] = []
    for field in (each for each in _CHANGES if each in changed):
        old, new = changed[field]
        if field == "patient":
            found += _patient_changes(old, new)
        elif field == "steps":
            found += _step_changes(old, new, device_places)
        elif field == "referrer":
            found += _became(LABELS[field], _person(old), _person(new))
        else:
            found += _became(LABELS[field], value(field, str(old)), value(field, str(new)))
    return found


# Whom, what and when before the rest.
_CHANGES = ("patient", "procedure_name", "steps", *(each.name for each in fields(Referral)))


def _line(
    event: OrderEvent, times: int, at: str, steps: Mapping[str, PerformedStep], device_places: Mapping[str, str]
) -> TimelineEntry:
    details = event.details
    what = words.ACTIONS.get(event.what, event.what)
    state, who = _STATES.get(event.what, "waiting"), _who(event)
    step = steps.get(str(details.get("sop_instance_uid", "")))
    shown, evidence_name = "", ""
    if event.what in (AuditAction.AMEND, AuditAction.PATIENT_AMEND):
        what = ". ".join(changes(details.get("changed", {}), device_places)) or what
        if details.get("confirmed"):
            what += ". Это один и тот же человек, хотя прежние данные другие: подтверждено"
    elif event.what in (AuditAction.IMAGES_ADDED, AuditAction.IMAGES_FEWER):
        what += f": было {details.get('before')}, стало {details.get('images')}"
    elif event.what == AuditAction.IMAGES_WAIVED and details.get("reason"):
        what += f": {details['reason']}"
    elif event.what == AuditAction.CANCEL:
        reason = bus.cancelled_because(str(details.get("reason") or details.get("status") or ""))
        what += f": {reason}" if reason else ""
        what += f": направлено заново, {details['replaced_by']}" if details.get("replaced_by") else ""
    elif event.what in (AuditAction.OPINION_REFUSED, AuditAction.OPINION_WITHDRAW) and details.get("reason"):
        what += f": {details['reason']}"
    elif event.what == AuditAction.PATIENT_AMEND:
        what += f": {listed(details.get('changed', {}))}"
    elif event.what in (AuditAction.PATIENT_MERGE, AuditAction.PATIENT_SPLIT):
        what += f": {details['other']} и {details['patient']}"
    elif event.what == AuditAction.ORDER_DECIDED:
        what += f": карта {details['patient']}"
    elif event.what == AuditAction.REPORT_DRAFT and details.get("taken_from"):
        what = f"Черновик протокола взят у врача {details['taken_from']}"
    elif event.what in (AuditAction.START, AuditAction.PROGRESS, AuditAction.FINISH):
        shown, evidence_name = evidence.mpps(event.evidence), "Сообщение аппарата (MPPS)"
        if step and step.operator:
            who += f"; лаборант {names.short(names.from_dicom(step.operator))}"
        if event.what == AuditAction.FINISH:
            state, what = _finish(details, step)
    elif event.what == "unsupported":
        what = f"Шине не передано {bus.MESSAGES_TAKEN[OutboxKind(details['kind'])]}"
        what += f": {bus.bus_reason(details.get('reason', ''))}"
        who = "Обмен с шиной"
    elif event.what in ("delivered", "retry", "needs_attention"):
        reason = str(details.get("reason", ""))
        if bus.is_incomplete(reason):
            what = f"{bus.MESSAGES[OutboxKind(details['kind'])]} ждёт данных пациента"
        else:
            what = f"Шина {_TAKEN[event.what]} {bus.MESSAGES_TAKEN[OutboxKind(details['kind'])]}"
        if event.what != "delivered":
            what += f": {bus.bus_reason(reason)}"
        if times > 1:
            what += f" ({words.plural(times, 'попытка', 'попытки', 'попыток')} подряд)"
        shown, evidence_name, who = event.evidence, "Ответ шины", "Обмен с шиной"
    return TimelineEntry(at, state, what, who, shown, evidence_name if shown else "")


_STATES: dict[str, str] = {
    AuditAction.CANCEL: "cancelled",
    AuditAction.START: "running",
    AuditAction.PROGRESS: "running",
    AuditAction.LINK: "archived",
    AuditAction.UNLINK: "attention",
    AuditAction.CLOSE: "done",
    AuditAction.REPORT_DRAFT: "running",
    AuditAction.REPORT_SIGN: "reported",
    AuditAction.REPORT_UPHOLD: "reported",
    AuditAction.REPORT_ADD: "reported",
    AuditAction.REPORT_CORRECT: "reported",
    AuditAction.REPORT_WITHDRAW: "attention",
    AuditAction.OPINION_COME: "answered",
    AuditAction.OPINION_REFUSED: "attention",
    AuditAction.REPORT_ARCHIVED: "archived",
    AuditAction.REPORT_ARCHIVE_AGAIN: "archived",
    AuditAction.IMAGES_SEEN: "archived",
    AuditAction.ARCHIVE_ACCEPT: "archived",
    AuditAction.IMAGES_ADDED: "archived",
    AuditAction.IMAGES_FEWER: "imageless",
    AuditAction.IMAGES_RETURNED: "archived",
    AuditAction.BUS_CANCELLED_LATE: "attention",
    AuditAction.BUS_NUMBER_TOO_LONG: "attention",
    AuditAction.EXPIRE: "stopped",
    AuditAction.WRONG_ENTRY: "attention",
    AuditAction.REFERENCE_CONFLICT: "attention",
    "seen": "seen",
    "delivered": "sent",
    "needs_attention": "attention",
    "unsupported": "attention",
}


_TAKEN = {"delivered": "приняла", "retry": "пока не приняла", "needs_attention": "не приняла"}


def _finish(details: Mapping[str, Any], step: PerformedStep | None) -> tuple[str, str]:
    if details.get("state") == "DISCONTINUED":
        reason = words.discontinuation(step) if step else ""
        return "stopped", f"Прервано на аппарате: «{reason}»" if reason else "Прервано на аппарате"
    images = words.plural(step.images, "снимок", "снимка", "снимков") if step and step.images else ""
    return "done", f"Выполнено, {images}" if images else "Выполнено"


def _who(event: OrderEvent) -> str:
    kind = words.ACTOR_KINDS[ActorKind(event.actor_kind)]
    if event.actor_kind == ActorKind.DEVICE and event.actor.isascii():
        return f"{kind} {event.actor}"  # only its AE title is known
    return event.actor or kind


def _fold(events: Iterable[OrderEvent]) -> list[tuple[OrderEvent, int]]:
    """Merge repeated failed attempts into the newest of them, with their number: a silent bus is one entry."""
    folded: list[tuple[OrderEvent, int]] = []
    for event in events:
        if folded and event.what == "retry" and folded[-1][0].what == "retry":
            newest, times = folded[-1]
            if newest.details == event.details:
                folded[-1] = (newest, times + 1)
                continue
        folded.append((event, 1))
    return folded


def _key(event: OrderEvent, found: Sequence[tuple[tuple[object, ...], object]]) -> tuple[object, ...]:
    key: tuple[object, ...] = (event.at, event.what)
    taken = {each for each, _ in found}
    while key in taken:
        key = (*key, "again")
    return key


# ---- what an amendment changed ----


def _became(name: str, old: str, new: str) -> list[str]:
    if old in ("", "None"):
        return [f"{name}: записано «{new}»"]
    return [f"{name}: было «{old}», убрано" if new in ("", "None") else f"{name}: «{old}» стало «{new}»"]


def _patient_changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    found = []
    if old.get("name") != new.get("name"):
        found += _became("Пациент", _person(old["name"]), _person(new["name"]))
    for field in (each for each in new if each in LABELS):
        before, after = (str(values.get(field) or "") for values in (old, new))
        if field == "birth_date":
            before, after = _date(before), _date(after)
        if before != after:
            found += _became(LABELS[field], value(field, before), value(field, after))
    return found


def _step_changes(old: Sequence[Any], new: Sequence[Any], device_places: Mapping[str, str]) -> list[str]:
    found = []
    for before, after in zip(old, new, strict=False):
        was, now = datetime.fromisoformat(before["start"]), datetime.fromisoformat(after["start"])
        if was.date() != now.date():
            found.append(f"Перенесено: {was:%d.%m.%Y %H:%M} стало {now:%d.%m.%Y %H:%M}")
        elif was != now:
            found.append(f"Время изменено: {was:%H:%M} стало {now:%H:%M}")
        if before["station_ae_titles"] != after["station_ae_titles"]:
            places = [
                ", ".join(device_places.get(ae_title, ae_title) for ae_title in step["station_ae_titles"])
                for step in (before, after)
            ]
            found.append(f"Аппарат изменён: {places[0]} стало {places[1]}")
    return found


def _person(name: Mapping[str, str]) -> str:
    return str(PersonName(name.get("family", ""), name.get("given", ""), name.get("middle", "")))


def _date(text: str) -> str:
    return f"{date.fromisoformat(text[:10]):%d.%m.%Y}" if text not in ("", "None") else ""
