"""What is queued for the region waits while the patient's consent is withdrawn, and goes once it is given again."""

from __future__ import annotations

from dataclasses import replace

from broker.domain.messages import CONSENT_WITHDRAWN
from broker.domain.orders import Order
from broker.domain.patients.people import PersonName
from broker.store.tables import outbox
from broker.workflow import outbox as exchange
from broker.workflow.patients import patient_consent
from tests.bus.clinic import Clinic
from tests.support.factory import CLINIC, KUZNETSOVA, REGISTRAR

OTHER = replace(KUZNETSOVA, name=PersonName("Попова", "Анна"), snils="08765430300", policy="")


def withdraw(clinic: Clinic, order: Order) -> None:
    clinic.store.write(patient_consent.withdraw, order.patient.stored_id, REGISTRAR, CLINIC)


def give(clinic: Clinic, order: Order) -> None:
    clinic.store.write(patient_consent.give, order.patient.stored_id, REGISTRAR, CLINIC)


def queue(clinic: Clinic, order: Order) -> list[tuple[str, str, str]]:
    return [(str(row.kind), str(row.state), row.reason) for row in clinic.rows(order)]


def test_what_is_queued_waits_at_once_with_the_reason_and_goes_when_the_consent_is_back(clinic: Clinic) -> None:
    order = clinic.register()
    clinic.perform(order)
    withdraw(clinic, order)
    held = ("needs_attention", CONSENT_WITHDRAWN)
    assert queue(clinic, order) == [("order", *held), ("images", *held)]
    assert [line.accession_number for line in clinic.shown().needs_attention] == [order.accession_number] * 2
    clinic.deliver()
    assert clinic.bus.tasks() == []
    give(clinic, order)
    clinic.deliver()
    assert queue(clinic, order) == [("order", "delivered", ""), ("images", "delivered", "")]


def test_what_is_queued_later_for_an_order_that_the_region_has_waits_too(clinic: Clinic) -> None:
    order = clinic.register()
    clinic.deliver()
    withdraw(clinic, order)
    clinic.perform(order)
    clinic.deliver()
    assert queue(clinic, order)[1:] == [("images", "needs_attention", CONSENT_WITHDRAWN)]
    give(clinic, order)
    clinic.deliver()
    assert queue(clinic, order)[1:] == [("images", "delivered", "")]


def test_no_person_sends_it_without_the_consent(clinic: Clinic) -> None:
    order = clinic.register()
    withdraw(clinic, order)
    clinic.store.write(exchange.resend, order.id, REGISTRAR)
    clinic.deliver()
    assert queue(clinic, order) == [("order", "needs_attention", CONSENT_WITHDRAWN)]


def test_a_cancellation_of_what_the_region_has_is_sent(clinic: Clinic) -> None:
    order = clinic.register()
    clinic.deliver()
    withdraw(clinic, order)
    clinic.cancel(order)
    clinic.deliver()
    assert queue(clinic, order)[1:] == [("cancel", "delivered", "")]


def test_other_reasons_and_other_patients_stay_as_they_are(clinic: Clinic) -> None:
    order = clinic.register()
    other = clinic.register(patient=OTHER)
    [row] = clinic.rows(order)
    clinic.store.write(outbox.hold, row.seq, "HTTP 422: no")
    withdraw(clinic, order)
    assert queue(clinic, order) == [("order", "needs_attention", "HTTP 422: no")]
    give(clinic, order)
    assert queue(clinic, order) == [("order", "needs_attention", "HTTP 422: no")]
    assert queue(clinic, other) == [("order", "pending", "")]
