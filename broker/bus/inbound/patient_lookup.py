"""Asks the bus who a person is, while the desk types: by a number, or by full name and date of birth.

Pages do not wait: a page puts a question and reads the answer when it is there. One thread asks, one request a
question, within the rate; a question is asked once within a while, and written to the audit trail before. Answers are
kept in memory only, for as long as a form is open. Only reads are sent.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from datetime import date

from broker.bus.fhir import Resource, member, reference_to
from broker.bus.inbound import parse_patient
from broker.bus.inbound.questions import QuestionThread
from broker.bus.inbound.resolver import BusUnavailable, Unusable, check_modifiers
from broker.bus.inbound.search import BusSearch
from broker.bus.profile import POLICY, SNILS, oid
from broker.bus.transport.dialect import Dialect
from broker.bus.transport.session import BusSession
from broker.domain.actors import Actor
from broker.domain.errors import Forbidden, SessionEnded
from broker.domain.patients import region_people
from broker.domain.patients.identifiers import policy_problem, snils_problem
from broker.domain.patients.people import Patient, Sex
from broker.domain.patients.region_people import RegionAnswer, RegionPerson, RegionQuestion
from broker.store.database import Store
from broker.workflow.patients import region_people as region

log = logging.getLogger(__name__)

QUESTION_SECONDS = 10.0
FRESH = 600.0  # seconds for which an answer is not asked for again …
RETRY_AFTER = 60.0  # … and a failure
MAX_KEPT = 200  # answers in memory
MAX_WAITING = 10  # questions in the queue; older ones are dropped: their forms have moved on
MAX_PEOPLE = 20  # of an answer


class PatientLookup:
    """Looks people up. Its session must not be shared: a deadline aborts all calls of the session."""

    def __init__(self, store: Store, session: BusSession, dialect: Dialect, *, by_name: bool = True) -> None:
        """`by_name`: the bus searches by name and date of birth, too."""
        self.by_name = by_name
        self._store, self._session = store, session
        self._search = BusSearch(session, dialect)
        self._questions: QuestionThread[tuple[RegionQuestion, Actor]]
        self._questions = QuestionThread("bus-people", session, self._answer)
        # By question and login: who reads an answer has asked for it, and the trail says so.
        self._answers: OrderedDict[tuple[RegionQuestion, str], tuple[float, RegionAnswer]] = OrderedDict()

    def ask(self, question: RegionQuestion, actor: Actor) -> RegionAnswer | None:
        """Return the answer to a question; None if there is none yet: it is asked, and pages are notified of it."""
        with self._questions.lock:
            if (known := self._answers.get((question, actor.name))) and self._is_fresh(*known):
                return known[1]
            waiting = self._questions.waiting
            asked = filter(None, (*waiting, self._questions.current))
            if (question, actor.name) not in ((each, by.name) for each, by in asked):
                if len(waiting) == MAX_WAITING:
                    waiting.popleft()
                self._questions.add((question, actor))
        return None

    def stop(self) -> None:
        """Abort the calls in progress, refuse further ones, and wait for the thread."""
        self._questions.stop()

    def look_up(self, question: RegionQuestion, actor: Actor) -> RegionAnswer:
        """Ask the bus now, and return its answer. For one thread at a time. Raise Forbidden, SessionEnded."""
        self._store.write(region.note_question, question, actor)
        self._session.begin()
        try:
            with self._session.question(QUESTION_SECONDS):
                page = next(self._search.pages("Patient", _parameters(question)))
        except Unusable:
            if not (question.snils or question.policy):
                self.by_name = False
                log.warning("the bus does not search for people by name; it is not asked so until the next start")
            return RegionAnswer(failed=True)
        except BusUnavailable:
            return RegionAnswer(failed=True)
        today = self._store.clock().date()
        people = (person for each in page.resources if (person := _person(each, today)))
        found = [each for each in people if region_people.answers(question, each.patient)]
        return RegionAnswer(region_people.united(found[:MAX_PEOPLE]))

    def _answer(self, asked: tuple[RegionQuestion, Actor]) -> None:
        question, actor = asked
        answer = RegionAnswer(failed=True)
        try:
            answer = self.look_up(question, actor)
        except (Forbidden, SessionEnded):
            log.info("who asked about a person has signed out meanwhile")
        finally:
            with self._questions.lock:
                self._answers[question, actor.name] = self._session.limiter.monotonic(), answer
                self._answers.move_to_end((question, actor.name))
                while len(self._answers) > MAX_KEPT:
                    self._answers.popitem(last=False)
            if not self._session.stopping.is_set():
                self._store.write(region.note_answer)

    def _is_fresh(self, at: float, answer: RegionAnswer) -> bool:
        return self._session.limiter.monotonic() - at < (RETRY_AFTER if answer.failed else FRESH)


def _parameters(question: RegionQuestion) -> dict[str, str]:
    for system, value in ((SNILS, question.snils), (POLICY, question.policy)):
        if value:
            return {"identifier": f"{oid(system)}|{value}"}
    born = question.birth_date.isoformat() if question.birth_date else ""
    return {"family": question.name.family, "given": question.name.given, "birthdate": born}


def _person(resource: Resource, today: date) -> RegionPerson | None:
    """Return a Patient of the bus with what is in force; None for one that cannot be read or understood."""
    reference = reference_to("Patient", {"reference": f"Patient/{member(resource, 'id')}"})
    try:
        check_modifiers(resource)
    except Unusable:
        return None
    if not reference:
        return None
    snils = parse_patient.number(resource, SNILS, today)
    policy = parse_patient.number(resource, POLICY, today)
    patient = Patient(
        name=parse_patient.name(resource, today),
        birth_date=parse_patient.birth_date(resource),
        sex=parse_patient.sex(resource) or Sex.OTHER,
        snils="" if snils_problem(snils) else snils,
        policy="" if policy_problem(policy) else policy,
    )
    return RegionPerson(reference, patient, parse_patient.standing(resource))
