"""A query is understood as the standard means it, or refused with the element that offends; no key is ever dropped."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from broker.dicom.codec.dates import MalformedKey
from broker.dicom.worklist.attributes import STEP, TOP, Match
from broker.dicom.worklist.query import WorklistQuery, parse
from tests.support.worklist_query import code, identifier


def offending(ds: Dataset) -> str:
    with pytest.raises(MalformedKey) as caught:
        parse(ds)
    return caught.value.keyword


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        # DA and TM: what is no date is not "any date"; wildcards are not for them (PS3.4 C.2.2.2.4).
        ("ScheduledProcedureStepStartDate", "20260230"),
        ("ScheduledProcedureStepStartDate", "2026*"),
        ("ScheduledProcedureStepStartDate", "2026112?"),
        ("ScheduledProcedureStepStartDate", "-"),
        ("ScheduledProcedureStepStartDate", "20261124--"),
        ("ScheduledProcedureStepStartDate", "20261124-20261125-"),
        ("ScheduledProcedureStepStartDate", "today"),
        ("ScheduledProcedureStepStartDate", "٢٠٢٦١١٢٤"),
        ("ScheduledProcedureStepStartDate", ["20261124", "20261125"]),
        ("ScheduledProcedureStepStartTime", "0860"),
        ("ScheduledProcedureStepStartTime", "25"),
        ("ScheduledProcedureStepStartTime", "08*"),
        ("ScheduledProcedureStepStartTime", "-"),
        ("PatientBirthDate", "1961"),
        ("PatientBirthDate", "19610230"),
        ("PatientBirthDate", "1961*"),
        # UI
        ("StudyInstanceUID", "1.2.*"),
        ("StudyInstanceUID", "1.2.?"),
        ("StudyInstanceUID", "abc"),
        ("StudyInstanceUID", "1" * 65),
        ("StudyInstanceUID", ["1.2.3", "1.2.x"]),
        # Longer than their VR can be, or of letters that it does not have.
        ("AccessionNumber", "A" * 17),
        ("PatientID", "1" * 65),
        ("PatientName", "И" * 65),
        ("PatientName", "a=b=c=d"),
        ("PatientName", "a^b^c^d^e^f"),
        ("PatientSex", "ЖЕН"),
        ("PatientSex", "F" * 17),
        ("Modality", "DX/CR"),
        ("ScheduledStationAETitle", "X" * 17),
        ("ScheduledProcedureStepID", "S" * 17),
        ("AccessionNumber", "A\x07B"),
        # Several values are for a list of UID (PS3.4 C.2.2.2.2), and for kinds and stations.
        ("PatientID", ["1", "2"]),
        ("Modality", ["DX", "CR/X"]),
        ("ScheduledStationAETitle", ["A", "B" * 17]),
        ("PatientName", ["A", "B"]),
        ("PatientName", ["", ""]),  # a lone backslash
        ("StudyInstanceUID", ["", ""]),
    ],
)
def test_a_malformed_key_is_refused_with_its_element(keyword: str, value: Any) -> None:
    within = keyword in {each.keyword for each in STEP}
    ds = identifier({keyword: value}) if within else identifier(**{keyword: value})
    assert offending(ds) == keyword


@pytest.mark.parametrize(
    ("keyword", "value", "understood"),
    [
        ("ScheduledProcedureStepStartDate", "2026.01.23", "2026-01-23"),
        ("ScheduledProcedureStepStartDate", " 20260123", "2026-01-23"),
        ("ScheduledProcedureStepStartDate", "20260123 ", "2026-01-23"),
        ("ScheduledProcedureStepStartDate", "20260123\0", "2026-01-23"),
        ("ScheduledProcedureStepStartDate", "2026-01-23", "2026-01-23"),
        ("ScheduledProcedureStepStartDate", "2026-01-23-2026-01-23", "2026-01-23"),
        ("ScheduledProcedureStepStartDate", "20260123 - 20260123", "2026-01-23"),
    ],
)
def test_the_tolerable_is_read(keyword: str, value: str, understood: str) -> None:
    window = parse(identifier({keyword: value})).window
    assert window.low is not None
    assert window.high is not None
    assert f"{window.low:%Y-%m-%d}" == f"{window.high:%Y-%m-%d}" == understood


def test_a_stray_trailing_dash_is_a_range_without_an_end() -> None:
    window = parse(identifier({"ScheduledProcedureStepStartDate": "20260123-"})).window
    assert window.high is None


def test_a_code_in_small_letters_is_that_code() -> None:
    assert parse(identifier({"Modality": "dx "})).key("Modality") == "DX"


def test_midnight_may_end_a_day() -> None:
    window = parse(
        identifier({"ScheduledProcedureStepStartDate": "20261124", "ScheduledProcedureStepStartTime": "0800-2400"})
    ).window
    assert window.high is not None
    assert f"{window.high:%d %H:%M:%S}" == "24 23:59:59"


@pytest.mark.parametrize("value", ["", "*", None, " ", "\0"])
@pytest.mark.parametrize(
    "attribute", [each for each in (*TOP, *STEP) if each.vr != "SQ"], ids=lambda each: each.keyword
)
def test_an_empty_key_or_a_single_star_asks_for_anything(attribute: Any, value: Any) -> None:
    within = attribute in STEP
    ds = identifier({}) if within else identifier()
    part = ds.ScheduledProcedureStepSequence[0] if within else ds
    part.add(DataElement(attribute.tag, attribute.vr, value, already_converted=True))
    asked = parse(ds)
    assert (dict(asked.keys), dict(asked.step_keys), asked.unsupported) == ({}, {}, ())
    assert attribute.tag in (asked.step.returned if within and asked.step else asked.top.returned)


def test_a_list_of_uid_is_one_key() -> None:
    assert parse(identifier(StudyInstanceUID=["1.2", "1.3"])).key("StudyInstanceUID") == "1.2\\1.3"


# ---- sequences ----


def test_codes_are_keys_within_their_sequence() -> None:
    asked = parse(identifier(RequestedProcedureCodeSequence=[code(CodeValue="K*", CodeMeaning="")]))
    within = asked.top.items[Tag("RequestedProcedureCodeSequence")]
    assert dict(within.keys) == {Tag("CodeValue"): "K*"}
    assert within.returned == (Tag("CodeValue"), Tag("CodeMeaning"))
    assert asked.unsupported == ()


def test_unsupported_keys_within_a_sequence_are_reported() -> None:
    assert parse(identifier(RequestedProcedureCodeSequence=[code(CodeMeaning="Knee")])).unsupported == ("CodeMeaning",)
    reference = code(ReferencedSOPInstanceUID="1.2")
    asked = parse(identifier(ReferencedStudySequence=[reference]))
    assert asked.unsupported == ("ReferencedSOPInstanceUID",)


@pytest.mark.parametrize("keyword", ["RequestedProcedureCodeSequence", "ReferencedStudySequence"])
def test_a_sequence_with_several_items_is_refused(keyword: str) -> None:
    assert offending(identifier(None, **{keyword: [code(CodeValue="1"), code(CodeValue="2")]})) == keyword


def test_several_scheduled_steps_are_refused() -> None:
    ds = identifier()
    ds.ScheduledProcedureStepSequence = [Dataset(), Dataset()]
    assert offending(ds) == "ScheduledProcedureStepSequence"


def test_a_sequence_that_is_none_is_refused() -> None:
    ds = Dataset()
    ds.PatientName = ""
    ds.add(DataElement(Tag("ScheduledProcedureStepSequence"), "LO", "20261124"))
    assert offending(ds) == "ScheduledProcedureStepSequence"


def test_a_key_of_bytes_is_refused() -> None:
    ds = identifier()
    ds.add(DataElement(Tag("PatientID"), "OB", b"12"))
    assert offending(ds) == "PatientID"


@pytest.mark.parametrize("items", [[], [Dataset()], None])
def test_an_empty_step_asks_for_all_of_it(items: list[Dataset] | None) -> None:
    ds = Dataset()
    ds.add(DataElement(Tag("ScheduledProcedureStepSequence"), "SQ", items))
    asked = parse(ds)
    assert asked.step is not None
    assert asked.step.returned == tuple(each.tag for each in STEP)


# ---- what is no key ----


def test_levels_group_lengths_and_creators_of_private_blocks_are_no_keys() -> None:
    ds = identifier(QueryRetrieveLevel="STUDY", TimezoneOffsetFromUTC="+0300", SpecificCharacterSet="ISO_IR 192")
    ds.add_new(0x00080000, "UL", 12)
    ds.add_new(0x00090010, "LO", "ACME")
    ds.add_new(0x00091001, "LO", "")
    asked = parse(ds)
    assert (dict(asked.keys), asked.unsupported) == ({}, ())


@pytest.mark.parametrize("keys", [{}, {"QueryRetrieveLevel": "STUDY"}, {"SpecificCharacterSet": "ISO_IR 192"}])
def test_an_identifier_without_a_key_is_refused(keys: dict[str, str]) -> None:
    assert offending(code(**keys)) == ""


def test_unsupported_keys_are_reported() -> None:
    asked = parse(identifier(EthnicGroup="X", PatientWeight="70", AdmissionID=""))
    assert set(asked.unsupported) == {"EthnicGroup", "PatientWeight"}


def test_question_marks_are_noticed_in_every_key() -> None:
    asked = parse(
        identifier(
            {"ScheduledPerformingPhysicianName": "????"},
            PatientName="??^*",
            ReferringPhysicianName="З*",
            PatientID="???",
        )
    )
    assert asked.undecodable == ("PatientName", "PatientID", "ScheduledPerformingPhysicianName")


# ---- whatever comes ----

KEYS = {each.keyword: each for each in (*TOP, *STEP) if each.vr != "SQ"}
VALUES = st.one_of(
    st.none(),
    st.text(max_size=70),
    st.text("0123456789-.*?^= ", max_size=20),
    st.binary(max_size=4),
    st.integers(0, 99),
)


@given(st.dictionaries(st.sampled_from(sorted(KEYS)), st.tuples(VALUES, st.sampled_from(["", "LO", "OB"])), max_size=6))
def test_every_key_is_matched_refused_or_reported_as_unsupported(keys: dict[str, tuple[Any, str]]) -> None:
    ds, step = Dataset(), Dataset()
    ds.PatientName = ""
    ds.ScheduledProcedureStepSequence = [step]
    step.ScheduledProcedureStepID = ""
    for keyword, (value, vr) in keys.items():
        attribute = KEYS[keyword]
        part = step if attribute in STEP else ds
        part.add(DataElement(attribute.tag, vr or attribute.vr, value, already_converted=True))
    try:
        asked = parse(ds)
    except MalformedKey:
        return
    for keyword, (value, _) in keys.items():
        assert _is_accounted_for(asked, keyword, value), keyword


def _is_accounted_for(asked: WorklistQuery, keyword: str, value: Any) -> bool:
    attribute = KEYS[keyword]
    if value in (None, b"") or not str(value).strip(" \0*^=") or attribute.match is Match.IGNORED:
        return True
    return bool(asked.key(keyword)) or keyword in asked.unsupported
