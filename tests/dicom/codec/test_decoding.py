"""What devices send is parsed to its last byte or refused, in bounded time and memory, and read as it is meant."""

from __future__ import annotations

import struct
import tracemalloc
from io import BytesIO
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.tag import Tag

from broker.dicom.codec import decoding
from broker.dicom.codec.decoding import Undecodable, decode
from tests.dicom.codec.encoding import element, encoded, header
from tests.support.waiting import at_most

SEQUENCE, ITEM, ITEM_END, SEQUENCE_END = (0x0040, 0x0100), (0xFFFE, 0xE000), (0xFFFE, 0xE00D), (0xFFFE, 0xE0DD)
UNDEFINED = 0xFFFFFFFF


def query(**keys: Any) -> Dataset:
    ds, step, code = Dataset(), Dataset(), Dataset()
    code.CodeValue, code.CodingSchemeDesignator = "K1", "99WLB"
    step.Modality, step.ScheduledProcedureStepStartDate = "DX", "20261124-20261125"
    step.ScheduledProtocolCodeSequence = [code]
    values = {
        "SpecificCharacterSet": "ISO_IR 192",
        "PatientName": "Щербакова^Юлия",
        "PatientID": "",
        "ScheduledProcedureStepSequence": [step],
        **keys,
    }
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    return ds


# ---- what is a dataset ----


@pytest.mark.parametrize("implicit", [True, False])
@pytest.mark.parametrize("undefined", [True, False])
def test_a_query_is_read_as_it_was_written(implicit: bool, undefined: bool) -> None:
    ds = query(PregnancyStatus=4, PatientWeight="70.5", StudyInstanceUID=["1.2", "1.3"])
    for sequence in (ds["ScheduledProcedureStepSequence"],):
        sequence.is_undefined_length = undefined
        sequence.value[0].is_undefined_length_sequence_item = undefined
    assert decode(encoded(ds, implicit), implicit) == ds


TEXTS = st.text(
    st.characters(codec="utf-8", exclude_characters="\\^=\x1b", exclude_categories=["Cc", "Cs"]), max_size=9
)
ELEMENTS: dict[str, st.SearchStrategy[Any]] = {
    "PatientName": TEXTS.map(str.strip),
    "PatientID": TEXTS.map(str.strip),
    "PatientComments": TEXTS.map(str.strip),
    "StudyInstanceUID": st.sampled_from(["1.2.3", "1.2.840.10008.1.1"]),
    "PatientBirthDate": st.sampled_from(["20261124", "19610312-"]),
    "PregnancyStatus": st.integers(0, 65535),
    "PatientWeight": st.sampled_from(["70", "70.5"]),
    "SeriesNumber": st.integers(-9999, 9999),
    "FrameTimeVector": st.lists(st.sampled_from(["1", "2.5"]), min_size=2, max_size=3),
    "RedPaletteColorLookupTableData": st.binary(max_size=8).map(lambda value: value + b"\0" * (len(value) % 2)),
    "ReferencePixelX0": st.integers(-(2**31), 2**31 - 1),
    "ExaminedBodyThickness": st.floats(width=32, allow_nan=False),
    "FrameIncrementPointer": st.just(Tag("FrameTime")),
}


@st.composite
def datasets(draw: st.DrawFn, depth: int = 0) -> Dataset:
    ds = Dataset()
    if depth == 0:
        ds.SpecificCharacterSet = "ISO_IR 192"
    for keyword in draw(st.lists(st.sampled_from(sorted(ELEMENTS)), max_size=5, unique=True)):
        setattr(ds, keyword, draw(ELEMENTS[keyword]))
    if depth < 3:
        for keyword in draw(
            st.lists(st.sampled_from(["RequestAttributesSequence", "PerformedSeriesSequence"]), max_size=2)
        ):
            items = draw(st.lists(datasets(depth + 1), max_size=2))
            ds.add(DataElement(Tag(keyword), "SQ", items))
            ds[keyword].is_undefined_length = draw(st.booleans())
    return ds


@pytest.mark.slow
@given(datasets(), st.booleans())
@settings(max_examples=150, deadline=None)
def test_what_pydicom_writes_is_read_as_pydicom_reads_it(ds: Dataset, implicit: bool) -> None:
    data = encoded(ds, implicit)
    theirs = read_dataset(BytesIO(data), implicit, True)
    assert decode(data, implicit) == theirs


