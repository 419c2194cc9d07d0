"""Polls for the results that other clinics report for our referrals, by cursors with overlap, page by page.

The news come first: what names this clinic as the requester. Not every clinic does, so the Tasks of our orders are
asked for by their ids as well: new orders once without a limit of time, the last ones in every poll, the older ones in
turn, one list in a poll (`results_plan`). So a poll costs as much as there is news, however many referrals are out.
A result that cannot be read needs attention, and the others go on; one without an answer is retried. A failing
connection ends the poll, and the next one continues.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from broker.bus.fhir import Resource, bus_time, changed_at, encode, is_id, items, member, reference_to
from broker.bus.inbound import parse_patient
from broker.bus.inbound.parse_report import external_study, version_of
from broker.bus.inbound.resolver import BusUnavailable, Unusable, check_modifiers, names_of_the_bus
from broker.bus.inbound.results_plan import OVERLAP, ResultsPlan
from broker.bus.inbound.search import BusSearch
from broker.bus.profile import Profile
from broker.bus.transport.answers import Paused
from broker.bus.transport.dialect import Dialect
from broker.bus.transport.session import BusSession, NotSent
from broker.domain.incoming import ANOTHER_PATIENT, ArrivalKind, ArrivalRecord
from broker.domain.opinions.requests import OpinionRequest
from broker.domain.orders import Order
from broker.domain.patients.people import Patient
from broker.domain.studies import prior_studies
from broker.store.database import Store, StoreError
from broker.store.tables import incoming, orders, outbox
from broker.store.tables.incoming import Arrival
from broker.store.tables.opinions import requests
from broker.store.tables.studies import external_studies
from broker.store.tables.studies.external_studies import StoredStudy
from broker.workflow.opinions import asking
from broker.workflow.studies import external_results
from broker.workflow.studies.external_results import ExternalResultOutcome

log = logging.getLogger(__name__)

SOURCE = "bus"
CURSOR = "results"  # name of the cursor: last change by the bus's clock that the search by requester has reached
DAYS = 90  # that a result is waited for
FIRST_SEARCH = timedelta(days=1)
MAX_AHEAD = timedelta(days=1)  # a change that the bus dates later than this from now does not move the cursor
AMENDMENT_PERIOD = timedelta(days=30)  # time for which a report is polled for amendments
MAX_ATTEMPTS = 8  # at one result, at growing intervals: about eight hours
MAX_UNANSWERED = 2  # consecutive results without an answer: the connection is down
CONTENT_LIMIT = 1024 * 1024  # bytes of JSON of one result
_SEARCH = "Task/_search"


@dataclass(frozen=True, slots=True)
class ResultPollSummary:
    """What a poll did. `stopped` says why it ended early; empty otherwise."""

    completed: int = 0
    taken: int = 0
    needs_attention: int = 0
    failed: int = 0
    stopped: str = ""


@dataclass(frozen=True, slots=True)
class _ResultTask:
    """A result of another clinic: its Task, the order that it answers, and what the ledger has of it."""

    task: Resource
    arrival: Arrival
    order: Order
    bus_patient: str  # id of the order's patient on the bus; empty where it is not known
    known: ArrivalRecord | None
    opinion: OpinionRequest | None = None  # of ours, that it answers instead

    def is_confirmed(self, about: Patient, fields: Iterable[str]) -> bool:
        """Return True if a person has seen these fields of this version contradict, and has said that it is ours."""
        known = self.known
        is_same = known is not None and known.version == self.arrival.version and known.about == about
        return known is not None and is_same and set(fields) <= set(known.confirmed)


class AnotherPatient(Unusable):
    """A result names a patient who contradicts ours, `about`."""

    def __init__(self, fields: Iterable[str], about: Patient) -> None:
        super().__init__(f"{ANOTHER_PATIENT}: {', '.join(fields)}")
        self.about = about


class ResultPoll:
    """Polls for results; `run` is the periodic job."""

    def __init__(
        self, store: Store, session: BusSession, dialect: Dialect, profile: Profile, *, days: int = DAYS
    ) -> None:
        """`days`: how long the result of a referral is asked for by the id of its Task."""
        self._store, self._profile = store, profile
        self._plan = ResultsPlan(store, dialect.ids_in_search, timedelta(days=days), AMENDMENT_PERIOD)
        self._organisation = f"Organization/{profile.organisation}"
        self._session, self._ids_in_search = session, dialect.ids_in_search
        self._search = BusSearch(session, dialect)
        self._unanswered = 0

    def run(self) -> ResultPollSummary:
        """Store what has changed since the last poll. For one thread at a time."""
        outcomes: list[ExternalResultOutcome | None] = []
        started = self._store.clock()
        self._unanswered = 0
        self._session.begin()
        try:
            for item in self._due_for_retry(started):
                outcomes.append(self._retry_item(item))
            complete = self._run_searches(started, outcomes)
        except BusUnavailable as unavailable:
            log.warning("external results: %s", unavailable)
            return _summary(outcomes, str(unavailable))
        except Unusable as refused:
            # The text of the bus may name the patient; it is stored in the ledger only.
            self._store.write(external_results.note_result_failure, Arrival(SOURCE, _SEARCH, "-"), refused.reason)
            log.warning("external results: the bus refuses the search")
            return _summary(outcomes, refused.reason)
        if not complete:
            return _summary(outcomes, "the bus returned only a part")
        self._store.write(
            lambda tx: incoming.overtake(tx, ArrivalKind.RESULT, SOURCE, _SEARCH)
        )  # it was refused before
        return _summary(outcomes, "")

    def stop(self) -> None:
        """End the poll and refuse further ones; may be called from any thread."""
        self._session.stop()

    # ---- searches ----

    def _run_searches(self, started: datetime, outcomes: list[ExternalResultOutcome | None]) -> bool:
        """Take what the searches find, and move their cursors; return True if everything was found."""
        with self._store.read() as reader:
            cursor = incoming.cursor(reader, CURSOR)
        since = datetime.fromisoformat(cursor) - OVERLAP if cursor else self._session.now() - FIRST_SEARCH
        requester = {"requester": self._organisation}
        reached, complete = self._take_found(requester, since, outcomes, cursor)
        if not cursor and self._session.now() - FIRST_SEARCH < since - OVERLAP:  # only now the bus has said its time
            reached, complete = self._take_found(requester, self._session.now() - FIRST_SEARCH, outcomes, cursor)
        if complete:
            self._move_cursor(reached)
        for part in self._plan.parts(started):
            based_on = ",".join(f"Task/{task}" for task in part.tasks)
            newest, found_all = self._take_found({"based-on": based_on}, part.since, outcomes)
            reached, complete = max(reached, newest), complete and found_all
            if found_all:
                self._plan.done(part, reached)
        if complete:
            self._plan.finished(started, reached)
        return complete and self._take_opinions(outcomes)

    def _take_opinions(self, outcomes: list[ExternalResultOutcome | None]) -> bool:
        """Take the answers to our open requests for opinions: who answers may not name who has asked."""
        with self._store.read() as reader:
            tasks = [f"Task/{each.task}" for each in requests.all_open(reader) if each.task]
        complete = True
        for at in range(0, len(tasks), self._ids_in_search):
            part = {"based-on": ",".join(tasks[at : at + self._ids_in_search])}
            complete = self._take_found(part, None, outcomes)[1] and complete
        return complete

    def _take_found(
        self,
        parameters: dict[str, str],
        since: datetime | None,
        outcomes: list[ExternalResultOutcome | None],
        cursor: str | None = None,
    ) -> tuple[str, bool]:
        """Take what one search finds; return its last change, and True if everything was found.

        With a `cursor`, that moves page by page, in case the connection fails.
        """
        limit = {"_lastUpdated": f"ge{since.isoformat()}"} if since else {}
        newest, complete = cursor or "", False
        for page in self._search.pages("Task", {"intent": "reflex-order", **parameters, **limit}):
            for task in _finals_first(page.resources):
                outcomes.append(self._take(task))
                moment = bus_time(task)
                if moment and moment <= self._session.now() + MAX_AHEAD:
                    newest = max(newest, moment.isoformat())
            complete = page.last
            if cursor is not None and page.in_order and not complete:
                self._move_cursor(newest)
        return newest, complete

    def _move_cursor(self, cursor: str) -> None:
        if cursor:
            self._store.write(lambda tx: incoming.set_cursor(tx, CURSOR, cursor))

    def _due_for_retry(self, now: datetime) -> list[ArrivalRecord]:
        """Return the results that are due to be retried."""
        with self._store.read() as reader:
            found = incoming.failed(reader, SOURCE, ArrivalKind.RESULT)
        return [each for each in found if each.is_due(now)]

    def _retry_item(self, item: ArrivalRecord) -> ExternalResultOutcome | None:
        arrival = Arrival(SOURCE, item.reference, item.version)
        self._search.resolver.begin()
        try:
            task = self._search.resolver.resource(item.reference, "Task")
        except Unusable as unusable:
            return self._mark_needs_attention(arrival, unusable.reason, item.order_id)
        except BusUnavailable as unavailable:
            return self._note_no_answer(arrival, unavailable, item.order_id, item)
        outcome = self._take(task, retry=True)
        if outcome is None:
            return self._mark_needs_attention(arrival, "it is not a result for this clinic any more", item.order_id)
        return outcome

    # ---- results ----

    def _take(self, task: Resource, *, retry: bool = False) -> ExternalResultOutcome | None:
        """Store one result, or why it cannot be stored; return None if it is not for this clinic.

        Raise BusUnavailable.
        """
        result = self._for_us(task)
        if result is None:
            return None
        arrival, known, order = result.arrival, result.known, result.order
        if known and not retry and not incoming.is_newer(arrival.version, known.version):
            return ExternalResultOutcome.KNOWN
        if not retry and self._is_overtaken(result):
            return ExternalResultOutcome.KNOWN
        try:
            outcome = self._store_result(result)
        except AnotherPatient as another:
            return self._mark_needs_attention(arrival, another.reason, order.id, another.about)
        except Unusable as unusable:
            return self._mark_needs_attention(arrival, unusable.reason, order.id)
        except BusUnavailable as unavailable:
            return self._note_no_answer(arrival, unavailable, order.id, known)
        except StoreError:
            raise
        except Exception:  # our own error in one result must not stop the others
            log.exception("order %s: an external result could not be taken", order.accession_number)
            return self._mark_needs_attention(arrival, "the program failed at it, see the log", order.id)
        self._unanswered = 0
        if outcome is not ExternalResultOutcome.KNOWN:
            log.info("order %s: an external result (%s)", order.accession_number, outcome)
        return outcome

    def _is_overtaken(self, result: _ResultTask) -> bool:
        """Return True for images whose report is there already, of the same clinic: it has all that they say."""
        if member(result.task, "status") != "in-progress" or result.opinion is not None:
            return False
        owner = reference_to("Organization", member(result.task, "owner")).partition("/")[2]
        with self._store.read() as reader:
            known = external_studies.of_order(reader, result.order.id)
        return any(prior_studies.is_final(study) and _same(study.organisation, owner) for study in known)

    def _for_us(self, task: Resource) -> _ResultTask | None:
        """Return a result of another clinic on an order of ours, with what is known of it; None for any other Task."""
        id = member(task, "id")
        if not isinstance(id, str) or not is_id(id) or member(task, "intent") != "reflex-order":
            return None
        if _same(reference_to("Organization", member(task, "owner")), self._organisation):
            return None
        with self._store.read() as reader:
            based_on = (reference_to("Task", each) for each in items(task, "basedOn"))
            tasks = [each.partition("/")[2] for each in based_on if each]
            opinion = next(filter(None, (requests.of_task(reader, each) for each in tasks)), None)
            ids = [found for each in tasks if (found := external_studies.order_of_task(reader, each))]
            order = orders.get(reader, opinion.order_id if opinion else ids[0]) if opinion or ids else None
            if order is None:
                return None
            known = incoming.named(reader, SOURCE, f"Task/{id}", ArrivalKind.RESULT)
            patient = opinion.bus_patient if opinion else outbox.references(reader, order.id).patient
        arrival = Arrival(SOURCE, f"Task/{id}", _version(task), _as_json([task]))
        return _ResultTask(task, arrival, order, patient, known, opinion)

    def _store_result(self, result: _ResultTask) -> ExternalResultOutcome:
        """Read what a result says, and store it. Raise Unusable, BusUnavailable, StoreError."""
        study, read = self._read(result)
        complete = _as_json([result.task, *read])
        arrival = replace(result.arrival, content=complete) if len(complete) <= CONTENT_LIMIT else result.arrival
        if result.opinion is not None:
            return self._store.write(asking.receive_answer, result.opinion.stored_id, study, arrival)
        return self._store.write(external_results.store_result, result.order.id, study, arrival)

    def _mark_needs_attention(
        self, arrival: Arrival, reason: str, order_id: int | None, about: Patient | None = None
    ) -> ExternalResultOutcome:
        self._store.write(external_results.note_result_failure, arrival, reason, order_id, about=about)
        log.warning("%s, an external result, needs attention", arrival.reference)
        return ExternalResultOutcome.NEEDS_ATTENTION

    def _note_no_answer(
        self, arrival: Arrival, unavailable: BusUnavailable, order_id: int | None, known: ArrivalRecord | None
    ) -> ExternalResultOutcome:
        """Note that a result got no answer and is to be retried; raise BusUnavailable if the connection is down."""
        answer = unavailable.answer
        if isinstance(answer, Paused | NotSent) or answer.asks_to_wait:
            raise unavailable
        earlier = known.attempts if known and known.version == arrival.version else 0
        needs_attention = earlier + 1 >= MAX_ATTEMPTS
        self._store.write(
            external_results.note_result_failure, arrival, answer.reason, order_id, needs_attention=needs_attention
        )
        self._unanswered += 1
        if self._unanswered >= MAX_UNANSWERED:
            raise unavailable
        return ExternalResultOutcome.NEEDS_ATTENTION if needs_attention else ExternalResultOutcome.FAILED

    def _read(self, result: _ResultTask) -> tuple[StoredStudy, list[Resource]]:
        """Read a result's report and what it refers to; raise Unusable if it is not one, or another patient's."""
        resolver, task = self._search.resolver, result.task
        check_modifiers(task)
        resolver.begin(names_of_the_bus(task, self._profile.organisation))
        report = resolver.resource(member(task, "focus"), "DiagnosticReport")
        self._check_patient(report, result)
        study = external_study(self._search.report_graph(report, task), self._profile)
        return StoredStudy(study, version_of(report) or _version(report), bus_time(report)), resolver.seen

    def _check_patient(self, report: Resource, result: _ResultTask) -> None:
        """Raise Unusable unless a result says that it is about the order's patient; BusUnavailable.

        It may be about whom a person has been shown and has said to be ours, with no other contradiction than then.
        """
        resolver, today = self._search.resolver, self._store.clock().date()
        order, known_patient = result.order, result.bus_patient
        is_stated = False
        for container, reference in ((report, member(report, "subject")), (result.task, member(result.task, "for"))):
            if not reference:
                continue
            described = [{"identifier": [member(reference, "identifier")]}]
            person = parse_patient.held_in(reference, container)
            if person is None and str(resolver.target(reference)) == f"Patient/{known_patient}":
                is_stated = True
            else:
                person = person or resolver.resource(reference, "Patient")
                described.append(person)
                is_stated = is_stated or parse_patient.is_comparable(person, order.patient, today)
            for each in described:
                if differ := parse_patient.contradictions(each, order.patient, today):
                    about = parse_patient.described(each, today)
                    if not result.is_confirmed(about, differ):
                        raise AnotherPatient(differ, about)
                    is_stated = True
        if not is_stated:
            raise Unusable("it does not say about whom it is")


def _summary(outcomes: Iterable[ExternalResultOutcome | None], stopped: str) -> ResultPollSummary:
    found = list(outcomes)
    completed, taken, needs_attention, failed = (
        found.count(each)
        for each in (
            ExternalResultOutcome.COMPLETED,
            ExternalResultOutcome.TAKEN,
            ExternalResultOutcome.NEEDS_ATTENTION,
            ExternalResultOutcome.FAILED,
        )
    )
    return ResultPollSummary(completed, taken, needs_attention, failed, stopped)


def _finals_first(tasks: Iterable[Resource]) -> list[Resource]:
    """Return Tasks by their last change, those with a report before those with images only."""
    return sorted(tasks, key=lambda task: (member(task, "status") == "in-progress", _version(task)))


def _same(one: str, other: str) -> bool:
    return one.casefold() == other.casefold()


def _version(resource: Resource) -> str:
    """Return a version for the ledger: the instant of the last change, or `#` and a digest if the bus gives none."""
    moment = changed_at(resource)
    return moment.isoformat() if moment else f"#{hashlib.sha256(_as_json([resource])).hexdigest()[:16]}"


def _as_json(resources: list[Resource]) -> bytes:
    """Return received resources as one JSON Bundle for people to read; empty if it cannot be written."""
    try:
        return encode(
            {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": each} for each in resources]}
        )
    except ValueError:  # half a surrogate pair: allowed in JSON, not in UTF-8
        return b""
