"""Two clinics on one bus, each a program of its own: one refers, the other one does it, the report comes back.

The modality of the second clinic finds the patient by DCMTK's findscu and reports by MPPS. People act through the verbs
that the screens call, on the programs' own databases.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from broker.app.settings import clinic_of
from broker.config.loader import load
from broker.domain.actors import Actor, ActorKind, Role
from broker.domain.clinic.settings import Clinic
from broker.domain.incoming import IncomingState
from broker.domain.orders import Order, OrderState
from broker.domain.reading.reports import ReportChange
from broker.store.database import Store
from broker.store.queries import inbox
from broker.store.tables import orders
from broker.store.tables.studies import external_studies
from broker.workflow.reading import reports
from broker.workflow.referrals import incoming_referrals, referrals
from tests.acceptance.devices import send
from tests.peers.dcmtk import EVERYTHING, STEP, findscu
from tests.support import factory
from tests.support.clinic import Installation
from tests.support.modality import creation, ending

pytestmark = pytest.mark.slow

REGISTRAR = Actor(ActorKind.PERSON, "orlova", "Орлова Н. В.", frozenset({Role.REGISTRAR}))
DOCTOR = Actor(ActorKind.PERSON, "belov", "Белов Павел Сергеевич", frozenset({Role.RADIOLOGIST}))


class Desk:
    """What people do in one of the clinics."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        self.clinic: Clinic = clinic_of(load(installation.config, {}))

    @contextmanager
    def store(self) -> Iterator[Store]:
        opened = Store(self.installation.directory / "data" / "worklist.sqlite")
        try:
            yield opened
        finally:
            opened.close()

    def order(self, number: str) -> Order:
        with self.store() as store, store.read() as reader:
            found = orders.by_accession_number(reader, number)
        assert found is not None
        return found


