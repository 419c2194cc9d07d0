"""What is queued for the region waits while the patient's consent is withdrawn, and goes once it is given again."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from broker.bus.transport.dialect import Dialect, n3, r4
from broker.domain.messages import CONSENT_WITHDRAWN
from broker.domain.orders import Order
from broker.domain.patients.people import PersonName
from broker.domain.reading.reports import ReportChange
from broker.store.tables import outbox
from broker.workflow import outbox as exchange
from broker.workflow import patient_correction
from broker.workflow.patients import patient_consent
from broker.workflow.reading import reports
from broker.workflow.reading.reports import Revision
from tests.bus.clinic import Clinic, numbers
from tests.bus.outbound.test_added_images import DOCTOR, TEXT, reported
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


# ---- taking a report back ----

REASON = "снимки пациента Попова"


def retract(clinic: Clinic, order: Order) -> None:
    change = Revision(ReportChange.WITHDRAWAL, REASON)
    clinic.store.write(reports.revise, order.id, 1, change, DOCTOR, CLINIC)


def is_bare(clinic: Clinic, order: Order) -> bool:
    """Return True if the last message says nothing of the patient that the region does not have."""
    [task] = [each for each in clinic.bus.tasks() if each["identifier"][0]["value"].endswith("/completed/2")]
    report = clinic.bus.requests[-1].body.decode()
    kinds = {each["resource"]["resourceType"] for each in json.loads(report)["entry"]}
    people = {"Practitioner", "PractitionerRole"}
    assert numbers([task]) == [f"{order.accession_number}/completed/2"]
    return kinds - people == {"Task", "DiagnosticReport", "Observation"} and "Попов" not in report


@pytest.mark.parametrize("dialect", [n3, r4], ids=["n3", "r4"])
def test_a_report_is_taken_back_though_the_consent_is_withdrawn_and_nothing_new_is_said(
    clinic: Clinic, dialect: Dialect
) -> None:
    clinic.dialect = dialect
    clinic.restarted()
    order = reported(clinic)
    withdraw(clinic, order)
    retract(clinic, order)
    clinic.deliver()
    assert queue(clinic, order)[-1] == ("appended", "delivered", "")
    assert is_bare(clinic, order)
    texts = [each["valueString"] for each in clinic.bus.resources("Observation") if "valueString" in each]
    assert texts[-1] == "Протокол отозван"
    withdrawn = clinic.bus.resources("DiagnosticReport")[-1]
    assert withdrawn["status"] == ("entered-in-error" if dialect is r4 else "appended")
    assert "presentedForm" not in withdrawn


def test_a_retraction_that_is_queued_when_the_consent_is_withdrawn_goes_too(clinic: Clinic) -> None:
    order = reported(clinic)
    retract(clinic, order)
    withdraw(clinic, order)
    clinic.deliver()
    assert queue(clinic, order)[-1] == ("appended", "delivered", "")
    assert is_bare(clinic, order)


def test_a_correction_that_waits_for_the_consent_becomes_the_retraction(clinic: Clinic) -> None:
    order = reported(clinic)
    withdraw(clinic, order)
    corrected = Revision(ReportChange.CORRECTION, "сторона", replace(TEXT, conclusion="Слева гонартроз"))
    clinic.store.write(reports.revise, order.id, 1, corrected, DOCTOR, CLINIC)
    clinic.deliver()
    assert queue(clinic, order)[-1] == ("appended", "needs_attention", CONSENT_WITHDRAWN)
    clinic.store.write(reports.revise, order.id, 2, Revision(ReportChange.WITHDRAWAL, REASON), DOCTOR, CLINIC)
    clinic.deliver()
    assert queue(clinic, order)[-1] == ("appended", "delivered", "")
    assert is_bare(clinic, order)


def test_a_correction_of_the_patient_that_waits_does_not_hold_the_retraction_back(clinic: Clinic) -> None:
    clinic.dialect = r4
    clinic.restarted()
    order = reported(clinic)
    withdraw(clinic, order)
    patient = replace(order.patient, name=PersonName("Петрова", "Марина", "Петровна"))
    clinic.store.write(patient_correction.correct, patient, REGISTRAR, CLINIC, made_seen=clinic.made(patient))
    clinic.deliver()
    assert queue(clinic, order)[-1] == ("amend", "needs_attention", CONSENT_WITHDRAWN)
    retract(clinic, order)
    clinic.deliver()
    assert queue(clinic, order)[-1] == ("appended", "delivered", "")
    assert clinic.bus.resources("Patient")[0]["name"][0]["family"] == "Кузнецова"
