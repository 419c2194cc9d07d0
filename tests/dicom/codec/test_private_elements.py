"""Private elements without a VR: what they are taken for, and what stays bytes."""

from __future__ import annotations

import struct

import pytest

from broker.dicom.codec import charset, decoding, private_elements
from broker.dicom.codec.decoding import Element

CREATOR, TAG = 0x80010010, 0x80011001


def identified(value: bytes, *, creator: bytes = b"ACME", tag: int = TAG, term: bytes = b"ISO_IR 192") -> Element:
    elements = [
        Element(decoding.CHARSET, "CS", term),
        Element(tag & 0xFFFF0000 | 0x10, "LO", creator),
        Element(tag, "UN", value),
    ]
    return private_elements.identify(elements, charset.UTF_8)[-1]


@pytest.mark.parametrize(
    ("value", "vr"),
    [
        (b"STOL-2", "LO"),
        ("ОСО-7 ".encode(), "LO"),
        (b"ONE\\TWO ", "LO"),
        (b"1.2.840.10008.1.1\0", "UI"),
        (b"1.2.840.10008.1.12", "LO"),  # a version may look so, too
        (("долго " * 20).encode(), "UT"),
        (b"two\r\nlines ", "UT"),
    ],
)
def test_a_text_is_known_by_what_it_holds(value: bytes, vr: str) -> None:
    assert identified(value).vr == vr


@pytest.mark.parametrize(
    "value",
    [
        b"AB",  # 16961
        b"CS12",  # 842093379, or a float
        struct.pack("<H", 7),
        struct.pack("<d", 12.34),
        struct.pack("<4H", 1, 2, 3, 4),
        b"\x00" * 8,
        "Кузнецова".encode("cp1251"),  # not in the character set of the file
        b"        ",
    ],
)
def test_what_may_be_a_number_stays_as_it_is(value: bytes) -> None:
    assert identified(value) == Element(TAG, "UN", value)


def test_a_text_in_single_bytes_is_one_of_words() -> None:
    assert identified("Стол № 2".encode("iso8859_5"), term=b"ISO_IR 144").vr == "LO"
    assert identified(bytes([0xD0, 0xB1, 0x41, 0xE2, 0xC0, 0x31, 0xB5, 0x62]), term=b"ISO_IR 144").vr == "UN"


def test_the_dictionary_of_a_manufacturer_comes_first() -> None:
    siemens = {"creator": b"SIEMENS MR HEADER", "tag": 0x00191008}
    assert identified(b"IMAGE NUM 4 ", **siemens).vr == "CS"  # type: ignore[arg-type]
    assert identified(b"\x01\x02", **siemens).vr == "UN"  # type: ignore[arg-type]


def test_a_sequence_is_parsed_and_what_is_in_it_identified() -> None:
    inner = struct.pack("<HHL", 0x8001, 0x0010, 4) + b"ACME" + struct.pack("<HHL", 0x8001, 0x1002, 6) + b"STOL-2"
    item = b"\xfe\xff\x00\xe0" + struct.pack("<L", len(inner)) + inner
    found = identified(item)
    assert found.vr == "SQ"
    assert found.value == [[Element(CREATOR, "LO", b"ACME"), Element(0x80011002, "LO", b"STOL-2")]]
    assert identified(item[:-3]) == Element(TAG, "UN", item[:-3])


def test_sequences_within_sequences_come_to_an_end() -> None:
    value = b""
    for _ in range(2000):
        inner = struct.pack("<HHL", 0x8001, 0x1001, len(value)) + value
        value = b"\xfe\xff\x00\xe0" + struct.pack("<L", len(inner)) + inner
    assert identified(value).vr == "SQ"