@pytest.fixture(params=["n3", "r4"])
def clinics(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[tuple[Desk, Desk]]:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first = Installation(tmp_path / "a", dialect=request.param)
    second = Installation(tmp_path / "b", neighbour=first, dialect=request.param)
    try:
        first.start()
        second.start()
        yield Desk(first), Desk(second)
    finally:
        second.close()
        first.close()


def refer(here: Desk, there: Desk) -> Order:
    draft = factory.draft(owner=there.installation.organisation, station_ae_titles=(), start=here.installation.soon())
    with here.store() as store:
        return store.write(referrals.register, draft, REGISTRAR, here.clinic)


def test_a_referral_goes_to_another_clinic_and_its_report_comes_back(
    clinics: tuple[Desk, Desk], tmp_path: Path
) -> None:
    ours, theirs = clinics
    sent = refer(ours, theirs)
    assert sent.state is OrderState.REFERRED

    # There it waits for a device and a time; a person gives it both.
    with theirs.store() as store:

        def waiting() -> bool:
            with store.read() as reader:
                return len(inbox.waiting(reader)) == 1

        theirs.installation.wait_for(waiting)
        with store.read() as reader:
            [came] = inbox.waiting(reader)
        assert (came.patient.name, came.requester) == (sent.patient.name, ours.installation.organisation)
        draft = factory.draft(owner=None, start=theirs.installation.soon())
        accepted = store.write(incoming_referrals.accept, came.stored_id, draft, REGISTRAR, theirs.clinic)
    assert accepted.bus_accession_number

    # The modality there finds it, by the region's number too, and does it.
    found = findscu(
        theirs.installation.dicom_port,
        *EVERYTHING,
        "SpecificCharacterSet=ISO_IR 192",
        f"{STEP}ScheduledStationAETitle=XRAY_14",
        f"AccessionNumber={accepted.bus_accession_number}",
        directory=tmp_path / "found",
    )
    [match] = found.matches
    assert str(match.PatientName) == "Кузнецова^Марина^Петровна"
    study = str(match.StudyInstanceUID)
    started = creation(study)
    started.PatientName, started.PatientID = match.PatientName, match.PatientID
    assert send(theirs.installation.dicom_port, "1.2.3", create=started) == 0
    assert send(theirs.installation.dicom_port, "1.2.3", change=ending()) == 0
    theirs.installation.wait_for(lambda: theirs.order(accepted.accession_number).state is OrderState.COMPLETED)

    # Its doctor signs; here the referral is done, with the words of the report.
    text = reports.ReportText("Суставная щель сужена.", "Гонартроз II ст.", "Консультация ортопеда.", 0.02)
    with theirs.store() as store:
        store.write(reports.sign, accepted.id, 0, text, DOCTOR, theirs.clinic)
    ours.installation.wait_for(lambda: ours.order(sent.accession_number).state is OrderState.COMPLETED)
    with ours.store() as store, store.read() as reader:
        reported = external_studies.of_order(reader, sent.id)
    final = next(each for each in reported if each.status == "final")
    assert (final.description, final.conclusion) == (text.description, text.conclusion)
    assert (final.recommendations, final.effective_dose) == (text.recommendations, 0.02)
    assert (final.organisation, final.study_instance_uid) == (theirs.installation.organisation, study)

    # The bus has everything once.
    assert ours.installation.orders_on_bus() == {sent.accession_number: ["requested"]}
    statuses = [status for each in ours.installation.results_on_bus().values() for status in each]
    assert sorted(statuses) == ["completed", "in-progress"]

    # The doctor there corrects what was signed; here a person is to read it.
    corrected = reports.ReportText("Суставная щель слева сужена.", "Гонартроз слева.", "", 0.02)
    with theirs.store() as store:
        change = reports.Revision(ReportChange.CORRECTION, "не та сторона", corrected)
        store.write(reports.revise, accepted.id, 1, change, DOCTOR, theirs.clinic)

    def is_read() -> bool:
        with ours.store() as store, store.read() as reader:
            conclusions = [each.conclusion for each in external_studies.of_order(reader, sent.id)]
        return any("не та сторона" in each and "Гонартроз слева." in each for each in conclusions)

    ours.installation.wait_for(is_read)


def test_a_referral_that_is_taken_back_leaves_the_other_clinics_worklist(clinics: tuple[Desk, Desk]) -> None:
    ours, theirs = clinics
    sent, kept = refer(ours, theirs), refer(ours, theirs)

    def waiting() -> set[str]:
        with theirs.store() as store, store.read() as reader:
            return {each.task for each in inbox.waiting(reader) if each.state is IncomingState.WAITING}

    theirs.installation.wait_for(lambda: len(waiting()) == 2)
    with theirs.store() as store:
        number = acsn(ours, sent.accession_number)
        with store.read() as reader:
            [came] = [each for each in inbox.waiting(reader) if each.bus_accession_number == number]
        accepted = store.write(
            incoming_referrals.accept,
            came.stored_id,
            factory.draft(owner=None, start=theirs.installation.soon()),
            REGISTRAR,
            theirs.clinic,
        )
    with ours.store() as store:
        for order in (ours.order(sent.accession_number), ours.order(kept.accession_number)):
            store.write(referrals.cancel, order.id, order.revision, "", REGISTRAR, ours.clinic)
    theirs.installation.wait_for(lambda: theirs.order(accepted.accession_number).state is OrderState.CANCELLED)
    theirs.installation.wait_for(lambda: not waiting())
    assert ours.installation.orders_on_bus() == {
        sent.accession_number: ["cancelled"],
        kept.accession_number: ["cancelled"],
    }


def acsn(desk: Desk, number: str) -> str:
    """Return the region's number of an order as its own clinic knows it."""
    found: list[str] = []

    def known() -> bool:
        found[:] = [desk.order(number).bus_accession_number]
        return bool(found[0])

    desk.installation.wait_for(known)
    return found[0]
