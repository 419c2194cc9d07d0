"""What a message is kept as: read straight from the wire, it is what pydicom makes of the same dataset."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import Tag

from broker.dicom.codec import decoding, json_model
from broker.dicom.codec.decoding import Undecodable
from tests.dicom.codec.encoding import encoded
from tests.support.modality import creation, ending, series

KEYWORDS = {
    "PatientName": st.sampled_from(["", "Иванов^Иван", "Ivanov^Ivan=Иванов^Иван", "^", "=", "Ли^^", "A^B\\C^D", " "]),
    "PatientID": st.sampled_from(["", "P1", "П-1", "a\\b", "\\"]),
    "PerformedProcedureStepStartDate": st.sampled_from(["", "20261124", "tomorrow", "20261124\\20261125"]),
    "SeriesInstanceUID": st.sampled_from(["", "1.2.3", "1.2\\1.3", "x"]),
    "CommentsOnThePerformedProcedureStep": st.sampled_from(["", "a\\b", "строка\r\nдругая "]),
    "PatientWeight": st.sampled_from(["", "70.5", "70\\71", "heavy"]),
    "TotalNumberOfExposures": st.sampled_from([None, 0, 3, [1, 2]]),
    "ReferencedFrameNumber": st.sampled_from(["", "1", "1\\2", "one"]),
    "FrameIncrementPointer": st.sampled_from([None, 0x00181063]),
    "ICCProfile": st.sampled_from([None, b"\x01\x02"]),
}


@st.composite
def datasets(draw: st.DrawFn, depth: int = 2) -> Dataset:
    """Make a dataset of odd values, some of them in items."""
    ds = Dataset()
    for keyword in draw(st.lists(st.sampled_from(sorted(KEYWORDS)), unique=True)):
        value: Any = draw(KEYWORDS[keyword])
        element = DataElement(Tag(keyword), "LO", "")
        try:
            setattr(ds, keyword, value)
        except (ValueError, TypeError, OverflowError):  # pydicom cannot even write it: as a text
            element.value = value
            ds[Tag(keyword)] = element
    if depth:
        for keyword in draw(
            st.lists(st.sampled_from(["PerformedSeriesSequence", "ProcedureCodeSequence"]), unique=True)
        ):
            setattr(ds, keyword, Sequence(draw(st.lists(datasets(depth=depth - 1), max_size=2))))
    return ds


def by_pydicom(data: bytes, implicit: bool) -> dict[str, Any]:
    """Take the way round: pydicom's dataset, and its own JSON of it."""
    attributes = {}
    for element in decoding.decode(data, implicit):
        try:
            attributes[f"{element.tag:08X}"] = element.to_json_dict(None, 0)
        except Exception:
            attributes[f"{element.tag:08X}"] = {"vr": "LO", "Value": [str(element.value)]}
    attributes.pop("00080005", None)
    return attributes


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(datasets(), st.booleans())
@pytest.mark.filterwarnings("ignore")
def test_every_message_is_stored_as_pydicom_would_write_it(ds: Dataset, implicit: bool) -> None:
    ds.SpecificCharacterSet = "ISO_IR 192"
    data = encoded(ds, implicit)
    assert json.dumps(json_model.read(data, implicit), sort_keys=True) == json.dumps(
        by_pydicom(data, implicit), sort_keys=True
    )


def test_usual_messages_are_kept_alike_in_every_transfer_syntax() -> None:
    for ds in (creation("1.2.3"), ending(PerformedSeriesSequence=[series(images=3)])):
        ds.SpecificCharacterSet = "ISO_IR 192"
        read = json_model.read(encoded(ds, True), True)
        assert read == by_pydicom(encoded(ds, True), True) == json_model.read(encoded(ds, False), False)


def test_an_item_with_its_own_character_set_is_read_in_it() -> None:
    item = Dataset()
    item.SpecificCharacterSet = "ISO_IR 144"
    item.CodeMeaning = "Снимок"
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.PatientName = "Ли^Ен"
    ds.ProcedureCodeSequence = [item]
    [read] = json_model.read(encoded(ds, True), True)["00081032"]["Value"]
    assert read["00080104"] == {"vr": "LO", "Value": ["Снимок"]}


def test_what_breaks_the_rules_of_its_vr_is_kept_as_a_text() -> None:
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.add_new(Tag("PatientWeight"), "LO", "heavy")
    data = encoded(ds, False).replace(b"LO", b"DS")
    assert json_model.read(data, False)["00101030"]["Value"] == ["heavy"]


def test_half_a_message_is_refused() -> None:
    with pytest.raises(Undecodable):
        json_model.read(encoded(creation("1.2.3"), True)[:-3], True)


@pytest.mark.parametrize("number", ["NaN", "inf", "-1e999"])
def test_what_is_not_a_number_in_json_is_stored_as_a_text(number: str) -> None:
    ds = Dataset()
    ds.add_new(Tag("PatientWeight"), "LO", number)
    read = json_model.read(encoded(ds, False).replace(b"LO", b"DS"), False)
    [value] = json.loads(json.dumps(read, allow_nan=False))["00101030"]["Value"]
    assert isinstance(value, str)


def test_bytes_where_a_text_should_be_are_kept_as_a_text() -> None:
    status = struct.pack("<HH2sH", 0x0040, 0x0252, b"US", 3) + b"abc"
    assert json_model.read(status, False) == {"00400252": {"vr": "LO", "Value": ["abc"]}}