def test_nothing_is_an_empty_dataset() -> None:
    assert len(decode(b"", True)) == 0


def test_private_elements_but_their_creators_stay_bytes_and_group_lengths_and_padding_go() -> None:
    data = element((8, 0), struct.pack("<L", 99)) + element((9, 0x10), b"ACME") + element((9, 0x1001), b"\x01\x02")
    data += element((0xFFFC, 0xFFFC), b"\0\0\0\0")
    ds = decode(data, True)
    assert [(each.tag, each.VR, each.value) for each in ds] == [
        (0x00090010, "LO", "ACME"),  # PS3.5 7.8.1
        (0x00091001, "UN", b"\x01\x02"),
    ]


def test_elements_out_of_order_are_tolerated() -> None:
    ds = decode(element((0x10, 0x20), b"7 ") + element((8, 0x50), b"A1"), True)
    assert (ds.PatientID, ds.AccessionNumber) == ("7", "A1")


@pytest.mark.parametrize("length", [UNDEFINED, None])
def test_a_sequence_with_an_unknown_vr_is_read_as_implicit(length: int | None) -> None:
    # PS3.5 6.2.2: VR UN within Explicit VR.
    item = element((8, 0x60), b"DX")
    body = header(ITEM, len(item)) + item + (header(SEQUENCE_END, 0) if length else b"")
    data = struct.pack("<HH2sHL", *SEQUENCE, b"UN", 0, length or len(body)) + body
    assert decode(data, False).ScheduledProcedureStepSequence[0].Modality == "DX"


def test_numbers_that_are_none_stay_as_they_were_written() -> None:
    ds = decode(element((0x10, 0x1030), "много".encode("iso8859_5")) + element((0x20, 0x11), b"3,5 "), True)
    assert (ds["SeriesNumber"].value, ds["PatientWeight"].VR) == ("3,5", "LO")
    assert decode(element((0x10, 0x21C0), b"\x01"), True)[0x001021C0].value == b"\x01"


# ---- what is none ----


@pytest.mark.parametrize("implicit", [True, False])
def test_a_truncated_dataset_is_refused_wherever_it_is_cut(implicit: bool) -> None:
    ds = query()
    whole = encoded(ds, implicit)
    # Where an outermost element ends nobody can tell that something is missing.
    ends = {
        0,
        *(len(encoded(Dataset({tag: ds[tag] for tag in list(ds.keys())[:count]}), implicit)) for count in range(5)),
    }
    for end in range(len(whole)):
        if end not in ends:
            with pytest.raises(Undecodable):
                decode(whole[:end], implicit)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\x08\x00", "2 bytes at the end"),
        (b"\xff" * 50, "may not stand in a dataset"),
        (b"GET / HTTP/1.1\r\n\r\n", "bytes, 10 are left"),
        (element((0x10, 0x20), b"7 ") + b"\0", "1 bytes at the end"),
        (element((0x10, 0x20), b"7 ") + b"\0" * 8, "(0000,0000) may not stand"),
        (element((2, 0x10), b"1.2 "), "(0002,0010) may not stand"),
        (element((0x10, 0x20), b"7 ") * 2, "stands twice"),
        (header((0x10, 0x10), 4), "says 4 bytes, 0 are left"),
        (header((0x10, 0x10), UNDEFINED), "(0010,0010) PN has no length"),
        (header(SEQUENCE, UNDEFINED), "a sequence without its end"),
        (header(SEQUENCE, UNDEFINED) + header(ITEM, UNDEFINED), "an item without its end"),
        (header(SEQUENCE, 8) + header(ITEM, 8), "an item says 8 bytes, 0 are left"),
        (header(SEQUENCE, 8) + header(ITEM_END, 0), "(FFFE,E00D) where an item should be"),
        (header(SEQUENCE, 8) + header((8, 0x60), 0), "(0008,0060) where an item should be"),
        (
            header(SEQUENCE, UNDEFINED) + header(ITEM, UNDEFINED) + header(ITEM_END, 9),
            "Item Delimitation with a length",
        ),
        (header(ITEM_END, 0), "(FFFE,E00D) may not stand"),
    ],
)
def test_bytes_that_are_not_a_dataset_are_refused_with_the_reason(data: bytes, why: str) -> None:
    with pytest.raises(Undecodable, match=why.replace("(", r"\(").replace(")", r"\)")) as caught:
        decode(data, True)
    assert len(str(caught.value)) <= 64  # it goes into an Error Comment, which is LO


