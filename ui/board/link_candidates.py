"""The visits that a study made without an order may belong to, the likeliest first. Reads only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta

from broker.domain.orders import OrderState
from broker.domain.patients import identity
from broker.domain.studies import passthrough
from broker.domain.studies.performed import PerformedStep
from broker.store.database import Reader
from broker.store.queries import schedule
from broker.store.queries.schedule import Visit
from broker.store.queries.studies import archive_gaps
from broker.store.queries.studies.archive_gaps import ImagesDue, Lack

MOST_SHOWN = 50  # visits that are shown at once
_SEARCHED = 100  # visits that a search looks through


@dataclass(frozen=True, slots=True)
class LinkCandidates:
    """Visits to choose from, one of each order; `more` if others match, too."""

    visits: tuple[Visit, ...] = ()
    more: bool = False
    lacks: Mapping[int, Lack] = field(default_factory=dict)  # by order id


def find(
    reader: Reader, step: PerformedStep, on: date, typed: str, images_due: ImagesDue | None = None
) -> LinkCandidates:
    """Return the visits of any day that what was typed finds; while nothing is typed, those of the study's day `on`.

    `images_due` is that of `archive_gaps.lacks`.
    """
    found = schedule.studies(reader, typed, on, _SEARCHED)
    ranked = rank(found.visits, step)
    shown = tuple(ranked[:MOST_SHOWN])
    lacks = archive_gaps.lacks(reader, images_due, [visit.order.id for visit in shown])
    return LinkCandidates(shown, found.more or len(ranked) > MOST_SHOWN, lacks)


def rank(visits: Iterable[Visit], step: PerformedStep) -> list[Visit]:
    """Return visits, one of each order, the likeliest first: who waits before what was made, closed, cancelled.

    Of those who wait, first who surely is the patient whom the device has named, in whatever way it was given the name;
    then who may be; then by device, by modality, and by time.
    """

    def key(visit: Visit) -> tuple[int, int, bool, bool, timedelta]:
        distance = abs(visit.start - step.start) if step.start else timedelta(0)
        other_kind = bool(step.modality) and step.modality not in passthrough.modalities(visit.order)
        other_device = step.ae_title not in visit.station_ae_titles
        return _standing(visit), _likeness(visit, step), other_device, other_kind, distance

    first: dict[int, Visit] = {}
    for visit in sorted(visits, key=key):
        first.setdefault(visit.order.id, visit)
    return list(first.values())


def _standing(visit: Visit) -> int:
    if visit.order.state in (OrderState.SCHEDULED, OrderState.DISCONTINUED):
        return 0
    return {OrderState.IN_PROGRESS: 1, OrderState.COMPLETED: 2, OrderState.REFERRED: 3}.get(visit.order.state, 4)


def _likeness(visit: Visit, step: PerformedStep) -> int:
    """Return 0 for a patient who agrees with the device's in name or number, 1 if nothing contradicts, else 2."""
    person = step.patient_name, step.patient_id, step.patient_birth_date, step.patient_sex
    if identity.contradictions(visit.order.patient, *person):
        return 2
    return 0 if identity.agreements(visit.order.patient, step.patient_name, step.patient_id) else 1
