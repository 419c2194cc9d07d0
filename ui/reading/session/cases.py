"""A session of reading: which studies it takes, the one that is open, and what was read in it. No drawing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from broker.domain.actors import Actor
from broker.domain.errors import WrongState
from broker.domain.reading.opinions import Finding, Opinion, OpinionForm, ReadingStage, form_of
from broker.domain.reading.report_templates import ReportTemplate
from broker.domain.reading.reports import ExternalStudy
from broker.domain.studies.prior_studies import OwnStudy
from broker.store.database import Reader
from broker.store.queries.patients import patient_history
from broker.store.queries.reading import reading_cases, reading_list
from broker.store.queries.reading.reading_cases import HeldRead
from broker.store.queries.reading.reading_list import StudyToRead
from broker.workflow.reading import reads
from broker.workflow.reading.reads import OpenCase
from ui.services import Services

WINDOW = timedelta(days=30)  # studies that have waited longer are read one by one
SIZES = (25, 50, 100, 0)  # 0: all
_TRIED = 30  # studies that are tried before the session says that there is none


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a session reads; an empty `modality` is any."""

    modality: str = ""
    needed: int = 0  # 1 or 2 reads; 0: any
    stage: str = ""  # of ReadingStage; empty: any
    size: int = 25  # 0: without an end
    first: str = ""  # the accession number to begin with

    def fits(self, case: reading_cases.WaitingCase) -> bool:
        """Return True if a study is one of those."""
        return (
            self.modality in ("", case.order.modality)
            and self.needed in (0, case.needed)
            and self.stage in ("", case.stage)
        )


@dataclass(frozen=True, slots=True)
class SessionCase:
    """The open study with everything that its reader looks at."""

    opened: OpenCase
    study: StudyToRead
    external: tuple[ExternalStudy, ...]
    earlier: tuple[OwnStudy, ...]
    templates: tuple[ReportTemplate, ...]
    was_recalled: bool  # an earlier study of the patient led to a further examination, or its readers differed
    held: tuple[HeldRead, ...]  # of this reader, the newest first

    @property
    def form(self) -> OpinionForm:
        """How the opinion on this study is given."""
        return form_of(self.opened.order.modality)

    def template(self, finding: Finding) -> ReportTemplate | None:
        """Return the text with which this finding begins, or None."""
        return next((each for each in self.templates if each.finding is finding), None)

    @property
    def norm_is_closed(self) -> str:
        """Why the key of «норма» opens the text instead of writing it; empty where it writes it."""
        if self.opened.arbitrates:
            return "Откроется текст шаблона"
        own = self.opened.own
        if own.opinion is None and (own.description or own.conclusion):
            return "Есть ваш черновик: откроется текст"
        if self.was_recalled:
            return "Раньше вызывали на дообследование или читатели расходились: откроется текст"
        if self.template(Finding.NORM) is None:
            return "Шаблона нормы у исследования нет: откроется текст"
        return ""


@dataclass
class Session:
    """What is read in one go."""

    wanted: Wanted
    read: int = 0
    findings: dict[Finding, int] = field(default_factory=dict)
    deferred: int = 0
    skipped: list[int] = field(default_factory=list)  # orders that come last
    done: set[int] = field(default_factory=set)  # orders that were read or put aside in this session
    _first_is_due: bool = True  # no study was opened yet

    @property
    def is_over(self) -> bool:
        """True if as many were read as the session was to have."""
        return bool(self.wanted.size) and self.read + self.deferred >= self.wanted.size

    def has_missed_first(self, case: SessionCase | None) -> bool:
        """Return True, once, if the session was to begin with a study that its reader was not given."""
        wanted, self._first_is_due = self.wanted.first if self._first_is_due else "", False
        return bool(wanted) and (case is None or case.opened.order.accession_number != wanted)

    def count(self, order_id: int, opinion: Opinion) -> None:
        """Count a study as read."""
        self.read += 1
        self.findings[opinion.finding] = self.findings.get(opinion.finding, 0) + 1
        self.done.add(order_id)

    def uncount(self, order_id: int, opinion: Opinion | None) -> None:
        """Let a study whose read was taken back count no longer, if it was read in this session."""
        if order_id in self.done and opinion is not None:
            self.done.discard(order_id)
            self.read -= 1
            self.findings[opinion.finding] -= 1

    def skip(self, order_id: int) -> None:
        """Let a study come last."""
        if order_id in self.skipped:
            self.skipped.remove(order_id)
        self.skipped.append(order_id)

    def defer(self, order_id: int) -> None:
        """Count a study as put aside."""
        self.deferred += 1
        self.done.add(order_id)

    def again(self) -> Session:
        """Return the next session of the same kind."""
        return Session(self.wanted, skipped=self.skipped)


def take(services: Services, session: Session, actor: Actor) -> SessionCase | None:
    """Open the next study of a session for its reader; None if there is none. Raise BrokerError, StoreError."""
    now = services.store.clock()
    with services.store.read() as reader:
        found = reading_cases.waiting(reader, actor.name, services.clinic.reading, now, now - WINDOW)
    wanted = session.wanted
    numbers = {each.order.id: each.order.accession_number for each in found}
    fitting = [
        each.order.id
        for each in found
        if each.is_free and each.order.id not in session.done and (wanted.fits(each) or _is_first(each, session))
    ]
    last = {id: place for place, id in enumerate(session.skipped, 1)}
    fitting.sort(key=lambda id: (last.get(id, 0), numbers[id] != wanted.first or session.read > 0))
    for order_id in fitting[:_TRIED]:
        try:
            return open_one(services, order_id, actor)
        except WrongState:
            continue  # another reader was faster
    return None


def open_one(services: Services, order_id: int, actor: Actor) -> SessionCase:
    """Open a study for its reader. Raise BrokerError, StoreError."""
    opened = services.store.write(reads.open_case, order_id, actor, services.clinic)
    with services.store.read() as reader:
        return _load(reader, services, opened, actor)


def _load(reader: Reader, services: Services, opened: OpenCase, actor: Actor) -> SessionCase:
    order = opened.order
    study = reading_list.study(reader, order.accession_number, services.images_due())
    assert study is not None
    patient_id = order.patient.stored_id
    return SessionCase(
        opened,
        study,
        patient_history.external(reader, patient_id).studies,
        tuple(each for each in patient_history.own(reader, patient_id) if each.order_id != order.id),
        tuple(reading_cases.templates(reader, order.procedure_code, actor.name)),
        reading_cases.was_recalled(reader, patient_id, order.id),
        tuple(reading_cases.held(reader, actor.name, services.store.clock())),
    )


def _is_first(case: reading_cases.WaitingCase, session: Session) -> bool:
    return case.order.accession_number == session.wanted.first


def wanted_of(query: Mapping[str, str]) -> Wanted:
    """Return what an address asks for; what it says wrongly is left out."""
    needed, size, stage = query.get("needed", ""), query.get("size", ""), query.get("stage", "")
    return Wanted(
        query.get("modality", "")[:16],
        int(needed) if needed in ("1", "2") else 0,
        stage if stage in tuple(ReadingStage) else "",
        int(size) if size in map(str, SIZES) else 25,
        query.get("first", "")[:64],
    )