def test_explicit_elements_need_a_vr_that_there_is() -> None:
    for data in (b"\x10\x00\x20\x00\0\0\x02\x007 ", b"\x10\x00\x20\x00XX\x02\x007 ", b"\x10\x00\x20\x00LO"):
        with pytest.raises(Undecodable):
            decode(data, False)


def nested(depth: int, undefined: bool) -> bytes:
    data = b""
    for _ in range(depth):
        item = header(ITEM, len(data)) + data
        if undefined:
            data = (
                header(SEQUENCE, UNDEFINED)
                + header(ITEM, UNDEFINED)
                + data
                + header(ITEM_END, 0)
                + header(SEQUENCE_END, 0)
            )
        else:
            data = header(SEQUENCE, len(item)) + item
    return data


@pytest.mark.parametrize("undefined", [True, False])
def test_sequences_nest_ten_deep_and_no_deeper(undefined: bool) -> None:
    assert decode(nested(decoding.DEEPEST, undefined), True)
    for depth in (decoding.DEEPEST + 1, 300, 3_000):
        if undefined or depth < 1000:
            with pytest.raises(Undecodable):
                decode(nested(depth, undefined), True)


WIDE = b"".join(header((0x0011 + 2 * (count >> 12), count & 0x0FFF | 0x1000), 0) for count in range(65_000))
ITEMS = header(SEQUENCE, 8 * 65_000) + header(ITEM, 0) * 65_000


@pytest.mark.parametrize(
    "data", [WIDE, ITEMS, b"\0" * (decoding.MOST_BYTES + 2), nested(300, True), nested(300, False)]
)
def test_huge_datasets_are_refused_at_once_in_flat_memory(data: bytes) -> None:
    tracemalloc.start()
    try:
        with at_most(), pytest.raises(Undecodable):
            decode(data, True)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8_000_000


@pytest.mark.slow
def test_a_performed_step_may_name_thousands_of_images() -> None:
    ds, series = Dataset(), Dataset()
    image = Dataset()
    image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", "1.2.3"
    series.ReferencedImageSequence = [image] * 4000
    ds.PerformedSeriesSequence = [series]
    data = encoded(ds)
    with pytest.raises(Undecodable, match="too many elements"):
        decode(data, True)
    with at_most():
        read = decode(data, True, most_bytes=decoding.MOST_MPPS_BYTES, most_elements=decoding.MOST_MPPS_ELEMENTS)
    assert len(read.PerformedSeriesSequence[0].ReferencedImageSequence) == 4000
    with pytest.raises(Undecodable, match="too many elements"):
        decode(WIDE, True, most_bytes=decoding.MOST_MPPS_BYTES, most_elements=decoding.MOST_MPPS_ELEMENTS)


def judged(data: bytes, implicit: bool) -> None:
    """Decode whatever it is: it may be refused, it may not hang nor raise anything else."""
    with at_most():
        try:
            ds = decode(data, implicit)
        except Undecodable:
            return
        for _ in ds.iterall():  # every value can be looked at
            pass
        ds.to_json_dict(suppress_invalid_tags=True)


@given(st.binary(max_size=300), st.booleans())
@settings(max_examples=300, deadline=None)
def test_random_bytes_do_no_harm(data: bytes, implicit: bool) -> None:
    judged(data, implicit)


@pytest.mark.slow
@given(
    datasets(), st.booleans(), st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), min_size=1, max_size=6)
)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_damaged_datasets_do_no_harm(ds: Dataset, implicit: bool, damage: list[tuple[int, int]]) -> None:
    data = bytearray(encoded(ds, implicit))
    for at, byte in damage:
        if data:
            data[at % len(data)] = byte
    judged(bytes(data), implicit)


@pytest.mark.slow
@given(datasets(), st.booleans(), st.integers(0, 2000))
@settings(max_examples=200, deadline=None)
def test_truncated_datasets_never_gain_elements(ds: Dataset, implicit: bool, end: int) -> None:
    data = encoded(ds, implicit)[:end]
    try:
        read = decode(data, implicit)
    except Undecodable:
        return
    whole = decode(encoded(ds, implicit), implicit)
    assert all(each == whole[each.tag] for each in read)


