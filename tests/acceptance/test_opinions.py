"""Two clinics on one bus, each a program of its own: the one asks the other about a study that it has made.

The other clinic lets referrals onto its worklist without a person; DCMTK's findscu is the judge that the request is not
among them. People act through the use cases that the screens call, on the programs' own databases.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from broker.domain.actors import Actor, ActorKind, Role
from broker.domain.opinions.requests import OpinionState, asked_about
from broker.domain.orders import OrderState, Priority
from broker.domain.patients.people import PersonName
from broker.domain.reading.reports import ReportChange
from broker.store.queries.opinions import opinion_lists
from broker.store.tables.reading import reports as reports_table
from broker.workflow.opinions import answering, asking
from broker.workflow.reading import reports
from broker.workflow.reading.reports import Revision
from broker.workflow.referrals import referrals
from tests.acceptance.devices import send
from tests.acceptance.test_two_clinics import DOCTOR, REGISTRAR, Desk
from tests.peers.dcmtk import EVERYTHING, STEP, findscu
from tests.support import factory
from tests.support.clinic import Installation
from tests.support.modality import creation, ending
from ui.text import opinions as words

pytestmark = pytest.mark.slow

CONSULTANT = Actor(ActorKind.PERSON, "somov", "Сомов Виктор Геннадьевич", frozenset({Role.RADIOLOGIST}))
OTHER = replace(factory.KUZNETSOVA, name=PersonName("Громова", "Анна", "Ильинична"), snils="", policy="")


@pytest.fixture
def clinics(tmp_path: Path) -> Iterator[tuple[Desk, Desk]]:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first = Installation(tmp_path / "a")
    second = Installation(tmp_path / "b", neighbour=first)
    configure(first, f"opinions: {{{second.organisation}: understands}}")
    configure(second, "auto_accept: {DX: XRAY_14}")
    try:
        first.start()
        second.start()
        yield Desk(first), Desk(second)
    finally:
        second.close()
        first.close()


def configure(installation: Installation, of_bus: str) -> None:
    text = installation.config.read_text("utf-8")
    installation.config.write_text(text.replace("dialect: n3", f"dialect: n3, {of_bus}"), "utf-8")


def reported(here: Desk) -> int:
    """Let the clinic make a study and report it; return its order's id."""
    with here.store() as store:
        order = store.write(referrals.register, factory.draft(start=here.installation.soon()), REGISTRAR, here.clinic)
    started = creation(order.study_instance_uid)
    started.PatientName, started.PatientID = "Кузнецова^Марина^Петровна", order.patient.patient_id
    assert send(here.installation.dicom_port, "1.2.3", create=started) == 0
    assert send(here.installation.dicom_port, "1.2.3", change=ending()) == 0
    here.installation.wait_for(lambda: here.order(order.accession_number).state is OrderState.COMPLETED)
    with here.store() as store:
        text = reports.ReportText("Суставная щель сужена.", "Гонартроз II ст.")
        store.write(reports.sign, order.id, 0, text, DOCTOR, here.clinic)
    return order.id


def worklist(here: Desk, directory: Path) -> list[str]:
    """Return the patients whom a modality of a clinic sees."""
    keys = (*EVERYTHING, "SpecificCharacterSet=ISO_IR 192", f"{STEP}ScheduledStationAETitle=XRAY_14")
    found = findscu(here.installation.dicom_port, *keys, directory=directory)
    return [str(match.PatientName) for match in found.matches]


def test_an_opinion_goes_round_between_two_programs_and_no_device_sees_it(
    clinics: tuple[Desk, Desk], tmp_path: Path
) -> None:
    ours, theirs = clinics
    order_id = reported(ours)
    partner = theirs.installation.organisation
    with ours.store() as store:
        asked = store.write(
            asking.ask,
            order_id,
            1,
            partner,
            "Нет ли перелома?",
            Priority.ROUTINE,
            DOCTOR,
            ours.clinic,
            is_confirmed=True,
        )
        # An ordinary referral after it: as soon as that is on the worklist, the request has been read, too.
        draft = factory.draft(patient=OTHER, owner=partner, station_ae_titles=(), start=ours.installation.soon())
        store.write(referrals.register, draft, REGISTRAR, ours.clinic)

    with theirs.store() as store:

        def has_come() -> bool:
            with store.read() as reader:
                return len(opinion_lists.waiting_for_us(reader)) == 1

        theirs.installation.wait_for(has_come)
        theirs.installation.wait_for(lambda: len(theirs.installation.orders()) == 1)
        assert worklist(theirs, tmp_path / "found") == ["Громова^Анна^Ильинична"]
        with store.read() as reader:
            [came] = opinion_lists.waiting_for_us(reader)
        assert asked_about(came.referral.comment).question == "Нет ли перелома?"
        assert str(came.referral.patient.name) == "Кузнецова Марина Петровна"
        text = reports.ReportText("Линия перелома не видна.", "Перелома нет.", "МРТ.")
        store.write(answering.answer, came.referral.stored_id, text, came.referral, CONSULTANT, theirs.clinic)

    def is_answered() -> bool:
        with ours.store() as store, store.read() as reader:
            [found] = opinion_lists.of_report(reader, order_id)
        return found.request.state is OpinionState.ANSWERED

    ours.installation.wait_for(is_answered)
    with ours.store() as store:
        with store.read() as reader:
            [found] = opinion_lists.of_report(reader, order_id)
        answer = found.request.answer
        assert answer is not None
        assert (answer.conclusion, answer.doctor) == ("Перелома нет.", str(CONSULTANT.title))
        # The doctor here takes it over, and names whose it is.
        taken = words.taken_over(found.request, "Больница № 2", ours.clinic.zone)["reason"]
        change = Revision(ReportChange.ADDITION, taken)
        store.write(reports.revise, order_id, 1, change, DOCTOR, ours.clinic)
        store.write(asking.heed, asked.stored_id, DOCTOR)
        with store.read() as reader:
            signed = reports_table.signed(reader, order_id)
        assert signed is not None
        assert "Второе мнение: Сомов Виктор Геннадьевич, Больница № 2" in signed.conclusion

    assert worklist(theirs, tmp_path / "again") == ["Громова^Анна^Ильинична"]
    statuses = ours.installation.results_on_bus()
    [answered] = [found for number, found in statuses.items() if number.startswith("opinion/")]
    assert answered == ["completed"]
