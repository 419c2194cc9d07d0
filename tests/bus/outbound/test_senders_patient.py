"""Results on another clinic's order are not sent under its Patient once our card says that it is somebody else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from broker.bus.outbound import outcomes
from broker.bus.practice import PracticeServer
from broker.domain.messages import SENDERS_PATIENT
from broker.domain.orders import Order
from broker.domain.patients.people import PersonName, Sex
from broker.store.database import Store
from broker.store.queries import lookups
from broker.store.tables import orders
from broker.store.tables.incoming import Arrival
from broker.workflow import outbox as exchange
from broker.workflow import patient_correction
from broker.workflow.referrals import incoming_referrals
from tests.bus.outbound.test_declined import Decliner, practice  # noqa: F401  (a fixture)
from tests.support.factory import CLINIC, REGISTRAR, soon

OTHER = PersonName("Петрова", "Ольга", "Ивановна")


@pytest.fixture
def clinic(store: Store, practice: PracticeServer) -> Iterator[Decliner]:  # noqa: F811
    opened = Decliner(store, practice.bus, practice)
    yield opened
    opened.close()


def accept(clinic: Decliner) -> Order:
    """Let another clinic order something of this one, and take it as it came."""
    came = clinic.received()
    with clinic.store.read() as reader:
        sent = incoming_referrals.draft_of(came, lookups.procedures(reader), soon())
    sent = replace(sent, procedure_code="WLB-KNEE", laterality="R", station_ae_titles=("XRAY_14",))
    return clinic.store.write(incoming_referrals.accept, came.stored_id, sent, REGISTRAR, CLINIC)


def correct(clinic: Decliner, order: Order, **changes: Any) -> None:
    with clinic.store.read() as reader:
        patient = orders.require(reader, order.id).patient
    seen = clinic.made(patient)
    after = replace(patient, **changes)
    clinic.store.write(patient_correction.correct, after, REGISTRAR, CLINIC, made_seen=seen)


def queue(clinic: Decliner, order: Order) -> list[tuple[str, str]]:
    return [(str(row.kind), str(row.state)) for row in clinic.rows(order)]


@pytest.mark.parametrize(
    "changes",
    [{"name": OTHER}, {"birth_date": date(1950, 1, 1)}, {"sex": Sex.MALE}],
)
def test_results_of_a_card_that_contradicts_the_sender_wait_with_the_reason(
    clinic: Decliner, changes: dict[str, Any]
) -> None:
    order = accept(clinic)
    correct(clinic, order, **changes)
    clinic.perform(order)
    clinic.deliver()
    assert queue(clinic, order) == [("images", "needs_attention")]
    reason = clinic.rows(order)[0].reason
    assert reason.startswith(f"{SENDERS_PATIENT}: {order.patient.name}")


def test_what_came_as_it_was_sent_goes(clinic: Decliner) -> None:
    order = accept(clinic)
    clinic.perform(order)
    clinic.deliver()
    assert queue(clinic, order) == [("images", "delivered")]


@pytest.mark.parametrize("changes", [{"family": "Орлова"}, {"middle": ""}])
def test_a_marriage_or_a_patronymic_holds_nothing(clinic: Decliner, changes: dict[str, Any]) -> None:
    order = accept(clinic)
    correct(clinic, order, name=replace(order.patient.name, **changes))
    clinic.perform(order)
    clinic.deliver()
    assert queue(clinic, order) == [("images", "delivered")]


def test_a_correction_that_is_taken_back_lets_them_go(clinic: Decliner) -> None:
    order = accept(clinic)
    correct(clinic, order, name=OTHER)
    clinic.perform(order)
    clinic.deliver()
    correct(clinic, order, name=order.patient.name)
    clinic.deliver()
    assert queue(clinic, order) == [("images", "delivered")]


def test_a_person_who_has_called_the_sender_lets_them_go(clinic: Decliner) -> None:
    order = accept(clinic)
    correct(clinic, order, name=OTHER)
    clinic.perform(order)
    clinic.deliver()
    with clinic.store.read() as reader:
        revision = orders.require(reader, order.id).patient.revision
    clinic.store.write(exchange.send_under_patient_in_region, order.id, revision, REGISTRAR)
    clinic.deliver()
    assert queue(clinic, order) == [("images", "delivered")]


def test_the_sender_who_corrects_its_patient_lets_them_go(clinic: Decliner) -> None:
    order = accept(clinic)
    correct(clinic, order, name=OTHER)
    clinic.perform(order)
    clinic.deliver()
    [task] = [each["id"] for each in clinic.bus.tasks()]
    came = clinic.referral(task)
    newer = replace(came, patient=replace(came.patient, name=OTHER))
    arrival = Arrival("bus", f"Task/{task}", "2990-01-01T00:00:00+00:00", b"")
    clinic.store.write(incoming_referrals.receive, newer, arrival, outcomes.BUS, CLINIC, {})
    clinic.deliver()
    assert queue(clinic, order) == [("images", "delivered")]
