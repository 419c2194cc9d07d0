"""What is known of an order when an answer of the image archive is compared with it. Reads only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import replace

from broker.domain import lifecycle
from broker.domain.lifecycle import Event
from broker.domain.orders import Order
from broker.domain.studies.archive import ArchiveStudy, OrderEvidence
from broker.domain.studies.performed import PerformedState
from broker.store.database import Reader
from broker.store.queries.patients import patient_index
from broker.store.tables import devices, orders
from broker.store.tables.studies import archive, performed, performed_links


def evidence_of(reader: Reader, order: Order) -> OrderEvidence:
    """Return what is known of an order, whatever the archive answers."""
    uids, numbers = _reported(reader, order)
    stations = {ae_title for step in order.steps for ae_title in step.station_ae_titles}
    known = [devices.get(reader, ae_title) for ae_title in stations]
    siblings = orders.of_request(reader, order)
    of_siblings = frozenset(uid for each in siblings for uid in _uids(reader, each))
    return OrderEvidence(
        cards=patient_index.former_cards(reader, order.patient),
        reported_uids=uids,
        group_numbers=numbers,
        sibling_uids=of_siblings - {order.study_instance_uid} - uids,
        decided=archive.decided(reader, order.id),
        is_unlinked=is_awaited(reader, order) and performed_links.was_unlinked(reader, order.id),
        # Of several orders of one number it does not say which.
        is_number_enough=bool(known and not siblings)
        and all(each is not None and each.own_study_uids for each in known),
    )


def images_uid(reader: Reader, order: Order) -> str:
    """Return the Study Instance UID of an order's images: the archive's, else its device's, else the order's own."""
    held = archive.holding(reader, order.id)
    if held and held.exists:
        return held.study_instance_uid
    reported = _reported(reader, order)[0] or {order.study_instance_uid}
    return order.study_instance_uid if order.study_instance_uid in reported else min(reported)


def _uids(reader: Reader, order: Order) -> set[str]:
    """Return the Study Instance UIDs of an order's images: its own, and what devices have reported."""
    return {order.study_instance_uid, *_reported(reader, order)[0]}


def is_awaited(reader: Reader, order: Order) -> bool:
    """Return True if an order may be closed by a study of the archive: no device has done that, or is at it."""
    return lifecycle.allowed(order.state, Event.CLOSE) and PerformedState.IN_PROGRESS not in performed.states_of_order(
        reader, order.id
    )


def about(reader: Reader, order: Order, evidence: OrderEvidence, found: Collection[ArchiveStudy]) -> OrderEvidence:
    """Return this evidence with what is known of other patients and orders that an answer names."""
    uids = {each.study_instance_uid for each in found} - evidence.reported_uids
    return replace(
        evidence,
        foreign_ids=patient_index.foreign_ids(reader, order.patient, (each.patient_id for each in found)),
        foreign_uids=frozenset(uid for uid in uids if _is_foreign(reader, order, uid)),
    )


def _reported(reader: Reader, order: Order) -> tuple[frozenset[str], frozenset[str]]:
    """Return the Study Instance UIDs under which images of an order are known, with which it has been performed.

    A reference of a step counts if it names the order, or no order at all. With them, the accession numbers of orders
    that devices reported under the same UID: a group of orders is made as one study.
    """
    uids: set[str] = set()
    numbers: set[str] = set()
    for step_id in _certain_steps(reader, order.id):
        references = performed.references(reader, step_id)
        shared = Counter(each.study_instance_uid for each in references)
        named: dict[str, set[int]] = {}
        for each in references:
            found, _ = orders.find_steps(reader, each, shared_uid=shared[each.study_instance_uid] > 1)
            of_orders = {order_id for order_id, _ in found} or {order.id}
            named.setdefault(each.study_instance_uid, set()).update(of_orders)
        for uid, of_orders in named.items():
            if uid and order.id in of_orders:
                uids.add(uid)
                for other in orders.get_many(reader, sorted(of_orders - {order.id})):
                    numbers.update(other.accession_numbers)
    return frozenset(uids), frozenset(numbers)


def _certain_steps(reader: Reader, order_id: int) -> Iterable[int]:
    """Return the steps (ids) that a device or the archive has reported, without those of doubtful orders or patients.

    What was believed of the archive, or accepted, stays the order's: a second study with its number changes nothing.
    """
    found = reader.rows(
        "SELECT p.id, max(l.conflict) AS conflict FROM performed_step p"
        " JOIN performed_step_link l ON l.performed_step_id = p.id JOIN scheduled_step s ON s.id = l.scheduled_step_id"
        " WHERE s.order_id = ? AND p.source <> 'manual' GROUP BY p.id",
        [order_id],
    )
    return [row["id"] for row in found if not row["conflict"]]


def _is_foreign(reader: Reader, order: Order, uid: str) -> bool:
    """Return True if another order has this Study Instance UID, or its images are known under it.

    They are if a device has reported them, the archive was believed, or a person has accepted them for that order; not
    if a person has accepted them for this one, too.
    """
    return bool(uid) and (
        orders.is_taken(reader, "study_instance_uid", uid, by_another_than=order.id)
        or bool(
            reader.value(
                "SELECT 1 FROM performed_step_reference r JOIN performed_step p ON p.id = r.performed_step_id"
                " JOIN performed_step_link l ON l.performed_step_id = p.id"
                " JOIN scheduled_step s ON s.id = l.scheduled_step_id"
                " WHERE r.study_instance_uid = ? AND s.order_id <> ? AND p.source <> 'manual' LIMIT 1",
                [uid, order.id],
            )
        )
        or bool(
            reader.value(
                "SELECT 1 FROM archive_discrepancy WHERE study_instance_uid = ?1 AND state = 'accepted'"
                " AND order_id <> ?2 AND NOT EXISTS (SELECT 1 FROM archive_discrepancy"
                " WHERE study_instance_uid = ?1 AND state = 'accepted' AND order_id = ?2) LIMIT 1",
                [uid, order.id],
            )
        )
    )
