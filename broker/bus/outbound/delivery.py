"""Delivers the outbox to the regional bus: each message once, the messages of one order in sequence.

One run at a time. A message is rendered from present data, marked as possibly sent, sent with no transaction open, and
its outcome recorded in one transaction. After the first success, messages of different orders are sent in parallel;
those of one order never are. A refused message needs attention, and the others go on; a failing connection ends the
run. `messages` renders, `outcomes` records.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from broker.bus.outbound import messages, outcomes
from broker.bus.outbound.bundle import task_search
from broker.bus.outbound.messages import (
    MakePdf,
    OrderMessage,
    OutboundMessage,
    ReferralMessage,
    TaskMessage,
    Unsupported,
)
from broker.bus.outbound.opinions import OpinionMessage
from broker.bus.outbound.outcomes import Accepted, Outcome
from broker.bus.profile import Profile
from broker.bus.transport.answers import Delivered, Paused, Rejected, Retry
from broker.bus.transport.dialect import (
    Dialect,
    bundle_references,
    found_tasks,
    has_number,
    n3,
    task_references,
)
from broker.bus.transport.session import STOPPING, BusSession, NotSent
from broker.domain.messages import OutboxKind, OutboxRow
from broker.store.database import Store, StoreError, Tx
from broker.store.tables import bus_channel, outbox

log = logging.getLogger(__name__)

PROBE_AFTER = 300.0  # seconds without contact after which the connection is probed
PROBE_NUMBER = "worklist-broker/probe"  # the number of no order
# What the bus says of a Task after a message that changes its status.
_STATUSES_AFTER = {
    OutboxKind.CANCEL: ("cancelled",),
    OutboxKind.STARTED: ("in-progress", "completed"),
    OutboxKind.DECLINE: ("cancelled", "rejected"),
    OutboxKind.WITHDRAW_OPINION: ("cancelled",),
}
# What changes with the content of a message.
_STAMPS: dict[type[OutboundMessage], Callable[[Tx, int], tuple[object, ...] | None]] = {
    OrderMessage: outbox.content_stamp,
    ReferralMessage: outbox.referral_stamp,
    OpinionMessage: outbox.opinion_stamp,
}
UNCERTAIN_REQUESTS = 2  # requests of an uncertain message: a search for its Task, and the POST after it


@dataclass(frozen=True, slots=True)
class DeliverySummary:
    """What a run did. `stopped` says why it ended before everything was sent; empty otherwise."""

    delivered: int = 0
    needs_attention: int = 0
    stopped: str = ""

    def with_more(self, other: DeliverySummary) -> DeliverySummary:
        """Return the sum of both; `stopped` is the first reason."""
        return DeliverySummary(
            self.delivered + other.delivered,
            self.needs_attention + other.needs_attention,
            self.stopped or other.stopped,
        )


class Delivery:
    """Sends the outbox; at most `workers` messages in parallel."""

    def __init__(
        self,
        store: Store,
        session: BusSession,
        profile: Profile,
        make_pdf: MakePdf,
        *,
        dialect: Dialect = n3,
        workers: int = 1,
    ) -> None:
        self._store = store
        self._session = session
        self._profile = profile
        self._make_pdf = make_pdf
        self._dialect = dialect
        self._workers = workers
        self._running = threading.Lock()
        self._halted = threading.Event()  # within a run: send no further message

    def deliver(self) -> DeliverySummary:
        """Send what can be sent now. A second call at the same time returns at once."""
        if not self._running.acquire(blocking=False):
            return DeliverySummary(stopped="another run")
        try:
            return self._run()
        finally:
            self._running.release()

    def probe(self) -> bool:
        """Search for no order if there was no contact for PROBE_AFTER seconds; return True if the bus was called.

        With the same client, token, proxy and certificates as everything else, so that the screens show the real state
        of the connection. The result is noted as that of a message is.
        """
        if not self._running.acquire(blocking=False):
            return False
        try:
            with self._store.read() as reader:
                down = bus_channel.state(reader) != "ok"
            silent = down or self._session.limiter.seconds_since_contact >= PROBE_AFTER
            if not silent or self._session.admit():
                return False
            self._session.begin()
            search = task_search(PROBE_NUMBER, "original-order", self._profile) | {"_count": "1"}
            answer = self._session.request(self._dialect.search("Task", search))
            if isinstance(answer, Retry | Paused):
                wait = self._session.failed(answer)
                log.warning("the bus does not answer: %s; next attempt in %.0f s", answer.reason, wait)
            else:
                self._session.succeeded(lambda tx: tx.notify())
            return True
        finally:
            self._session.release()
            self._running.release()

    def stop(self) -> None:
        """End the run: send no further message and abort calls in progress, whose Tasks are searched for later."""
        self._session.stop()

    def set_profile(self, profile: Profile) -> None:
        """Use another profile from the next message on, after an import of a directory."""
        self._profile = profile

    # ---- a run ----

    def _run(self) -> DeliverySummary:
        self._session.begin()
        self._halted.clear()
        total = DeliverySummary()
        while rows := self._due_rows():
            # The first message tests the connection; only then are others sent in parallel.
            for part in (rows[:1], rows[1:]):
                for summary in self._deliver_in_parallel(part):
                    total = total.with_more(summary)
                if total.stopped:
                    return total
        return total

    def _deliver_in_parallel(self, rows: list[OutboxRow]) -> Iterator[DeliverySummary]:
        """Deliver messages of different orders in parallel workers; yield a summary of each."""
        if self._workers == 1 or len(rows) < 2:
            yield from self._deliver_in_turn(rows)
            return
        with ThreadPoolExecutor(min(self._workers, len(rows)), "bus-worker") as workers:
            yield from workers.map(self._deliver_one, rows)

    def _deliver_in_turn(self, rows: Iterable[OutboxRow]) -> Iterator[DeliverySummary]:
        for row in rows:
            summary = self._deliver_one(row)
            yield summary
            if summary.stopped:
                return

    def _deliver_one(self, row: OutboxRow) -> DeliverySummary:
        """Deliver one message, unless the session is blocked."""
        needed = UNCERTAIN_REQUESTS if row.uncertain else 1  # all of them count in the rate limit
        if reason := self._blocked_reason(needed):
            self._halted.set()
            return DeliverySummary(stopped=reason)
        outcome: Outcome | None = None
        try:
            with self._store.read() as reader:
                message = messages.read(reader, row.seq, self._profile)
            if message is not None:
                epoch = self._session.limiter.epoch
                outcome = self._try_send(message)
                if outcome is not None:
                    outcomes.record(self._store, self._session, message, outcome, epoch)
        except BaseException:
            self._halted.set()
            raise
        finally:
            self._session.release()
        return DeliverySummary(int(isinstance(outcome, Accepted)), int(isinstance(outcome, Rejected)))

    def _due_rows(self) -> list[OutboxRow]:
        with self._store.read() as reader:
            rows = outbox.heads(reader)
        return self._session.limiter.due(rows)

    def _blocked_reason(self, needed: int) -> str:
        """Return why nothing can be sent now; otherwise reserve `needed` requests and return an empty text."""
        if reason := self._session.blocked_reason():
            return reason
        return STOPPING if self._halted.is_set() else self._session.admit(needed)

    # ---- sending ----

    def _try_send(self, message: OutboundMessage) -> Outcome | None:
        """Send a message; return None if the outcome is open.

        Our own errors in one message must not stop the others.
        """
        try:
            outcome = self._send(message)
        except (StoreError, sqlite3.Error):
            raise
        except Exception:
            log.exception("%s: it could not be sent", message.name)
            return Rejected("the program failed at it, see the log", uncertain=True)
        return None if isinstance(outcome, NotSent) else outcome

    def _send(self, message: OutboundMessage) -> Outcome | None:
        """Send a message, or find it on the bus; return None if it must be read again first."""
        kind = message.row.kind
        if message.row.uncertain and (known := self._find_sent(message)):
            return known
        call = messages.render(message, self._dialect, self._profile, self._make_pdf)
        if isinstance(call, Unsupported | Rejected):
            return call
        if not self._mark_sent(message, call.body):
            return None
        answer = self._session.request(call)
        if isinstance(answer, Rejected) and kind is OutboxKind.STARTED:
            # The messages that follow say more, and must not wait for a person.
            return Unsupported(f"{messages.NO_STARTS}: {answer.reason}", answer.evidence)
        if not isinstance(answer, Delivered):
            return answer
        if isinstance(message, ReferralMessage) or kind in messages.STATUSES:
            return Accepted(evidence=answer.evidence)
        if answer.task and kind is OutboxKind.AMEND:
            return Rejected(messages.NOT_CORRECTED, evidence=answer.evidence)
        if answer.task and _is_another_version(message):
            return Rejected(messages.NUMBER_TAKEN, evidence=answer.evidence)
        if answer.task:
            return self._accept_existing_task(message, answer)
        ids = messages.accepted_ids(message, bundle_references(answer.resource), self._dialect)
        if isinstance(ids, dict):
            return Accepted(ids, answer.evidence, message.revision)
        return self._search_task(message, message.revision) or replace(ids, evidence=answer.evidence)

    def _find_sent(self, message: OutboundMessage) -> Outcome | None:
        """Return the outcome of an earlier attempt if the bus has the message; None if it must be sent (again)."""
        kind = message.row.kind
        if kind is OutboxKind.AMEND:
            return None  # a repeated PUT changes nothing
        if not isinstance(message, ReferralMessage) and kind not in messages.STATUSES:
            return self._search_task(message, message.row.order_revision)
        if not message.task:
            return None
        read = self._session.request(self._dialect.read("Task", message.task))
        if not isinstance(read, Delivered):
            return replace(read, uncertain=True)
        return Accepted(evidence=read.evidence) if read.resource.get("status") in _STATUSES_AFTER[kind] else None

    def _search_task(self, message: TaskMessage, sent_revision: int | None) -> Outcome | None:
        """Search for the Task of an earlier attempt; return None if the bus has none."""
        answer = self._session.request(messages.search_call(message, self._dialect, self._profile))
        if not isinstance(answer, Delivered):
            return replace(answer, uncertain=True)
        tasks = found_tasks(answer.resource, message.number, self._profile)
        if len(tasks) > 1:
            log.error("the bus has order %s %d times", message.order.accession_number, len(tasks))
        if not tasks:
            return None
        ids = messages.accepted_ids(message, task_references(tasks[0]), self._dialect)
        if isinstance(ids, Rejected):
            return replace(ids, evidence=answer.evidence)
        return Accepted(ids, answer.evidence, sent_revision)

    def _accept_existing_task(self, message: TaskMessage, answer: Delivered) -> Outcome:
        """Read the Task that the bus says it has already, and return its ids if it is ours."""
        read = self._session.request(self._dialect.read("Task", answer.task))
        if not isinstance(read, Delivered):
            return replace(read, uncertain=True)
        if not has_number(read.resource, message.number, self._profile):
            reason = "not a FHIR answer: the Task that is said to exist has another number"
            return Rejected(reason, evidence=answer.evidence)
        ids = messages.accepted_ids(message, task_references(read.resource), self._dialect)
        return Accepted(ids, answer.evidence) if isinstance(ids, dict) else replace(ids, evidence=answer.evidence)

    def _mark_sent(self, message: OutboundMessage, body: bytes) -> bool:
        """Mark a message as possibly sent; return False if it was withdrawn or its content has changed meanwhile.

        After this commit, a crash leads to a search for the Task, and a change of the order to a message of its own.
        """

        def mark(tx: Tx) -> bool:
            current = _STAMPS[type(message)](tx, message.row.seq) == message.stamp
            if current:
                outbox.mark_uncertain(tx, message.row.seq, body, message.revision)
            return current

        return self._store.write(mark)


def _is_another_version(message: OutboundMessage) -> bool:
    """Return True if what the bus has under a message's number cannot be that message: it was never sent before.

    Numbers of versions are counted; a database that was put back from a copy counts some of them twice.
    """
    return (
        isinstance(message, OrderMessage)
        and not message.row.uncertain
        and (message.version > 1 or (message.report is not None and message.report.report.version > 1))
    )
