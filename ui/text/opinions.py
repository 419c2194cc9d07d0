"""Words of opinions that clinics ask of one another. Pure."""

from __future__ import annotations

from datetime import date, datetime, timedelta, tzinfo

from broker.domain.incoming import IncomingReferral, IncomingState
from broker.domain.opinions.requests import OpinionRequest, OpinionState
from broker.domain.studies import prior_studies
from ui.text import words

NOT_FOR_DEVICES = "Эти исследования уже сделаны в других клиниках. На аппараты они не попадут."
ORDINARY = "Эта клиника увидит обычное направление: человека могут снять ещё раз. Сначала договоритесь с ней."
FIRST = (
    "Эту клинику спрашиваем впервые. Убедитесь, что она принимает просьбы о мнении: иначе человека могут снять ещё раз."
)
# State of `theme.STATES`, and its word.
STATES = {
    OpinionState.QUEUED: ("waiting", "Ждёт отправки"),
    OpinionState.SENT: ("sent", "Отправлен"),
    OpinionState.TAKEN: ("soon", "Взят"),
    OpinionState.ANSWERED: ("answered", "Ответ есть"),
    OpinionState.DECLINED: ("attention", "Отказ"),
    OpinionState.WITHDRAWN: ("cancelled", "Отозван"),
}
ENDED = {
    IncomingState.ACCEPTED: ("answered", "Отвечено"),
    IncomingState.DECLINED: ("attention", "Отказано"),
    IncomingState.CANCELLED: ("cancelled", "Отозвано"),
}


def waits(since: datetime, within: timedelta, now: datetime) -> str:
    """Return how long a request has waited, of how long it may: «3 ч из 24»; `now` is UTC."""
    return f"{words.duration(now - since)} из {int(within / timedelta(hours=1))} ч"


def asked(request: OpinionRequest, clinic: str, zone: tzinfo, today: date) -> str:
    """Return who asked which clinic, and when."""
    return f"{clinic}. {request.asked_by_title}, {words.moment(request.asked_at, zone, today)}"


def taken_over(request: OpinionRequest, clinic: str, zone: tzinfo) -> dict[str, str]:
    """Return what the form of an addition begins with: the answer of another clinic's doctor, named."""
    answer = request.answer
    assert answer is not None
    on = f", {request.ended_at.astimezone(zone):%d.%m.%Y}" if request.ended_at else ""
    who = ", ".join(part for part in (answer.doctor, clinic) if part)
    parts = [part for part in (answer.conclusion, answer.recommendations) if part]
    return {"reason": "\n".join([f"Второе мнение: {who}{on}.", *parts])}


def may_be_taken_over(request: OpinionRequest) -> bool:
    """Return True if an answer says something that stands."""
    answer = request.answer
    return answer is not None and bool(answer.conclusion) and not prior_studies.is_withdrawn(answer)


def study(referral: IncomingReferral) -> str:
    """Return what a request is about, in words."""
    return referral.procedure_name or "исследование не названо"
