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
from broker.domain.studies import archive
from broker.domain.studies.archive import ArchiveStudy, DiscrepancyKind, DiscrepancyState
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
)


@given(st.lists(STUDIES, max_size=5))
def test_only_what_fits_is_believed_and_nothing_that_bears_our_numbers_is_lost(found: list[ArchiveStudy]) -> None:
    compared = archive.compare(ORDER, found)
    assert len(compared.believed) <= 1
    for study in compared.believed:
        patient = (ORDER.patient, study.patient_name, study.patient_id)
        assert study.study_instance_uid
        assert study.study_instance_uid == "1.2.643.7" or study.accession_number in ("2611-0007", "ACSN-1")
        assert study.accession_number in ("2611-0007", "ACSN-1", "")
        assert not identity.contradictions(*patient, study.birth_date)
        assert identity.agreements(*patient)
        assert study.start is None or study.start.year == 2026
    shown = {each.study.key for each in compared.doubts}
    concerned = {each.key for each in found if archive.concerns(ORDER, each)}
    assert shown | {each.key for each in compared.believed} == concerned
    assert not shown & {each.key for each in compared.believed}


@given(st.lists(STUDIES, max_size=5), st.permutations(range(5)))
def test_the_order_of_an_archives_answers_does_not_matter(found: list[ArchiveStudy], order: list[int]) -> None:
    shuffled = [found[index] for index in order if index < len(found)]
    one, other = archive.compare(ORDER, found), archive.compare(ORDER, shuffled)
    assert {each.key for each in one.believed} == {each.key for each in other.believed}
    assert {(each.kind, each.study.key) for each in one.doubts} == {
        (each.kind, each.study.key) for each in other.doubts
    }


@given(st.lists(STUDIES, max_size=4), st.data())
def test_what_a_person_decided_is_not_asked_again(found: list[ArchiveStudy], data: st.DataObject) -> None:
    first = archive.compare(ORDER, found)
    decided = {
        each.study.key: data.draw(st.sampled_from([DiscrepancyState.ACCEPTED, DiscrepancyState.DISMISSED]))
        for each in first.doubts
    }
    again = archive.compare(ORDER, found, decided)
    assert not {each.study.key for each in again.doubts} & set(decided)
    believed = {each.key for each in again.believed}
    assert {key for key, state in decided.items() if state is DiscrepancyState.ACCEPTED} <= believed
    assert not believed & {key for key, state in decided.items() if state is DiscrepancyState.DISMISSED}


def test_two_studies_that_a_person_calls_hers_are_counted_together() -> None:
    one, other = replace(OURS, study_instance_uid="1.2.3"), replace(OURS, study_instance_uid="1.2.4", images=3)
    decided = dict.fromkeys((one.key, other.key), DiscrepancyState.ACCEPTED)
    assert archive.compare(ORDER, [one, other], decided).images == 5


def test_when_one_of_two_studies_is_said_to_be_anothers_the_other_one_is_hers() -> None:
    one, other = replace(OURS, study_instance_uid="1.2.3"), replace(OURS, study_instance_uid="1.2.4")
    assert {each.kind for each in archive.compare(ORDER, [one, other]).doubts} == {DiscrepancyKind.SEVERAL_STUDIES}
    assert archive.compare(ORDER, [one, other], {one.key: DiscrepancyState.DISMISSED}).believed == (other,)


TRAITS = {
    "name": {"patient_name": "Попов^Олег"},
    "birth date": {"birth_date": "19600101"},
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
