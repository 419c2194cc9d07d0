"""What a card was before it was merged still leads to it: no number and no description makes a second card."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.domain.errors import Invalid, Refused
from broker.domain.orders import ImportedItem
from broker.domain.patients.patient_match import Likeness, PatientMatch
from broker.domain.patients.people import Patient, PersonName, Sex
from broker.domain.studies.archive import ArchiveStudy, DiscrepancyKind
from broker.store.database import Store
from broker.store.queries.patients import patient_index, patient_search
from broker.store.queries.studies import archive_gaps
from broker.store.tables import orders
from broker.workflow.referrals import referrals, worklist_files
from broker.workflow.studies import archive_images
from tests.support import factory
from tests.support.factory import CLINIC, KUZNETSOVA, REGISTRAR, SYSTEM, draft
from tests.workflow.test_patient_merge import card, merge, register, rows, undo

BARE = replace(KUZNETSOVA, snils="", policy="")
MARRIED = PersonName("Орлова", "Марина", "Петровна")
ANOTHER = replace(BARE, name=PersonName("Сидорова", "Анна", "Павловна"), birth_date=date(1990, 1, 1))


@pytest.fixture
def merged(store: Store) -> Patient:
    """Return a card without numbers, into which one with another family name and both numbers was merged."""
    kept, gone = register(store, replace(BARE, name=MARRIED)), register(store)
    merge(store, kept.patient.stored_id, gone.patient.stored_id)
    return card(store, kept.patient.stored_id)


def match(store: Store, person: Patient) -> PatientMatch:
    with store.read() as reader:
        return patient_index.match(reader, person)


def cards(store: Store) -> int:
    return int(rows(store, "SELECT count(*) AS n FROM patient")[0]["n"])


@pytest.mark.parametrize(
    "person",
    [
        pytest.param(KUZNETSOVA, id="as the merged card was"),
        pytest.param(BARE, id="by name, birth date and sex"),
        pytest.param(replace(KUZNETSOVA, name=MARRIED), id="by the numbers, with the name of today"),
        pytest.param(replace(KUZNETSOVA, policy=""), id="by the СНИЛС"),
        pytest.param(replace(KUZNETSOVA, snils=""), id="by the policy"),
        pytest.param(replace(KUZNETSOVA, sex=Sex.OTHER), id="by the numbers, without the sex"),
    ],
)
def test_whom_the_merged_card_described_is_the_card_that_stayed_and_its_data_hold(
    store: Store, merged: Patient, person: Patient
) -> None:
    before = cards(store)
    assert match(store, person).patient == merged
    again = register(store, replace(person, phone="+7 900 000-00-00"), comment="again")
    assert again.patient == replace(merged, phone="+7 900 000-00-00", revision=merged.revision + 1)
    assert cards(store) == before


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({"name": PersonName("Кузнецова", "Мария", "Петровна")}, ("name",)),
        ({"birth_date": date(1961, 12, 3)}, ("birth_date",)),
        ({"sex": Sex.MALE}, ("sex",)),
    ],
)
def test_a_former_number_with_other_data_waits_for_a_person_who_may_register_its_true_bearer(
    store: Store, merged: Patient, changes: dict[str, Any], fields: tuple[str, ...]
) -> None:
    other = replace(KUZNETSOVA, policy="", **changes)
    found = match(store, other)
    assert (found.likeness, found.patients, found.fields, found.former) == (
        Likeness.CONTRADICTORY,
        (merged,),
        fields,
        True,
    )
    with pytest.raises(Invalid) as caught:
        register(store, other)
    assert caught.value.problems == {"snils": "other_patient"}
    bearer = register(store, other, other_than=(merged.stored_id,)).patient
    assert bearer.id != merged.id
    assert match(store, other).patient == bearer
    assert match(store, replace(KUZNETSOVA, policy="")).likeness is Likeness.CONTRADICTORY  # it is in force for her now


def test_a_number_in_force_comes_before_a_former_one(store: Store, merged: Patient) -> None:
    other = register(store, replace(ANOTHER, snils="08765430300")).patient
    both = replace(ANOTHER, snils="08765430300", policy=KUZNETSOVA.policy)
    assert match(store, both).patient == other
    assert match(store, replace(both, name=KUZNETSOVA.name)).likeness is Likeness.CONTRADICTORY


def test_a_split_gives_the_number_back_and_it_leads_there_alone(store: Store) -> None:
    kept, gone = register(store, replace(BARE, name=MARRIED)), register(store)
    trail = merge(store, kept.patient.stored_id, gone.patient.stored_id)
    undo(store, trail.id)
    found = match(store, KUZNETSOVA)
    assert (found.patient, found.former) == (card(store, gone.patient.stored_id), False)


def test_the_former_name_of_the_card_that_stayed_leads_to_it(store: Store) -> None:
    kept, gone = register(store, replace(BARE, name=MARRIED)), register(store, BARE)
    merge(store, kept.patient.stored_id, gone.patient.stored_id, "family")
    assert card(store, kept.patient.stored_id).name == KUZNETSOVA.name
    found = match(store, replace(BARE, name=MARRIED))
    assert (found.patient, found.former) == (card(store, kept.patient.stored_id), True)


def test_another_snils_is_another_person_than_the_former_one(store: Store, merged: Patient) -> None:
    other = replace(KUZNETSOVA, snils="08765430300", policy="")
    assert match(store, other).likeness in (Likeness.NO_MATCH, Likeness.SIMILAR)


def test_who_is_described_so_today_and_whose_card_was_so_are_several(store: Store, merged: Patient) -> None:
    namesake = register(store, replace(BARE, snils="08765430300"))
    found = match(store, BARE)
    assert (found.likeness, {each.id for each in found.patients}) == (
        Likeness.SEVERAL,
        {merged.id, namesake.patient.id},
    )


def test_who_was_said_to_be_none_of_several_is_not_joined_with_the_card_into_which_they_were_merged(
    store: Store,
) -> None:
    one = register(store, BARE)
    two = register(store, replace(BARE, name=PersonName("Кузнецова", "Марина", "Павловна")))
    same = replace(two.patient, name=BARE.name)
    store.write(referrals.amend, two.id, two.revision, draft(patient=same), REGISTRAR, CLINIC)
    asked = tuple(each.stored_id for each in match(store, BARE).patients)
    assert len(asked) == 2
    merge(store, one.patient.stored_id, two.patient.stored_id)  # at another desk, meanwhile
    third = register(store, BARE, comment="x", other_than=asked)
    assert third.patient.id not in asked


def test_a_similar_patient_who_was_registered_after_the_answer_is_asked_about(store: Store) -> None:
    register(store, replace(BARE, name=PersonName("Кузнецова", "Марина")))
    person = replace(BARE, name=PersonName("Кузнецова", "Марина", "Павловна"))
    register(store, replace(BARE, name=PersonName("Кузнецова", "Марина", "Павловн")), other_than=(1,))
    with pytest.raises(Invalid) as caught:
        register(store, person, other_than=(1,))
    assert caught.value.problems == {"patient": "similar"}
    assert register(store, person, other_than=(1, 2)).patient.id == 3


def test_the_search_finds_by_former_numbers_however_they_are_written(store: Store, merged: Patient) -> None:
    with store.read() as reader:
        for typed in ("112-233-445 95", "11223344595", "7800 0000 1234 5671"):
            assert [each.id for each in patient_search.search(reader, typed).patients] == [merged.id]


# ---- worklist files ----


def item(patient: Patient, **changes: Any) -> ImportedItem:
    base = ImportedItem(
        patient=patient,
        start=datetime(2026, 11, 24, 10, 15),
        station_ae_titles=("XRAY_14",),
        modality="DX",
        procedure_name="EXAM",
        study_instance_uid="1.2.3.1",
        attributes={"top": {}, "step": {}},
    )
    return replace(base, **changes)


def test_a_new_file_without_a_patient_id_knows_the_merged_card_again(store: Store, merged: Patient) -> None:
    before = cards(store)
    taken = store.write(worklist_files.sync, item(BARE), "/wl/1.wl", "1", SYSTEM, CLINIC)
    with store.read() as reader:
        assert orders.require(reader, taken.order_id).patient == merged
    assert cards(store) == before


def test_a_file_whose_number_is_a_former_one_of_another_person_is_refused(store: Store, merged: Patient) -> None:
    with pytest.raises(Refused):
        store.write(
            worklist_files.sync,
            item(replace(KUZNETSOVA, birth_date=date(1990, 1, 1))),
            "/wl/1.wl",
            "1",
            SYSTEM,
            CLINIC,
        )


# ---- the archive ----


def test_images_that_bear_what_the_merged_card_said_still_fit_its_order(store: Store) -> None:
    kept, gone = register(store), register(store, replace(BARE, name=MARRIED))
    merge(store, kept.patient.stored_id, gone.patient.stored_id)
    study = ArchiveStudy(
        gone.study_instance_uid,
        gone.accession_number,
        2,
        "DX",
        "Орлова^Марина^Петровна",
        gone.patient.patient_id,
        "19610312",
    )
    assert store.write(archive_images.record_answer, gone.id, [study], SYSTEM, CLINIC, settled=True)
    stranger = replace(study, patient_name="Орлова^Инна^Петровна")
    store.write(archive_images.record_answer, gone.id, [stranger], SYSTEM, CLINIC, settled=True)
    with store.read() as reader:
        assert [each.discrepancy.kind for each in archive_gaps.open_studies(reader)] == [DiscrepancyKind.OTHER_PATIENT]


# ---- the kind ----

_NAMES = st.sampled_from((KUZNETSOVA.name, MARRIED, PersonName("Кузнецова", "Мария", "Петровна")))
_PEOPLE = st.builds(
    Patient,
    name=_NAMES,
    birth_date=st.sampled_from((KUZNETSOVA.birth_date, date(1961, 12, 3))),
    sex=st.sampled_from((Sex.FEMALE, Sex.MALE)),
    snils=st.sampled_from(("", "11223344595", "08765430300")),
    policy=st.sampled_from(("", "7800000012345671")),
)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(person=_PEOPLE, fields=st.sets(st.sampled_from(("family", "snils", "policy"))))
def test_whatever_was_merged_nobody_with_other_data_gets_the_card_and_no_number_two_people(
    tmp_path_factory: pytest.TempPathFactory, person: Patient, fields: set[str]
) -> None:
    store = factory.open_store(tmp_path_factory.mktemp("former") / "worklist.sqlite")
    try:
        kept, gone = register(store, replace(BARE, name=MARRIED)), register(store)
        merge(store, kept.patient.stored_id, gone.patient.stored_id, *fields)
        known = card(store, kept.patient.stored_id)
        before = cards(store)
        fits = (person.name in (MARRIED, KUZNETSOVA.name), person.birth_date, person.sex) == (
            True,
            KUZNETSOVA.birth_date,
            Sex.FEMALE,
        )
        numbered = person.snils == KUZNETSOVA.snils or person.policy == KUZNETSOVA.policy
        try:
            patient = register(store, person).patient
        except Invalid:
            assert numbered  # a person decides
            return
        after = card(store, kept.patient.stored_id)
        assert (after.name, after.birth_date, after.sex) == (known.name, known.birth_date, known.sex)
        if patient.id == known.id:
            assert fits
            assert cards(store) == before
            for number in ("snils", "policy"):  # what the card lacks may be filled in, by what was typed
                had = getattr(known, number)
                assert getattr(after, number) in ({had} if had else {"", getattr(person, number)})
        else:
            assert not numbered or not fits or person.snils == "08765430300"
            assert cards(store) == before + 1
    finally:
        store.close()