# ---- letters ----

NAME = "Щербакова^Юлия"


@pytest.mark.parametrize(
    ("stated", "codec", "fallback", "term"),
    [
        ("ISO_IR 192", "utf-8", "ISO_IR 144", "ISO_IR 192"),
        ("ISO_IR 144", "iso8859_5", "ISO_IR 144", "ISO_IR 144"),
        ("ISO 2022 IR 144", "iso8859_5", "ISO_IR 192", "ISO 2022 IR 144"),
        # Nothing is said, or nothing that there is: UTF-8 where it is that, else what the device is known to mean.
        (None, "utf-8", "ISO_IR 144", "ISO_IR 192"),
        (None, "iso8859_5", "ISO_IR 144", "ISO_IR 144"),
        (None, "cp1251", "windows-1251", "ISO_IR 192"),
        ("Not Supplied", "iso8859_5", "ISO_IR 144", "ISO_IR 144"),
        ("ISO 2022 IR 6", "iso8859_5", "ISO_IR 144", "ISO_IR 144"),
        ("ISO_IR 6", "utf-8", "ISO_IR 144", "ISO_IR 192"),
        ("KLINGON", "iso8859_5", "ISO_IR 144", "ISO_IR 144"),
        ("UTF-8", "utf-8", "ISO_IR 144", "ISO_IR 192"),
        ("ISO IR 192", "utf-8", "ISO_IR 144", "ISO_IR 192"),
        ("ISO_IR_192", "utf-8", "ISO_IR 144", "ISO_IR 192"),
        ("ISO-8859-5", "iso8859_5", "ISO_IR 192", "ISO_IR 144"),
        # What is said is wrong.
        ("ISO_IR 192", "iso8859_5", "ISO_IR 144", "ISO_IR 144"),
    ],
)
def test_characters_are_decoded_as_they_are_meant(stated: str | None, codec: str, fallback: str, term: str) -> None:
    data = element((8, 5), stated.encode()) if stated else b""
    data += element((0x10, 0x10), NAME.encode(codec))
    ds = decode(data, True, fallback=fallback)
    assert (str(ds.PatientName), ds.SpecificCharacterSet) == (NAME, term)


def test_characters_within_items_count_too() -> None:
    item = element((0x40, 6), NAME.encode("iso8859_5"))
    data = header(SEQUENCE, len(item) + 8) + header(ITEM, len(item)) + item
    ds = decode(data, True)
    assert str(ds.ScheduledProcedureStepSequence[0].ScheduledPerformingPhysicianName) == NAME
    assert ds.SpecificCharacterSet == "ISO_IR 144"


def test_ascii_needs_no_character_set() -> None:
    assert "SpecificCharacterSet" not in decode(element((0x10, 0x10), b"ZUEV^PETR "), True)
    assert "SpecificCharacterSet" not in decode(element((8, 5), b"Not Supplied") + element((0x10, 0x10), b"ZUEV"), True)


def test_characters_of_several_character_sets_are_decoded_together() -> None:
    # PS3.5 6.1.2.5: escape sequences switch, delimiters switch back.
    name = b"Zuev\x1b-L" + "Зуев".encode("iso8859_5") + b"^Petr=\x1b$B;3ED\x1b(B^Taro"
    ds = decode(element((8, 5), rb"\ISO 2022 IR 144\ISO 2022 IR 87") + element((0x10, 0x10), name), True)
    assert str(ds.PatientName) == "ZuevЗуев^Petr=山田^Taro"
    strange = element((8, 5), rb"\ISO 2022 IR 144") + element((0x10, 0x10), b"A\x1b%ZB")
    assert str(decode(strange, True).PatientName) == "A\x1b%ZB"


def test_on_request_characters_stay_as_they_came() -> None:
    name = NAME.encode("iso8859_5")
    ds = decode(element((0x10, 0x10), name), True, fallback="")
    assert "SpecificCharacterSet" not in ds
    assert str(ds.PatientName).encode("latin_1") == name
    ds = decode(element((8, 5), b"ISO_IR_192") + element((0x10, 0x10), NAME.encode()), True, fallback="")
    assert (ds.SpecificCharacterSet, str(ds.PatientName)) == ("ISO_IR_192", NAME)
