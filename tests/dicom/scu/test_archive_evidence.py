"""An archive that answers wrongly closes no order; what it says waits for a person, as what it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset

from broker.dicom.scu.archive import DAYS, SCAN_EVERY, STABLE, Archive
from broker.dicom.scu.archive_query import MOST_ANSWERS
from broker.domain.messages import OutboxKind
from broker.domain.orders import Order, OrderState
from broker.domain.patients.confirmation import Confirmation
from broker.domain.studies.archive import Discrepancy, DiscrepancyKind
from broker.domain.studies.performed import StepSource
from broker.store.database import Store, Tx
from broker.store.queries import schedule
from broker.store.queries.studies import unreferred_studies
from broker.store.tables import devices, orders, outbox
from broker.store.tables.studies import archive as archive_table
from broker.store.tables.studies import archived_reports
from broker.store.tables.studies.archive import Holding
from broker.workflow.referrals import referrals
from broker.workflow.studies import archive_images, step_links
from tests.support import factory
from tests.support.clock import TODAY, Clock, Seconds
from tests.support.factory import CLINIC, KUZNETSOVA, REGISTRAR, draft, soon
from tests.support.modality import change, create, creation, ending, scheduled
from tests.support.pacs import PENDING, Pacs, pacs, series, study

OTHER = {"PatientName": "Попов^Олег", "PatientID": "D-1", "PatientBirthDate": "19600101"}
MADE_LONG_AGO = {"StudyDate": "20190101"}
K = DiscrepancyKind


@pytest.fixture(scope="module")
def running() -> Iterator[Pacs]:
    with pacs() as peer:
        yield peer


@pytest.fixture
def peer(running: Pacs) -> Pacs:
    running.holds()
    running.asked.clear()
    return running


@pytest.fixture
def machine() -> Clock:
    """The wall clock of the database."""
    return Clock()


@pytest.fixture
def store(tmp_path: Path, machine: Clock) -> Iterator[Store]:
    opened = factory.open_store(tmp_path / "worklist.sqlite", machine)
    yield opened
    opened.close()


@pytest.fixture
def clock() -> Seconds:
    return Seconds()


@pytest.fixture
def archive(store: Store, peer: Pacs, clock: Seconds) -> Archive:
    return Archive(store, CLINIC, peer.address, "WORKLIST", clock)


@pytest.fixture
def order(store: Store) -> Order:
    # Its number has a letter that Latin-1 lacks, as «К-17» has.
    patient = replace(KUZNETSOVA, patient_id="К-17")
    return store.write(referrals.register, draft(patient=patient), REGISTRAR, CLINIC)


def look(archive: Archive, clock: Seconds) -> int:
    """Let the archive be asked twice, so that nothing more can be awaited."""
    made = archive.look()
    clock.now += STABLE
    return made + archive.look()


def now(store: Store, order: Order) -> Order:
    with store.read() as reader:
        return orders.require(reader, order.id)


def discrepancies(store: Store, order: Order) -> list[Discrepancy]:
    with store.read() as reader:
        return archive_table.of_order(reader, order.id)


def kinds(store: Store, order: Order) -> list[DiscrepancyKind]:
    return [each.kind for each in discrepancies(store, order)]


def told(store: Store, order: Order) -> bool:
    with store.read() as reader:
        return outbox.has(reader, order.id, OutboxKind.IMAGES)


WRONG: dict[str, tuple[Callable[[Order], list[Dataset]], list[DiscrepancyKind]]] = {
    "one fixed study of another patient to every question": (
        lambda order: [study(order, StudyInstanceUID="1.2.3.999", AccessionNumber="OTHER-1", **OTHER)],
        [],
    ),
    "one fixed study of this very patient": (
        lambda order: [study(order, StudyInstanceUID="1.2.3.999", AccessionNumber="OTHER-1")],
        [],
    ),
    "the patient's study of 2019": (
        lambda order: [study(order, StudyInstanceUID="1.2.3.999", AccessionNumber="OTHER-1", **MADE_LONG_AGO)],
        [],
    ),
    "a hundred studies of others": (
        lambda order: [study(order, StudyInstanceUID=f"1.2.3.{n}", AccessionNumber=f"X{n}") for n in range(100)],
        [],
    ),
    "more studies than anybody may have": (
        lambda order: (
            [study(order)]
            + [study(order, StudyInstanceUID=f"1.2.3.{n}", AccessionNumber=f"X{n}") for n in range(MOST_ANSWERS + 1)]
        ),
        [],
    ),
    "our number without a UID": (lambda order: [study(order, StudyInstanceUID=None)], []),
    "our number with an empty UID": (lambda order: [study(order, StudyInstanceUID="")], []),
    "an empty identifier": (lambda order: [Dataset()], []),
    "our UID cut short": (
        lambda order: [study(order, StudyInstanceUID=order.study_instance_uid[:-1], AccessionNumber="")],
        [],
    ),
    "our number as the beginning of another": (
        lambda order: [study(order, StudyInstanceUID="1.2.3", AccessionNumber=f"{order.accession_number}1")],
        [],
    ),
    "our number in small letters": (
        lambda order: [study(order, StudyInstanceUID="1.2.3", AccessionNumber=order.accession_number.lower())],
        [],
    ),
    "a study without images": (lambda order: [study(order, NumberOfStudyRelatedInstances="0")], []),
    "our UID with another patient": (lambda order: [study(order, **OTHER)], [K.OTHER_PATIENT]),
    "our UID with another birth date": (
        lambda order: [study(order, PatientBirthDate="19610313")],
        [K.OTHER_PATIENT],
    ),
    "our UID with another name under the same number": (
        lambda order: [study(order, PatientName="Попов^Олег")],
        [K.OTHER_PATIENT],
    ),
    "our UID with a number that nobody gave and no name": (
        lambda order: [study(order, PatientName="", PatientID="ZZ-9")],
        [K.OTHER_PATIENT],
    ),
    "our UID with name and number emptied": (
        lambda order: [study(order, PatientName="^^", PatientID="")],
        [K.UNREADABLE],
    ),
    "our UID with what Latin-1 leaves of name and number": (
        lambda order: [study(order, PatientName="^^", PatientID="-17")],
        [K.UNREADABLE],
    ),
    "our UID with question marks": (
        lambda order: [study(order, PatientName="?????????^??????", PatientID="?-17")],
        [K.UNREADABLE],
    ),
    "our UID with another accession number": (
        lambda order: [study(order, AccessionNumber="9999-0001")],
        [K.OTHER_NUMBER],
    ),
    "our UID made years before the referral": (lambda order: [study(order, **MADE_LONG_AGO)], [K.OLDER]),
    "our UID under two patients, neither of them ours": (
        lambda order: [study(order, **OTHER), study(order, **OTHER | {"PatientID": "D-2"})],
        [K.SEVERAL_PATIENTS, K.SEVERAL_PATIENTS],
    ),
    "our number on another patient's study": (
        lambda order: [study(order, StudyInstanceUID="1.2.3", **OTHER)],
        [K.OTHER_PATIENT],
    ),
    "our number on a study of years ago": (
        lambda order: [study(order, StudyInstanceUID="1.2.3", **MADE_LONG_AGO)],
        [K.OLDER],
    ),
    "our number on a study without a patient": (
        lambda order: [study(order, StudyInstanceUID="1.2.3", PatientName="", PatientID="")],
        [K.UNREADABLE],
    ),
    "our UID with the other sex": (lambda order: [study(order, PatientSex="M")], [K.OTHER_PATIENT]),
    "our number on the one study that fits, under a UID of its own": (
        lambda order: [study(order, StudyInstanceUID="1.2.3")],
        [K.OWN_UID],
    ),
    "our number under a UID of its own, to every question": (
        lambda order: [study(order, StudyInstanceUID="1.2.3"), study(order, StudyInstanceUID="")],
        [K.OWN_UID],
    ),
    "our number under another UID with the other sex": (
        lambda order: [study(order, StudyInstanceUID="1.2.3", PatientSex="M")],
        [K.OTHER_PATIENT],
    ),
    "our number on a study of years ago, and on one of today": (
        lambda order: [
            study(order, StudyInstanceUID="1.2.3", **MADE_LONG_AGO),
            study(order, StudyInstanceUID="1.2.4"),
        ],
        [K.OLDER, K.OWN_UID],
    ),
    "our number on two studies": (
        lambda order: [study(order, StudyInstanceUID="1.2.3"), study(order, StudyInstanceUID="1.2.4")],
        [K.SEVERAL_STUDIES, K.SEVERAL_STUDIES],
    ),
}


SHARING = replace(CLINIC, shares_accession_numbers=True)


@pytest.mark.slow  # together they take seconds
@pytest.mark.parametrize("how", WRONG)
def test_a_wrong_answer_closes_nothing_and_is_shown_as_what_it_is(
    store: Store, archive: Archive, peer: Pacs, clock: Seconds, order: Order, how: str
) -> None:
    answers, expected = WRONG[how]
    peer.says(*answers(order))
    assert look(archive, clock) == 0
    assert now(store, order).state is OrderState.SCHEDULED
    assert kinds(store, order) == expected
    assert not told(store, order)


@pytest.mark.parametrize("status", [0xA700, 0xA900, 0xC001, 0xFE00])
def test_an_answer_that_ends_in_a_failure_tells_nothing(
    store: Store, archive: Archive, peer: Pacs, clock: Seconds, order: Order, status: int
) -> None:
    peer.answers = lambda asked: [(PENDING, study(order, **OTHER))]
    archive.look()
    [before] = discrepancies(store, order)
    for answer in (study(order), study(order, **OTHER)):
        peer.answers = lambda asked, answer=answer: [(PENDING, answer), (status, None)]  # type: ignore[misc]
        assert look(archive, clock) == 0
    assert discrepancies(store, order) == [before]  # it is not forgotten because the archive fell silent


RIGHT: dict[str, dict[str, Any]] = {
    "as it was ordered": {},
    "without a birth date": {"PatientBirthDate": ""},
    "under a patient id of the archive's own": {"PatientID": "77"},
    "under what Latin-1 leaves of our patient id": {"PatientID": "-17"},
    "with the name lost in Latin-1, by the patient id": {"PatientName": "^^"},
    "without an accession number": {"AccessionNumber": ""},
    "without a date": {"StudyDate": "", "StudyTime": ""},
    "without a sex": {"PatientSex": ""},
    "of a sex that the archive does not know": {"PatientSex": "O"},
    "without a count": {"NumberOfStudyRelatedInstances": None},
}


@pytest.mark.slow
@pytest.mark.parametrize("how", RIGHT)
def test_a_study_that_fits_closes_its_order(
    store: Store, archive: Archive, peer: Pacs, clock: Seconds, order: Order, how: str
) -> None:
    peer.holds(study(order, **RIGHT[how]))
    assert look(archive, clock) == 1
    assert now(store, order).state is OrderState.COMPLETED
    assert kinds(store, order) == []
    assert told(store, order)


def test_of_several_patients_under_one_uid_the_one_that_fits_is_taken_and_the_others_are_shown(
    store: Store, archive: Archive, peer: Pacs, clock: Seconds, order: Order
) -> None:
    peer.holds(study(order, **OTHER, NumberOfStudyRelatedInstances="9"), study(order))
    assert look(archive, clock) == 1
    [other] = discrepancies(store, order)
    assert (other.kind, other.study.patient_name) == (K.SEVERAL_PATIENTS, "Попов^Олег")
    with store.read() as reader:
        [step] = schedule.performed_steps(reader, [order.id])[order.id]
    assert (step.images, step.patient_name) == (2, "Кузнецова^Марина^Петровна")


def test_a_second_study_with_our_number_is_shown_beside_ours(
    store: Store, archive: Archive, peer: Pacs, clock: Seconds, order: Order
) -> None:
    peer.holds(study(order), study(order, StudyInstanceUID="1.2.3"))
    assert look(archive, clock) == 1
    [second] = discrepancies(store, order)
    assert (second.kind, second.study.study_instance_uid) == (K.OTHER_UID, "1.2.3")


def test_a_uid_of_the_devices_own_that_it_has_reported_closes_its_order_and_is_asked_for(
    store: Store, archive: Archive, peer: Pacs, clock: Seconds, order: Order
) -> None:
    create(store, reported(order, PatientID="К-17"))
    change(store, ending())
    # Its images bear no number: only what it reported leads to them.
    peer.holds(study(order, StudyInstanceUID="1.2.3.99", AccessionNumber="", NumberOfStudyRelatedInstances="5"))
    look(archive, clock)
    assert kinds(store, order) == []
    with store.read() as reader:
        holding = archive_table.holding(reader, order.id)
    assert holding is not None
    assert (holding.study_instance_uid, holding.images) == ("1.2.3.99", 5)


def test_a_uid_that_a_device_reported_of_another_patient_is_no_evidence_until_a_person_confirms_it(
    store: Store, archive: Archive, peer: Pacs, clock: Seconds, order: Order
) -> None:
    create(store, reported(order, PatientName="Попов^Олег"))
    change(store, ending())
    peer.holds(study(order, StudyInstanceUID="1.2.3.99"))
    look(archive, clock)
    assert kinds(store, order) == [K.OWN_UID]
    seen = Confirmation(order.patient, ("patient_name", "patient_id"))
    store.write(step_links.confirm_patient, "1.2.3", order.id, REGISTRAR, CLINIC, seen)
    look(archive, clock)
    assert kinds(store, order) == []


def test_a_uid_that_was_reported_for_another_order_is_not_taken_for_ours(
    store: Store, archive: Archive, peer: Pacs, clock: Seconds, order: Order
) -> None:
    other = store.write(referrals.register, draft(patient=order.patient, comment="другое"), REGISTRAR, CLINIC)
    create(store, reported(other, PatientID="К-17"))
    change(store, ending())
    peer.holds(study(order, StudyInstanceUID="1.2.3.99"))
    look(archive, clock)
    assert kinds(store, order) == [K.OTHER_UID]
    assert now(store, order).state is OrderState.SCHEDULED


def test_one_study_for_a_group_of_orders_is_found_for_each_of_them(
    store: Store, archive: Archive, peer: Pacs, clock: Seconds, order: Order
) -> None:
    other = store.write(referrals.register, draft(patient=order.patient, comment="другое"), REGISTRAR, CLINIC)
    items = [scheduled("1.2.3.99", AccessionNumber=each.accession_number) for each in (order, other)]
    create(store, creation(PatientID="К-17", ScheduledStepAttributesSequence=items))
    change(store, ending())
    peer.holds(study(order, StudyInstanceUID="1.2.3.99"))
    look(archive, clock)
    for each in (order, other):
        assert kinds(store, each) == []
        with store.read() as reader:
            holding = archive_table.holding(reader, each.id)
        assert holding is not None
        assert holding.images == 2


@pytest.fixture
def another(store: Store, order: Order) -> Order:
    """Another study of the patient, under the same accession number."""
    return store.write(referrals.register_another, order.id, draft(patient=order.patient), REGISTRAR, SHARING)


def test_studies_of_one_number_close_each_the_order_of_its_uid(
    store: Store, archive: Archive, peer: Pacs, clock: Seconds, order: Order, another: Order
) -> None:
    peer.holds(study(order), study(another, AccessionNumber=order.accession_number, NumberOfStudyRelatedInstances=5))
    look(archive, clock)
    for each, images in ((order, 2), (another, 5)):
        assert kinds(store, each) == []
        assert now(store, each).state is OrderState.COMPLETED
        with store.read() as reader:
            holding = archive_table.holding(reader, each.id)
        assert holding is not None
        assert holding.images == images


def test_the_study_of_one_of_them_says_nothing_of_the_other(
    store: Store, archive: Archive, peer: Pacs, clock: Seconds, order: Order, another: Order
) -> None:
    peer.holds(study(another, AccessionNumber=order.accession_number))
    look(archive, clock)
    assert now(store, another).state is OrderState.COMPLETED
    assert now(store, order).state is OrderState.SCHEDULED
    assert kinds(store, order) == []


def test_a_study_that_only_bears_their_number_waits_for_a_person(
    store: Store, archive: Archive, peer: Pacs, clock: Seconds, order: Order, another: Order
) -> None:
    peer.holds(study(order, StudyInstanceUID="1.2.3.99"))
    look(archive, clock)
    for each in (order, another):
        assert now(store, each).state is OrderState.SCHEDULED
        assert kinds(store, each) == [DiscrepancyKind.OWN_UID]


def unreferred(store: Store) -> list[str]:
    with store.read() as reader:
        return [each.unreferred.study.study_instance_uid for each in unreferred_studies.open_studies(reader)]


def test_studies_of_these_days_that_are_no_orders_are_found_whatever_they_are_called(
    store: Store, archive: Archive, peer: Pacs, clock: Seconds, order: Order
) -> None:
    yesterday = f"{TODAY - timedelta(days=1):%Y%m%d}"
    peer.holds(
        study(order, StudyInstanceUID="1.2.1", AccessionNumber=""),
        study(order, StudyInstanceUID="1.2.2", AccessionNumber="ABC", StudyDate=yesterday, **OTHER),
        study(order, StudyInstanceUID="1.2.3", AccessionNumber="", ModalitiesInStudy=["SR"]),
        study(order, StudyInstanceUID="1.2.4", AccessionNumber="", ModalitiesInStudy=["XA"]),
        study(order, StudyInstanceUID="1.2.5", AccessionNumber="", ModalitiesInStudy=["SR", "CR"], StudyTime="0800"),
        study(order, StudyInstanceUID="1.2.6", AccessionNumber="", **MADE_LONG_AGO),
        study(order, StudyInstanceUID="1.2.7", AccessionNumber="", NumberOfStudyRelatedInstances="0"),
        study(order),
    )
    look(archive, clock)
    assert unreferred(store) == ["1.2.1", "1.2.5", "1.2.2"]
    peer.holds(study(order))
    look(archive, clock)
    assert len(unreferred(store)) == 3  # not asked every minute
    clock.now += SCAN_EVERY
    look(archive, clock)
    assert unreferred(store) == []


@pytest.mark.parametrize("status", [0xA700, 0xFE00])
def test_a_day_that_was_not_answered_to_its_end_tells_nothing(
    store: Store, archive: Archive, peer: Pacs, clock: Seconds, order: Order, status: int
) -> None:
    peer.holds(study(order, StudyInstanceUID="1.2.1", AccessionNumber=""))
    look(archive, clock)
    clock.now += SCAN_EVERY
    peer.answers = lambda asked: [(status, None)]
    assert archive.ask_now() is False
    assert unreferred(store) == ["1.2.1"]


def test_an_archive_that_answers_every_day_with_the_same_study_tells_it_once(
    store: Store, archive: Archive, peer: Pacs, clock: Seconds, order: Order
) -> None:
    peer.says(study(order, StudyInstanceUID="1.2.1", AccessionNumber=""), study(order, StudyInstanceUID=""))
    look(archive, clock)
    assert unreferred(store) == ["1.2.1"]


def test_a_person_who_asks_now_learns_whether_the_archive_answers(
    store: Store, archive: Archive, peer: Pacs, clock: Seconds, order: Order
) -> None:
    look(archive, clock)
    peer.holds(study(order, StudyInstanceUID="1.2.1", AccessionNumber=""))
    assert archive.ask_now() is True
    assert unreferred(store) == ["1.2.1"]
    nobody = Archive(store, CLINIC, replace(peer.address, port=9), "WORKLIST", clock)
    assert nobody.ask_now() is False


def test_a_study_that_a_person_chose_an_order_for_is_asked_for_by_its_uid(
    store: Store, archive: Archive, peer: Pacs, clock: Seconds, order: Order
) -> None:
    late = study(order, StudyInstanceUID="1.2.1", AccessionNumber="")
    peer.holds(late)
    look(archive, clock)
    with store.read() as reader:
        [found] = unreferred_studies.open_studies(reader)
    seen = Confirmation(order.patient)
    store.write(archive_images.link_unreferred, found.unreferred.id, order.id, REGISTRAR, CLINIC, seen)
    peer.holds(study(order, StudyInstanceUID="1.2.1", AccessionNumber="", NumberOfStudyRelatedInstances="8"))
    look(archive, clock)
    with store.read() as reader:
        holding = archive_table.holding(reader, order.id)
    assert holding is not None
    assert (holding.study_instance_uid, holding.images) == ("1.2.1", 8)
    assert kinds(store, order) == []


def test_a_patient_who_came_days_after_the_planned_one_is_found(
    store: Store, machine: Clock, archive: Archive, peer: Pacs, clock: Seconds, order: Order
) -> None:
    machine.advance(days=DAYS + 4)
    today = f"{TODAY + timedelta(days=DAYS + 4):%Y%m%d}"
    peer.holds(study(order, StudyDate=today))
    assert archive.ask_now() is True
    assert look(archive, clock) == 1
    assert now(store, order).state is OrderState.COMPLETED
    assert unreferred(store) == []


def test_a_study_with_the_number_of_an_order_that_is_planned_for_later_is_compared_with_it(
    store: Store, archive: Archive, peer: Pacs, clock: Seconds, order: Order
) -> None:
    later = store.write(
        referrals.register, draft(patient=order.patient, start=soon(days=9), comment="позже"), REGISTRAR, CLINIC
    )
    today = f"{TODAY:%Y%m%d}"
    peer.holds(study(later, StudyInstanceUID="1.2.1", StudyDate=today))
    archive.ask_now()
    look(archive, clock)
    assert kinds(store, later) == [K.OWN_UID]


def reported(order: Order, **changes: Any) -> Dataset:
    """Make what a device begins under a UID of its own, with the order's number."""
    item = scheduled("1.2.3.99", AccessionNumber=order.accession_number)
    return creation(ScheduledStepAttributesSequence=[item], **changes)


