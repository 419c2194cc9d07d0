"""Asks the bus for a patient's earlier studies at other clinics, while the referral is being typed.

Pages do not wait: a page requests a patient and reads what is stored. One thread asks the bus, with limits of time and
requests, and notifies when there is more to read. A failure is noted beside the older answer. Only reads are sent.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

from broker.bus.fhir import Resource, bus_time, items, member, reference_to
from broker.bus.inbound import parse_patient
from broker.bus.inbound.parse_report import ReportGraph, external_study, version_of
from broker.bus.inbound.questions import QuestionThread
from broker.bus.inbound.resolver import BusUnavailable, ChangedMeaning, Unusable, check_modifiers
from broker.bus.inbound.search import BusSearch
from broker.bus.profile import POLICY, SNILS, Profile, oid
from broker.bus.transport.dialect import Dialect
from broker.bus.transport.session import BusSession
from broker.domain.errors import NotFound, Stale
from broker.domain.patients.people import Patient
from broker.domain.reading.reports import ExternalStudy
from broker.domain.studies.prior_studies import WITHDRAWN
from broker.store.database import Store
from broker.store.queries.patients import patient_history
from broker.store.tables.patients import patients
from broker.store.tables.studies import external_studies
from broker.store.tables.studies.external_studies import StoredStudy
from broker.workflow.studies import external_results

log = logging.getLogger(__name__)

QUESTION_SECONDS = 10.0  # for all calls about one patient
MAX_REPORTS = 50  # of a patient, the newest ones
MAX_PEOPLE = 20  # Patient resources of one patient: every clinic may have created its own
MAX_WAITING = 20  # patients in the queue
RETRY_AFTER = timedelta(seconds=60)  # after a failure
OTHER_DATA = "the bus has other data under this number"
NO_NUMBER = "neither a pension insurance number nor a policy number is known: the bus cannot be asked"
NO_VERSION = "?"
PARTIAL = "partial"  # DiagnosticReport.status: images without a text
MEMBERS = (
    "status,category,code,subject,effective,issued,performer,resultsInterpreter,result,imagingStudy,basedOn,conclusion"
)


class History:
    """Looks up earlier studies. Its session must not be shared: a deadline aborts all calls of the session."""

    def __init__(
        self,
        store: Store,
        session: BusSession,
        dialect: Dialect,
        profile: Profile,
        *,
        hours: float = 12,
        seconds: float = QUESTION_SECONDS,
    ) -> None:
        """`hours`: how long an answer is fresh; `seconds`: the limit for all calls about one patient."""
        self._store, self._profile, self._hours = store, profile, hours
        self._session, self._seconds = session, seconds
        self._search = BusSearch(session, dialect)
        # R4 reports contain their documents, which would make an answer too large.
        self._members = {"_elements": MEMBERS} if dialect.name == "r4" else {}
        self._questions = QuestionThread("bus-history", session, self._answer)

    def request(self, patient_id: int) -> bool:
        """Queue a patient to be asked about, unless the answer is fresh; return at once.

        Return False if the queue is full: the page requests again later.
        """
        with self._questions.lock:
            if patient_id in self._questions.waiting:
                return not self._session.stopping.is_set()
            return len(self._questions.waiting) < MAX_WAITING and self._questions.add(patient_id)

    def stop(self) -> None:
        """Abort the calls in progress, refuse further ones, and wait for the thread."""
        self._questions.stop()

    def ask(self, patient_id: int) -> None:
        """Ask the bus now, and store its answer or the reason of a failure. For one thread at a time."""
        with self._store.read() as reader:
            patient = patients.get(reader, patient_id)
            known = external_studies.versions(reader, patient_id)
            asked = patient_history.external(reader, patient_id)
        if patient is None:
            return
        if not (patient.snils or patient.policy):
            if asked.reason != NO_NUMBER:
                self._store.write(external_results.note_history_failure, patient_id, NO_NUMBER)
            return
        self._session.begin()
        with self._session.question(self._seconds):
            try:
                people, doubted = self._find_people(patient)
                reports, complete = self._find_reports(people)
            except (BusUnavailable, Unusable) as trouble:
                self._store.write(external_results.note_history_failure, patient_id, str(trouble))
                log.warning("patient %s: no answer about earlier studies", patient.patient_id)
                return
            listed = self._external_reports(patient_id, reports)
            unread = [report for report in listed if _version(report) == NO_VERSION or not _is_known(report, known)]
            if unread and any(_reference(report) not in known for report in unread):
                # Date, clinic and kind are shown first; the texts follow.
                first = [StoredStudy(external_study(ReportGraph(report), self._profile)) for report in listed]
                self._store.write(external_results.store_history, patient, first, complete=complete, unreadable=None)
            read, why = self._details(unread)
        stored = [read.get(_reference(report)) or self._without_details(report) for report in listed]
        stored = [each for each in stored if not self._is_ours(patient_id, each.study)]
        unreadable = "" if complete else "the bus returned only a part"
        if doubted:
            unreadable = f"{OTHER_DATA}: {', '.join(doubted)}"
        if why:
            unreadable = f"{len(unread) - len(read)} of {len(listed)} reports not read: {why}"
        self._store.write(external_results.store_history, patient, stored, complete=complete, unreadable=unreadable)

    def _answer(self, patient_id: int) -> None:
        try:
            if self._is_due(patient_id):
                self.ask(patient_id)
        except (NotFound, Stale):  # the card was merged, or has another number, since the bus was asked
            log.info("an answer about earlier studies came too late")

    def _is_due(self, patient_id: int) -> bool:
        now = self._store.clock()
        with self._store.read() as reader:
            asked = patient_history.external(reader, patient_id)
            if external_studies.is_fresh(reader, patient_id, self._hours, now):
                return False
        waits = asked.failed_at is not None and timedelta() <= now - asked.failed_at < RETRY_AFTER
        return not waits or asked.reason == NO_NUMBER  # a number may have been added since

    def _find_people(self, patient: Patient) -> tuple[list[str], list[str]]:
        """Return the Patients of the bus with the patient's numbers, as "Patient/<id>", and the fields that differ in
        those that are left out.
        """
        found: list[str] = []
        doubted: list[str] = []
        today = self._store.clock().date()
        for system, value in ((SNILS, patient.snils), (POLICY, patient.policy)):
            if value:
                people, _ = self._search.search("Patient", {"identifier": f"{oid(system)}|{value}"})
                for person in people:
                    reference = reference_to("Patient", {"reference": f"Patient/{member(person, 'id')}"})
                    if not reference or not _has_number(person, system, value, today):
                        continue
                    try:
                        check_modifiers(person)
                    except ChangedMeaning:
                        continue
                    differ = parse_patient.contradictions(person, patient, today)
                    doubted += differ
                    found += [] if differ else [reference]
        return list(dict.fromkeys(found))[:MAX_PEOPLE], list(dict.fromkeys(doubted))

    def _find_reports(self, people: Sequence[str]) -> tuple[list[Resource], bool]:
        """Return the reports on these people, the newest first, and False if the bus returned only a part."""
        if not people:
            return [], True
        found, complete = self._search.search("DiagnosticReport", {"subject": ",".join(people), **self._members})
        # Not all servers obey the search: the subject is checked again.
        of_these = [each for each in found if reference_to("Patient", member(each, "subject")) in people]
        valid = _without_overtaken([each for each in of_these if member(each, "status") not in WITHDRAWN])
        return sorted(valid, key=_sort_key, reverse=True)[:MAX_REPORTS], complete

    def _external_reports(self, patient_id: int, reports: Sequence[Resource]) -> list[Resource]:
        """Return the valid reports that this clinic has not sent itself."""
        listed = []
        for report in reports:
            try:
                study = external_study(ReportGraph(report), self._profile)
            except Unusable:
                continue
            if not self._is_ours(patient_id, study):
                listed.append(report)
        return listed

    def _is_ours(self, patient_id: int, study: ExternalStudy) -> bool:
        if study.organisation:
            return study.organisation.casefold() == self._profile.organisation.casefold()
        with self._store.read() as reader:
            return external_studies.sent_by_us(reader, patient_id, study.reference)

    def _details(self, reports: Sequence[Resource]) -> tuple[dict[str, StoredStudy], str]:
        """Read the references of reports within the limits; return what was read, and why the rest was not."""
        read: dict[str, StoredStudy] = {}
        why = ""
        for report in reports:
            self._search.resolver.begin()
            try:
                graph = self._search.report_graph(report)
            except BusUnavailable as down:
                return read, str(down)
            except ChangedMeaning as changed:
                why = changed.reason
                continue
            read[_reference(report)] = replace(
                self._without_details(report), study=external_study(graph, self._profile), version=_version(report)
            )
        return read, why

    def _without_details(self, report: Resource) -> StoredStudy:
        return StoredStudy(external_study(ReportGraph(report), self._profile), reported_at=bus_time(report))


def _without_overtaken(reports: list[Resource]) -> list[Resource]:
    """Return reports without those with images only whose final one, of the same clinic, is among them."""
    final = [(_orders(each), _clinics(each)) for each in reports if member(each, "status") != PARTIAL]

    def is_overtaken(report: Resource) -> bool:
        mine, by = _orders(report), _clinics(report)
        return any(mine & orders and (not by or not clinics or by & clinics) for orders, clinics in final)

    return [each for each in reports if member(each, "status") != PARTIAL or not is_overtaken(each)]


def _orders(report: Resource) -> set[str]:
    return {reference_to("ServiceRequest", each) for each in items(report, "basedOn")} - {""}


def _clinics(report: Resource) -> set[str]:
    return {reference_to("Organization", each) for each in items(report, "performer")} - {""}


def _reference(report: Resource) -> str:
    return f"DiagnosticReport/{report['id']}"


def _version(report: Resource) -> str:
    return version_of(report) or NO_VERSION


def _is_known(report: Resource, known: dict[str, str]) -> bool:
    return known.get(_reference(report)) == _version(report)


def _sort_key(report: Resource) -> tuple[str, datetime]:
    """Sort key: day of the study as text, then time of the report."""
    made = member(report, "effectiveDateTime")
    return (made[:10] if isinstance(made, str) else ""), bus_time(report) or datetime.min.replace(tzinfo=UTC)


def _has_number(person: Resource, system: str, value: str, today: date) -> bool:
    """Return True if a Patient has this number of this system: the n3 dialect searches by value only."""
    return (system, value) in parse_patient.identifiers(person, today)
