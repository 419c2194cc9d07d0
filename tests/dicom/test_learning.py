"""From what a device really sends follows what would suit it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydicom.dataset import Dataset

from broker.dicom import learning
from broker.dicom.devices import samples
from broker.domain.clinic.device_advice import Suggestion
from broker.domain.clinic.devices import Device
from broker.store.tables.devices import DeviceSample
from tests.dicom.devices.raw_names import raw_name

NOW = datetime(2026, 11, 24, 9, 47, tzinfo=UTC)
XRAY = Device("XRAY_14", "Рентген", "DX")


def dataset(**keys: Any) -> Any:
    ds = Dataset()
    for keyword, value in keys.items():
        setattr(ds, keyword, value)
    return ds


def query(step: dict[str, Any] | None = None, **keys: Any) -> Any:
    return dataset(**{"PatientName": "", **keys, "ScheduledProcedureStepSequence": [dataset(**(step or {}))]})


def creation(**keys: Any) -> Any:
    whole: dict[str, Any] = dict.fromkeys(learning.CREATE_NEEDS, "x") | {"Modality": "DX"}
    whole["ScheduledStepAttributesSequence"] = [dataset(StudyInstanceUID="1.2.3")]
    return dataset(**{key: value for key, value in {**whole, **keys}.items() if value is not None})


def sample(ds: Dataset, service: str = "worklist", which: str = "latest", ago: timedelta = timedelta()) -> DeviceSample:
    return DeviceSample(service, which, samples.mask(ds), NOW - ago)


def suggest(*sent: DeviceSample, device: Device = XRAY) -> dict[str, Suggestion]:
    found = learning.suggest(device, sent, NOW)
    assert len({each.code for each in found}) == len(found)
    return {each.code: each for each in found}


def settings(found: dict[str, Suggestion]) -> dict[str, object]:
    return {each.field: each.value for each in found.values() if each.field}


def test_nothing_sent_teaches_nothing() -> None:
    assert suggest() == {}


@pytest.mark.parametrize(
    ("term", "code", "details"),
    [
        ("ISO_IR 144", "charset_declared", {"meant": "ISO_IR 144"}),
        ("UTF-8", "charset_bogus", {"term": "UTF-8", "meant": "ISO_IR 192"}),
        (["", "ISO 2022 IR 144"], "charset_declared", {"meant": "ISO_IR 144"}),
        ("", "charset_none", {}),
        ("ISO_IR 100", "charset_latin", {"term": "ISO_IR 100"}),
        ("ISO 2022 IR 6", "charset_latin", {}),
        ("GB18030", "charset_unknown", {"term": "GB18030"}),
        ("Not Supplied", "charset_unknown", {"term": "Not Supplied"}),
    ],
)
def test_the_character_set_that_a_device_declares_is_shown(term: Any, code: str, details: dict[str, str]) -> None:
    found = suggest(sample(query(SpecificCharacterSet=term)))
    assert details.items() <= dict(found[code].details).items()


@pytest.mark.parametrize(
    ("term", "shown"),
    [
        ("ISO_IR 100", "ISO_IR 100"),
        (["", "ISO 2022 IR 101"], "ISO_IR 101"),
        ("ISO_IR_148", "ISO_IR 148"),
        ("ISO_IR 110", "latin"),  # nothing is written in it
        ("ISO 2022 IR 6", "latin"),
    ],
)
def test_a_device_without_cyrillic_is_answered_in_what_it_can_show(term: Any, shown: str) -> None:
    sent = sample(query(SpecificCharacterSet=term))
    assert settings(suggest(sent)) == {"charset": shown}
    assert settings(suggest(sent, device=replace(XRAY, charset="ISO_IR 144"))) == {}  # a person has decided otherwise
    assert settings(suggest(sent, device=replace(XRAY, charset=shown))) == {}


def test_characters_without_a_character_set_suggest_how_to_decode_and_answer_them() -> None:
    found = settings(suggest(sample(raw_name("Кузнецова".encode()))))
    assert found == {"fallback_charset": "ISO_IR 192"}
    found = settings(suggest(sample(raw_name("Кузнецова".encode("iso8859_5")))))
    assert found == {"charset": "ISO_IR 144"}  # it is read so already
    found = settings(suggest(sample(raw_name("Кузнецова".encode("cp1251")))))
    assert found == {"fallback_charset": "windows-1251", "charset": "ISO_IR 144"}


def test_cyrillic_under_the_name_of_a_latin_character_set_is_seen() -> None:
    found = suggest(sample(raw_name("Кузнецова".encode("cp1251"), "ISO_IR 100")))
    assert found["letters_misdeclared"].details == {"code": "windows-1251", "term": "ISO_IR 100"}
    assert settings(found) == {"charset": "ISO_IR 144"}  # not Latin letters
    assert "letters_misdeclared" not in suggest(sample(query(SpecificCharacterSet="ISO_IR 100", PatientName="Müller")))


def test_names_that_come_back_as_question_marks_need_another_character_set() -> None:
    lost = sample(creation(PatientName="?????????^??????"), "N-CREATE")
    assert settings(suggest(lost)) == {"charset": "ISO_IR 144"}
    assert settings(suggest(lost, device=replace(XRAY, charset="ISO_IR 144"))) == {"charset": "latin"}
    assert settings(suggest(lost, device=replace(XRAY, charset="latin"))) == {}
    assert settings(suggest(lost, device=replace(XRAY, charset="ISO_IR 100"))) == {"charset": "latin"}
    whole = sample(creation(SpecificCharacterSet="ISO_IR 192", PatientName="Кузнецова^Марина"), "N-CREATE")
    assert "names_intact" in suggest(whole)
    assert "query_question_marks" in suggest(sample(query(PatientName="?????*")))


@pytest.mark.parametrize(
    ("asked", "code"),
    [("XRAY_14", "station_own"), ("", "station_none"), ("*", "station_none"), ("DR", "station_other")],
)
def test_whether_it_sends_its_own_ae_title(asked: str, code: str) -> None:
    assert code in suggest(sample(query({"ScheduledStationAETitle": asked})))


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ("", "date_none"),
        ("20261124", "date_one"),
        ("20261124-20261125", "date_range"),
        ("20261124-", "date_range"),
        ("2026.11.24", "date_odd"),
        ("20260230x", "date_odd"),
    ],
)
def test_how_it_writes_dates(asked: str, code: str) -> None:
    assert code in suggest(sample(query({"ScheduledProcedureStepStartDate": asked})))


def test_which_keys_it_needs_and_which_it_forgets() -> None:
    step = {"Modality": "DX", "ScheduledProcedureStepID": "", "PerformedStationName": ""}
    found = suggest(sample(query(step, AccessionNumber="")))
    assert found["keys"].details["asked"] == (
        "AccessionNumber, PatientName, Modality, ScheduledProcedureStepID, PerformedStationName"
    )
    assert found["keys_unknown"].details["keys"] == "PerformedStationName"
    missing = found["keys_missing"].details["keys"].split(", ")
    assert {"StudyInstanceUID", "PatientID", "ScheduledStationAETitle"} <= set(missing)
    assert "ScheduledProcedureStepSequence" not in missing


def test_an_empty_step_asks_for_all_of_it() -> None:
    found = suggest(sample(query(PatientID="", StudyInstanceUID="", RequestedProcedureID="")))
    assert "keys_missing" not in found


def test_another_modality_than_the_registered_one_is_suggested() -> None:
    asked = sample(query({"Modality": "CR"}))
    assert settings(suggest(asked)) == {"modality": "CR"}
    reported = sample(creation(Modality="MG"), "N-CREATE")
    assert settings(suggest(asked, reported)) == {"modality": "MG"}  # what it makes goes before what it asks
    assert settings(suggest(sample(query({"Modality": "DX"})))) == {}
    assert settings(suggest(sample(query({"Modality": "DX\\CR"})))) == {}


def test_a_setting_is_proposed_once() -> None:
    asked = sample(query(SpecificCharacterSet="ISO_IR 100"))
    lost = sample(creation(PatientName="????"), "N-CREATE")
    found = learning.suggest(XRAY, [asked, lost], NOW)
    assert [(each.code, each.value) for each in found if each.field] == [("charset_latin", "ISO_IR 100")]
    assert "names_lost" in {each.code for each in found}


def test_the_modality_of_an_unknown_device_is_suggested_as_new() -> None:
    found = suggest(sample(query({"Modality": "CR"})), device=Device("US_7", "US_7", "", approved=False))
    assert found["modality_new"].value == "CR"


def test_a_device_that_never_reports_is_noted_after_a_day() -> None:
    day = timedelta(days=1, minutes=1)
    assert "mpps_never" not in suggest(sample(query()))
    assert "mpps_never" in suggest(sample(query(), which="first", ago=day), sample(query()))
    started = sample(creation(), "N-CREATE", ago=day)
    assert "mpps_no_end" in suggest(started)
    assert "mpps_seen" in suggest(started, sample(dataset(PerformedProcedureStepStatus="COMPLETED"), "N-SET"))
    assert "mpps_seen" in suggest(sample(creation(), "N-CREATE"))


def test_an_incomplete_n_create_asks_for_tolerance() -> None:
    items = [dataset(AccessionNumber="K1")]
    half = sample(creation(PerformedProcedureStepID=None, ScheduledStepAttributesSequence=items), "N-CREATE")
    assert suggest(half)["mpps_incomplete"].details["keys"] == "PerformedProcedureStepID, StudyInstanceUID"
    assert settings(suggest(half)) == {}
    assert settings(suggest(half, device=replace(XRAY, strict_mpps=True))) == {"strict_mpps": False}
    assert "mpps_incomplete" not in suggest(sample(creation(), "N-CREATE"))


def test_settings_come_first_and_the_newest_sample_decides() -> None:
    old = sample(query({"ScheduledStationAETitle": "DR"}), which="first", ago=timedelta(hours=1))
    new = sample(query({"ScheduledStationAETitle": "XRAY_14", "Modality": "CR"}))
    found = learning.suggest(XRAY, [new, old], NOW)
    assert found[0].field == "modality"
    assert "station_own" in {each.code for each in found}