def trust(store: Store, **changes: Any) -> None:
    """Let the X-ray be known to make Study Instance UIDs of its own."""
    device = replace(factory.DEVICES[0], own_study_uids=True, **changes)
    store.write(lambda tx: devices.put(tx, device))


def test_a_device_that_is_known_to_make_its_own_uids_closes_its_orders_by_their_numbers(
    store: Store, archive: Archive, peer: Pacs, clock: Seconds, order: Order
) -> None:
    peer.holds(study(order, StudyInstanceUID="1.2.3.99"), with_series=[series("1.1", "DX", 2), series("1.2", "SR", 1)])
    assert look(archive, clock) == 0
    assert kinds(store, order) == [K.OWN_UID]
    trust(store)
    assert look(archive, clock) == 1
    assert now(store, order).state is OrderState.COMPLETED
    assert kinds(store, order) == []
    assert told(store, order)
    with store.read() as reader:
        [step] = schedule.performed_steps(reader, [order.id])[order.id]
    assert (step.images, step.patient_sex) == (2, "F")


def test_a_second_study_with_the_number_does_not_take_away_the_one_that_was_believed(
    store: Store, archive: Archive, peer: Pacs, clock: Seconds, order: Order
) -> None:
    trust(store)
    peer.holds(study(order, StudyInstanceUID="1.2.3.99"))
    assert look(archive, clock) == 1
    peer.holds(study(order, StudyInstanceUID="1.2.3.99"), study(order, StudyInstanceUID="1.2.3.98"))
    look(archive, clock)
    assert kinds(store, order) == [K.OTHER_UID]
    with store.read() as reader:
        holding = archive_table.holding(reader, order.id)
    assert holding is not None
    assert (holding.study_instance_uid, holding.images) == ("1.2.3.99", 2)


