"""A clinic whose exchange is tested: its database, a practice bus behind a server, a clock that is moved by hand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from broker.bus.fhir import Resource
from broker.bus.outbound.delivery import Delivery, DeliverySummary
from broker.bus.practice import PRACTICE_TOKEN, PracticeBus, PracticeServer
from broker.bus.transport.client import BusClient
from broker.bus.transport.dialect import Dialect, n3
from broker.bus.transport.rate_limit import RateLimiter
from broker.bus.transport.session import BusSession, SessionPriority
from broker.domain.actors import Actor, ActorKind, Role
from broker.domain.clinic.devices import ProcedureType
from broker.domain.messages import BusReferences, OutboxRow
from broker.domain.orders import Order
from broker.domain.patients.people import Patient
from broker.domain.reading.reports import SignedReport
from broker.domain.studies.performed import PerformedChange, PerformedState, StepReference
from broker.store.database import Store
from broker.store.queries import exchange_state
from broker.store.queries.patients import made_studies
from broker.store.tables import outbox
from broker.workflow.referrals import referrals
from broker.workflow.studies import performed_steps
from tests.bus.samples import PROFILE
from tests.support.factory import CLINIC, REGISTRAR, XRAY, draft, message, performed

ADMINISTRATOR = Actor(ActorKind.PERSON, "admin", "Администратор", frozenset({Role.ADMINISTRATOR}))
KNEE = ProcedureType("7003087", "Рентгенография коленного сустава", "DX", 15, local=False, body_site="25")


def make_pdf(signed: SignedReport) -> bytes:
    """Stand for the PDF of a report."""
    return f"%PDF-1.4 {signed.order.accession_number} {signed.report.conclusion}".encode()


@contextmanager
def practising(bus: PracticeBus) -> Iterator[PracticeServer]:
    """Serve a practice bus on a free port."""
    server = PracticeServer(bus)
    server.start()
    try:
        yield server
    finally:
        server.stop()


class Clinic:
    """A clinic's database, a practice bus behind a server, a clock that is moved by hand, and what joins them."""

    def __init__(self, store: Store, bus: PracticeBus, server: PracticeServer) -> None:
        self.store = store
        self.bus = server.bus = bus
        self.server = server
        self.token = PRACTICE_TOKEN
        self.now = 5000.0
        self.dialect: Dialect = n3
        self.workers = 1
        self.clients: list[BusClient] = []
        self.delivery = self.restarted()

    def restarted(self, client: type[BusClient] = BusClient, timeout: float = 5.0, rate: int = 6000) -> Delivery:
        """Make an exchange as after a start of the program."""
        self.clients.append(client(self.server.url, lambda: self.token, timeout))
        self.delivery = self.delivery_with(1.0, rate)
        return self.delivery

    def delivery_with(self, chance: float, rate: int = 6000) -> Delivery:
        limiter = self.limiter = RateLimiter(rate, lambda: self.now, lambda: chance)
        session = BusSession(self.store, self.clients[-1], limiter, SessionPriority.DELIVERY)
        return Delivery(self.store, session, PROFILE, make_pdf, dialect=self.dialect, workers=self.workers)

    def deliver(self) -> DeliverySummary:
        return self.delivery.deliver()

    def deliver_and_lose_the_answer(self, fault: str = "timeout-after-commit") -> DeliverySummary:
        """Let the next call fail after it was sent, on an impatient client; then start anew with a patient one."""
        self.restarted(timeout=0.5)
        self.bus.fail_next(fault)
        summary = self.deliver()
        self.restarted()
        return summary

    def deliver_later(self, seconds: float = 3600.0) -> DeliverySummary:
        self.now += seconds
        return self.delivery.deliver()

    def register(self, **changes: Any) -> Order:
        return self.store.write(referrals.register, draft(**changes), REGISTRAR, CLINIC)

    def cancel(self, order: Order) -> None:
        self.store.write(referrals.cancel, order.id, order.revision, "передумал", REGISTRAR, CLINIC)

    def perform(self, order: Order, uid: str = "1.2.3.4", **attributes: Any) -> None:
        step = performed(uid, StepReference(study_instance_uid=order.study_instance_uid))
        self.store.write(performed_steps.start, step, message(f"create {uid}", **attributes), XRAY, CLINIC)
        done = PerformedChange(PerformedState.COMPLETED, images=2)
        self.store.write(
            performed_steps.change, performed_steps.ChangeRequest(uid, done, message(f"final {uid}")), XRAY, CLINIC
        )

    def made(self, patient: Patient) -> list[int]:
        """Return the studies (orders) that were made of a patient, as people see them who correct the card."""
        with self.store.read() as reader:
            return [each.order.id for each in made_studies.of_patients(reader, [patient.stored_id])]

    def rows(self, order: Order | None = None) -> list[OutboxRow]:
        sql = "SELECT * FROM outbox WHERE order_id = coalesce(?, order_id) ORDER BY seq"
        with self.store.read() as reader:
            return [outbox.from_row(row) for row in reader.rows(sql, [order.id if order else None])]

    def states(self, order: Order | None = None) -> list[str]:
        return [str(row.state) for row in self.rows(order)]

    def references(self, order: Order) -> BusReferences:
        with self.store.read() as reader:
            return outbox.references(reader, order.id)

    def shown(self) -> exchange_state.ExchangeState:
        with self.store.read() as reader:
            return exchange_state.current(reader)

    def calls(self) -> list[str]:
        return [request.path for request in self.bus.requests]

    def close(self) -> None:
        for client in self.clients:
            client.close()


def numbers(tasks: list[Resource]) -> list[str]:
    """Return our own numbers of the bus's Tasks."""
    return [task["identifier"][0]["value"] for task in tasks]
