"""What is found out about a device is said in whole Russian sentences."""

from __future__ import annotations

import inspect
import re
from dataclasses import replace
from datetime import date

import pytest

from broker.dicom import learning
from broker.dicom.worklist import rule_texts
from broker.domain.clinic.device_advice import RuleResult, Suggestion
from broker.domain.clinic.devices import Device
from tests.support.clock import ZONE
from ui.devices import advice

CODES = sorted(set(re.findall(r'Suggestion\(\s*"(\w+)"', inspect.getsource(learning))))
CODES += ["station_own", "station_other", "station_none", "charset_bogus", "charset_declared", "modality_new"]


@pytest.mark.parametrize("code", CODES)
def test_whatever_is_learned_has_words(code: str) -> None:
    reported = advice.suggestion(Suggestion(code, {"term": "A", "meant": "B", "code": "C", "asked": "D", "keys": "E"}))
    assert reported != code
    assert re.search("[а-я]", reported)
    assert "{" not in reported


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("charset", "latin", "Кодировка имён: Латиница"),
        ("fallback_charset", "windows-1251", "Читать его буквы как Windows-1251"),
        ("modality", "CR", "Вид аппарата: CR"),
        ("strict_mpps", False, "Принимать MPPS с пропусками"),
    ],
)
def test_what_a_suggestion_changes_is_shown(field: str, value: str | bool, words: str) -> None:
    assert advice.remedy(Suggestion("x", {}, field, value)) == words


VERDICTS = sorted(rule_texts.WORDS)


@pytest.mark.parametrize("code", VERDICTS)
@pytest.mark.parametrize("ok", [True, False])
def test_every_rule_result_that_is_shown_is_a_sentence(code: str, ok: bool) -> None:
    details = {"at": "2026-11-24T06:47:00+00:00", "keyword": "Modality", "asked": "20261124", "has": "20261125 1000"}
    stated, todo = advice.rule_result(RuleResult("key", ok, code, details), "XRAY_14", ZONE, date(2026, 11, 24))
    assert stated != code
    assert "{" not in stated + todo
    assert not (ok and todo)
    assert not todo or stated  # what is to be done about has been said


def test_days_and_times_of_a_query_are_written_for_people() -> None:
    reported = {"asked": "20261125-20261226 0900-1100", "has": "20261124 100000"}
    stated, _ = advice.rule_result(RuleResult("key", False, "key_time", reported), "XRAY_14", ZONE, date(2026, 11, 24))
    assert stated == "Аппарат спросил завтра-26.12.2026 09:00-11:00, а направление на сегодня 10:00"


def test_notes_say_when_and_how_often() -> None:
    missing = "ScheduledStepAttributesSequence > AccessionNumber is missing; Modality is empty"
    reported = advice.note("mpps_create", missing, 3, "2 мин назад")
    assert reported.endswith("нет AccessionNumber, пусто Modality (2 мин назад, 3 раза)")
    reported = advice.note("mpps_create", "; ".join(f"K{number} is missing" for number in range(9)), 1, "только что")
    assert reported.endswith("нет K3 и ещё 5 (только что)")
    assert advice.note("mpps_create", "A > B is missing; A > Cut of", 1, "x").endswith("нет B и ещё 1 (x)")
    assert advice.note("something_new", "its text", 1, "вчера") == "its text (вчера)"


@pytest.mark.parametrize(
    ("kind", "text", "reported"),
    [
        ("charset", "order K1: 3 characters were written otherwise", "направление K1, мест: 3 (x)"),
        (
            "cut",
            "order K1: 3 texts were shortened, and so for 2 other orders",
            "направление K1, мест: 3, и ещё направлений: 2 (x)",
        ),
        ("undecodable_name", "PatientName was question marks only: the device cannot write its characters", "никого"),
        ("mpps_unfinished", "a step was not ended, its last message came at 24.11.2026 09:15", "24.11.2026 09:15 (x)"),
        ("mpps_conflict", "a step for K1 names another order or patient by patient_id", "K1, не сходится номер карты"),
        ("mpps_dose", "not a number: EntranceDose", "не число: EntranceDose (x)"),
    ],
)
def test_notes_of_the_services_are_shown_in_russian(kind: str, text: str, reported: str) -> None:
    stated = advice.note(kind, text, 1, "x")
    assert reported in stated
    assert not re.search("[a-z]{4,} [a-z]{4,}", stated)


def test_settings_that_differ_from_the_default_are_shown() -> None:
    usual = Device("X", "X", "DX")
    assert list(advice.policies(usual)) == ["Имена: автоматически"]
    odd = replace(
        usual,
        charset="ISO_IR 192",
        fallback_charset="windows-1251",
        longest=32,
        own_only=False,
        days_after=7,
        closed_hours=4,
        strict_mpps=True,
        for_others=True,
        mpps_hours=6,
        own_study_uids=True,
    )
    assert list(advice.policies(odd)) == [
        "Имена: UTF-8 (ISO_IR 192)",
        "его буквы читаем как Windows-1251",
        "не длиннее 32 знаков",
        "видит записи всех аппаратов",
        "может смотреть записи других и завершать их исследования",
        "дни: −1…+7",
        "выполненные видит ещё 4 ч",
        "MPPS только по стандарту",
        "брошенное закрываем через 6 ч",
        "UID исследований свои: снимки узнаём по номеру",
    ]


def test_marks_of_samples_are_shown_as_dots() -> None:
    shown = advice.unmasked("‹cyrillic›^‹question marks›* ‹8-bit ISO_IR 144›")
    assert shown == "••• (кириллица)^••• (вопросительные знаки)* ••• (буквы ISO_IR 144)"