DOUBTFUL: dict[str, dict[str, Any]] = {
    "without a name": {"PatientName": ""},
    "with the name lost in Latin-1": {"PatientName": "^^"},
    "without a patient id": {"PatientID": ""},
    "with what Latin-1 leaves of the patient id": {"PatientID": "-17"},
    "under a patient id of the archive's own": {"PatientID": "77"},
    "without a birth date": {"PatientBirthDate": ""},
    "with the other sex": {"PatientSex": "M"},
    "without a date": {"StudyDate": "", "StudyTime": ""},
    "of years ago": MADE_LONG_AGO,
    "of another patient": OTHER,
}


@pytest.mark.slow
@pytest.mark.parametrize("how", DOUBTFUL)
def test_also_of_such_a_device_a_study_that_fits_less_than_wholly_waits_for_a_person(
    store: Store, archive: Archive, peer: Pacs, clock: Seconds, order: Order, how: str
) -> None:
    trust(store)
    peer.holds(study(order, StudyInstanceUID="1.2.3.99", **DOUBTFUL[how]))
    assert look(archive, clock) == 0
    assert len(kinds(store, order)) == 1
    assert now(store, order).state is OrderState.SCHEDULED


def test_also_of_such_a_device_an_archive_that_answers_everything_with_one_study_closes_nothing(
    store: Store, archive: Archive, peer: Pacs, clock: Seconds, order: Order
) -> None:
    trust(store)
    others = [store.write(referrals.register, draft(comment=f"{n}"), REGISTRAR, CLINIC) for n in range(3)]
    peer.says(study(order, StudyInstanceUID="1.2.3.99", AccessionNumber="OTHER-1"))
    assert look(archive, clock) == 0
    assert {now(store, each).state for each in (order, *others)} == {OrderState.SCHEDULED}


