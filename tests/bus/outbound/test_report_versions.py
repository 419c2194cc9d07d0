"""A report that is added to, corrected or withdrawn reaches the region under its own number, and is read as that."""

from __future__ import annotations

from dataclasses import replace

import pytest

from broker.bus.outbound.results import appended_bundle
from broker.domain.actors import Actor, ActorKind, Role
from broker.domain.orders import Order
from broker.domain.reading.reports import ReportChange
from broker.store.database import Tx
from broker.store.tables.studies import performed
from broker.workflow.reading import reports
from broker.workflow.reading.reports import ReportText, Revision
from broker.workflow.studies import step_links
from tests.bus.clinic import Clinic, numbers
from tests.bus.outbound.test_live_readers import Bus, information_system
from tests.bus.outbound.test_results import MADE_AT, PDF, REFERENCES
from tests.bus.samples import PROFILE, completed, of, order, report
from tests.support.factory import CLINIC, REGISTRAR

DOCTOR = Actor(ActorKind.PERSON, "lvova", "Львова Анна Сергеевна", frozenset({Role.RADIOLOGIST}))
TEXT = ReportText("Кость целая.", "Без патологии.")
REVISIONS = (
    Revision(ReportChange.ADDITION, "Контроль через год."),
    Revision(ReportChange.CORRECTION, "не та сторона", ReportText("Слева кость целая.", "Слева без патологии.")),
    Revision(ReportChange.WITHDRAWAL, "снимки другого пациента"),
)


@pytest.fixture
def reported(clinic: Clinic) -> Order:
    """A study whose report the region has."""
    made = clinic.register()
    clinic.deliver()
    clinic.perform(made)
    clinic.deliver()
    clinic.store.write(reports.sign, made.id, 0, TEXT, DOCTOR, CLINIC)
    clinic.deliver()
    return made


def test_every_version_is_a_message_of_its_own_and_the_newest_is_read(clinic: Clinic, reported: Order) -> None:
    bus, task = Bus(clinic.server.url), clinic.references(reported).task
    assert information_system(bus, task)["texts"] == {"protocol": "Кость целая.", "conclusion": "Без патологии."}
    read = []
    for version, revision in enumerate(REVISIONS, 1):
        clinic.store.write(reports.revise, reported.id, version, revision, DOCTOR, CLINIC)
        assert clinic.deliver().delivered == 1
        read.append(information_system(bus, task)["texts"])
    assert read == [
        {"protocol": "Кость целая.", "conclusion": "Без патологии.\n\nДополнение: Контроль через год."},
        {"protocol": "Слева кость целая.", "conclusion": "Исправлено: не та сторона\n\nСлева без патологии."},
        {"conclusion": "Протокол отозван: снимки другого пациента"},
    ]
    own = numbers([each for each in clinic.bus.tasks() if each["intent"] == "reflex-order"])
    number = reported.accession_number
    assert own == [f"{number}/in-progress", f"{number}/completed", *(f"{number}/completed/{n}" for n in (2, 3, 4))]


@pytest.mark.slow
def test_a_version_whose_answer_was_lost_is_not_sent_twice(clinic: Clinic, reported: Order) -> None:
    clinic.store.write(reports.revise, reported.id, 1, REVISIONS[0], DOCTOR, CLINIC)
    clinic.deliver_and_lose_the_answer()
    clinic.deliver_later()
    own = numbers([each for each in clinic.bus.tasks() if each["intent"] == "reflex-order"])
    assert own.count(f"{reported.accession_number}/completed/2") == 1
    assert set(clinic.states(reported)) == {"delivered"}


def test_a_withdrawal_reaches_the_region_also_after_the_images_were_taken_away(clinic: Clinic, reported: Order) -> None:
    bus, task = Bus(clinic.server.url), clinic.references(reported).task
    clinic.store.write(reports.revise, reported.id, 1, REVISIONS[2], DOCTOR, CLINIC)
    with clinic.store.read() as reader:
        [step] = performed.completed_of_order(reader, reported.id)
    clinic.store.write(step_links.unlink, step.sop_instance_uid, reported.id, REGISTRAR, CLINIC)
    assert clinic.deliver().delivered == 1
    assert information_system(bus, task)["texts"] == {"conclusion": "Протокол отозван: снимки другого пациента"}


def test_a_withdrawn_report_without_images_names_no_study() -> None:
    withdrawn = replace(report(), change=ReportChange.WITHDRAWAL, reason="чужие снимки", version=2)
    bundle = appended_bundle(order(), withdrawn, [], REFERENCES, PROFILE, PDF, MADE_AT, version=2, archived={})
    assert of(bundle, "ImagingStudy") == []
    [sent] = of(bundle, "DiagnosticReport")
    assert not sent.get("imagingStudy")


def test_what_the_bus_has_under_the_number_of_a_version_is_not_that_version(clinic: Clinic, reported: Order) -> None:
    clinic.store.write(reports.revise, reported.id, 1, REVISIONS[0], DOCTOR, CLINIC)
    clinic.deliver()
    # The database is put back from a copy that was made before, and the doctor corrects the report otherwise.
    with clinic.store.read() as reader:
        seq = reader.value("SELECT max(seq) FROM outbox WHERE kind = 'appended'")
    clinic.store.write(Tx.run, "DELETE FROM outbox_attempt WHERE seq = ?", [seq])
    clinic.store.write(Tx.run, "DELETE FROM outbox WHERE seq = ?", [seq])
    clinic.store.write(reports.revise, reported.id, 2, REVISIONS[1], DOCTOR, CLINIC)
    clinic.deliver_later()
    clinic.deliver_later()
    bus, task = Bus(clinic.server.url), clinic.references(reported).task
    assert information_system(bus, task)["texts"]["conclusion"] == "Исправлено: не та сторона\n\nСлева без патологии."
    own = numbers([each for each in clinic.bus.tasks() if each["intent"] == "reflex-order"])
    assert own[-1] == f"{reported.accession_number}/completed/3"


@pytest.mark.parametrize(
    ("change", "replaces", "status"),
    [
        (None, False, "appended"),
        (None, True, "appended"),
        (ReportChange.ADDITION, False, "appended"),
        (ReportChange.ADDITION, True, "appended"),
        (ReportChange.CORRECTION, False, "appended"),
        (ReportChange.CORRECTION, True, "corrected"),
        (ReportChange.WITHDRAWAL, False, "appended"),
        (ReportChange.WITHDRAWAL, True, "entered-in-error"),
    ],
)
def test_a_bus_that_knows_corrections_is_sent_what_has_become_of_the_report(
    change: ReportChange | None, replaces: bool, status: str
) -> None:
    signed = report(change=change, version=2, reason="причина")
    bundle = appended_bundle(
        order(), signed, [completed()], REFERENCES, PROFILE, PDF, MADE_AT, version=2, archived={}, replaces=replaces
    )
    assert of(bundle, "DiagnosticReport")[0]["status"] == status
