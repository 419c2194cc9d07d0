"""Polls for the results that other clinics report for our referrals: by cursor with overlap, page by page, idempotent.

Two searches: by the Tasks of the orders that another clinic is to do, and by ourselves as the requester, for an
answer to an order that we meant to do. What cannot be read is set aside in the ledger and stops nothing, what got no
answer is tried again; without a connection the poll ends, and the next one begins where this one began.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from broker.bus.fhir import Resource, bus_time, changed_at, encode, is_id, items, member, reference_to
from broker.bus.inbound.parse_report import external_study, is_somebody_else, version_of
from broker.bus.inbound.resolver import BusUnavailable, Unusable
from broker.bus.inbound.search import BusSearch
from broker.bus.profile import Profile
from broker.bus.transport.answers import Paused
from broker.bus.transport.dialect import Dialect
from broker.bus.transport.session import BusSession, NotAsked
from broker.domain.incoming import ArrivalKind, ArrivalRecord
from broker.domain.orders import Order
from broker.store.database import Store, StoreError, Tx
from broker.store.tables import external_studies, incoming, orders, outbox
from broker.store.tables.external_studies import StoredStudy
from broker.store.tables.incoming import Arrival
from broker.workflow import external_results
from broker.workflow.external_results import ExternalResultOutcome

log = logging.getLogger(__name__)

SOURCE = "bus"
CURSOR, LOOKED = "results", "results looked"  # how far on the bus's clock; when, on ours
AT_ONCE = 50  # Tasks in one search
OVERLAP = timedelta(minutes=10)  # what was committed late, or by a clock that is late, is met again
FIRST_LOOK = timedelta(days=1)
FUTURE = timedelta(days=1)  # a time after tomorrow must not move the cursor where nothing will be found
AMENDED_FOR = timedelta(days=30)  # a report is looked for amendments of so long
MAX_ATTEMPTS = 8  # at one result, at growing distances: about eight hours
BROKEN = 2  # results in a row that got no answer: it is the connection, not they
CONTENT_LIMIT = 1024 * 1024  # bytes of JSON of one result
_SEARCH = "Task/_search"


@dataclass(frozen=True, slots=True)
class ResultPollSummary:
    """What a poll found. `stopped` says why it ended before its time; empty if it did not."""

    completed: int = 0
    taken: int = 0
    set_aside: int = 0
    failed: int = 0
    stopped: str = ""


@dataclass(frozen=True, slots=True)
class _Result:
    """A result of another clinic: its Task, the order that it answers, and what the ledger has of it."""

    task: Resource
    arrival: Arrival
    order: Order
    bus_patient: str  # id of the order's patient on the bus; empty where it is not known
    known: ArrivalRecord | None


class ResultPoll:
    """Polls for results; `look` is the periodic job."""

    def __init__(self, store: Store, session: BusSession, dialect: Dialect, profile: Profile) -> None:
        self._store, self._profile = store, profile
        self._us = f"Organization/{profile.organisation}"
        self._session = session
        self._search = BusSearch(session, dialect)
        self._broken = 0

    def look(self) -> ResultPollSummary:
        """Take what is new. For one thread at a time."""
        outcomes: list[ExternalResultOutcome | None] = []
        started = self._store.clock()
        self._broken = 0
        self._session.begin()
        try:
            for item in self._failed(started):
                outcomes.append(self._once_more(item))
            whole = self._searched(started, outcomes)
        except BusUnavailable as down:
            log.warning("external results: %s", down)
            return _looked(outcomes, str(down))
        except Unusable as refused:
            # The bus's own words may name a patient; they are kept in the ledger.
            self._store.write(external_results.note_result_failure, Arrival(SOURCE, _SEARCH, "-"), refused.reason)
            log.warning("external results: the bus refuses the search")
            return _looked(outcomes, refused.reason)
        if not whole:
            return _looked(outcomes, "the bus returned only a part")
        self._store.write(lambda tx: self._looked_through(tx, started))
        return _looked(outcomes, "")

    def _looked_through(self, tx: Tx, started: datetime) -> None:
        incoming.set_cursor(tx, LOOKED, started.isoformat())
        incoming.overtake(tx, ArrivalKind.RESULT, SOURCE, _SEARCH)  # it may have been refused before

    def stop(self) -> None:
        """End the poll under way, and every call of its client."""
        self._session.stop()

    # ---- finding ----

    def _searched(self, started: datetime, outcomes: list[ExternalResultOutcome | None]) -> bool:
        """Take what the searches find, and move the cursor; say whether that was everything."""
        newest, whole = "", True
        for parameters in self._searches(started):
            ended = False
            for page in self._search.pages("Task", {"intent": "reflex-order", **parameters}):
                for task in sorted(page.resources, key=_version):
                    outcomes.append(self._take(task))
                    moment = bus_time(task)
                    if moment and moment <= started + FUTURE:
                        newest = max(newest, moment.isoformat())
                ended = page.last
                # The last search finds the most. What was taken of it is not lost when the connection breaks.
                if "requester" in parameters and whole and page.in_order and not ended:
                    self._move(newest)
            whole = whole and ended
        if whole:
            self._move(newest)
        return whole

    def _move(self, cursor: str) -> None:
        if cursor:
            self._store.write(lambda tx: incoming.set_cursor(tx, CURSOR, cursor))

    def _searches(self, started: datetime) -> Iterator[dict[str, str]]:
        """Return the parameters of the searches; of an order that is new to the bus everything is asked for."""
        with self._store.read() as reader:
            cursor, looked = incoming.cursor(reader, CURSOR), incoming.cursor(reader, LOOKED)
            referred = external_studies.referred(reader, started - AMENDED_FOR)
        since = {"_lastUpdated": f"ge{(datetime.fromisoformat(cursor) - OVERLAP).isoformat()}"} if cursor else {}
        old_before = datetime.fromisoformat(looked) - OVERLAP if looked else None
        old = [task for _, task, taken_at in referred if old_before and taken_at < old_before]
        new = [task for _, task, _ in referred if task not in set(old)]
        for tasks, limit in ((old, since), (new, {})):
            for at in range(0, len(tasks), AT_ONCE):
                yield {"based-on": ",".join(f"Task/{task}" for task in tasks[at : at + AT_ONCE]), **limit}
        first = {"_lastUpdated": f"ge{(started - FIRST_LOOK).isoformat()}"}
        yield {"requester": self._us, **(since or first)}

    def _failed(self, now: datetime) -> list[ArrivalRecord]:
        """Return what is due to be tried again."""
        with self._store.read() as reader:
            found = incoming.failed(reader, SOURCE, ArrivalKind.RESULT)
        return [each for each in found if each.is_due(now)]

    def _once_more(self, item: ArrivalRecord) -> ExternalResultOutcome | None:
        arrival = Arrival(SOURCE, item.reference, item.version)
        self._search.resolver.begin()
        try:
            task = self._search.resolver.resource(item.reference, "Task")
        except Unusable as unusable:
            return self._not_taken(arrival, unusable.reason, item.order_id)
        except BusUnavailable as down:
            return self._broke(arrival, down, item.order_id, item)
        outcome = self._take(task, again=True)
        if outcome is None:
            return self._not_taken(arrival, "it is no longer a result of another clinic for us", item.order_id)
        return outcome

    # ---- taking ----

    def _take(self, task: Resource, *, again: bool = False) -> ExternalResultOutcome | None:
        """Take one result, or note why not; None where it is none for us. Raise BusUnavailable."""
        result = self._for_us(task)
        if result is None:
            return None
        arrival, known, order = result.arrival, result.known, result.order
        if known and not again and not incoming.is_newer(arrival.version, known.version):
            return ExternalResultOutcome.KNOWN
        try:
            outcome = self._store_result(result)
        except Unusable as unusable:
            return self._not_taken(arrival, unusable.reason, order.id)
        except BusUnavailable as down:
            return self._broke(arrival, down, order.id, known)
        except StoreError:
            raise
        except Exception:  # a fault of ours in one result must not keep the others from being taken
            log.exception("order %s: an external result could not be taken", order.accession_number)
            return self._not_taken(arrival, "the program failed at it, see the log", order.id)
        self._broken = 0
        if outcome is not ExternalResultOutcome.KNOWN:
            log.info("order %s: an external result (%s)", order.accession_number, outcome)
        return outcome

    def _for_us(self, task: Resource) -> _Result | None:
        """Return a result of another clinic on an order of ours, with what is known of it; None for any other Task."""
        id = member(task, "id")
        if not isinstance(id, str) or not is_id(id) or member(task, "intent") != "reflex-order":
            return None
        if _same(reference_to("Organization", member(task, "owner")), self._us):
            return None
        with self._store.read() as reader:
            based_on = (reference_to("Task", each) for each in items(task, "basedOn"))
            ids = [found for each in based_on if each and (found := external_studies.order_of_task(reader, each[5:]))]
            order = orders.get(reader, ids[0]) if ids else None
            if order is None:
                return None
            known = incoming.named(reader, SOURCE, f"Task/{id}", ArrivalKind.RESULT)
            patient = outbox.references(reader, order.id).patient
        return _Result(task, Arrival(SOURCE, f"Task/{id}", _version(task), _exact([task])), order, patient, known)

    def _store_result(self, result: _Result) -> ExternalResultOutcome:
        """Read what a result says, and store it. Raise Unusable, BusUnavailable, StoreError."""
        study, read = self._read(result.task, result.order, result.bus_patient)
        whole = _exact([result.task, *read])
        arrival = replace(result.arrival, content=whole) if len(whole) <= CONTENT_LIMIT else result.arrival
        return self._store.write(external_results.store_result, result.order.id, study, arrival)

    def _not_taken(self, arrival: Arrival, reason: str, order_id: int | None) -> ExternalResultOutcome:
        self._store.write(external_results.note_result_failure, arrival, reason, order_id)
        log.warning("%s, an external result, was set aside", arrival.reference)
        return ExternalResultOutcome.NEEDS_ATTENTION

    def _broke(
        self, arrival: Arrival, down: BusUnavailable, order_id: int | None, known: ArrivalRecord | None
    ) -> ExternalResultOutcome:
        """Leave a result that the line broke for later; raise BusUnavailable where the line itself is down."""
        answer = down.answer
        if isinstance(answer, Paused | NotAsked) or answer.after is not None:
            raise down
        earlier = known.attempts if known and known.version == arrival.version else 0
        aside = earlier + 1 >= MAX_ATTEMPTS
        self._store.write(external_results.note_result_failure, arrival, answer.reason, order_id, aside=aside)
        self._broken += 1
        if self._broken >= BROKEN:
            raise down
        return ExternalResultOutcome.NEEDS_ATTENTION if aside else ExternalResultOutcome.FAILED

    def _read(self, task: Resource, order: Order, known_patient: str) -> tuple[StoredStudy, list[Resource]]:
        """Read a result's report and what it refers to; raise Unusable where it is none, or another person's."""
        resolver = self._search.resolver
        resolver.begin()
        report = resolver.resource(member(task, "focus"), "DiagnosticReport")
        for person in (member(report, "subject"), member(task, "for")):
            reference = reference_to("Patient", person)
            if reference not in ("", f"Patient/{known_patient}") and is_somebody_else(
                resolver.resource(reference, "Patient"), order.patient
            ):
                raise Unusable("it is about another patient")
        study = external_study(self._search.report_graph(report, task), self._profile)
        return StoredStudy(study, version_of(report) or _version(report), bus_time(report)), resolver.seen


def _looked(outcomes: Iterable[ExternalResultOutcome | None], stopped: str) -> ResultPollSummary:
    found = list(outcomes)
    completed, taken, set_aside, failed = (
        found.count(each)
        for each in (
            ExternalResultOutcome.COMPLETED,
            ExternalResultOutcome.TAKEN,
            ExternalResultOutcome.NEEDS_ATTENTION,
            ExternalResultOutcome.FAILED,
        )
    )
    return ResultPollSummary(completed, taken, set_aside, failed, stopped)


def _same(one: str, other: str) -> bool:
    return one.casefold() == other.casefold()


def _version(resource: Resource) -> str:
    """Return a version as the ledger orders them: the instant of the change, or `#` and a digest if there is none."""
    moment = changed_at(resource)
    return moment.isoformat() if moment else f"#{hashlib.sha256(_exact([resource])).hexdigest()[:16]}"


def _exact(resources: list[Resource]) -> bytes:
    """Write what came as JSON, to be looked at."""
    try:
        return encode(
            {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": each} for each in resources]}
        )
    except ValueError:  # half a surrogate pair, which JSON can escape and UTF-8 cannot hold
        return b""