def test_where_one_of_an_orders_devices_is_not_known_to_make_its_own_uids_a_person_decides(
    store: Store, archive: Archive, peer: Pacs, clock: Seconds
) -> None:
    trust(store)
    both = draft(station_ae_titles=("XRAY_14", "FLG_12"))
    order = store.write(referrals.register, both, REGISTRAR, CLINIC)
    peer.holds(study(order, StudyInstanceUID="1.2.3.99"))
    assert look(archive, clock) == 0
    assert kinds(store, order) == [K.OWN_UID]


def test_what_is_asked_every_minute_is_one_discrepancy_which_goes_when_the_archive_is_put_right(
    store: Store, archive: Archive, peer: Pacs, clock: Seconds, order: Order
) -> None:
    peer.holds(study(order, **OTHER))
    look(archive, clock)
    [first] = discrepancies(store, order)
    revision = store.revision()
    look(archive, clock)
    assert discrepancies(store, order) == [first]
    assert store.revision() == revision  # nobody is told of what has not changed
    peer.holds(study(order))
    assert look(archive, clock) == 1
    assert discrepancies(store, order) == []


def test_what_is_put_right_days_later_is_noticed(
    store: Store, machine: Clock, archive: Archive, peer: Pacs, clock: Seconds, order: Order
) -> None:
    made = store.write(referrals.register, draft(), REGISTRAR, CLINIC)
    create(store, creation(made.study_instance_uid))
    change(store, ending())
    peer.holds(study(order, **OTHER))
    look(archive, clock)
    assert kinds(store, order) == [K.OTHER_PATIENT]
    machine.advance(days=DAYS + 4)
    look(archive, clock)
    assert kinds(store, order) == [K.OTHER_PATIENT]
    peer.holds(study(made))
    look(archive, clock)
    assert kinds(store, order) == []
    with store.read() as reader:
        holding = archive_table.holding(reader, made.id)
    assert holding is not None
    assert holding.exists


