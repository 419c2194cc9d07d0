"""A patient's card as its page shows it, and two cards beside each other before they are merged. Reads only."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from broker.domain.messages import OutboxKind
from broker.domain.orders import BusRole, Order, StepState
from broker.domain.patients import names, patient_merge
from broker.domain.patients.details import FormerNumber, PatientDetails
from broker.domain.patients.patient_match import SimilarCard
from broker.domain.patients.people import Patient, PersonName
from broker.domain.studies.prior_studies import OwnStudy
from broker.store.database import Reader
from broker.store.queries import directory_search, schedule, undecided
from broker.store.queries.patients import made_studies, patient_history, patient_index
from broker.store.queries.patients.made_studies import MadeStudy
from broker.store.queries.patients.patient_history import ExternalHistory
from broker.store.queries.schedule import Visit
from broker.store.queries.studies import archive_gaps
from broker.store.queries.studies.archive_gaps import ImagesDue, Lack
from broker.store.queries.undecided import OrderOfTwo
from broker.store.rows import instant
from broker.store.tables import orders as order_rows
from broker.store.tables import outbox
from broker.store.tables.patients import former_names, patient_details, patient_merges, patients

MOST_VISITS = 200


@dataclass(frozen=True, slots=True)
class FormerCard:
    """A card that was merged into the one that is shown, and the merge, which can be undone."""

    merge_id: int
    patient: Patient  # as it was
    at: datetime  # UTC
    actor: str
    former_numbers: tuple[tuple[str, str], ...]  # (`snils` or `policy`, number) that are no longer in force
    orders: int  # that moved
    corrections: int  # of these orders that were queued for the region since
    of_other_clinics: int  # orders of other clinics among those that moved: only those clinics can correct them
    remaining: Patient  # the card that stayed, as it will be without the merge
    later: tuple[Order, ...]  # since the merge, oldest first: of which of the two people they are is not known


@dataclass(frozen=True, slots=True)
class PatientCard:
    """Everything of one person."""

    patient: Patient
    visits: tuple[Visit, ...]  # planned or made here, newest first
    own: tuple[OwnStudy, ...]
    external: ExternalHistory
    organisations: dict[str, str]  # GUID -> name, as far as the directory has them
    former: tuple[FormerCard, ...]  # newest first
    former_numbers: tuple[FormerNumber, ...]  # that corrections have put out of force, newest first
    former_names: tuple[PersonName, ...]  # of this card and of those that were merged into it, newest first
    details: PatientDetails
    similar: tuple[SimilarCard, ...]
    insurer: str = ""  # of the policy: the code with its name, as far as the directory has it
    undecided: tuple[OrderOfTwo, ...] = ()  # orders that may be of this patient or of another one
    lacks: Mapping[int, Lack] = field(default_factory=dict)  # by order id: images that are missed, or are others


@dataclass(frozen=True, slots=True)
class OrderToMove:
    """An order of one of two cards, and what the region and the devices have of it."""

    visit: Visit
    requester: str  # name of the clinic that ordered it; "" if it was this one
    known: bool  # the region has it, or may have it
    results_sent: bool
    devices: tuple[str, ...]  # names of the devices that have it on their lists, and have not begun

    @property
    def order(self) -> Order:
        """Return the order."""
        return self.visit.order


@dataclass(frozen=True, slots=True)
class ComparedCard:
    """One of two cards that may be merged."""

    patient: Patient
    since: datetime | None  # UTC: its first order
    created_by: str  # who registered that
    orders: tuple[OrderToMove, ...]  # newest first, without the cancelled
    order_ids: tuple[int, ...]  # all of them
    external_studies: int


@dataclass(frozen=True, slots=True)
class CardComparison:
    """Two cards that may be one person's."""

    surviving: ComparedCard
    merged: ComparedCard
    different: bool  # a person has said that these are two people


@dataclass(frozen=True, slots=True)
class CardToAmend:
    """A card in use, and what the region and the devices have of its orders."""

    patient: Patient
    details: PatientDetails
    orders: tuple[OrderToMove, ...]  # newest first, without the cancelled
    made: tuple[MadeStudy, ...]  # newest first


def to_amend(reader: Reader, number: str) -> CardToAmend | None:
    """Return a card by its number, also that of a merged card, as it is corrected; None if there is none."""
    patient = find(reader, number)
    if patient is None:
        return None
    orders = orders_of(reader, patient.stored_id)
    made = tuple(made_studies.of_patients(reader, [patient.stored_id]))
    return CardToAmend(patient, patient_details.get(reader, patient.stored_id), orders, made)


def orders_of(reader: Reader, patient_id: int) -> tuple[OrderToMove, ...]:
    """Return a patient's orders and what the region and the devices have of them, newest first, no cancelled ones."""
    return tuple(_to_move(reader, visit) for visit in schedule.history(reader, patient_id, MOST_VISITS))


def find(reader: Reader, number: str) -> Patient | None:
    """Return the patient with this card number, also of a merged card; None if there is none."""
    return patients.find_by(reader, "patient_id", number)


