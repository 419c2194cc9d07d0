"""Whatever an archive answers: only what fits the order is believed, and what bears its numbers is never lost."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.domain.orders import Order, OrderState, ScheduledStep
from broker.domain.patients import identity
from broker.domain.patients.people import PersonName
from broker.domain.studies import archive
from broker.domain.studies.archive import ArchiveStudy, DiscrepancyKind, DiscrepancyState, OrderEvidence
from tests.support.clock import NOW
from tests.support.factory import KUZNETSOVA, soon

ORDER = Order(
    id=1,
    accession_number="2611-0007",
    bus_accession_number="ACSN-1",
    study_instance_uid="1.2.643.7",
    requested_procedure_id="P1",
    patient=replace(KUZNETSOVA, patient_id="К-17"),
    state=OrderState.SCHEDULED,
    procedure_code="WLB-KNEE",
    procedure_name="Колено",
    modality="DX",
    steps=(ScheduledStep(soon(), ("XRAY_14",), id=1),),
    authored_on=NOW.astimezone(UTC),
)
OURS = ArchiveStudy(
    "1.2.643.7", "2611-0007", 2, "DX", "Кузнецова^Марина^Петровна", "К-17", "19610312", soon() + timedelta(minutes=5)
)
STUDIES = st.builds(
    ArchiveStudy,
    study_instance_uid=st.sampled_from(["1.2.643.7", "1.2.643.70", "1.2.643", "1.2.3.99", "1.2.3.98", ""]),
    accession_number=st.sampled_from(["2611-0007", "ACSN-1", "2611-0008", "2611-00071", ""]),
    images=st.sampled_from([None, 0, 1, 7]),
    patient_name=st.sampled_from(
        ["Кузнецова^Марина^Петровна", "КУЗНЕЦОВА^М", "KUZNETSOVA^MARINA", "^^", "", "????", "Попов^Олег"]
    ),
    patient_id=st.sampled_from(["К-17", "-17", "?-17", "", "D-1"]),
    birth_date=st.sampled_from(["19610312", "", "19600101"]),
    start=st.sampled_from([None, soon(), soon() - timedelta(days=1), datetime(2019, 1, 1)]),
    patient_sex=st.sampled_from(["F", "", "O", "M"]),
)
REPORTED = OrderEvidence(reported_uids=frozenset({"1.2.3.99"}))
TRUSTED = OrderEvidence(is_number_enough=True)
EVIDENCE = st.builds(
    OrderEvidence,
    reported_uids=st.sampled_from([frozenset(), frozenset({"1.2.3.99"})]),
    foreign_uids=st.sampled_from([frozenset(), frozenset({"1.2.3.98"})]),
    foreign_ids=st.sampled_from([frozenset(), frozenset({"D-1"})]),
    is_number_enough=st.booleans(),
)


@given(st.lists(STUDIES, max_size=5), EVIDENCE)
def test_only_what_fits_is_believed_and_nothing_that_bears_our_numbers_is_lost(
    found: list[ArchiveStudy], evidence: OrderEvidence
) -> None:
    compared = archive.compare(ORDER, found, evidence)
    assert len(compared.believed) <= 1 + len(evidence.reported_uids)
    ours = {"1.2.643.7", *evidence.reported_uids}
    concerned = {each.key for each in found if archive.concerns(ORDER, each, evidence)}
    for study in compared.believed:
        patient = (ORDER.patient, study.patient_name, study.patient_id)
        assert study.accession_number in ("2611-0007", "ACSN-1", "")
        assert not identity.contradictions(*patient, study.birth_date, study.patient_sex)
        assert identity.agreements(*patient)
        assert study.start is None or study.start.year == 2026
        assert study.study_instance_uid not in evidence.foreign_uids
        if study.study_instance_uid not in ours:
            assert evidence.is_number_enough
            assert study.accession_number
            assert study.start
            assert concerned == {study.key}
            assert "patient_name" in identity.agreements(*patient)
            assert study.patient_id == "К-17"
            assert study.birth_date == "19610312"
    shown = {each.study.key for each in compared.doubts}
    assert shown | {each.key for each in compared.believed} == concerned
    assert not shown & {each.key for each in compared.believed}


@given(st.lists(STUDIES, max_size=5), st.permutations(range(5)), EVIDENCE)
def test_the_order_of_an_archives_answers_does_not_matter(
    found: list[ArchiveStudy], order: list[int], evidence: OrderEvidence
) -> None:
    shuffled = [found[index] for index in order if index < len(found)]
    one, other = archive.compare(ORDER, found, evidence), archive.compare(ORDER, shuffled, evidence)
    assert {each.key for each in one.believed} == {each.key for each in other.believed}
    assert {(each.kind, each.study.key) for each in one.doubts} == {
        (each.kind, each.study.key) for each in other.doubts
    }


@given(st.lists(STUDIES, max_size=4), EVIDENCE, st.data())
def test_what_a_person_decided_is_not_asked_again(
    found: list[ArchiveStudy], evidence: OrderEvidence, data: st.DataObject
) -> None:
    first = archive.compare(ORDER, found, evidence)
    decided = {
        each.study.key: data.draw(st.sampled_from([DiscrepancyState.ACCEPTED, DiscrepancyState.DISMISSED]))
        for each in first.doubts
    }
    again = archive.compare(ORDER, found, replace(evidence, decided=decided))
    assert not {each.study.key for each in again.doubts} & set(decided)
    believed = {each.key for each in again.believed}
    assert {key for key, state in decided.items() if state is DiscrepancyState.ACCEPTED} <= believed
    assert not believed & {key for key, state in decided.items() if state is DiscrepancyState.DISMISSED}


def decided(state: DiscrepancyState, *studies: ArchiveStudy) -> OrderEvidence:
    return OrderEvidence(decided=dict.fromkeys((each.key for each in studies), state))


def kinds(*found: ArchiveStudy, evidence: OrderEvidence = archive.NO_EVIDENCE) -> list[DiscrepancyKind]:
    return [each.kind for each in archive.compare(ORDER, found, evidence).doubts]


def test_two_studies_that_a_person_calls_hers_are_counted_together() -> None:
    one, other = replace(OURS, study_instance_uid="1.2.3"), replace(OURS, study_instance_uid="1.2.4", images=3)
    assert archive.compare(ORDER, [one, other], decided(DiscrepancyState.ACCEPTED, one, other)).images == 5


def test_when_one_of_two_studies_is_said_to_be_anothers_a_person_is_asked_about_the_other_one() -> None:
    one, other = replace(OURS, study_instance_uid="1.2.3"), replace(OURS, study_instance_uid="1.2.4")
    assert set(kinds(one, other)) == {DiscrepancyKind.SEVERAL_STUDIES}
    for evidence in (OrderEvidence(), TRUSTED):
        dismissed = replace(evidence, decided={one.key: DiscrepancyState.DISMISSED})
        assert kinds(one, other, evidence=dismissed) == [DiscrepancyKind.OWN_UID]


def test_our_number_under_another_uid_is_a_persons_to_decide_however_well_it_fits() -> None:
    assert kinds(replace(OURS, study_instance_uid="1.2.3")) == [DiscrepancyKind.OWN_UID]


def test_a_uid_under_which_the_orders_device_has_reported_its_images_is_the_orders() -> None:
    theirs = replace(OURS, study_instance_uid="1.2.3.99")
    for number in ("2611-0007", ""):
        study = replace(theirs, accession_number=number)
        assert archive.compare(ORDER, [study], REPORTED).believed == (study,)
    other = replace(theirs, patient_name="Попов^Олег")
    assert kinds(other, evidence=REPORTED) == [DiscrepancyKind.OTHER_PATIENT]
    assert kinds(replace(theirs, accession_number="9"), evidence=REPORTED) == [DiscrepancyKind.OTHER_NUMBER]
    grouped = replace(REPORTED, group_numbers=frozenset({"9"}))  # one study for two orders
    assert kinds(replace(theirs, accession_number="9"), evidence=grouped) == []


def test_a_study_under_an_accepted_uid_stays_the_orders_when_the_archive_corrects_its_patient() -> None:
    theirs = replace(OURS, study_instance_uid="1.2.3", accession_number="", patient_name="", patient_id="")
    evidence = decided(DiscrepancyState.ACCEPTED, theirs)
    corrected = replace(theirs, patient_name=OURS.patient_name, patient_id=OURS.patient_id)
    assert archive.compare(ORDER, [corrected], evidence).believed == (corrected,)
    assert kinds(replace(corrected, patient_name="Попов^Олег"), evidence=evidence) == [DiscrepancyKind.OTHER_PATIENT]


OWN = replace(OURS, study_instance_uid="1.2.3")


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"patient_sex": "F"},
        {"patient_name": "КУЗНЕЦОВА^МАРИНА"},
        {"patient_name": "KUZNETSOVA^MARINA^PETROVNA"},
        {"patient_name": "KUZNETSOVA^MARINA", "patient_id": "K-17"},
        {"accession_number": "ACSN-1"},
        {"images": None},
    ],
)
def test_a_number_is_enough_for_a_device_with_uids_of_its_own_where_everything_else_fits(
    changes: dict[str, str],
) -> None:
    study = replace(OWN, **changes)  # type: ignore[arg-type]
    assert archive.compare(ORDER, [study], TRUSTED).believed == (study,)
    assert kinds(study) == [DiscrepancyKind.OWN_UID]


@pytest.mark.parametrize(
    "changes",
    [
        {"patient_name": ""},
        {"patient_name": "^^"},
        {"patient_name": "Кузнецова"},
        {"patient_name": "????????^??????"},
        {"patient_name": "KUZNETSOVA^MARIA"},
        {"patient_name": "Попов^Олег"},
        {"patient_id": ""},
        {"patient_id": "-17"},
        {"patient_id": "77"},
        {"birth_date": ""},
        {"birth_date": "19610313"},
        {"patient_sex": "M"},
        {"start": None},
        {"start": soon() - timedelta(hours=30)},
        {"start": datetime(2019, 1, 1)},
        {"accession_number": "2611-00071"},
        {"accession_number": ""},
        {"study_instance_uid": ""},
    ],
)
def test_a_number_is_not_enough_where_anything_is_missing_or_differs(changes: dict[str, str]) -> None:
    assert archive.compare(ORDER, [replace(OWN, **changes)], TRUSTED).believed == ()  # type: ignore[arg-type]


@pytest.mark.parametrize("second", [{}, {"patient_name": "Попов^Олег"}, {"start": datetime(2019, 1, 1)}])
def test_a_number_is_not_enough_beside_a_second_study_with_it(second: dict[str, str]) -> None:
    other = replace(OWN, study_instance_uid="1.2.4", **second)  # type: ignore[arg-type]
    assert archive.compare(ORDER, [OWN, other], TRUSTED).believed == ()


def test_a_number_is_not_enough_for_a_patient_without_a_birth_date_or_another_orders_uid() -> None:
    unborn = replace(ORDER, patient=replace(ORDER.patient, birth_date=None))
    assert archive.compare(unborn, [OWN], TRUSTED).believed == ()
    foreign = replace(TRUSTED, foreign_uids=frozenset({"1.2.3"}))
    assert kinds(OWN, evidence=foreign) == [DiscrepancyKind.OTHER_UID]


def test_the_data_of_a_card_that_was_merged_into_the_patients_are_the_patients() -> None:
    former = replace(ORDER.patient, name=PersonName("Иванова", "Марина", "Петровна"), patient_id="К-3")
    study = replace(OURS, patient_name="Иванова^Марина^Петровна", patient_id="К-3")
    assert kinds(study) == [DiscrepancyKind.OTHER_PATIENT]
    assert archive.compare(ORDER, [study], OrderEvidence(cards=(former,))).believed == (study,)
    numbered = replace(OURS, patient_name="^^", patient_id="К-3")
    assert archive.compare(ORDER, [numbered], OrderEvidence(cards=(former,))).believed == (numbered,)


TRAITS = {
    "name": {"patient_name": "Попов^Олег"},
    "birth date": {"birth_date": "19600101"},
    "sex": {"patient_sex": "M"},
    "age of the study": {"start": datetime(2019, 1, 1)},
    "accession number": {"accession_number": "9999-0001"},
    "patient": {"patient_name": "", "patient_id": ""},
}


@pytest.mark.parametrize("wrong", [*combinations(TRAITS, 1), *combinations(TRAITS, 2)], ids=" and ".join)
def test_one_thing_that_does_not_fit_is_enough(wrong: tuple[str, ...]) -> None:
    study = OURS
    for trait in wrong:
        study = replace(study, **TRAITS[trait])  # type: ignore[arg-type]
    compared = archive.compare(ORDER, [study])
    assert compared.believed == ()
    assert [each.study for each in compared.doubts] == [study]
