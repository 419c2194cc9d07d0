"""Delivers the outbox to the regional bus: in sequence per order, once, through every fault of the connection.

One run at a time. A message is rendered from present data, noted as perhaps sent, sent with no transaction open, and
its outcome recorded in one transaction. Messages of different orders may be under way together, once one has proved the
connection good; those of one order never are. A refused message waits for a person while the others go on; a failing
connection ends the run. No resource is made here and no HTTP read; `outcomes` records what became of a message.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from broker.bus.outbound import messages, outcomes
from broker.bus.outbound.bundle import task_search
from broker.bus.outbound.messages import MakePdf, OutboundMessage, Unsupported
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
from broker.bus.transport.session import STOPPING, BusSession, NotAsked
from broker.domain.messages import OutboxKind, OutboxRow
from broker.store.database import Store, StoreError, Tx
from broker.store.tables import outbox

log = logging.getLogger(__name__)

PROBE_AFTER = 300.0  # seconds of silence after which the bus is asked something, to see that it is there
PROBE_NUMBER = "worklist-broker/probe"  # no order has it
LOOKED_UP = 2  # requests that an uncertain message may take: a look-up, and the POST after it


@dataclass(frozen=True, slots=True)
class DeliverySummary:
    """What a run did. `stopped` says why it ended before the queue was empty; empty when it was not."""

    delivered: int = 0
    needs_attention: int = 0
    stopped: str = ""

    def with_more(self, other: DeliverySummary) -> DeliverySummary:
        """Return the sum of both; the first reason to stop stays."""
        return DeliverySummary(
            self.delivered + other.delivered,
            self.needs_attention + other.needs_attention,
            self.stopped or other.stopped,
        )


class Delivery:
    """Sends the outbox; at most `workers` messages are under way at once."""

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
        self._halted = threading.Event()  # within a run: no further message begins

    def deliver(self) -> DeliverySummary:
        """Send what can be sent now. A second caller at the same time returns at once."""
        if not self._running.acquire(blocking=False):
            return DeliverySummary(stopped="another run")
        try:
            return self._run()
        finally:
            self._running.release()

    def probe(self) -> bool:
        """Ask the bus something harmless if it has been silent for `PROBE_AFTER` seconds; return True if it was asked.

        Through the same client, token, proxy and certificates as everything else, so that what the screens say about
        the connection has been seen and not assumed. The answer is noted as a message's would be.
        """
        if not self._running.acquire(blocking=False):
            return False
        try:
            with self._store.read() as reader:
                down = outbox.channel_state(reader) != "ok"
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
        """End the run: no further message begins, and those under way are cut off, to be looked up later."""
        self._session.stop()

    def use(self, profile: Profile) -> None:
        """Send with another profile from the next message on: a directory has been imported."""
        self._profile = profile

    # ---- a run ----

    def _run(self) -> DeliverySummary:
        self._session.begin()
        self._halted.clear()
        total = DeliverySummary()
        while rows := self._heads():
            # One message tries the connection alone, and only then do others go beside each other.
            for part in (rows[:1], rows[1:]):
                for one in self._side_by_side(part):
                    total = total.with_more(one)
                if total.stopped:
                    return total
        return total

    def _side_by_side(self, rows: list[OutboxRow]) -> Iterator[DeliverySummary]:
        """Deal with messages of different orders, in as many workers as there are."""
        if self._workers == 1 or len(rows) < 2:
            yield from self._in_turn(rows)
            return
        with ThreadPoolExecutor(min(self._workers, len(rows)), "bus-worker") as workers:
            yield from workers.map(self._one, rows)

    def _in_turn(self, rows: Iterable[OutboxRow]) -> Iterator[DeliverySummary]:
        for row in rows:
            one = self._one(row)
            yield one
            if one.stopped:
                return

    def _one(self, row: OutboxRow) -> DeliverySummary:
        """Deal with one message, unless something hinders it."""
        needed = LOOKED_UP if row.uncertain else 1  # together they stay within the minute
        if reason := self._hindrance(needed):
            self._halted.set()
            return DeliverySummary(stopped=reason)
        outcome: Outcome | None = None
        try:
            with self._store.read() as reader:
                message = messages.read(reader, row.seq)
            if message is not None:
                epoch = self._session.limiter.epoch
                outcome = self._tried(message)
                if outcome is not None:
                    outcomes.record(self._store, self._session, message, outcome, epoch)
        except BaseException:
            self._halted.set()
            raise
        finally:
            self._session.release()
        return DeliverySummary(int(isinstance(outcome, Accepted)), int(isinstance(outcome, Rejected)))

    def _heads(self) -> list[OutboxRow]:
        with self._store.read() as reader:
            rows = outbox.heads(reader)
        return self._session.limiter.due(rows)

    def _hindrance(self, needed: int) -> str:
        """Return why nothing can be sent now; empty if it can, and then so many requests are counted."""
        if reason := self._session.hindrance():
            return reason
        return STOPPING if self._halted.is_set() else self._session.admit(needed)

    # ---- sending ----

    def _tried(self, message: OutboundMessage) -> Outcome | None:
        """Send a message; None if nothing was decided. A fault of ours in one must not keep back the others."""
        try:
            outcome = self._send(message)
        except (StoreError, sqlite3.Error):
            raise
        except Exception:
            log.exception("order %s (%s): it could not be sent", message.order.accession_number, message.row.kind)
            return Rejected("the program failed at it, see the log", uncertain=True)
        return None if isinstance(outcome, NotAsked) else outcome

    def _send(self, message: OutboundMessage) -> Outcome | None:
        """Send a message, or find that the bus has it already; None if it is to be read again."""
        kind = message.row.kind
        if message.row.uncertain and (known := self._known(message)):
            return known
        call = messages.render(message, self._dialect, self._profile, self._make_pdf)
        if isinstance(call, Unsupported | Rejected):
            return call
        if not self._may_send(message, call.body):
            return None
        answer = self._session.request(call)
        if isinstance(answer, Rejected) and kind is OutboxKind.STARTED:
            # News that nobody needs: what follows tells more, and must not wait for a person.
            return Unsupported(f"{messages.NO_BEGINNINGS}: {answer.reason}", answer.evidence)
        if not isinstance(answer, Delivered):
            return answer
        if kind in messages.STATUSES:
            return Accepted(evidence=answer.evidence)
        if answer.task:
            return self._take_over(message, answer)
        ids = messages.accepted_ids(message, bundle_references(answer.resource), self._dialect)
        if isinstance(ids, dict):
            return Accepted(ids, answer.evidence, message.order.revision)
        return self._look_up(message, message.order.revision) or replace(ids, evidence=answer.evidence)

    def _known(self, message: OutboundMessage) -> Outcome | None:
        """Ask whether the bus has what may have been sent before; None if it has not, or it does no harm twice."""
        kind, task = message.row.kind, message.references.task
        if kind is OutboxKind.AMEND:
            return None  # the same content in the same place
        if kind not in messages.STATUSES:
            return self._look_up(message, message.row.order_revision)
        if not task:
            return None
        read = self._session.request(self._dialect.read("Task", task))
        if not isinstance(read, Delivered):
            return replace(read, uncertain=True)
        done = ("cancelled",) if kind is OutboxKind.CANCEL else ("in-progress", "completed")
        return Accepted(evidence=read.evidence) if read.resource.get("status") in done else None

    def _look_up(self, message: OutboundMessage, sent_revision: int | None) -> Outcome | None:
        """Search the Task that a message made when it was sent last; None if the bus has none."""
        answer = self._session.request(messages.lookup(message, self._dialect, self._profile))
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

    def _take_over(self, message: OutboundMessage, answer: Delivered) -> Outcome:
        """Take the ids of the Task that the bus says it has already, if it is ours."""
        read = self._session.request(self._dialect.read("Task", answer.task))
        if not isinstance(read, Delivered):
            return replace(read, uncertain=True)
        if not has_number(read.resource, message.number, self._profile):
            reason = "not a FHIR answer: the Task that is said to be there bears another number"
            return Rejected(reason, evidence=answer.evidence)
        ids = messages.accepted_ids(message, task_references(read.resource), self._dialect)
        return Accepted(ids, answer.evidence) if isinstance(ids, dict) else replace(ids, evidence=answer.evidence)

    def _may_send(self, message: OutboundMessage, body: bytes) -> bool:
        """Note that it is sent; return False if it has been withdrawn or is made of something else by now.

        From this commit on a crash leads to a look-up, and what is changed goes out as a message of its own.
        """

        def mark(tx: Tx) -> bool:
            current = outbox.content_stamp(tx, message.row.seq) == message.stamp
            if current:
                outbox.mark_uncertain(tx, message.row.seq, body, message.order.revision)
            return current

        return self._store.write(mark)