def read(reader: Reader, number: str, images_due: ImagesDue | None = None) -> PatientCard | None:
    """Return everything of the patient with this card number, also of a merged card; None if there is none.

    `images_due` is that of `archive_gaps.lacks`.
    """
    patient = find(reader, number)
    if patient is None:
        return None
    id = patient.stored_id
    visits = tuple(schedule.history(reader, id, MOST_VISITS))
    external = patient_history.external(reader, id)
    guids = {study.organisation for study in external.studies if study.organisation}
    return PatientCard(
        patient=patient,
        visits=visits,
        own=tuple(patient_history.own(reader, id)),
        external=external,
        organisations={guid: directory_search.organisation_name(reader, guid) for guid in guids},
        former=tuple(_former(reader, id)),
        former_numbers=tuple(patient_details.former_numbers(reader, [id]).get(id, ())),
        former_names=tuple(_former_names(reader, patient)),
        details=patient_details.get(reader, id),
        similar=tuple(patient_index.similar_cards(reader, patient)),
        insurer=directory_search.insurer_name(reader, patient.insurer),
        undecided=undecided.of_card(reader, id),
        lacks=archive_gaps.lacks(reader, images_due, [visit.order.id for visit in visits]),
    )


def compare(reader: Reader, surviving: str, merged: str) -> CardComparison | None:
    """Return two cards in use by their numbers; None if there are not two."""
    one, other = find(reader, surviving), find(reader, merged)
    if one is None or other is None or one.id == other.id:
        return None
    different = other.stored_id in patient_merges.different(reader, one.stored_id)
    return CardComparison(_compared(reader, one), _compared(reader, other), different)


def _former(reader: Reader, id: int) -> list[FormerCard]:
    found = []
    merges = patient_merges.open_merges(reader, id)
    stayed = patients.get(reader, id)
    assert stayed is not None
    for number, merge in reversed(list(enumerate(merges))):
        card = patients.from_row(merge.card)
        numbers = (("snils", merge.former_snils), ("policy", merge.former_policy))
        former = tuple((field, number) for field, number in numbers if number)
        moved = json.dumps(merge.moved.orders)
        corrections = reader.value(
            "SELECT count(DISTINCT order_id) FROM outbox WHERE order_id IN (SELECT value FROM json_each(?))"
            " AND kind = 'amend' AND state NOT IN ('unsupported', 'dropped') AND created_at >= ?",
            [moved, merge.at.isoformat()],
        )
        others = reader.value(
            "SELECT count(*) FROM orders WHERE bus_role = 'performer' AND id IN (SELECT value FROM json_each(?))",
            [moved],
        )
        orders = len(merge.moved.orders)
        later = tuple(order_rows.get_many(reader, patient_merges.later_orders(reader, merge)))
        since = [dict(each.changed) for each in merges[number + 1 :]]
        remaining = patient_merge.take_back(stayed, merge.changed, since)
        found.append(
            FormerCard(merge.id, card, merge.at, merge.actor, former, orders, corrections, others, remaining, later)
        )
    return found


def _former_names(reader: Reader, patient: Patient) -> list[PersonName]:
    cards = [patient.stored_id, *(each.stored_id for each in patients.merged_cards(reader, patient.stored_id))]
    known = {names.fold(str(patient.name))}
    found = {names.fold(str(each)): each for each in reversed(former_names.of_cards(reader, cards))}
    return [each for key, each in reversed(found.items()) if key not in known]


def _compared(reader: Reader, patient: Patient) -> ComparedCard:
    first = reader.one("SELECT authored_on, created_by FROM orders WHERE patient_id = ? ORDER BY id", [patient.id])
    return ComparedCard(
        patient=patient,
        since=instant(first["authored_on"]) if first else None,
        created_by=first["created_by"] if first else "",
        orders=orders_of(reader, patient.stored_id),
        order_ids=tuple(patient_merges.order_ids(reader, patient.stored_id)),
        external_studies=int(
            reader.value("SELECT count(*) FROM external_study WHERE patient_id = ?", [patient.id]) or 0
        ),
    )


def _to_move(reader: Reader, visit: Visit) -> OrderToMove:
    order = visit.order
    waiting = [step.id for step in order.steps if step.state is StepState.SCHEDULED]
    devices = reader.rows(
        "SELECT DISTINCT coalesce(v.name, d.ae_title) AS name FROM worklist_delivery d"
        " LEFT JOIN device v ON v.ae_title = d.ae_title WHERE d.step_id IN (SELECT value FROM json_each(?)) ORDER BY 1",
        [json.dumps(waiting)],
    )
    known = order.bus_role is BusRole.PERFORMER or outbox.may_be_known(reader, order.id, OutboxKind.ORDER)
    results = (OutboxKind.IMAGES, OutboxKind.REPORT)
    return OrderToMove(
        visit=visit,
        requester=directory_search.organisation_name(reader, order.requester) if order.requester else "",
        known=known,
        results_sent=any(outbox.may_be_known(reader, order.id, kind) for kind in results),
        devices=tuple(row["name"] for row in devices),
    )
