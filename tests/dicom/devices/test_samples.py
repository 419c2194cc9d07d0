"""A sample shows what a device sends and nobody's data."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from broker.dicom.devices import samples
from tests.dicom.devices.raw_names import raw_name

NAMES = ("Кузнецова^Марина", "КУЗНЕЦОВА МАРИНА", "Ёлкина", "щукина юлия", "ШУЯ")


def query(**keys: Any) -> Dataset:
    ds = Dataset()
    for keyword, value in keys.items():
        setattr(ds, keyword, value)
    return ds


def test_names_numbers_and_birth_dates_are_replaced_by_their_alphabet() -> None:
    step = query(ScheduledStationAETitle="XRAY_14", ScheduledPerformingPhysicianName="Юдин^К")
    ds = query(
        SpecificCharacterSet="ISO_IR 192",
        PatientName="Кузнецова^Mарина*",
        PatientID="112-233-445 95",
        PatientBirthDate="19610312",
        PatientSex="F",
        AdmissionID="A17",
        AccessionNumber="K26110094",
        ReferringPhysicianName="ZIMIN^A",
        StudyInstanceUID="1.2.3",
        RequestedProcedureComments="Кузнецова, палата 4",
        ScheduledProcedureStepSequence=[step],
    )
    ds.add_new(0x00091001, "LO", "Кузнецова")
    kept = samples.mask(ds)
    reported = json.dumps(kept, ensure_ascii=False)
    for word in ("Кузнецова", "арина", "112", "1961", "Юдин", "ZIMIN", "палата", "A17"):
        assert word not in reported
    for word in ("K26110094", "XRAY_14", "1.2.3", "ISO_IR 192", '"F"'):
        assert word in reported
    assert kept[f"{Tag('PatientName'):08X}"]["Value"] == [{"Alphabetic": "‹cyrillic›^‹mixed›*"}]
    assert samples.alphabets(kept, "PatientID") == {samples.DIGITS}
    assert samples.alphabets(kept, "ReferringPhysicianName") == {samples.LATIN}
    assert samples.alphabets(kept, "PatientAge") == set()


def test_a_sample_becomes_a_query_again_without_what_was_masked() -> None:
    step = query(ScheduledProcedureStepStartDate="2026.11.24", Modality="DX", ScheduledStationAETitle="")
    ds = query(PatientName="Ли*", PatientID="", PatientWeight="7", ScheduledProcedureStepSequence=[step])
    ds.add_new(0x00080060, "CS", ["DX", "CR"])
    ds.add_new(0x001021C0, "US", 4)
    back, hidden = samples.restore(json.loads(json.dumps(samples.mask(ds))))
    assert hidden == ["PatientName"]
    ds.PatientName = None

    def flat(ds: Dataset) -> list[tuple[int, str]]:
        return [(each.tag, "" if each.VR == "SQ" else str(each.value or "")) for each in ds.iterall()]

    assert flat(back) == flat(ds)


@pytest.mark.parametrize("empty", ["", "*", "**"])
def test_a_key_that_asks_for_everything_is_kept_as_it_is(empty: str) -> None:
    back, hidden = samples.restore(samples.mask(query(PatientName=empty)))
    assert str(back.PatientName or "") == empty
    assert hidden == []


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("codec", "code"), [("utf-8", "ISO_IR 192"), ("iso8859_5", "ISO_IR 144"), ("cp1251", "windows-1251")]
)
def test_characters_without_a_declared_character_set_show_their_encoding(name: str, codec: str, code: str) -> None:
    found = samples.alphabets(samples.mask(raw_name(name.encode(codec))), "PatientName")
    if name != "ШУЯ":  # too few usual letters to be sure; but it is never taken for declared ones
        assert found == {f"{samples.UNDECLARED}{code}"}
    assert all(each.startswith(samples.UNDECLARED) for each in found)


@pytest.mark.parametrize(
    ("text", "alphabet"),
    [
        ("??????", samples.QUESTION_MARKS),
        ("?????^?", samples.QUESTION_MARKS),
        ("IVANOV", samples.LATIN),
        ("Müller", samples.LATIN),
        ("Иванoв", samples.MIXED),
        ("山田", samples.OTHER),
        ("-", samples.OTHER),
        ("123", samples.DIGITS),
    ],
)
def test_alphabets(text: str, alphabet: str) -> None:
    assert samples.alphabet(text) == alphabet


def test_a_huge_or_deep_message_makes_a_small_sample() -> None:
    deep = query(SeriesDescription="x" * 5000)
    for _ in range(50):
        deep = query(PerformedSeriesSequence=[deep] * 50)
    for element in range(0x1000, 0x2000):
        deep.add_new(Tag(0x0009, element), "LO", "х" * 100)
    assert len(json.dumps(samples.mask(deep))) < 60_000


def test_an_odd_value_does_no_harm() -> None:
    ds = query(PatientSex=None)
    ds.add_new(0x00101030, "DS", None)
    ds.add_new(0x00080016, "UI", ["1.2", "1.3"])
    ds.add_new(0x7FE00010, "OB", b"\0\1")
    ds.add_new(0x00280010, "US", [1, 2])
    kept = json.loads(json.dumps(samples.mask(ds)))
    assert kept["00280010"]["Value"] == [1, 2]
    assert samples.restore(kept)[1] == []