def test_images_are_counted_by_series_without_documents_and_reports(
    store: Store, archive: Archive, peer: Pacs, clock: Seconds, order: Order
) -> None:
    made = [series("1.1", "DX", 3), series("1.2", "SR", 1), series("1.3", "KO", 1), series("1.4", "PR", 2)]
    peer.holds(study(order, NumberOfStudyRelatedInstances="7"), with_series=made)
    assert look(archive, clock) == 1
    with store.read() as reader:
        [step] = schedule.performed_steps(reader, [order.id])[order.id]
    assert (step.images, step.source) == (3, StepSource.ARCHIVE)


def test_a_study_of_nothing_but_a_dose_report_is_not_made_yet(
    store: Store, archive: Archive, peer: Pacs, clock: Seconds, order: Order
) -> None:
    peer.holds(study(order, NumberOfStudyRelatedInstances="1"), with_series=[series("1.1", "SR", 1)])
    assert look(archive, clock) == 0
    assert now(store, order).state is OrderState.SCHEDULED


def test_series_without_counts_leave_the_count_of_the_study(
    store: Store, archive: Archive, peer: Pacs, clock: Seconds, order: Order
) -> None:
    peer.holds(study(order), with_series=[series("1.1", "DX", None)])
    assert look(archive, clock) == 1
    with store.read() as reader:
        [step] = schedule.performed_steps(reader, [order.id])[order.id]
    assert step.images == 2


