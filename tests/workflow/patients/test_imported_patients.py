"""Worklist files, tables and JSON find a patient by one rule; who is similar is taken, and waits for a person."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.domain.errors import Refused
from broker.domain.import_result import ImportPlace, ImportSource
from broker.domain.orders import Order
from broker.domain.patients.people import Patient, PersonName, Sex
from broker.store.database import Store
from broker.store.queries import refused_imports
from broker.store.queries.refused_imports import SimilarCards
from broker.store.tables import orders
from broker.store.tables.patients import patient_merges, patients
from broker.workflow import patient_merge
from broker.workflow.referrals import referrals
from tests.support import factory
from tests.support.alike import ALIKE, HERS, alike
from tests.support.factory import CLINIC, KUZNETSOVA, REGISTRAR, SYSTEM, draft
from tests.workflow.referrals.test_worklist_files import item, order_of, take

BORN = date(1986, 1, 1)
UNKNOWN = Patient(PersonName("Неизвестный"), None, Sex.MALE)
POPOV = Patient(PersonName("Попов", "Степан", "Ильич"), date(1980, 5, 6), Sex.MALE)


def register(store: Store, patient: Patient = KUZNETSOVA) -> Patient:
    return store.write(referrals.register, draft(patient=patient), REGISTRAR, CLINIC).patient


def by_file(store: Store, patient: Patient, number: int = 1) -> Order:
    """Import a worklist file; it bears no СНИЛС and no policy."""
    content = item(patient=patient, accession_number=f"A{number}", study_instance_uid=f"1.2.3.{number}")
    return order_of(store, take(store, content, f"/wl/{number}.wl"))


def by_row(store: Store, patient: Patient, number: int = 1, source: ImportSource = ImportSource.TABLE) -> Order:
    """Import a row of a table."""
    place = ImportPlace(source, "/lists/a", number)
    referral = draft(patient=patient, submission_id=f"row {number}")
    return store.write(referrals.register_imported, referral, place, SYSTEM, CLINIC)[0]


def by_json(store: Store, patient: Patient, number: int = 1) -> Order:
    return by_row(store, patient, number, ImportSource.JSON)


WAYS: list[Callable[..., Order]] = [by_file, by_row, by_json]
SOURCES = {by_file: ImportSource.WORKLIST_FILE, by_row: ImportSource.TABLE, by_json: ImportSource.JSON}
each_way = pytest.mark.parametrize("way", WAYS)


def waiting(store: Store) -> list[SimilarCards]:
    with store.read() as reader:
        return refused_imports.similar(reader)


def cards(store: Store) -> int:
    with store.read() as reader:
        return int(reader.value("SELECT count(*) FROM patient WHERE merged_into IS NULL"))


def found_by(store: Store, number: str) -> Patient | None:
    with store.read() as reader:
        return patients.find_by(reader, "patient_id", number)


@each_way
@pytest.mark.parametrize("number", ["0", "000000", "б/н", "Б.Н.", "без номера", "-", "нет", "N/A"])
def test_what_stands_in_the_place_of_a_card_number_is_none(
    store: Store, way: Callable[..., Order], number: str
) -> None:
    one = way(store, replace(POPOV, patient_id=number), 1).patient
    other = way(store, replace(KUZNETSOVA, snils="", policy="", patient_id=number), 2).patient
    assert one.id != other.id
    assert {one.patient_id, other.patient_id} == {"000001", "000002"}
    assert found_by(store, number) is None


# ---- who is similar ----


@each_way
@pytest.mark.parametrize("index", range(len(ALIKE)), ids=[str(why) for why, _ in ALIKE])
def test_who_is_like_one_of_ours_is_taken_and_waits_with_the_reason(
    store: Store, way: Callable[..., Order], index: int
) -> None:
    known = register(store)
    order = way(store, alike(index), 3)
    assert order.patient.id != known.id
    [each] = waiting(store)
    assert (each.imported.id, each.other.id, each.similarity) == (order.patient.id, known.id, ALIKE[index][0])
    assert each.place.source is SOURCES[way]
    assert each.place.row == (0 if way is by_file else 3)


@each_way
def test_it_waits_through_further_imports_until_the_cards_are_merged_and_again_when_they_are_split(
    store: Store, way: Callable[..., Order]
) -> None:
    known = register(store)
    new = way(store, alike(1)).patient
    way(store, alike(1), 2)
    way(store, POPOV, 3)
    assert [(each.imported.id, each.other.id) for each in waiting(store)] == [(new.id, known.id)]
    revisions = (known.revision, new.revision)
    ids = known.stored_id, new.stored_id
    merge = store.write(patient_merge.merge, *ids, (), revisions, REGISTRAR, CLINIC)
    assert waiting(store) == []
    assert way(store, alike(1), 4).patient.id == known.id
    with store.read() as reader:
        decided = dict.fromkeys(patient_merges.later_orders(reader, merge), True)
    store.write(patient_merge.undo_merge, merge.id, REGISTRAR, CLINIC, decided=decided)
    assert len(waiting(store)) == 1


@each_way
def test_whom_a_person_has_told_apart_waits_no_more(store: Store, way: Callable[..., Order]) -> None:
    known = register(store)
    new = way(store, alike(1)).patient
    store.write(patient_merge.declare_different, new.stored_id, known.stored_id, REGISTRAR)
    assert waiting(store) == []
    way(store, alike(1), 2)
    assert waiting(store) == []
    assert cards(store) == 2


def test_a_typed_referral_notes_nothing(store: Store) -> None:
    register(store)
    register(store, alike(1))
    assert waiting(store) == []


# ---- one rule for numbers ----


@each_way
def test_a_card_number_that_is_not_known_is_another_card_beside_the_same_description(
    store: Store, way: Callable[..., Order]
) -> None:
    known = register(store)
    new = way(store, replace(HERS, patient_id="P9")).patient
    assert (new.id, new.patient_id) != (known.id, known.patient_id)
    [each] = waiting(store)
    assert (each.imported.patient_id, each.other.id, each.similarity) == ("P9", known.id, None)


@each_way
def test_without_a_card_number_the_same_description_is_the_same_card(store: Store, way: Callable[..., Order]) -> None:
    known = register(store)
    assert way(store, HERS).patient.id == known.id
    assert waiting(store) == []


@each_way
def test_of_several_who_fit_none_is_taken(store: Store, way: Callable[..., Order]) -> None:
    for snils in ("11223344595", "08765430300"):
        register(store, replace(HERS, snils=snils))
    with pytest.raises(Refused):
        way(store, HERS)
    new = way(store, replace(HERS, patient_id="P9"), 2).patient
    assert [each.imported.id for each in waiting(store)] == [new.id, new.id]


@pytest.mark.parametrize("way", [by_row, by_json])
@pytest.mark.parametrize("field", ["snils", "policy"])
def test_another_number_leads_to_the_card_and_so_does_the_card_number_from_then_on(
    store: Store, way: Callable[..., Order], field: str
) -> None:
    known = register(store)
    numbered = replace(HERS, patient_id="P9", **{field: getattr(KUZNETSOVA, field)})
    assert way(store, numbered).patient.patient_id == known.patient_id
    with store.read() as reader:
        assert patients.with_current_number(reader, replace(HERS, patient_id="P9")).patient_id == known.patient_id
    assert by_file(store, replace(HERS, patient_id="P9"), 2).patient.id == known.id
    assert waiting(store) == []
    assert cards(store) == 1


CONTRADICTIONS: list[tuple[dict[str, Any], str]] = [
    ({"birth_date": date(1961, 12, 3)}, "other_birth_date"),
    ({"sex": Sex.MALE}, "other_sex"),
    ({"name": PersonName("Кузнецова", "Мария", "Петровна")}, "other_name"),
    ({"name": PersonName("Попова", "Анна", "Петровна")}, "other_name"),
]


@each_way
@pytest.mark.parametrize(("changes", "reason"), CONTRADICTIONS)
def test_what_contradicts_the_card_with_its_number_is_refused_with_the_reason_and_the_card(
    store: Store, way: Callable[..., Order], changes: dict[str, Any], reason: str
) -> None:
    known = register(store)
    with pytest.raises(Refused) as caught:
        way(store, replace(HERS, patient_id=known.patient_id, **changes))
    assert (caught.value.reason, caught.value.about) == (reason, known.patient_id)
    assert cards(store) == 1


@pytest.mark.parametrize("way", [by_row, by_json])
def test_another_snils_under_a_card_number_is_refused(store: Store, way: Callable[..., Order]) -> None:
    known = register(store)
    other = register(store, replace(POPOV, snils="08765430300"))
    for snils, reason, about in (
        ("16732486186", "other_number", known.patient_id),
        ("08765430300", "number_of_another", other.patient_id),
    ):
        with pytest.raises(Refused) as caught:
            way(store, replace(HERS, patient_id=known.patient_id, snils=snils))
        assert (caught.value.reason, caught.value.about) == (reason, about)


@each_way
def test_a_family_name_that_has_changed_is_taken_under_the_card_number_and_audited(
    store: Store, way: Callable[..., Order]
) -> None:
    known = register(store)
    married = replace(HERS, patient_id=known.patient_id, name=replace(HERS.name, family="Зуева"))
    assert way(store, married).patient.name.family == "Зуева"
    assert amendments(store) == [{"family": ["Кузнецова", "Зуева"]}]


def amendments(store: Store) -> list[dict[str, Any]]:
    with store.read() as reader:
        found = reader.rows("SELECT details FROM audit WHERE action = 'patient_amend' ORDER BY seq")
    return [json.loads(row["details"])["changed"] for row in found]


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(
    trait=st.sampled_from([{}, *(changes for _, changes in ALIKE), *(changes for changes, _ in CONTRADICTIONS)]),
    number=st.sampled_from(["", "000001", "P9"]),
)
def test_every_way_decides_alike(tmp_path_factory: pytest.TempPathFactory, trait: dict[str, Any], number: str) -> None:
    outcomes: list[tuple[object, ...]] = []
    for way in WAYS:
        store = factory.open_store(tmp_path_factory.mktemp("way") / "worklist.sqlite")
        try:
            known = register(store)
            person = replace(HERS, patient_id=number, **trait)
            try:
                order = way(store, person)
            except Refused as error:
                outcomes.append(("refused", error.reason, error.about))
                continue
            found = waiting(store)
            outcomes.append(("taken", order.patient.id == known.id, order.patient.name, order.patient.birth_date))
            if order.patient.id == known.id:
                assert (order.patient.birth_date, order.patient.sex) == (known.birth_date, known.sex)
            else:
                assert found or trait.get("name", HERS.name).given in ("Мария", "Анна")
        finally:
            store.close()
    assert outcomes == outcomes[:1] * len(WAYS)


# ---- who had no name gets one ----


@each_way
def test_whose_card_has_no_name_gets_it_under_its_number_and_that_is_audited(
    store: Store, way: Callable[..., Order]
) -> None:
    first = by_file(store, replace(UNKNOWN, patient_id="777"), 8)
    assert str(first.patient.name) == "Неизвестный №777"
    named = way(store, replace(POPOV, patient_id="777"), 9)
    assert named.patient.id == first.patient.id
    assert (named.patient.name, named.patient.birth_date) == (POPOV.name, POPOV.birth_date)
    [changed] = amendments(store)
    assert changed["family"] == ["Неизвестный", "Попов"]
    with store.read() as reader:
        assert orders.require(reader, first.id).patient.name == POPOV.name
    assert waiting(store) == []


@each_way
def test_a_newborn_gets_its_name_under_its_number_and_date_of_birth(store: Store, way: Callable[..., Order]) -> None:
    child = Patient(PersonName("Иванова", "новорождённая", "мать Мария"), BORN, Sex.FEMALE, patient_id="5")
    first = by_file(store, child, 8).patient
    named = way(store, replace(child, name=PersonName("Иванова", "Дарья")), 9).patient
    assert (named.id, named.name) == (first.id, PersonName("Иванова", "Дарья"))


@each_way
@pytest.mark.parametrize(
    ("known", "said"),
    [
        (replace(UNKNOWN, birth_year=1950), POPOV),
        (UNKNOWN, replace(POPOV, sex=Sex.FEMALE)),
        (UNKNOWN, replace(UNKNOWN, name=PersonName("Иванова", "новорождённая"))),
        (Patient(PersonName("Иванова", "девочка"), BORN, Sex.FEMALE), replace(POPOV, sex=Sex.FEMALE)),
        (
            Patient(PersonName("Иванова", "девочка", "мать Мария"), BORN, Sex.FEMALE),
            Patient(PersonName("Иванова", "Мария"), BORN, Sex.FEMALE),
        ),
        (
            Patient(PersonName("Иванова", "девочка"), None, Sex.FEMALE),
            Patient(PersonName("Иванова", "Дарья"), BORN, Sex.FEMALE),
        ),
    ],
)
def test_a_name_that_contradicts_what_is_known_of_somebody_without_one_is_refused(
    store: Store, way: Callable[..., Order], known: Patient, said: Patient
) -> None:
    first = by_file(store, replace(known, patient_id="777"), 8).patient
    with pytest.raises(Refused):
        way(store, replace(said, patient_id="777"), 9)
    assert found_by(store, "777") == first


@each_way
def test_a_name_makes_no_second_card_of_one_of_ours_without_a_person_seeing_it(
    store: Store, way: Callable[..., Order]
) -> None:
    known = register(store, POPOV)
    by_file(store, replace(UNKNOWN, patient_id="777"), 8)
    named = way(store, replace(POPOV, patient_id="777"), 9).patient
    [each] = waiting(store)
    assert {each.imported.id, each.other.id} == {named.id, known.id}


def test_a_number_that_was_merged_into_a_named_card_names_that_card_no_other(store: Store) -> None:
    known = register(store)
    unknown = by_file(store, replace(UNKNOWN, sex=Sex.FEMALE, patient_id="777"), 8).patient
    ids, revisions = (known.stored_id, unknown.stored_id), (known.revision, unknown.revision)
    store.write(patient_merge.merge, *ids, (), revisions, REGISTRAR, CLINIC)
    with pytest.raises(Refused):
        by_row(store, replace(POPOV, sex=Sex.FEMALE, patient_id="777"), 9)


# ---- two without a name at one time ----


@pytest.mark.parametrize("person", [UNKNOWN, Patient(PersonName("Иванова", "девочка"), BORN, Sex.FEMALE)])
@each_way
def test_two_items_of_people_without_a_name_are_two_and_one_item_again_is_one(
    store: Store, way: Callable[..., Order], person: Patient
) -> None:
    first, second = way(store, person), way(store, person, 2)
    assert first.patient.id != second.patient.id
    assert (way(store, person).id, way(store, person, 2).id) == (first.id, second.id)


@each_way
def test_the_card_number_says_that_two_without_a_name_are_one(store: Store, way: Callable[..., Order]) -> None:
    numbered = replace(UNKNOWN, patient_id="777")
    assert way(store, numbered).patient.id == way(store, numbered, 2).patient.id


def test_a_file_of_somebody_without_a_name_and_number_that_changes_is_of_the_same_person(store: Store) -> None:
    first = by_file(store, UNKNOWN)
    content = item(patient=UNKNOWN, accession_number="A1", study_instance_uid="1.2.3.1", comment="срочно")
    again = order_of(store, take(store, content, "/wl/1.wl", "2"))
    assert (again.id, again.patient.id, again.comment) == (first.id, first.patient.id, "срочно")


@pytest.mark.parametrize("changes", [{"sex": Sex.FEMALE}, {"birth_date": BORN}])
def test_a_file_whose_unknown_person_has_become_another_one_changes_no_card(
    store: Store, changes: dict[str, Any]
) -> None:
    first = replace(UNKNOWN, birth_date=date(1986, 1, 2))
    order = by_file(store, first)
    again = item(patient=replace(first, **changes), accession_number="A1", study_instance_uid="1.2.3.1")
    after = order_of(store, take(store, again, "/wl/1.wl", digest="2")).patient
    assert found_by(store, order.patient.patient_id) == order.patient
    assert (after.id != order.patient.id, after.sex) == (True, changes.get("sex", Sex.MALE))


@each_way
def test_an_item_makes_no_other_person_of_a_card_that_has_one_name_only(
    store: Store, way: Callable[..., Order]
) -> None:
    one = replace(POPOV, name=PersonName("Ким"), patient_id="77")
    way(store, one, 1)
    with pytest.raises(Refused) as caught:
        way(store, replace(one, name=PersonName("Ли")), 2)
    assert (caught.value.reason, caught.value.about) == ("other_name", "77")
