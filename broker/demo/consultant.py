"""The centre of the demonstration: answers what the clinic asks it for an opinion on, as another program would.

The practice bus takes requests of both sides; this plays the other one.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import datetime
from zoneinfo import ZoneInfo

from broker.bus import practice
from broker.bus.fhir import Resource
from broker.bus.outbound.results import report_bundle
from broker.bus.profile import Profile
from broker.bus.transport.dialect import n3, task_references
from broker.domain.orders import BusRole, Order, OrderState
from broker.domain.patients.people import NO_NAME, Patient, PersonName, Sex
from broker.domain.reading.reports import Report, ReportState

log = logging.getLogger(__name__)

OID = "1.2.643.5.1.13.13.12.2.97.1"
EVERY = 5.0  # seconds between two looks
DOCTOR = PersonName("Сомов", "Виктор", "Геннадьевич")
CONCLUSION = "Согласны с заключением. Рекомендуем контроль через три месяца."


class Consultant:
    """Answers the requests to the third organisation, each after `delay` seconds at the least."""

    def __init__(self, bus: practice.PracticeBus, clock: Callable[[], datetime], delay: float = 20.0) -> None:
        self._bus, self._clock, self._delay = bus, clock, delay
        self._seen: dict[str, datetime] = {}
        self._profile = Profile(practice.PRACTICE_ORGANISATION_3, OID, ZoneInfo("Europe/Moscow"))
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="consultant", daemon=True)

    def start(self) -> None:
        """Begin to answer in a thread of its own."""
        self._thread.start()

    def stop(self) -> None:
        """Answer nothing more."""
        self._stopping.set()
        self._thread.join()

    def answer_due(self) -> int:
        """Answer what has waited long enough; return how many requests that were."""
        tasks, now = self._bus.tasks(), self._clock()
        answered = {each["reference"] for task in tasks for each in task.get("basedOn", [])}
        done = 0
        for task in tasks:
            is_asked = task["intent"] == "original-order" and task["status"] == "requested"
            is_ours = task["owner"]["reference"] == f"Organization/{practice.PRACTICE_ORGANISATION_3}"
            if not (is_asked and is_ours) or f"Task/{task['id']}" in answered:
                continue
            since = self._seen.setdefault(task["id"], now)
            if (now - since).total_seconds() >= self._delay:
                self._bus.transaction(n3(self._answer(task, now)), practice.PRACTICE_ORGANISATION_3)
                done += 1
        return done

    def _run(self) -> None:
        while not self._stopping.wait(EVERY):
            try:
                self.answer_due()
            except Exception:  # the demonstration goes on
                log.exception("the centre could not answer")

    def _answer(self, task: Resource, now: datetime) -> Resource:
        number = f"opinion/{task['id']}"
        order = Order(
            id=0,
            accession_number=number,
            study_instance_uid=f"{OID}.{int(task['id'].replace('-', '')[:12], 16)}",
            requested_procedure_id=number,
            patient=Patient(NO_NAME, None, Sex.OTHER),
            state=OrderState.COMPLETED,
            procedure_code="WLB-OPINION",
            procedure_name="Второе мнение",
            modality="",
            steps=(),
            authored_on=now,
            bus_role=BusRole.PERFORMER,
            requester=task["requester"]["reference"].partition("/")[2],
        )
        report = Report(
            order_id=0,
            description="Снимки пересмотрены двумя врачами центра.",
            conclusion=CONCLUSION,
            state=ReportState.SIGNED,
            author_name=DOCTOR,
            author_position="врач-рентгенолог",
            signed_at=now,
        )
        return report_bundle(order, report, (), task_references(task), self._profile, b"", now, has_images=False)
