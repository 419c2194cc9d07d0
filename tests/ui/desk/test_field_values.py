"""From what a registrar types to the referral: what is read, what is wrong, and what the form's mode allows."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import date, datetime
from typing import Any

import pytest

from broker.domain.clinic.devices import Device, ProcedureType
from broker.domain.orders import Priority, Referral, ReferralDraft
from broker.domain.patients.people import Patient, PersonName, Sex
from broker.workflow.referrals import referrals
from ui.desk.referral.field_values import (
    EMPTY,
    FormContent,
    FormParser,
    Parsed,
    ReferralOptions,
    ReferralRules,
    of_described,
    of_patient,
    of_referral,
    usual_form,
)
from ui.text.referral_fields import LABELS

NOW = datetime(2026, 11, 24, 9, 47)
US, THEM = "3f2c1d7e-0a4b-4c59-9e1d-5b8f6a7c0d21", "9b1d2c3e-1111-4c59-9e1d-5b8f6a7c0d21"
KNEE = ProcedureType("WLB-KNEE", "Рентгенография коленного сустава", "DX", 15)
KUZNETSOVA = Patient(
    PersonName("Кузнецова", "Марина", "Петровна"), date(1961, 3, 12), Sex.FEMALE, patient_id="000001", id=7, revision=3
)
OPTIONS = ReferralOptions(
    [KNEE],
    [Device("XRAY_14", "Рентген", "DX")],
    [("Белов И. П.", "терапевт", "11223344595")],
    {},
    {"78007": "Городская страховая"},
    US,
)
FILLED = {
    **EMPTY,
    **of_patient(KUZNETSOVA),
    "procedure": "WLB-KNEE",
    "time": "10:00",
}


def parse(rules: ReferralRules | None = None, content: FormContent | None = None, **typed: Any) -> Parsed:
    content = content or FormContent({**FILLED, **typed}, None, False, "", "")
    return FormParser(content, OPTIONS, rules or ReferralRules(), NOW).parse("s1")


def test_a_referral_is_parsed_into_what_is_stored() -> None:
    parsed = parse(
        family=" Кузнецова ",
        snils="112-233-445 95",
        weight="72,5",
        date="завтра",
        time="930",
        urgent=True,
        diagnosis="м17.1 гонартроз",  # the first letter is Cyrillic
        referrer="Белов И. П., терапевт",
        comment="  стоя \n ",
    )
    draft = parsed.draft
    assert draft is not None
    assert not parsed.problems
    assert (draft.patient.name.family, draft.patient.snils, draft.patient.weight) == ("Кузнецова", "11223344595", 72.5)
    assert (draft.start, draft.station_ae_titles) == (datetime(2026, 11, 25, 9, 30), ("XRAY_14",))
    assert (draft.diagnosis_code, draft.diagnosis_text) == ("M17.1", "гонартроз")
    assert (draft.referrer_position, draft.referrer_snils) == ("терапевт", "11223344595")
    assert (draft.priority, draft.comment, draft.submission_id) == (Priority.URGENT, "стоя", "s1")
    assert referrals.normalise(draft) == draft


@pytest.mark.parametrize("doctor", ["Белов Илья Павлович", ""])
def test_what_is_shown_of_a_referral_is_parsed_into_the_same_referral(doctor: str) -> None:
    reported = ReferralDraft(
        KUZNETSOVA,
        "WLB-KNEE",
        ("XRAY_14",),
        NOW,
        laterality="L",
        priority=Priority.URGENT,
        finance="3",
        referrer=PersonName(*doctor.split(" ")),
        referrer_position="терапевт",
        diagnosis_code="M17.1",
        diagnosis_text="гонартроз",
        comment="стоя",
    )
    parsed = parse(**of_referral(reported)).draft
    assert parsed is not None
    assert parsed.referral_fields() == reported.referral_fields()


def test_every_field_of_a_referral_has_a_name() -> None:
    assert {each.name for each in fields(Referral)} | set(EMPTY) <= set(LABELS)


def test_everything_that_is_wrong_is_reported_at_once_and_nothing_half_valid_is_returned() -> None:
    parsed = parse(family="", birth_date="31.02.1961", sex=None, date="вчера", time="", weight="много", diagnosis="1")
    assert parsed.draft is None
    assert parsed.problems == {
        "family": "required",
        "birth_date": "unreadable",
        "sex": "required",
        "date": "unreadable",
        "time": "required",
        "weight": "unreadable",
        "diagnosis": "icd10",
    }


@pytest.mark.parametrize(
    ("typed", "name", "born"),
    [
        ({"given": "-", "middle": ""}, PersonName("Кузнецова"), date(1961, 3, 12)),
        ({"given": "–", "middle": "—"}, PersonName("Кузнецова"), date(1961, 3, 12)),
        ({"family": "'т Хоофт"}, PersonName("'т Хоофт", "Марина", "Петровна"), date(1961, 3, 12)),
        ({"birth_date": "1961"}, KUZNETSOVA.name, 1961),
        ({"birth_date": "1961 г. р."}, KUZNETSOVA.name, 1961),
        ({"birth_date": "неизвестна"}, KUZNETSOVA.name, None),
        ({"birth_date": "нет"}, KUZNETSOVA.name, None),
        (
            {"family": "Неизвестный", "given": "", "middle": "", "birth_date": "неизвестна"},
            PersonName("Неизвестный"),
            None,
        ),
        ({"given": "девочка 2", "middle": "мать Марина"}, PersonName("Кузнецова", "девочка 2", "мать Марина"), None),
    ],
)
def test_what_is_not_known_of_somebody_is_said_in_the_fields(
    typed: dict[str, Any], name: PersonName, born: date | int | None
) -> None:
    parsed = parse(**{"birth_date": "неизвестна" if born is None else "12.03.1961", **typed})
    assert parsed.problems == {}
    assert parsed.draft is not None
    assert (parsed.draft.patient.name, parsed.draft.patient.born) == (name, born)


def test_what_is_empty_may_have_been_forgotten() -> None:
    assert parse(given="", middle="", birth_date="").problems == {"given": "required", "birth_date": "required"}
    assert parse(birth_date="1812").problems == {"birth_date": "too_old"}
    assert parse(birth_date="2031").problems == {"birth_date": "future"}


@pytest.mark.parametrize(
    "known",
    [
        replace(KUZNETSOVA, name=PersonName("Сухарто")),
        replace(KUZNETSOVA, birth_date=None),
        replace(KUZNETSOVA, birth_date=None, birth_year=1961),
        replace(KUZNETSOVA, name=PersonName("Неизвестный", "№3"), birth_date=None),
        replace(KUZNETSOVA, name=PersonName("Ким", "новорождённая", "мать Ли"), mother="Ким Ли, карта 000003"),
    ],
)
def test_a_stored_card_that_lacks_something_is_shown_and_saved_as_it_is(known: Patient) -> None:
    parsed = parse(content=FormContent({**FILLED, **of_patient(known)}, known, False, "", ""))
    assert parsed.draft is not None
    assert parsed.draft.patient == known
    shown = of_patient(known)
    assert {key: usual_form(key, shown[key], NOW.date()) for key in ("given", "birth_date") if shown[key]} == {
        key: shown[key] for key in ("given", "birth_date") if shown[key]
    }


def test_what_a_sender_did_not_say_is_asked_for() -> None:
    shown = of_described(Patient(PersonName("Петров"), None, Sex.MALE))
    assert (shown["given"], shown["birth_date"]) == ("", "")


class Correcting(ReferralRules):
    @property
    def corrects_patient(self) -> bool:
        return True


def test_a_name_that_was_found_out_is_the_same_patients_where_the_mode_says_so() -> None:
    unknown = replace(KUZNETSOVA, name=PersonName("Неизвестная", "№3"), birth_date=None)
    content = FormContent(FILLED, unknown, False, "", "")
    corrected, other = parse(Correcting(), content).draft, parse(content=content).draft
    assert corrected is not None
    assert other is not None
    assert (corrected.patient.id, other.patient.id) == (unknown.id, None)


def test_before_it_is_known_what_is_to_be_done_neither_a_device_nor_a_time_is_asked_for() -> None:
    assert parse(procedure=None, time="").problems == {"procedure": "required"}


@pytest.mark.parametrize(
    ("typed", "owner", "problem"), [("", "", "required"), ("?", "", "unknown"), ("мы", US, "ours")]
)
def test_another_clinic_must_be_one_that_is_known_and_not_this_one(typed: str, owner: str, problem: str) -> None:
    content = FormContent({**FILLED, "owner": typed, "time": ""}, None, True, owner, "")
    assert parse(content=content).problems == {"owner": problem}


def test_another_clinic_gives_the_device_and_the_time() -> None:
    draft = parse(content=FormContent({**FILLED, "owner": "Больница"}, None, True, THEM, "")).draft
    assert draft is not None
    assert (draft.owner, draft.station_ae_titles, draft.start) == (THEM, (), datetime(2026, 11, 24))


@pytest.mark.parametrize(
    ("typed", "same"),
    [
        ({}, True),
        ({"family": "Петрова"}, True),  # she has married
        ({"birth_date": "13.03.1961"}, True),  # a slip was corrected
        ({"family": "Петрова", "given": "Анна"}, False),
        ({"family": "Петрова", "birth_date": "13.03.1961"}, False),
        ({"family": "Петрова", "birth_date": ""}, False),
    ],
)
def test_a_chosen_patient_stays_until_the_typed_fields_mean_another_person(typed: dict[str, str], same: bool) -> None:
    content = FormContent({**FILLED, **typed}, KUZNETSOVA, False, "", "")
    patient = FormParser(content, OPTIONS, ReferralRules(), NOW).patient()
    assert (patient.id, patient.revision) == ((7, 3) if same else (None, 0))


class OneOfTheirs(ReferralRules):
    patient_is_fixed = True

    def may_be_past(self, start: datetime) -> bool:
        return start == datetime(2026, 11, 20, 10)

    def stations(self, device: Device) -> tuple[str, ...]:
        return (device.ae_title, "XRAY_15")


def test_what_depends_on_the_mode_is_asked_of_the_mode() -> None:
    other = FormContent({**FILLED, "family": "Зуева", "given": "Анна"}, KUZNETSOVA, False, "", "")
    assert not parse(content=other).problems
    assert parse(OneOfTheirs(), other).problems == {"patient": "other_patient"}
    assert parse(date="20.11.2026").problems == {"date": "past"}
    draft = parse(OneOfTheirs(), date="20.11.2026").draft
    assert draft is not None
    assert draft.station_ae_titles == ("XRAY_14", "XRAY_15")
    assert parse(OneOfTheirs(), date="20.11.2026", time="10:05").problems == {"date": "past"}


def test_one_field_is_checked_by_itself() -> None:
    content = replace(FormContent(FILLED, None, False, "", ""), fields={**FILLED, "snils": "112", "date": "32.11"})
    checked = {key: FormParser(content, OPTIONS, ReferralRules(), NOW).check(key) for key in ("snils", "date", "time")}
    assert checked == {"snils": "length", "date": "unreadable", "time": ""}
