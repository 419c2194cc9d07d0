"""Polls the bus for what other clinics order of us, and what they cancel.

One poll at a time. Two searches go on where the last poll ended: each reaches back a little behind its cursor, what was
seen before is known by its version, and the cursor moves only when a page is stored: a crash, a repeated page, answers
out of order lose and double nothing. What cannot be read is set aside for a person and holds nothing back; a connection
that fails ends the poll. How far a search has got is measured by the bus's own times, never by our clock. No member of
a resource is read here (`parse_referral` does); rate and back-off are the session's.
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
from broker.bus.inbound.resolver import BusUnavailable, ReferenceResolver, Unusable, check_size
from broker.bus.profile import Profile
from broker.bus.transport.answers import Delivered, Paused, Rejected, Retry
from broker.bus.transport.dialect import Dialect
from broker.bus.transport.paging import PagedSearch
from broker.bus.transport.rate_limit import REFERRAL_REQUESTS
from broker.bus.transport.session import BusSession, NotAsked
from broker.domain.actors import Actor, ActorKind
from broker.domain.clinic import Clinic
from broker.domain.incoming import ArrivalKind, ArrivalRecord, ArrivalState, IncomingState
from broker.store.database import Store, StoreError
from broker.store.queries import inbox
from broker.store.tables import incoming
from broker.store.tables.incoming import Arrival
from broker.workflow import incoming_referrals
from broker.workflow.incoming_referrals import BUS, ReceiveOutcome

log = logging.getLogger(__name__)

BUS_ACTOR = Actor(ActorKind.BUS, "bus", "Региональная шина")
SEARCH = "Task/_search"  # the reference under which a refused search is found in the ledger
PAGE = 500  # Tasks of a search's answer; the most that n3 returns
OVERLAP = timedelta(minutes=5)  # that a search reaches back: what was changed at the bus just before may show up late
FIRST_DAYS = 30  # that the first search of all reaches back
MAX_ATTEMPTS = 8  # at one item, at growing distances: about eight hours
CONTENT_LIMIT = 1024 * 1024  # bytes of an item's JSON that are stored


@dataclass(frozen=True, slots=True)
class ReferralPollSummary:
    """What a poll brought. `stopped` says why it ended before everything was seen; empty when it was."""

    taken: int = 0  # referrals that wait, or went straight onto a worklist
    cancelled: int = 0
    late: int = 0  # cancellations and changes of what had gone too far
    set_aside: int = 0
    failed: int = 0
    stopped: str = ""


class _PollEnded(Exception):
    """The poll ends here; `reason` is plain English."""

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
        # Our own orders are searched too, for what the other side cancels of them.
        us = f"Organization/{profile.organisation}"
        self._searches = {
            cursor: PagedSearch("Task", {"intent": "original-order", member: us}, page)
            for cursor, member in (("referrals", "owner"), ("own orders", "requester"))
        }
        self._failed_items = 0  # in a row, at which no answer came
        self._count: Counter[str] = Counter()

    def stop(self) -> None:
        """End the poll that is running and let no other one begin; called from another thread."""
        self._session.stop()

    def run(self) -> ReferralPollSummary:
        """Take what is new since the last poll."""
        self._count = Counter()
        self._failed_items = 0
        try:
            self._session.begin()
            if reason := self._session.hindrance():
                raise _PollEnded(reason)
            for cursor, pages in self._searches.items():
                self._search(cursor, pages)
            self._try_again()
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
            count["taken"], count["cancelled"], count["late"], count["set_aside"], count["failed"], stopped
        )

    def _admit(self, requests: int) -> None:
        """End the poll if so many requests may not go out now."""
        if reason := self._session.admit(requests):
            raise _PollEnded(reason)

    def _connection_failed(self, answer: Retry | Paused) -> _PollEnded:
        """Back off; return what ends the poll."""
        if not isinstance(answer, NotAsked):
            wait = self._session.failed(answer)
            log.warning("the poll for referrals failed: %s; next attempt in %.0f s", answer.reason, wait)
        return _PollEnded(answer.reason)

    # ---- searches ----

    def _search(self, cursor: str, pages: PagedSearch) -> None:
        """Bring a search to its end; what one poll leaves of a page is continued by the next one."""
        if not pages.under_way:
            pages.begin(self._since(cursor))
            self._next_page(pages)
        while True:
            while pages.entries:
                self._entry(pages.entries[0])
                pages.entries.popleft()
            self._page_stored(cursor, pages)
            if not pages.more:
                pages.under_way = False
                pages.size = self._page
                return
            self._next_page(pages)

    def _next_page(self, pages: PagedSearch) -> None:
        try:
            self._admit(1)
            answer = self._session.request(pages.call(self._dialect))
            if isinstance(answer, Rejected):
                # People are shown that the bus does not understand our search.
                self._set_aside(Arrival(BUS, SEARCH, "-", answer.evidence.encode("utf-8", "replace")), answer.reason)
                raise _PollEnded(answer.reason)
            if not isinstance(answer, Delivered):
                # A page too long to be read, for one: a shorter one may do.
                pages.abandon(too_much=answer.reason.startswith("not a FHIR answer"))
                raise self._connection_failed(answer)
        except _PollEnded:
            pages.abandon()
            raise
        pages.take(answer.resource, self._dialect, self._session.url, self._store.clock())
        if pages.stuck:
            many = len(pages.entries)
            log.error("the bus changed %d Tasks or more at one instant: those beyond are not seen", many)
            pages.step_over()
        self._search_answered()

    def _search_answered(self) -> None:
        """Note that the connection is good, and that no search is refused any more."""
        with self._store.read() as reader:
            refused = incoming.named(reader, BUS, SEARCH, ArrivalKind.REFERRAL)
        if refused and refused.state is not ArrivalState.TAKEN:
            self._session.succeeded(lambda tx: incoming.overtake(tx, ArrivalKind.REFERRAL, BUS, SEARCH))
        else:
            self._session.succeeded()

    def _page_stored(self, cursor: str, pages: PagedSearch) -> None:
        """Move the cursor to what has been seen, never back."""
        with self._store.read() as reader:
            before = incoming.cursor(reader, cursor)
        reached = pages.reached()
        if reached and reached.isoformat(timespec="microseconds") > before:
            value = reached.isoformat(timespec="microseconds")
            self._store.write(lambda tx: incoming.set_cursor(tx, cursor, value))
        if pages.wrong:
            log.error("%s", pages.wrong)
            pages.abandon()
            raise _PollEnded(pages.wrong)

    def _since(self, cursor: str) -> datetime:
        with self._store.read() as reader:
            value = incoming.cursor(reader, cursor)
        return datetime.fromisoformat(value) - OVERLAP if value else self._store.clock() - timedelta(days=FIRST_DAYS)

    # ---- items ----

    def _entry(self, entry: Any) -> None:
        """Take an entry of a search's answer; whatever is in it, the next one follows."""
        found = entry.get("resource") if isinstance(entry, dict) else None
        task: Resource = found if isinstance(found, dict) else {}
        if task.get("resourceType", "Task") != "Task":
            return  # what a server includes or remarks
        try:
            check_size(task)
            reference = f"Task/{parse_referral.task_id(task)}"
        except Unusable as error:
            mark = "#" + parse_referral.digest(entry)
            self._set_aside(Arrival(BUS, f"Task/{mark}", mark, _content([entry])), error.reason)
            return
        self._item(task, reference, again=False)

    def _item(self, task: Resource, reference: str, *, again: bool) -> None:
        number = parse_referral.own_number(task, self._profile)
        if not number and not parse_referral.is_for(task, self._profile.organisation):
            return
        version = parse_referral.version(task)
        with self._store.read() as reader:
            known = incoming.is_known(reader, BUS, reference, version)
        if known and not again:
            return
        self._resolver.begin()

        def arrival() -> Arrival:
            return Arrival(BUS, reference, version, _content([task, *self._resolver.seen]))

        try:
            taken = self._own(task, number, arrival()) if number else self._referral(task, arrival)
        except Unusable as error:
            self._set_aside(arrival(), error.reason)
        except BusUnavailable as error:
            self._not_answered(arrival(), error.answer)
        except (StoreError, _PollEnded):
            raise
        except Exception:  # a fault of ours in one item must not keep the others from being taken
            log.exception("%s could not be taken", reference)
            self._failed(arrival(), "the program failed at it, see the log")
        else:
            self._failed_items = 0
            outcome = {
                ReceiveOutcome.CANCELLED: "cancelled",
                ReceiveOutcome.LATE: "late",
                ReceiveOutcome.NOTHING: "",
            }.get(taken, "taken")
            if outcome:
                self._count[outcome] += 1

    def _referral(self, task: Resource, arrival: Callable[[], Arrival]) -> ReceiveOutcome:
        id, status = parse_referral.task_id(task), parse_referral.status(task)
        with self._store.read() as reader:
            known = incoming.by_task(reader, BUS, id)
        state = known.state if known else None
        done_elsewhere = status == parse_referral.DONE and state is IncomingState.WAITING
        if status in parse_referral.CANCELLED or done_elsewhere:
            return self._store.write(
                incoming_referrals.receive_cancellation, id, arrival(), status, BUS_ACTOR, self._clinic
            )
        begun_here = status == parse_referral.BEGUN and state is IncomingState.ACCEPTED
        if status not in parse_referral.WANTED and not begun_here:
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

    def _own(self, task: Resource, number: str, arrival: Arrival) -> ReceiveOutcome:
        """Take what became of an order of ours; it never comes back as a referral."""
        id, status = parse_referral.task_id(task), parse_referral.status(task)
        if status not in parse_referral.CANCELLED:
            return ReceiveOutcome.NOTHING
        with self._store.read() as reader:
            order_id = incoming.own_order(reader, id, number)
        if not order_id:
            return ReceiveOutcome.NOTHING
        return self._store.write(
            incoming_referrals.receive_cancellation, id, arrival, status, BUS_ACTOR, self._clinic, order_id=order_id
        )

    def _try_again(self) -> None:
        """Try again what failed for want of an answer, and what a person wants to be tried."""
        with self._store.read() as reader:
            items = incoming.failed(reader, BUS, ArrivalKind.REFERRAL)
        for item in items:
            if item.is_due(self._store.clock()):
                self._admit(REFERRAL_REQUESTS)
                self._once_more(item)

    def _once_more(self, item: ArrivalRecord) -> None:
        self._resolver.begin()
        arrival = Arrival(BUS, item.reference, item.version)
        try:
            task = self._resolver.resource(item.reference, "Task")
        except Unusable as error:
            self._set_aside(arrival, error.reason)
        except BusUnavailable as error:
            self._not_answered(arrival, error.answer)
        else:
            self._item(task, item.reference, again=True)
            with self._store.read() as reader:
                after = inbox.item(reader, item.id)
            if after == item:  # it is not for us any more, or not wanted
                self._store.write(lambda tx: incoming.overtake(tx, item.kind, item.source, item.reference))

    # ---- what became of it ----

    def _set_aside(self, arrival: Arrival, reason: str) -> None:
        with self._store.read() as reader:
            before = incoming.named(reader, BUS, arrival.reference, ArrivalKind.REFERRAL)
        if before and before.state is ArrivalState.NEEDS_ATTENTION and before.version == arrival.version:
            return
        self._store.write(incoming_referrals.note_unreadable, arrival, reason)
        self._count["set_aside"] += 1
        # The bus's own words may name the patient; they are kept in the ledger.
        log.warning("%s is set aside, the ledger says why", arrival.reference)

    def _not_answered(self, arrival: Arrival, answer: Retry | Paused) -> None:
        """Note that no answer came at an item, and go on: it may be the item's own fault, unless it happens again."""
        stopping = isinstance(answer, NotAsked) or self._session.stopping.is_set()
        if stopping or isinstance(answer, Paused) or not answer.uncertain:
            raise self._connection_failed(answer)
        self._failed(arrival, answer.reason)
        self._failed_items += 1
        if self._failed_items > 1 or answer.after is not None or answer.reason.startswith("time-out"):
            raise self._connection_failed(answer)

    def _failed(self, arrival: Arrival, reason: str) -> None:
        """Keep an item to be tried again, a limited number of times."""
        with self._store.read() as reader:
            before = incoming.named(reader, BUS, arrival.reference, ArrivalKind.REFERRAL)
        same = before is not None and before.version == arrival.version
        if before and same and before.attempts + 1 >= MAX_ATTEMPTS:
            self._set_aside(arrival, reason)
            return
        self._store.write(lambda tx: incoming.put(tx, ArrivalKind.REFERRAL, arrival, ArrivalState.FAILED, reason))
        self._count["failed"] += 1
        log.warning("%s could not be read and is tried again: %s", arrival.reference, reason)


def _content(resources: list[Any]) -> bytes:
    """Write what came as one JSON, to be looked at; empty if that cannot be done or would be endless."""
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": each} for each in resources]}
    try:
        written = json.dumps(bundle, ensure_ascii=False).encode("utf-8", "replace")
    except (ValueError, RecursionError):
        return b""
    return written if len(written) <= CONTENT_LIMIT else b""
