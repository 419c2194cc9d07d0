"""Polls the bus for referrals to this clinic, and for their cancellations.

One poll at a time. Two searches continue from their cursors, with an overlap; known resources are recognised by their
version, and a cursor moves after its page was stored: a crash, a repeated page or answers out of order neither lose nor
duplicate anything. An item that cannot be read needs attention, and the others go on; a failing connection ends the
poll. Cursors are times of the bus, never of our clock. `parse_referral` reads the members of resources.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from broker.bus.fhir import Resource
from broker.bus.inbound import parse_referral
from broker.bus.inbound.resolver import BusUnavailable, ReferenceResolver, Unusable, check_size, names_of_the_bus
from broker.bus.profile import Profile
from broker.bus.transport.answers import Delivered, Paused, Rejected, Retry
from broker.bus.transport.dialect import Dialect
from broker.bus.transport.paging import PagedSearch
from broker.bus.transport.rate_limit import REFERRAL_REQUESTS
from broker.bus.transport.session import BusSession, NotSent
from broker.domain.actors import Actor, ActorKind
from broker.domain.clinic.settings import Clinic
from broker.domain.incoming import ArrivalKind, ArrivalRecord, ArrivalState, IncomingState
from broker.domain.opinions.requests import OpinionRequest
from broker.store.database import Store, StoreError
from broker.store.queries import inbox
from broker.store.tables import incoming
from broker.store.tables.incoming import Arrival
from broker.store.tables.opinions import requests
from broker.workflow.opinions import asking
from broker.workflow.referrals import incoming_referrals
from broker.workflow.referrals.incoming_referrals import BUS, ReceiveOutcome

log = logging.getLogger(__name__)

BUS_ACTOR = Actor(ActorKind.BUS, "bus", "Региональная шина")
SEARCH = "Task/_search"  # reference of a refused search in the ledger of arrivals
PAGE = 500  # Tasks of a page; the most that n3 returns
OVERLAP = timedelta(minutes=5)  # of a search with the last one: changes may appear late on the bus
FIRST_DAYS = 30  # that the very first search goes back
CLOCK_STEP = timedelta(hours=1)  # by which our clock is surely wrong
MAX_ATTEMPTS = 8  # at one item, at growing intervals: about eight hours
CONTENT_LIMIT = 1024 * 1024  # bytes of an item's JSON that are stored


@dataclass(frozen=True, slots=True)
class ReferralPollSummary:
    """What a poll did. `stopped` says why it ended early; empty otherwise."""

    taken: int = 0  # referrals that wait, or were accepted automatically
    cancelled: int = 0
    late: int = 0  # cancellations and changes that came too late
    needs_attention: int = 0
    failed: int = 0
    stopped: str = ""


class _PollEnded(Exception):
    """Ends the poll; `reason` is plain English."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class ReferralPoll:
    """Polls for referrals and their cancellations. `auto_accept` is modality -> AE title."""

    def __init__(
        self,
        store: Store,
        session: BusSession,
        dialect: Dialect,
        profile: Profile,
        clinic: Clinic,
        auto_accept: Mapping[str, str],
        *,
        page: int = PAGE,
    ) -> None:
        self._store = store
        self._session = session
        self._dialect = dialect
        self._profile = profile
        self._clinic = clinic
        self._auto_accept = auto_accept
        self._page = page
        self._resolver = ReferenceResolver(
            lambda kind, id: session.request(dialect.read(kind, id)), session.url, monotonic=session.limiter.monotonic
        )
        # Our own orders are searched too: other clinics may cancel them.
        organisation = f"Organization/{profile.organisation}"
        self._searches = {
            cursor: PagedSearch("Task", {"intent": "original-order", member: organisation}, page)
            for cursor, member in (("referrals", "owner"), ("own orders", "requester"))
        }
        self._failed_items = 0  # consecutive ones without an answer
        self._count: Counter[str] = Counter()

    def stop(self) -> None:
        """End the poll and refuse further ones; may be called from any thread."""
        self._session.stop()

    def run(self) -> ReferralPollSummary:
        """Store what has changed since the last poll."""
        self._count = Counter()
        self._failed_items = 0
        try:
            self._session.begin()
            if reason := self._session.blocked_reason():
                raise _PollEnded(reason)
            for cursor, pages in self._searches.items():
                self._search(cursor, pages)
            self._retry_failed()
        except _PollEnded as ended:
            return self._summary(ended.reason)
        finally:
            self._session.release()
            if self._count:
                log.info("polled from the bus: %s", ", ".join(f"{n} {name}" for name, n in self._count.items()))
        return self._summary("")

    def _summary(self, stopped: str) -> ReferralPollSummary:
        count = self._count
        return ReferralPollSummary(
            count["taken"], count["cancelled"], count["late"], count["needs attention"], count["failed"], stopped
        )

    def _admit(self, requests: int) -> None:
        """Reserve requests of this minute, or end the poll."""
        if reason := self._session.admit(requests):
            raise _PollEnded(reason)

    def _back_off(self, answer: Retry | Paused) -> _PollEnded:
        """Back off, and return the exception that ends the poll."""
        if not isinstance(answer, NotSent):
            wait = self._session.failed(answer)
            log.warning("the poll for referrals failed: %s; next attempt in %.0f s", answer.reason, wait)
        return _PollEnded(answer.reason)

    # ---- searches ----

    def _search(self, cursor: str, pages: PagedSearch) -> None:
        """Read a search to its end; the next poll continues a page that this one does not finish."""
        if not pages.in_progress:
            since = self._since(cursor)
            pages.begin(since)
            self._next_page(pages)
            if abs(self._since(cursor) - since) > CLOCK_STEP:  # only now the bus has said what the time is there
                pages.begin(self._since(cursor))
                self._next_page(pages)
        while True:
            while pages.entries:
                self._take_entry(pages.entries[0])
                pages.entries.popleft()
            self._advance_cursor(cursor, pages)
            if not pages.more:
                pages.in_progress = False
                pages.size = self._page
                return
            self._next_page(pages)

    def _next_page(self, pages: PagedSearch) -> None:
        try:
            self._admit(1)
            answer = self._session.request(pages.call(self._dialect))
            if isinstance(answer, Rejected):
                # Shown to people: the bus does not understand our search.
                self._mark_needs_attention(
                    Arrival(BUS, SEARCH, "-", answer.evidence.encode("utf-8", "replace")), answer.reason
                )
                raise _PollEnded(answer.reason)
            if not isinstance(answer, Delivered):
                # The page may be too long to be read: the next one is shorter.
                pages.abandon(page_too_large=answer.reason.startswith("not a FHIR answer"))
                raise self._back_off(answer)
        except _PollEnded:
            pages.abandon()
            raise
        pages.take(answer.resource, self._dialect, self._session.url, self._session.now())
        if pages.stuck:
            count = len(pages.entries)
            log.error("the bus changed %d Tasks or more at one instant: those beyond cannot be read", count)
            pages.skip_instant()
        self._note_search_answered()

    def _note_search_answered(self) -> None:
        """Note that the connection works and the search is accepted."""
        with self._store.read() as reader:
            refused = incoming.named(reader, BUS, SEARCH, ArrivalKind.REFERRAL)
        if refused and refused.state is not ArrivalState.TAKEN:
            self._session.succeeded(lambda tx: incoming.overtake(tx, ArrivalKind.REFERRAL, BUS, SEARCH))
        else:
            self._session.succeeded()

    def _advance_cursor(self, cursor: str, pages: PagedSearch) -> None:
        """Move the cursor to the last change that was stored, never back; end the poll if the order is unknown."""
        with self._store.read() as reader:
            before = incoming.cursor(reader, cursor)
        reached = pages.reached()
        if reached and reached.isoformat(timespec="microseconds") > before:
            value = reached.isoformat(timespec="microseconds")
            self._store.write(lambda tx: incoming.set_cursor(tx, cursor, value))
        if pages.error:
            log.error("%s", pages.error)
            pages.abandon()
            raise _PollEnded(pages.error)

    def _since(self, cursor: str) -> datetime:
        with self._store.read() as reader:
            value = incoming.cursor(reader, cursor)
        return datetime.fromisoformat(value) - OVERLAP if value else self._session.now() - timedelta(days=FIRST_DAYS)

    # ---- items ----

    def _take_entry(self, entry: Any) -> None:
        """Take one entry of a search's answer; errors in it do not end the poll."""
        found = entry.get("resource") if isinstance(entry, dict) else None
        task: Resource = found if isinstance(found, dict) else {}
        if task.get("resourceType", "Task") != "Task":
            return  # an included resource or an OperationOutcome
        try:
            check_size(task)
            reference = f"Task/{parse_referral.task_id(task)}"
        except Unusable as error:
            label = "#" + parse_referral.digest(entry)
            self._mark_needs_attention(Arrival(BUS, f"Task/{label}", label, _as_json([entry])), error.reason)
            return
        self._take_item(task, reference, retry=False)

    def _take_item(self, task: Resource, reference: str, *, retry: bool) -> None:
        number = parse_referral.own_number(task, self._profile)
        if not number and not parse_referral.is_for(task, self._profile.organisation):
            return
        version = parse_referral.version(task)
        with self._store.read() as reader:
            known = incoming.is_known(reader, BUS, reference, version)
        if known and not retry:
            return
        self._resolver.begin(names_of_the_bus(task, self._profile.organisation))

        def arrival() -> Arrival:
            return Arrival(BUS, reference, version, _as_json([task, *self._resolver.seen]))

        try:
            taken = self._take_own_order(task, number, arrival()) if number else self._take_referral(task, arrival)
        except Unusable as error:
            self._mark_needs_attention(arrival(), error.reason)
        except BusUnavailable as error:
            self._note_no_answer(arrival(), error.answer)
        except (StoreError, _PollEnded):
            raise
        except Exception:  # our own error in one item must not stop the others
            log.exception("%s could not be taken", reference)
            self._note_failure(arrival(), "the program failed at it, see the log")
        else:
            self._failed_items = 0
            outcome = {
                ReceiveOutcome.CANCELLED: "cancelled",
                ReceiveOutcome.LATE: "late",
                ReceiveOutcome.NOTHING: "",
            }.get(taken, "taken")
            if outcome:
                self._count[outcome] += 1

    def _take_referral(self, task: Resource, arrival: Callable[[], Arrival]) -> ReceiveOutcome:
        id, status = parse_referral.task_id(task), parse_referral.status(task)
        with self._store.read() as reader:
            known = incoming.by_task(reader, BUS, id)
        state = known.state if known else None
        done_externally = status == parse_referral.DONE and state is IncomingState.WAITING
        if status in parse_referral.CANCELLED or done_externally:
            return self._store.write(
                incoming_referrals.receive_cancellation,
                id,
                arrival(),
                status,
                BUS_ACTOR,
                self._clinic,
                reason=parse_referral.status_reason(task),
            )
        started_here = status == parse_referral.STARTED and state is IncomingState.ACCEPTED
        if status not in parse_referral.REQUESTED and not started_here:
            return ReceiveOutcome.NOTHING
        self._admit(REFERRAL_REQUESTS)
        today = self._store.clock().astimezone(self._clinic.zone).date()
        referral = parse_referral.parse_referral(task, self._resolver.resource, self._profile, today)
        return self._store.write(
            incoming_referrals.receive,
            referral,
            arrival(),
            BUS_ACTOR,
            self._clinic,
            self._auto_accept,
            system_procedure=self._profile.system_procedure,
        )

    def _take_own_order(self, task: Resource, number: str, arrival: Arrival) -> ReceiveOutcome:
        """Take the cancellation of an order of ours; our orders are never taken as referrals."""
        id, status = parse_referral.task_id(task), parse_referral.status(task)
        with self._store.read() as reader:
            opinion = requests.of_task(reader, id)
        if opinion is not None:
            return self._take_own_request(task, opinion, arrival)
        if status not in parse_referral.CANCELLED:
            return ReceiveOutcome.NOTHING
        with self._store.read() as reader:
            order_id = incoming.own_order(reader, id, number)
        if not order_id:
            return ReceiveOutcome.NOTHING
        return self._store.write(
            incoming_referrals.receive_cancellation,
            id,
            arrival,
            status,
            BUS_ACTOR,
            self._clinic,
            order_id=order_id,
            reason=parse_referral.status_reason(task),
        )

    def _take_own_request(self, task: Resource, opinion: OpinionRequest, arrival: Arrival) -> ReceiveOutcome:
        """Take what the other clinic has done with a request of ours for an opinion, beside its answer."""
        status, news = parse_referral.status(task), False
        if status in parse_referral.CANCELLED:
            reason = parse_referral.status_reason(task)
            news = self._store.write(asking.receive_refusal, opinion.stored_id, arrival, status, reason, BUS_ACTOR)
        elif status in (parse_referral.STARTED, "accepted"):
            news = self._store.write(asking.note_taken, opinion.stored_id)
        return ReceiveOutcome.CANCELLED if news and status in parse_referral.CANCELLED else ReceiveOutcome.NOTHING

    def _retry_failed(self) -> None:
        """Retry items without an answer, and those that a person wants to be retried."""
        with self._store.read() as reader:
            items = incoming.failed(reader, BUS, ArrivalKind.REFERRAL)
        for item in items:
            if item.is_due(self._store.clock()):
                self._admit(REFERRAL_REQUESTS)
                self._retry_item(item)

    def _retry_item(self, item: ArrivalRecord) -> None:
        self._resolver.begin()
        arrival = Arrival(BUS, item.reference, item.version)
        try:
            task = self._resolver.resource(item.reference, "Task")
        except Unusable as error:
            self._mark_needs_attention(arrival, error.reason)
        except BusUnavailable as error:
            self._note_no_answer(arrival, error.answer)
        else:
            self._take_item(task, item.reference, retry=True)
            with self._store.read() as reader:
                after = inbox.item(reader, item.id)
            if after == item:  # it is not for this clinic any more, or not requested
                self._store.write(lambda tx: incoming.overtake(tx, item.kind, item.source, item.reference))

    # ---- outcomes ----

    def _mark_needs_attention(self, arrival: Arrival, reason: str) -> None:
        with self._store.read() as reader:
            before = incoming.named(reader, BUS, arrival.reference, ArrivalKind.REFERRAL)
        if before and before.state is ArrivalState.NEEDS_ATTENTION and before.version == arrival.version:
            return
        self._store.write(incoming_referrals.note_unreadable, arrival, reason)
        self._count["needs attention"] += 1
        # The text of the bus may name the patient; it is stored in the ledger only.
        log.warning("%s needs attention, the ledger says why", arrival.reference)

    def _note_no_answer(self, arrival: Arrival, answer: Retry | Paused) -> None:
        """Note that an item got no answer. A second consecutive one ends the poll: it is due to the connection."""
        stopping = isinstance(answer, NotSent) or self._session.stopping.is_set()
        if stopping or isinstance(answer, Paused) or not answer.uncertain:
            raise self._back_off(answer)
        self._note_failure(arrival, answer.reason)
        self._failed_items += 1
        if self._failed_items > 1 or answer.after is not None or answer.reason.startswith("time-out"):
            raise self._back_off(answer)

    def _note_failure(self, arrival: Arrival, reason: str) -> None:
        """Note that an item is to be retried, at most MAX_ATTEMPTS times."""
        with self._store.read() as reader:
            before = incoming.named(reader, BUS, arrival.reference, ArrivalKind.REFERRAL)
        same = before is not None and before.version == arrival.version
        if before and same and before.attempts + 1 >= MAX_ATTEMPTS:
            self._mark_needs_attention(arrival, reason)
            return
        self._store.write(lambda tx: incoming.put(tx, ArrivalKind.REFERRAL, arrival, ArrivalState.FAILED, reason))
        self._count["failed"] += 1
        log.warning("%s could not be read and will be retried: %s", arrival.reference, reason)


def _as_json(resources: list[Any]) -> bytes:
    """Return received resources as one JSON Bundle for people to read; empty if it is too long or cannot be written."""
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": each} for each in resources]}
    try:
        written = json.dumps(bundle, ensure_ascii=False).encode("utf-8", "replace")
    except (ValueError, RecursionError):
        return b""
    return written if len(written) <= CONTENT_LIMIT else b""
