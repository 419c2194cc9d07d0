"""Writes down what became of a message to the region, and how the line to the bus is.

One outcome, one transaction: the message's row, what its answer tells of the order, the channel that the screens show,
and the waits. It sends nothing and decides nothing about what is sent next.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from broker.bus.outbound.messages import OutboundMessage, Unsupported
from broker.bus.outbound.resources import encode, order_bundle
from broker.bus.profile import Profile
from broker.bus.transport.answers import Answer, Paused, Rejected, Retry
from broker.bus.transport.dialect import Dialect
from broker.bus.transport.rate_limit import RateLimiter
from broker.domain.actors import Actor, ActorKind
from broker.domain.identifiers import ACCESSION_NUMBER_LENGTH
from broker.domain.messages import OutboxKind
from broker.domain.orders import Order, OrderState
from broker.store.database import Store, Tx
from broker.store.tables import audit, orders, outbox

log = logging.getLogger(__name__)

BUS = Actor(ActorKind.BUS, "exchange")


@dataclass(frozen=True, slots=True)
class Accepted:
    """The bus has it, under these ids: name -> id, as `outbox.deliver` keeps them.

    `content` is the JSON that it certainly took; empty where it may have been that of an earlier attempt.
    """

    ids: dict[str, str] = field(default_factory=dict)
    evidence: str = ""
    content: str = ""


Outcome = Accepted | Retry | Rejected | Paused | Unsupported


class Outcomes:
    """The one who writes. `begin` starts a run, in which how the line is gets noted once, and when it changes."""

    def __init__(self, store: Store, limiter: RateLimiter, dialect: Dialect) -> None:
        self._store, self._limiter, self._dialect = store, limiter, dialect
        self._noted: tuple[str, str] | None = None  # the channel's state and reason as written last in this run

    def begin(self) -> None:
        """Start a run: what was noted in the last one may have been changed by a person."""
        self._noted = None

    def settle(self, message: OutboundMessage, outcome: Outcome, mark: int, profile: Profile) -> None:
        """Write down what an outcome means for the message and for the line, in one transaction."""
        seq, name = message.row.seq, f"order {message.order.accession_number} ({message.row.kind})"
        match outcome:
            case Accepted():
                self._limiter.answered(seq, mark)
                self._store.write(lambda tx: self._delivered(tx, message, outcome, profile))
                log.info("%s: delivered", name)
            case Unsupported():
                if outcome.evidence:  # it was asked
                    self._limiter.answered(seq, mark)
                self._store.write(lambda tx: _untold(tx, seq, outcome))
                # The bus's own words may tell of the patient; they stand on the exchange's screen.
                log.warning("%s: cannot be told to this bus", name)
            case Rejected():
                if outcome.evidence:
                    self._limiter.answered(seq, mark)
                if self._store.write(lambda tx: self._needs_attention(tx, message, outcome)):
                    log.warning("%s: refused and set aside", name)
            case Retry():
                wait, alone = self._limiter.failed(seq, outcome, mark)
                self._store.write(lambda tx: self._failed(tx, seq, outcome, "" if alone else "waiting", wait))
                log.warning("%s: not delivered: %s; next attempt in %.0f s", name, outcome.reason, wait)
            case Paused():
                wait = self._limiter.pause(seq)
                self._store.write(lambda tx: self._failed(tx, seq, outcome, "paused", wait))
                log.error("the exchange is paused: %s", outcome.reason)

    def heard(self, answer: Answer) -> None:
        """Write down what the answer to a probe means for the line."""
        match answer:
            case Retry():
                # The probe is no message: that it fails says nothing of any one.
                wait, _ = self._limiter.failed(0, replace(answer, uncertain=False))
                self._store.write(lambda tx: self._bad_line(tx, "waiting", answer.reason, wait))
                log.warning("the bus does not answer: %s; next attempt in %.0f s", answer.reason, wait)
            case Paused():
                wait = self._limiter.pause()
                self._store.write(lambda tx: self._bad_line(tx, "paused", answer.reason, wait))
                log.error("the exchange is paused: %s", answer.reason)
            case _:
                self._limiter.heard()
                self._store.write(lambda tx: self._good_line(tx))

    def _delivered(self, tx: Tx, message: OutboundMessage, outcome: Accepted, profile: Profile) -> None:
        outbox.deliver(tx, message.row.seq, outcome.ids, outcome.evidence)
        if message.row.kind is OutboxKind.ORDER:
            self._keep_number(tx, message.order, outcome.ids.get("acsn", ""))
            self._drop_superfluous(tx, message.order.id, outcome.content, profile)
        self._good_line(tx)

    def _drop_superfluous(self, tx: Tx, order_id: int, content: str, profile: Profile) -> None:
        """Drop a correction that has gone out within the order itself, which was made from present data."""
        order = orders.get(tx, order_id) if outbox.waits(tx, order_id, OutboxKind.AMEND) else None
        if order and content == encode(self._dialect.transaction(order_bundle(order, profile)).body).decode():
            outbox.withdraw(tx, order_id, OutboxKind.AMEND)

    def _keep_number(self, tx: Tx, order: Order, number: str) -> None:
        """Keep the region's accession number where a modality can bear it; say it loudly where none can."""
        if not number:
            return
        if len(number) > ACCESSION_NUMBER_LENGTH or "\\" in number:  # PS3.5 6.2, SH
            log.error("order %s: the bus's number %s is too long for a modality", order.accession_number, number)
            audit.write(tx, BUS, "bus_number_too_long", order.id, number=number)
        elif not orders.set_bus_accession_number(tx, order.id, number):
            log.error("order %s: the bus's number %s is another order's", order.accession_number, number)
            audit.write(tx, BUS, "bus_number_taken", order.id, number=number)

    def _needs_attention(self, tx: Tx, message: OutboundMessage, outcome: Rejected) -> bool:
        """Mark as needing attention unless the order was amended meanwhile; return True if it was marked."""
        seq, now = message.row.seq, orders.get(tx, message.order.id)
        still_so = now == message.order
        cancelled = now is not None and now.state is OrderState.CANCELLED
        if still_so or cancelled:
            outbox.mark_needs_attention(tx, seq, outcome.reason, outcome.evidence, uncertain=outcome.uncertain)
            if cancelled:
                outbox.drop_refused(tx, message.order.id)
        else:
            outbox.retry_later(tx, seq, outcome.reason, outcome.evidence, uncertain=outcome.uncertain)
        if outcome.evidence:  # it was asked
            self._good_line(tx)
        tx.notify()
        return still_so

    def _failed(self, tx: Tx, seq: int, outcome: Retry | Paused, state: str, wait: float) -> None:
        outbox.retry_later(tx, seq, outcome.reason, outcome.evidence, uncertain=outcome.uncertain)
        if state:
            self._bad_line(tx, state, outcome.reason, wait)

    def _good_line(self, tx: Tx) -> None:
        if not self._limiter.waiting:  # another message may have found otherwise
            self._note_channel(tx, "ok")
        tx.notify()

    def _bad_line(self, tx: Tx, state: str, reason: str, wait: float) -> None:
        self._note_channel(tx, state, reason, tx.now + timedelta(seconds=wait))
        tx.notify()

    def _note_channel(self, tx: Tx, state: str, reason: str = "", retry_at: datetime | None = None) -> None:
        """Tell the screens how the line is: once in a run, and when it changes."""
        if self._noted != (state, reason):
            outbox.set_channel(tx, state, reason, retry_at, answered=state == "ok")
            self._noted = (state, reason)


def _untold(tx: Tx, seq: int, outcome: Unsupported) -> None:
    outbox.unsupported(tx, seq, outcome.reason, outcome.evidence)
    tx.notify()