def test_a_document_of_ours_is_no_image_where_series_are_not_counted(
    store: Store, archive: Archive, peer: Pacs, clock: Seconds, order: Order
) -> None:
    peer.holds(study(order))
    assert look(archive, clock) == 1
    store.write(archived_reports.add, order.id, 1)
    with store.read() as reader:
        [queued] = archived_reports.of_order(reader, order.id)
    store.write(archived_reports.set_stored, queued.id)
    peer.holds(study(order, NumberOfStudyRelatedInstances="3", ModalitiesInStudy=["DOC", "DX"]))
    look(archive, clock)
    with store.read() as reader:
        holding = archive_table.holding(reader, order.id)
    assert holding is not None
    assert holding.images == 2


def test_what_a_device_has_reported_is_counted_in_the_archive_too(
    store: Store, archive: Archive, peer: Pacs, clock: Seconds, order: Order
) -> None:
    create(store, creation(order.study_instance_uid))
    change(store, ending())
    assert look(archive, clock) == 0
    with store.read() as reader:
        assert archive_table.holding(reader, order.id) == Holding(images=0, asked_at=store.clock())
    peer.holds(study(order, NumberOfStudyRelatedInstances="1"))
    assert look(archive, clock) == 0
    with store.read() as reader:
        holding = archive_table.holding(reader, order.id)
        [step] = schedule.performed_steps(reader, [order.id])[order.id]
    assert holding is not None
    assert holding.images == 1
    assert (step.images, step.source) == (2, StepSource.MODALITY)  # what the device said stays what it said


def test_images_that_come_after_closing_are_counted(
    store: Store, archive: Archive, peer: Pacs, clock: Seconds, order: Order
) -> None:
    peer.holds(study(order))
    assert look(archive, clock) == 1
    peer.holds(study(order, NumberOfStudyRelatedInstances="6"))
    assert look(archive, clock) == 0
    with store.read() as reader:
        [step] = schedule.performed_steps(reader, [order.id])[order.id]
        holding = archive_table.holding(reader, order.id)
    assert step.images == 6
    assert holding is not None
    assert holding.images == 6


def test_a_number_that_would_ask_for_other_studies_too_is_no_key(
    store: Store, archive: Archive, peer: Pacs, order: Order
) -> None:
    def name(tx: Tx, number: str) -> None:
        tx.run("UPDATE orders SET bus_accession_number = ?", [number])

    for number in ("K2611*", "K2611?0001", "K2611\\K2612"):
        store.write(name, number)
        peer.asked.clear()
        archive.ask_now()
        uids = [each.StudyInstanceUID for each in peer.asked if each.get("StudyInstanceUID")]
        numbers = [each.AccessionNumber for each in peer.asked if each.get("AccessionNumber")]
        assert (uids, numbers) == ([order.study_instance_uid], [order.accession_number])
