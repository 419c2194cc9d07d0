"""Tables with which other programs were reported to stumble, and devices that echo what came of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from broker.dicom.devices.registry import Caller
from broker.domain.clinic.devices import Device
from broker.domain.import_result import ImportResult
from broker.imports import referral_columns
from broker.imports.referral_import import ReferralImport, read_table
from broker.store.database import Store
from broker.store.queries import board
from broker.store.tables import devices
from tests.dicom.worklist.asked import ask, query
from tests.support import factory
from tests.support.factory import CLINIC, REGISTRAR
from tests.support.modality import create, creation

INPUTS = Path(__file__).parent / "inputs"
ECHOED = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "AccessionNumber")


@pytest.fixture
def clinic(store: Store) -> Store:
    """Return a clinic with a device that knows Cyrillic letters only, and one with Latin letters only."""
    for device in (
        Device("OLD_5", "Рентген, старый", "DX", charset="ISO_IR 144", days_after=30),
        Device("LAT_6", "Рентген, латинский", "DX", charset="latin", days_after=30),
    ):
        store.write(devices.put, device)
    return store


def load(store: Store, name: str) -> list[ImportResult]:
    path = INPUTS / name
    return list(ReferralImport(store, REGISTRAR, CLINIC).run(read_table(path), str(path)))


def patients(store: Store) -> list[dict[str, Any]]:
    with store.read() as reader:
        return reader.rows("SELECT * FROM patient ORDER BY id")


def test_a_placeholder_in_a_table_is_refused_and_is_nobodys_number(clinic: Store) -> None:
    [result] = load(clinic, "snils_zero.csv")
    assert result.outcome == "refused"
    assert result.reasons == (
        "«СНИЛС»: is a placeholder: leave the cell empty if there is none (found «000-000-000 00»)",
    )
    assert patients(clinic) == []


def test_a_number_with_the_dashes_of_a_word_processor_is_the_number(clinic: Store) -> None:
    [result] = load(clinic, "snils_dashes.csv")
    assert result.outcome == "added"
    [patient] = patients(clinic)
    assert (patient["snils"], patient["family"]) == ("11223344595", "Воробьёва")


def test_what_a_device_echoes_of_its_worklist_is_never_another_patient(clinic: Store) -> None:
    assert {each.outcome for each in load(clinic, "names_for_devices.csv")} == {"added"}
    echoed = 0
    for ae_title in ("OLD_5", "LAT_6"):
        keys = dict.fromkeys(ECHOED, "")
        answers = ask(clinic, query({"ScheduledStationAETitle": ae_title}, **keys), ae_title)
        for answer in answers:
            if answer.identifier is not None:
                echoed += 1
                start(clinic, answer.identifier, ae_title, f"1.2.9.{echoed}")
    assert echoed == 12
    with clinic.read() as reader:
        assert board.doubtful(reader) == []
        assert reader.value("SELECT count(*) FROM performed_step_link WHERE conflict <> ''") == 0
        assert reader.value("SELECT count(DISTINCT performed_step_id) FROM performed_step_link") == 12


def start(store: Store, item: Dataset, ae_title: str, uid: str) -> None:
    """Begin a study as a device does that gives back what it was given."""
    given_back = {keyword: item.get(keyword, "") for keyword in ("PatientName", "PatientID", "PatientBirthDate")}
    sent = creation(
        item.StudyInstanceUID,
        SpecificCharacterSet=item.get("SpecificCharacterSet"),
        PatientSex=item.get("PatientSex", ""),
        PerformedStationAETitle=ae_title,
        **given_back,
    )
    create(store, sent, uid, Caller(ae_title, "10.0.0.5"))


def test_odd_card_numbers_are_refused_with_a_reason_or_lead_to_their_patient_alone(clinic: Store) -> None:
    results = load(clinic, "card_numbers.csv")
    assert len(results) == 10
    assert all(each.reasons for each in results if each.outcome == "refused")
    taken = [each["patient_id"] for each in patients(clinic)]
    assert len(taken) == len(set(taken)) == sum(each.outcome == "added" for each in results)
    assert not [number for number in taken if "\\" in number or len(number) > 64]  # PS3.5 6.2, LO
    assert not [number for number in taken if set(number) & {"*", "?"}]  # they would find others, too
    for number in taken:
        found = ask(clinic, query({"ScheduledStationAETitle": ""}, PatientID=number), "FLG_12")
        assert len([each for each in found if each.identifier is not None]) == 1, number


def test_a_card_number_that_no_device_can_take_is_refused_and_the_import_goes_on(clinic: Store) -> None:
    results = load(clinic, "card_number_70.csv")
    long = [each for each in results if any("is too long" in reason for reason in each.reasons)]
    assert long
    assert all(len(each["patient_id"]) <= 64 for each in patients(clinic))


# ---- the kind: rows of people who differ in one trait ----

HEADER = "ФИО;Дата рождения;Пол;СНИЛС;Исследование;Аппарат;Дата;Время"
_PERSON = {"name": "Зуева Анна Павловна", "born": "01.02.1970", "sex": "ж", "snils": "112-233-445 95"}
_TRAITS: list[dict[str, str]] = [
    {},
    {"name": "ЗУЕВА анна павловна"},
    {"name": "Зуева Анна"},
    {"name": "Зуева Алла Павловна"},
    {"name": "Петрова Анна Павловна"},
    {"born": "02.01.1970"},
    {"born": "01.02.1971"},
    {"sex": "м"},
    {"snils": ""},
    {"snils": "087-654-303 00"},
    {"snils": "", "name": "Зуева Анна"},
    {"snils": "", "born": "02.01.1970"},
]


def _row(person: dict[str, str], minute: int) -> str:
    values = (person["name"], person["born"], person["sex"], person["snils"], "WLB-FLG1", "FLG_12", "24.11.2026")
    return ";".join((*values, f"12:{minute:02}"))


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(traits=st.lists(st.sampled_from(_TRAITS), min_size=2, max_size=4))
def test_rows_of_people_who_differ_in_one_trait_never_become_one_patient(
    tmp_path_factory: pytest.TempPathFactory, traits: list[dict[str, str]]
) -> None:
    store = factory.open_store(tmp_path_factory.mktemp("rows") / "worklist.sqlite")
    people = [_PERSON | trait for trait in traits]
    try:
        lines = [_row(person, minute) for minute, person in enumerate(people)]
        table = referral_columns.read("\n".join((HEADER, *lines)).encode())
        results = list(ReferralImport(store, REGISTRAR, CLINIC).run(table, "/lists/a.csv"))
        with store.read() as reader:
            cards = reader.rows(
                "SELECT s.start, o.patient_id FROM scheduled_step s JOIN orders o ON o.id = s.order_id ORDER BY s.start"
            )
        by_minute = {int(row["start"][14:16]): row["patient_id"] for row in cards}
        for one, card in by_minute.items():
            for other, same_card in by_minute.items():
                if card == same_card:
                    assert _may_be_one(people[one], people[other]), (people[one], people[other])
        assert len(by_minute) == sum(each.outcome == "added" for each in results)
    finally:
        store.close()


def _may_be_one(one: dict[str, str], other: dict[str, str]) -> bool:
    """Return True if nothing that is said of two people contradicts."""
    numbers = {one["snils"], other["snils"]} - {""}
    names = [each["name"].casefold().split() for each in (one, other)]
    shared = min(map(len, names))
    return (
        len(numbers) < 2
        and one["born"] == other["born"]
        and one["sex"] == other["sex"]
        and names[0][:shared] == names[1][:shared]
    )
