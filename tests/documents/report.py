"""A report that is printed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from broker.domain.orders import Order, OrderState, ScheduledStep
from broker.domain.patients.people import PersonName
from broker.domain.reading.reports import Report, ReportState
from tests.support.factory import KUZNETSOVA

ORDER = Order(
    id=1,
    accession_number="K2611-0094",
    study_instance_uid="1.2.3",
    requested_procedure_id="RP1",
    patient=replace(KUZNETSOVA, patient_id="000123"),
    state=OrderState.COMPLETED,
    procedure_code="WLB-KNEE",
    procedure_name="Рентгенография коленного сустава",
    modality="DX",
    steps=(ScheduledStep(datetime(2026, 11, 23, 9, 40), ("XRAY_14",), id=1),),
    authored_on=datetime(2026, 11, 23, 6, 0, tzinfo=UTC),
    laterality="R",
    referrer=PersonName("Зимин", "Андрей", "Павлович"),
    referrer_position="терапевт",
    diagnosis_code="M17.1",
)


REPORT = Report(
    order_id=1,
    description="Суставная щель сужена.\n\nНадколенник расположен обычно.",
    conclusion="Артроз правого коленного сустава II стадии.",
    recommendations="Консультация ортопеда.",
    effective_dose=0.01,
    state=ReportState.SIGNED,
    author="volskaya",
    author_name=PersonName("Вольская", "Т.", "А."),
    author_position="врач-рентгенолог",
    signed_at=datetime(2026, 11, 24, 22, 30, tzinfo=UTC),
)
