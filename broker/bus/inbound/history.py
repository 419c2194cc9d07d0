"""Asks the bus what other clinics did for a patient, while the referral is being typed.

Nobody waits for it: a page requests a patient and reads what is stored; one thread asks, within seconds and few
requests, and notifies when there is more to read. What it cannot get is noted with its reason, beside the older answer.
Nothing is sent to the bus but questions.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from broker.bus.fhir import Resource, bus_time, items, member, reference_to
from broker.bus.inbound.parse_report import ReportGraph, external_study, is_somebody_else, version_of
from broker.bus.inbound.resolver import BusUnavailable, Unusable
from broker.bus.inbound.search import BusSearch
from broker.bus.profile import POLICY, SNILS, Profile, oid
from broker.bus.transport.dialect import Dialect
from broker.bus.transport.session import BusSession
from broker.domain.people import Patient
from broker.domain.prior_studies import WITHDRAWN
from broker.domain.reports import ExternalStudy
from broker.store.database import Store
from broker.store.queries import patient_history
from broker.store.tables import external_studies, patients
from broker.store.tables.external_studies import StoredStudy
from broker.workflow import external_results

log = logging.getLogger(__name__)

SECONDS = 10.0  # for a patient: a registrar is typing
NEWEST = 50  # reports of a patient that are read
PEOPLE = 20  # of the bus that may bear one patient's numbers: every clinic may have made its own
WAITING = 20  # patients that may wait to be asked for
REST = timedelta(seconds=60)  # after a failure
NO_NUMBER = "neither a pension insurance number nor a policy number is known: the bus cannot be asked"
NO_VERSION = "?"
MEMBERS = (
    "status,category,code,subject,effective,issued,performer,resultsInterpreter,result,imagingStudy,basedOn,conclusion"
)


class History:
    """Looks up earlier studies. The session must be its own: a question that takes too long cuts all its calls."""

    def __init__(
        self,
        store: Store,
        session: BusSession,
        dialect: Dialect,
        profile: Profile,
        *,
        hours: float = 12,
        seconds: float = SECONDS,
    ) -> None:
        """Take `hours` for which an answer is taken for fresh, and `seconds` that a question may take."""
        self._store, self._profile, self._hours = store, profile, hours
        self._session, self._seconds = session, seconds
        self._search = BusSearch(session, dialect)
        # Documents are within R4's reports and would make an answer too large; the other family has them beside.
        self._members = {"_elements": MEMBERS} if dialect.name == "r4" else {}
        self._wanted: deque[int] = deque()
        self._news = threading.Condition()
        self._thread: threading.Thread | None = None

    def request(self, patient_id: int) -> bool:
        """Have the bus asked about a patient soon, unless its answer is fresh; return at once.

        Return False if so many patients wait that this one is left out: the page asks again.
        """
        with self._news:
            if self._session.stopping.is_set():
                return False
            if patient_id in self._wanted:
                return True
            if len(self._wanted) >= WAITING:
                return False
            self._wanted.append(patient_id)
            self._news.notify()
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="bus-history", daemon=True)
                self._thread.start()
            return True

    def stop(self) -> None:
        """End the question under way, and ask no more."""
        with self._news:
            self._session.stop()
            self._news.notify()
            thread = self._thread
        if thread is not None:
            thread.join()

    def ask(self, patient_id: int) -> None:
        """Ask now, whatever is known already, and store what comes, or why nothing does. For one thread at a time."""
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
                people = self._people(patient)
                reports, whole = self._reports(people)
            except (BusUnavailable, Unusable) as trouble:
                self._store.write(external_results.note_history_failure, patient_id, str(trouble))
                log.warning("patient %s: no answer about earlier studies", patient.patient_id)
                return
            listed = self._listed(patient_id, reports)
            unread = [report for report in listed if _version(report) == NO_VERSION or not _is_known(report, known)]
            if unread and any(_reference(report) not in known for report in unread):
                # Date, clinic and kind at once; the texts follow.
                first = [StoredStudy(external_study(ReportGraph(report), self._profile)) for report in listed]
                self._store.write(external_results.store_history, patient_id, first, whole=whole, missing=None)
            read, why = self._details(unread)
        kept = [read.get(_reference(report)) or self._bare(report) for report in listed]
        kept = [each for each in kept if not self._is_ours(patient_id, each.study)]
        missing = "" if whole else "the bus returned only a part"
        if why:
            missing = f"{len(unread) - len(read)} of {len(listed)} reports not read: {why}"
        self._store.write(external_results.store_history, patient_id, kept, whole=whole, missing=missing)

    def _work(self) -> None:
        while (patient_id := self._next()) is not None:
            try:
                if self._is_due(patient_id):
                    self.ask(patient_id)
            except Exception:  # the next patient's question must not fail over this one's
                log.exception("earlier studies of a patient could not be asked for")

    def _next(self) -> int | None:
        """Wait for the next patient; None when it is over."""
        with self._news:
            self._news.wait_for(lambda: self._wanted or self._session.stopping.is_set())
            return None if self._session.stopping.is_set() else self._wanted.popleft()

    def _is_due(self, patient_id: int) -> bool:
        now = self._store.clock()
        with self._store.read() as reader:
            asked = patient_history.external(reader, patient_id)
            if external_studies.is_fresh(reader, patient_id, self._hours, now):
                return False
        rests = asked.failed_at is not None and timedelta() <= now - asked.failed_at < REST
        return not rests or asked.reason == NO_NUMBER  # a number may have been typed since

    def _people(self, patient: Patient) -> list[str]:
        """Return who on the bus has the patient's numbers, as "Patient/<id>"."""
        found: list[str] = []
        for system, value in ((SNILS, patient.snils), (POLICY, patient.policy)):
            if value:
                people, _ = self._search.search("Patient", {"identifier": f"{oid(system)}|{value}"})
                found += [
                    reference
                    for person in people
                    if (reference := reference_to("Patient", {"reference": f"Patient/{member(person, 'id')}"}))
                    and _has_number(person, system, value)
                    and not is_somebody_else(person, patient)
                ]
        return list(dict.fromkeys(found))[:PEOPLE]

    def _reports(self, people: Sequence[str]) -> tuple[list[Resource], bool]:
        """Find the reports on these people, the newest first; False if the bus has returned only a part."""
        if not people:
            return [], True
        found, whole = self._search.search("DiagnosticReport", {"subject": ",".join(people), **self._members})
        # Whatever was asked for: only what names one of these people is theirs.
        theirs = [each for each in found if reference_to("Patient", member(each, "subject")) in people]
        valid = [each for each in theirs if member(each, "status") not in WITHDRAWN]
        return sorted(valid, key=_newness, reverse=True)[:NEWEST], whole

    def _listed(self, patient_id: int, reports: Sequence[Resource]) -> list[Resource]:
        """Leave out what is not a report, and what we have sent ourselves."""
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
        """Read the references of reports, as far as time and requests go; return what was read, and why it ended."""
        read: dict[str, StoredStudy] = {}
        for report in reports:
            self._search.resolver.begin()
            try:
                graph = self._search.report_graph(report)
            except BusUnavailable as down:
                return read, str(down)
            read[_reference(report)] = replace(
                self._bare(report), study=external_study(graph, self._profile), version=_version(report)
            )
        return read, ""

    def _bare(self, report: Resource) -> StoredStudy:
        return StoredStudy(external_study(ReportGraph(report), self._profile), reported_at=bus_time(report))


def _reference(report: Resource) -> str:
    return f"DiagnosticReport/{report['id']}"


def _version(report: Resource) -> str:
    return version_of(report) or NO_VERSION


def _is_known(report: Resource, known: dict[str, str]) -> bool:
    return known.get(_reference(report)) == _version(report)


def _newness(report: Resource) -> tuple[str, datetime]:
    """Order by when the study was made as far as the text says, then by when it was reported."""
    made = member(report, "effectiveDateTime")
    return (made[:10] if isinstance(made, str) else ""), bus_time(report) or datetime.min.replace(tzinfo=UTC)


def _has_number(person: Resource, system: str, value: str) -> bool:
    """Return True if a Patient has a number of this system: one dialect searches by the bare value."""
    return any(
        member(each, "system") in (system, oid(system)) and member(each, "value") == value
        for each in items(person, "identifier")
    )
