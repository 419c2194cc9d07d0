"""Records the outcomes of messages to the region.

One outcome, one transaction: the message's row, what the answer says of the order, and how the connection is. Nothing
is sent here, and nothing is decided about what is sent next.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace

from broker.bus.outbound.bundle import sent_patient
from broker.bus.outbound.messages import NUMBER_TAKEN, OrderMessage, OutboundMessage, Unsupported
from broker.bus.outbound.opinions import OpinionMessage
from broker.bus.transport.answers import Paused, Rejected, Retry
from broker.bus.transport.session import BusSession
from broker.domain.actors import Actor, ActorKind
from broker.domain.audit import AuditAction
from broker.domain.messages import OutboxKind
from broker.domain.orders import Order, OrderState
from broker.domain.patients.identifiers import ACCESSION_NUMBER_LENGTH
from broker.store.database import Store, Tx
from broker.store.queries import exchange_state
from broker.store.tables import audit, orders, outbox
from broker.store.tables.opinions import requests as opinion_requests
from broker.store.tables.patients import region_patients

log = logging.getLogger(__name__)

BUS = Actor(ActorKind.BUS, "exchange")


@dataclass(frozen=True, slots=True)
class Accepted:
    """The bus has the message; `ids` (name -> id) are stored by `outbox.deliver`.

    `revision` is the order's whose content the bus has; None if it may be that of an earlier attempt.
    """

    ids: dict[str, str] = field(default_factory=dict)
    evidence: str = ""
    revision: int | None = None


Outcome = Accepted | Retry | Rejected | Paused | Unsupported


def record(store: Store, session: BusSession, message: OutboundMessage, outcome: Outcome, epoch: int) -> None:
    """Write down what an outcome means for the message, and for the connection of the session that it came by.

    `epoch` is the one in which the message began.
    """
    seq, name = message.row.seq, message.name
    match outcome:
        case Accepted():
            session.succeeded(lambda tx: _delivered(tx, message, outcome), message=seq, epoch=epoch)
            log.info("%s: delivered", name)
        case Unsupported() | Rejected():
            # The text of the bus may name the patient; it is shown on the exchange's screen only.
            what = "needs attention" if isinstance(outcome, Rejected) else "not supported by this bus"
            log.warning("%s: %s", name, what)

            def note(tx: Tx) -> None:
                _rejected(tx, message, outcome)

            if outcome.evidence:  # the bus was asked
                session.succeeded(note, message=seq, epoch=epoch)
            else:
                store.write(note)
        case Retry() | Paused():
            wait = session.failed(outcome, lambda tx: _failed(tx, seq, outcome), message=seq, epoch=epoch)
            log.warning("%s: not delivered: %s; next attempt in %.0f s", name, outcome.reason, wait)


def _delivered(tx: Tx, message: OutboundMessage, outcome: Accepted) -> None:
    outbox.deliver(tx, message.row.seq, outcome.ids, outcome.evidence)
    _note_patient(tx, message, outcome)
    if isinstance(message, OpinionMessage) and message.row.kind is OutboxKind.ASK_OPINION and message.request:
        opinion = opinion_requests.require(tx, message.request.stored_id)
        ids = outcome.ids
        opinion_requests.put(tx, replace(opinion, task=ids["task"], bus_patient=ids.get("patient", "")))
    if isinstance(message, OrderMessage) and message.row.kind is OutboxKind.ORDER:
        _store_number(tx, message.order, outcome.ids.get("acsn", ""))
        if outcome.revision is not None:
            # The order was rendered from present data, so it contains the amendment.
            outbox.withdraw_amendment(tx, message.order.id, outcome.revision)
    tx.notify()


def _note_patient(tx: Tx, message: OutboundMessage, outcome: Accepted) -> None:
    """Note whose data the region has for an order now, if this message bore them."""
    if isinstance(message, OrderMessage):
        bus_id = outcome.ids.get("patient") or message.references.patient
        sent = sent_patient(exchange_state.sent_json(tx, message.row.seq))
        if bus_id and sent:
            region_patients.put(tx, message.order.id, bus_id, sent)


def _store_number(tx: Tx, order: Order, number: str) -> None:
    """Store the region's accession number if modalities can use it; otherwise log and audit that."""
    if not number:
        return
    if len(number) > ACCESSION_NUMBER_LENGTH or "\\" in number:  # PS3.5 6.2, SH
        log.error("order %s: the bus's number %s is too long for a modality", order.accession_number, number)
        audit.write(tx, BUS, AuditAction.BUS_NUMBER_TOO_LONG, order.id, number=number)
    elif not orders.set_bus_accession_number(tx, order.id, number):
        log.error("order %s: the bus's number %s is another order's", order.accession_number, number)
        audit.write(tx, BUS, AuditAction.BUS_NUMBER_TAKEN, order.id, number=number)


def _rejected(tx: Tx, message: OutboundMessage, outcome: Rejected | Unsupported) -> None:
    """Mark a message as unsupported, or as needing attention unless the order was amended meanwhile."""
    seq, reason, evidence = message.row.seq, outcome.reason, outcome.evidence
    tx.notify()
    if isinstance(outcome, Unsupported):
        outbox.unsupported(tx, seq, reason, evidence)
        return
    if not isinstance(message, OrderMessage):
        outbox.mark_needs_attention(tx, seq, reason, evidence, uncertain=outcome.uncertain)
        return
    if reason == NUMBER_TAKEN:
        outbox.send_under_next_number(tx, seq, message.order.id)
        return
    now = orders.get(tx, message.order.id)
    cancelled = now is not None and now.state is OrderState.CANCELLED
    if now == message.order or cancelled:
        outbox.mark_needs_attention(tx, seq, reason, evidence, uncertain=outcome.uncertain)
        if cancelled:
            outbox.drop_refused(tx, message.order.id)
    else:
        outbox.retry_later(tx, seq, reason, evidence, uncertain=outcome.uncertain)


def _failed(tx: Tx, seq: int, outcome: Retry | Paused) -> None:
    outbox.retry_later(tx, seq, outcome.reason, outcome.evidence, uncertain=outcome.uncertain)
    tx.notify()
