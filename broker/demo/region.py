"""The region around the demonstration: what an invented hospital next door has sent to the practice bus.

A referral of its own to the clinic, which then waits at the desk; and earlier studies of two of the clinic's patients,
about which a registrar is warned while typing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from broker.bus import practice
from broker.bus.outbound.orders import order_bundle
from broker.bus.outbound.results import images_bundle, report_bundle
from broker.bus.profile import Profile
from broker.bus.transport.dialect import bundle_references, n3
from broker.domain.messages import BusReferences
from broker.domain.opinions import requests as opinions
from broker.domain.orders import Order, OrderState, Priority, ScheduledStep
from broker.domain.patients.people import Patient, PersonName
from broker.domain.reading.reports import Report, ReportState
from broker.domain.studies.performed import PerformedState, PerformedStep, StepReference

OID = "1.2.643.5.1.13.13.12.2.98.1"
HOSPITAL = PersonName("Громова", "Елена", "Павловна")  # who signs there
EARLIER = (
    # days ago, procedure (code, name, modality), description, conclusion, mSv
    (
        20,
        ("WLB-CT-CHEST", "КТ органов грудной клетки", "CT"),
        "Очаговых и инфильтративных изменений не выявлено. Трахея и бронхи проходимы.",
        "Патологических изменений органов грудной клетки не выявлено.",
        2.8,
    ),
    (
        9,
        ("WLB-KNEE", "Рентгенография коленного сустава", "DX"),
        "Суставная щель правого коленного сустава неравномерно сужена, краевые остеофиты.",
        "Правосторонний гонартроз II степени.",
        0.01,
    ),
)


def fill(
    bus: practice.PracticeBus, patients: Iterable[Patient], newcomer: Patient, now: datetime, zone: ZoneInfo
) -> None:
    """Send the bus earlier studies of `patients`, a question about one and a referral for `newcomer`; `now` is UTC."""
    patients = tuple(patients)
    if bus.tasks():  # the demonstration's directory was kept, and filled before
        return
    profile = Profile(practice.PRACTICE_ORGANISATION_2, OID, zone)
    for number, (patient, (days, procedure, description, conclusion, dose)) in enumerate(
        zip(patients, EARLIER, strict=False)
    ):
        order = _order(number, patient, procedure, now - timedelta(days=days))
        step = PerformedStep(
            sop_instance_uid=f"{order.study_instance_uid}.1",
            ae_title="CT_1",
            state=PerformedState.COMPLETED,
            start=order.steps[0].start,
            modality=order.modality,
            references=(StepReference(study_instance_uid=order.study_instance_uid),),
            images=2,
        )
        report = Report(
            order_id=order.id,
            description=description,
            conclusion=conclusion,
            effective_dose=dose,
            state=ReportState.SIGNED,
            author_name=HOSPITAL,
            author_position="врач-рентгенолог",
            signed_at=order.authored_on + timedelta(hours=2),
        )
        references = _post(bus, order_bundle(order, profile))
        made_at = order.authored_on + timedelta(hours=1)
        images = _post(bus, images_bundle(order, [step], references, profile, made_at))
        references = replace(references, extra={**references.extra, **images.extra})
        _post(bus, report_bundle(order, report, [step], references, profile, _REPORT_PDF, made_at))
    ours = replace(
        _order(len(EARLIER), newcomer, ("WLB-KNEE", "Рентгенография коленного сустава", "DX"), now),
        owner=practice.PRACTICE_ORGANISATION,
        priority=Priority.URGENT,
        comment="После падения, исключить перелом",
    )
    _post(bus, order_bundle(ours, profile))
    # The hospital asks about the first of its studies: no device is to make it again.
    days, procedure, _, conclusion, _ = EARLIER[0]
    patient = next(iter(patients))
    made_on = (now - timedelta(days=days)).astimezone(zone).date()
    note = opinions.request_text("Очаг 4 мм в S6 слева: наблюдать или дообследовать?", "H0001", made_on, conclusion, "")
    asked = replace(
        _order(len(EARLIER) + 1, patient, procedure, now - timedelta(hours=3)),
        accession_number=opinions.number_of("H0001", 1),
        owner=practice.PRACTICE_ORGANISATION,
        comment=note,
    )
    _post(bus, order_bundle(asked, profile))


_REPORT_PDF = b"%PDF-1.4\n%%EOF\n"  # the hospital's reports are never printed


def _order(number: int, patient: Patient, procedure: tuple[str, str, str], authored_on: datetime) -> Order:
    code, name, modality = procedure
    accession_number = f"H{number + 1:04d}"
    return Order(
        id=number + 1,
        accession_number=accession_number,
        study_instance_uid=f"{OID}.{number + 1}",
        requested_procedure_id=accession_number,
        patient=replace(patient, patient_id=f"h-{number + 1}"),
        state=OrderState.COMPLETED,
        procedure_code=code,
        procedure_name=name,
        modality=modality,
        steps=(ScheduledStep(authored_on.replace(tzinfo=None, microsecond=0), ("CT_1",), id=number + 1),),
        authored_on=authored_on,
        referrer=PersonName("Савин", "Олег", "Игоревич"),
        referrer_position="травматолог",
        diagnosis_code="S80.0",
        diagnosis_text="Ушиб коленного сустава",
    )


def _post(bus: practice.PracticeBus, bundle: dict[str, object]) -> BusReferences:
    return bundle_references(bus.transaction(n3(bundle), practice.PRACTICE_ORGANISATION_2))
