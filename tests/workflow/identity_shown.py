"""What the identity machine asks of screens: whatever is not joined to an order is shown to a person somewhere.

Only queries that pages read count: board, archive page, incoming, exchange, the card of a study, a patient's page.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta

from broker.domain.orders import OrderState
from broker.domain.studies.archive import ArchiveStudy
from broker.store.database import Reader
from broker.store.queries import board, exchange_state, inbox, order_card, patient_cards, undecided
from broker.store.queries.studies import archive_gaps
from broker.store.queries.studies import unreferred_studies as unreferred
from broker.store.queries.studies.archive_gaps import ImagesDue
from broker.store.tables import orders, outbox
from broker.store.tables.studies import archive, external_studies
from tests.support.clock import NOW

_STATES = (OrderState.IN_PROGRESS, OrderState.COMPLETED, OrderState.SCHEDULED)
_LONG_AGO = NOW - timedelta(days=3)


def hidden(reader: Reader, answers: Mapping[int, ArchiveStudy], held: Iterable[ArchiveStudy]) -> list[str]:
    """Return everything that no page shows: `answers` of the archive by the order, and what it `held` of a day."""
    return [
        *_steps(reader),
        *_orders(reader),
        *_undecided(reader),
        *_answers(reader, answers),
        *_held(reader, held),
        *_referrals(reader),
        *_results(reader),
        *_messages(reader),
    ]


def _steps(reader: Reader) -> list[str]:
    """Return the steps of devices that neither the board nor the card of an order shows."""
    unlinked = {each.step.sop_instance_uid for each in board.unlinked(reader, _LONG_AGO)}
    doubtful = {(each.step.sop_instance_uid, each.order.id) for each in board.doubtful(reader)}
    found = []
    for row in reader.rows(
        "SELECT p.sop_instance_uid AS uid, s.order_id, l.conflict FROM performed_step p"
        " LEFT JOIN performed_step_link l ON l.performed_step_id = p.id"
        " LEFT JOIN scheduled_step s ON s.id = l.scheduled_step_id WHERE p.source = 'modality'"
    ):
        uid, order_id = row["uid"], row["order_id"]
        if order_id is None:
            found += [] if uid in unlinked else [f"step {uid} without an order"]
            continue
        card = order_card.card(reader, orders.require(reader, order_id).accession_number)
        if card is None or uid not in [each.sop_instance_uid for each in card.performed]:
            found.append(f"step {uid} of order {order_id}")
        elif row["conflict"] and ((uid, order_id) not in doubtful or uid not in card.conflicts):
            found.append(f"contradiction of step {uid} of order {order_id}")
    return found


def _orders(reader: Reader) -> list[str]:
    """Return the orders that neither their patient's page nor a search by their number shows."""
    found = []
    for row in reader.rows("SELECT id, accession_number, state FROM orders"):
        card = order_card.card(reader, row["accession_number"])
        page = patient_cards.read(reader, card.order.patient.patient_id) if card else None
        listed = [each.order.id for each in page.visits] if page else []
        if card is None or (row["id"] not in listed and row["state"] != OrderState.CANCELLED):
            found.append(f"order {row['id']}")
    return found


def _undecided(reader: Reader) -> list[str]:
    """Return the orders of which it is not known whose they are, and that the board or a card does not show as such."""
    shown = {each.order.id for each in undecided.waiting(reader)}
    found = []
    for row in reader.rows("SELECT u.order_id, o.state FROM undecided_order u JOIN orders o ON o.id = u.order_id"):
        card = order_card.card(reader, orders.require(reader, row["order_id"]).accession_number)
        is_asked = card is not None and card.undecided is not None and card.disputed
        if row["state"] != OrderState.CANCELLED and not (row["order_id"] in shown and is_asked):
            found.append(f"undecided order {row['order_id']}")
    return found


def _answers(reader: Reader, answers: Mapping[int, ArchiveStudy]) -> list[str]:
    """Return what the archive last answered of orders that may be performed, and that nothing tells of."""
    gaps = archive_gaps.gaps(reader, NOW, ImagesDue(NOW))
    told = {
        (each.order.id, each.discrepancy.study.study_instance_uid, each.discrepancy.study.patient_name)
        for each in (*gaps.studies, *gaps.decided)
    }
    others = {each.unreferred.study.key for each in gaps.unreferred} | {each.study.key for each in gaps.left}
    found = []
    for order_id, study in answers.items():
        order = orders.require(reader, order_id)
        holding = archive.holding(reader, order_id)
        is_counted = holding is not None and holding.study_instance_uid == study.study_instance_uid
        # Beside it stands what the order was closed by, and what a person has accepted: they are counted in one.
        seen = reader.value(
            "SELECT 1 FROM performed_step_reference r JOIN performed_step_link l"
            " ON l.performed_step_id = r.performed_step_id JOIN scheduled_step s ON s.id = l.scheduled_step_id"
            " WHERE s.order_id = ? AND r.study_instance_uid = ?",
            [order_id, study.study_instance_uid],
        )
        is_counted = is_counted or (holding is not None and holding.exists and bool(seen))
        is_told = (order_id, study.study_instance_uid, study.patient_name) in told or study.key in others
        # The archive is not asked of what another clinic performs.
        may_be = not order.owner and order.state in _STATES
        if may_be and not (is_counted or is_told):
            found.append(f"answer {study.study_instance_uid} of order {order_id}, {order.state}")
    return found


def _held(reader: Reader, held: Iterable[ArchiveStudy]) -> list[str]:
    """Return the studies without a number that neither the archive page nor an order shows."""
    gaps = archive_gaps.gaps(reader, NOW, ImagesDue(NOW))
    shown = {each.unreferred.study.key for each in gaps.unreferred} | {each.study.key for each in gaps.left}
    # A study that was unlinked from the order that a person had chosen stands among the decisions, to be taken back.
    decided = {each.discrepancy.study.study_instance_uid for each in (*gaps.studies, *gaps.decided)}
    return [
        f"study {each.study_instance_uid} without an order"
        for each in held
        if each.key not in shown and each.study_instance_uid not in decided and not unreferred.is_known(reader, each)
    ]


def _referrals(reader: Reader) -> list[str]:
    """Return the referrals of other clinics that wait and that «Входящие» does not show."""
    waiting = {each.task for each in inbox.waiting(reader)}
    open_rows = reader.rows("SELECT task FROM incoming_referral WHERE state IN ('waiting', 'needs_attention')")
    return [f"referral {row['task']}" for row in open_rows if row["task"] not in waiting]


def _results(reader: Reader) -> list[str]:
    """Return the results of other clinics that neither the board nor the card of their order shows."""
    late = {each.item_id for each in inbox.too_late(reader)}
    found = []
    for row in reader.rows("SELECT id, state, acknowledged, order_id FROM incoming_item WHERE kind = 'result'"):
        if row["state"] == "needs_attention":
            found += [] if row["id"] in late else [f"result {row['id']} that was set aside"]
        elif row["state"] == "taken" and not row["acknowledged"]:
            is_there = bool(external_studies.of_order(reader, row["order_id"]))
            found += [] if is_there else [f"result {row['id']} of order {row['order_id']}"]
    return found


def _messages(reader: Reader) -> list[str]:
    """Return what waits for a person before it goes to the region, and is not on «Обмен»."""
    shown = {each.row.seq for each in exchange_state.current(reader).needs_attention}
    waiting = [outbox.from_row(row) for row in reader.rows("SELECT * FROM outbox WHERE state = 'needs_attention'")]
    return [f"message {each.seq}" for each in waiting if each.seq not in shown or not each.reason]
