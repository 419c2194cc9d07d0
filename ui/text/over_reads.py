"""Words of reading a signed report over. Pure."""

from __future__ import annotations

from datetime import date, datetime, tzinfo

from broker.domain.reading.over_reads import OverRead, OverReadOutcome
from broker.domain.reading.reports import ReportChange
from ui.text import words

# State of `theme.STATES`, and its word.
OUTCOMES = {
    OverReadOutcome.AGREES: ("agrees", "Согласен"),
    OverReadOutcome.DIFFERS: ("differs", "Другое мнение"),
    OverReadOutcome.DECLINED: ("attention", "Отказ"),
    OverReadOutcome.WITHDRAWN: ("cancelled", "Просьба отозвана"),
}
ANYONE = "Любой врач"


def asked_of(asked: OverRead) -> str:
    """Return who was asked: a doctor by name, or any."""
    return asked.asked_of_title or ANYONE


def waits(asked: OverRead, now: datetime) -> str:
    """Return how long a request has waited; `now` is UTC."""
    return f"ждёт {words.duration(now - asked.asked_at)}"


def request(asked: OverRead, zone: tzinfo, today: date) -> str:
    """Return who asked whom, and when."""
    return f"{asked.asked_by_title}, {words.moment(asked.asked_at, zone, today)}. Кого: {asked_of(asked)}"


def source(answer: OverRead, zone: tzinfo) -> str:
    """Return whose opinion it is and of which day, as the reason of a new version names it."""
    on = f", {answer.ended_at.astimezone(zone):%d.%m.%Y}" if answer.ended_at else ""
    return f"второе мнение: {answer.ended_by_title}{on}"


def taken_over(answer: OverRead, change: ReportChange, zone: tzinfo) -> dict[str, str]:
    """Return what the form of a new version begins with, where an opinion is taken over: field -> text.

    A correction takes the texts that the colleague has written; an addition puts them below the conclusion.
    """
    said = answer.said
    whose = source(answer, zone)
    if change is ReportChange.CORRECTION:
        texts = {f: getattr(said, f) for f in ("description", "conclusion", "recommendations")}
        return {"reason": whose[0].upper() + whose[1:]} | {field: value for field, value in texts.items() if value}
    parts = [part for part in (said.conclusion, said.recommendations) if part]
    return {"reason": "\n".join([f"{whose[0].upper()}{whose[1:]}.", *parts])}
